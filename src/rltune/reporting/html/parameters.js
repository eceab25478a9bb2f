// What the parameters did: one at a time, the most important two, all at once.
"use strict";

const LEVELS = 9;
const SHADES = 5;

figures.slices = (host) => {
  const shown = searched.filter((row) => isWhole(row) || ["pruned", "failed"].includes(row.standing));
  const values = new Map(shown.map((row) => [row.number, hasResult(row) ? valueOf(row) : null]));
  if (!shown.some(hasResult)) return empty(host, "No trial has a value yet.");
  const y = linear(...usual([...values.values()]));
  const grid = element(host, "div", "small-multiples"), room = host.clientWidth;
  const width = room < 560 ? room : Math.floor(room / Math.max(2, Math.floor(room / 300))) - 8;
  for (const axis of axesRanked.filter((each) => each.choices.length > 1 || each.low !== each.high)) {
    const name = axis.parameter, xLabel = short[name], label = `${metric} by ${name}`;
    const picture = frame(element(grid, "div"), { x: scaleOf(axis), y, width, height: 190, xLabel, label });
    const { plot, X, Y, box } = picture;
    const jitter = axis.choices.length ? Math.min(24, (box.right - box.left) / axis.choices.length / 2) : 0;
    for (const row of shown.filter((each) => name in each.params)) {
      const x = X(row.params[name]) + jitter * (((row.number * 0.618) % 1) - 0.5), value = values.get(row.number);
      mark(plot, x, value === null ? box.bottom - 5 : Y(value), row, 3);
    }
    drawMeans(picture, report.effects.find((effect) => effect.parameter === name), axis.choices.length > 0);
  }
  legend(host, shown);
};

// The mean of the trials in each part of the range.
function drawMeans({ plot, X, Y }, effect, isChoice) {
  for (const level of effect ? effect.levels : []) {
    if (level.mean === null) continue;
    const [low, high] = [X(level.low), X(level.high)], y = Y(level.mean);
    const [x1, x2] = isChoice ? [low - 16, low + 16] : [low, Math.max(high, low + 6)];
    const tip = `mean ${format(level.mean)}, median ${format(level.median)} of ${level.n_values} with a value`;
    draw(plot, "line", { x1, x2, y1: y, y2: y, class: "mean", "data-tip": tip });
  }
}

figures.contour = (host) => {
  const { x, y, values } = report.surface, n = values.length;
  const axis = (name) => report.axes.find((each) => each.parameter === name);
  const known = values.flat().filter(isNumber), low = Math.min(...known), high = Math.max(...known);
  const { plot, X, Y, box } = frame(host, {
    x: scaleOf(axis(x)),
    y: scaleOf(axis(y)),
    height: 330,
    xLabel: short[x],
    yLabel: short[y],
    label: `${metric} over ${x} and ${y}`,
  });
  const level = (value) => {
    if (value === null) return null;
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return Math.min(LEVELS - 1, Math.floor((maximize ? share : 1 - share) * LEVELS));
  };
  const w = (box.right - box.left) / n, h = (box.bottom - box.top) / n;
  values.forEach((line, j) => {
    const levels = line.map(level);
    for (let i = 0, end; i < n; i = end) {
      for (end = i + 1; end < n && levels[end] === levels[i]; ) end++;
      if (levels[i] === null) continue;
      const place = { x: box.left + i * w, y: box.bottom - (j + 1) * h - 0.3 };
      draw(plot, "rect", { ...place, width: (end - i) * w + 0.3, height: h + 0.6, class: `level l${levels[i]}` });
    }
  });
  const isIn = (row) => row && x in row.params && y in row.params;
  for (const row of searched.filter((each) => hasResult(each) && isIn(each)))
    mark(plot, X(row.params[x]), Y(row.params[y]), row, 3.5);
  const best = byNumber.get(bestNumber);
  for (const look of isIn(best) ? ["ring under", "ring"] : [])
    draw(plot, "circle", { cx: X(best.params[x]), cy: Y(best.params[y]), r: 9, class: look });
  const [worst, top] = maximize ? [low, high] : [high, low];
  const looks = Array.from({ length: LEVELS }, (_, i) => `level l${i}`);
  ramp(host, format(worst), looks, `${format(top)}; the ring is what is recommended`);
};

// --- parallel coordinates --------------------------------------------------------------------------------------------

figures.parallel = (host) => {
  const shown = searched.filter(hasResult);
  if (shown.length < 2) return empty(host, "Fewer than two trials have a value.");
  const room = Math.max(2, Math.floor(host.clientWidth / (isNarrow(host) ? 64 : 96)) - 1);
  const axes = axesRanked.slice(0, room);
  const columns = axes.map(({ parameter, ...axis }) => ({
    name: short[parameter],
    scale: scaleOf(axis),
    of: (row) => row.params[parameter],
  }));
  columns.push({ name: metric, scale: linear(...usual(shown.map(valueOf))), of: valueOf });
  const width = host.clientWidth, height = 330, top = 52, bottom = height - 40, inactive = height - 14;
  const size = { width, height, viewBox: `0 0 ${width} ${height}` };
  const svg = draw(host, "svg", { ...size, role: "img", "aria-label": "Parallel coordinates of all parameters" });
  columns.forEach((column, i) => {
    column.x = 34 + (i * (width - 78)) / (columns.length - 1);
    column.isLast = i === columns.length - 1;
    column.Y = (value) => (value === undefined ? inactive : bottom - column.scale.at(value) * (bottom - top));
    column.hasInactive = shown.some((row) => column.of(row) === undefined);
  });
  const threads = drawThreads(draw(svg, "g"), columns, shown);
  const chosen = new Map();
  const choose = () => {
    for (const { at, node } of threads)
      node.classList.toggle("out", [...chosen].some(([i, [from, to]]) => at[i] < from || at[i] > to));
  };
  columns.forEach((column, i) => {
    const most = 2 * Math.max(5, Math.floor(width / columns.length / 6.6));
    const axis = drawAxis(svg, column, i, { top, bottom, inactive, most });
    brush(svg, axis, column.x, { top, height }, (range) => {
      if (range) chosen.set(i, range);
      else chosen.delete(i);
      choose();
    });
  });
  const more = axesRanked.length - axes.length;
  if (more > 0) empty(host, `The ${axes.length} most important parameters; there is no room here for ${more} more.`);
  const key = ramp(host, "worst", Array.from({ length: SHADES }, (_, i) => `shade${i}`), "best fifth ");
  if (shown.some((row) => row.purpose === "baseline")) {
    element(key, "i", "swatch default");
    key.append(" the default");
  }
};

// A line for each trial, the best on top; `at` has its height on each axis.
function drawThreads(parent, columns, shown) {
  const sign = maximize ? 1 : -1;
  const worstFirst = shown.slice().sort((a, b) => sign * (valueOf(a) - valueOf(b)));
  return worstFirst.map((row, i) => {
    const at = columns.map((column) => column.Y(column.of(row)));
    const special = row.number === bestNumber ? " best" : row.purpose === "baseline" ? " default" : "";
    const look = `thread shade${Math.floor((SHADES * i) / shown.length)}${special}`;
    const d = path(at.map((y, j) => [columns[j].x, y]));
    return { at, node: draw(parent, "path", { d, class: look, "data-trial": row.number }) };
  });
}

function drawAxis(svg, { x, Y, name, scale, isLast, hasInactive }, i, { top, bottom, inactive, most }) {
  const axis = draw(svg, "g", { class: "axes" });
  draw(axis, "line", { x1: x, x2: x, y1: top, y2: bottom });
  const [anchor, dx] = i === 0 ? ["start", -32] : isLast ? ["end", 40] : ["middle", 0];
  const above = { x: x + dx, y: i % 2 ? 30 : 14, "text-anchor": anchor, class: "label" };
  draw(axis, "text", above, cut(name, most));
  for (const [value, text] of scale.ticks(5)) {
    draw(axis, "line", { x1: x - 4, x2: x, y1: Y(value), y2: Y(value) });
    draw(axis, "text", { x: x + 4, y: Y(value) + 4, class: "halo" }, cut(text, 11));
  }
  if (hasInactive) draw(axis, "text", { x: x + 4, y: inactive + 4, class: "halo" }, "not active");
  return axis;
}

// Dragging along an axis chooses a range of pixels, a click lets go of it.
function brush(svg, axis, x, { top, height }, onRange) {
  const range = draw(axis, "rect", { x: x - 7, width: 14, y: top, height: 0, class: "range" });
  const grip = draw(axis, "rect", { x: x - 14, width: 28, y: top - 6, height: height - top + 6, class: "grip" });
  const here = (event) => Math.min(height, Math.max(top - 1, event.clientY - svg.getBoundingClientRect().top));
  const far = 4;
  let start = null;
  grip.addEventListener("pointerdown", (event) => {
    start = here(event);
    grip.setPointerCapture(event.pointerId);
  });
  grip.addEventListener("pointermove", (event) => {
    if (start === null || Math.abs(here(event) - start) < far) return;
    const from = Math.min(start, here(event)), to = Math.max(start, here(event));
    range.setAttribute("y", from);
    range.setAttribute("height", to - from);
    onRange([from, to]);
  });
  grip.addEventListener("pointerup", (event) => {
    if (start !== null && Math.abs(here(event) - start) < far) {
      range.setAttribute("height", 0);
      onRange(null);
    }
    start = null;
  });
}
