// The figures of a report. Each takes its place in the page and draws itself into it, at the width that it finds.
"use strict";

const report = JSON.parse(document.getElementById("report").textContent);
const rows = report.rows;
const byNumber = new Map(rows.map((row) => [row.number, row]));
const metric = report.objective.metric;
const which = report.objectives.findIndex((each) => each.metric === metric);
const maximize = report.objective.direction === "maximize";
const valueOf = (row) => (row.values ? row.values[which] : null);
const hasResult = (row) => isNumber(valueOf(row)) && (["complete", "infeasible"].includes(row.standing) || row.stopped_by === "race");
const searched = rows.filter((row) => !row.replaced && !["final", "claim"].includes(row.purpose));
const bestNumber = report.recommended ? report.recommended.number : null;
const narrow = (host) => host.clientWidth < 520;

const LOOKS = {
  complete: "complete", baseline: "the default", final: "finals", claim: "claim", infeasible: "infeasible",
  pruned: "pruned", failed: "failed", interrupted: "interrupted",
};

// Parameters by importance: what matters comes first, and is what there is room for.
const shares = report.importance.fanova || report.importance.ped_anova || {};
const axesRanked = report.axes.slice().sort((a, b) => (shares[b.parameter] || 0) - (shares[a.parameter] || 0));

function shortNames(names) {
  const endings = (name) => name.split(".").map((_, i, parts) => parts.slice(parts.length - 1 - i).join("."));
  return Object.fromEntries(names.map((name) => [
    name, endings(name).find((end) => !names.some((other) => other !== name && endings(other).includes(end))) || name,
  ]));
}
const short = shortNames(report.axes.map((axis) => axis.parameter));

function legend(host, looks) {
  const list = element(host, "div", "legend");
  for (const look of looks) {
    const item = element(list, "button", `key ${look}`, LOOKS[look]);
    item.type = "button";
    item.setAttribute("aria-pressed", "true");
    item.title = "Show or hide";
    item.addEventListener("click", () => {
      const hidden = item.getAttribute("aria-pressed") === "true";
      item.setAttribute("aria-pressed", String(!hidden));
      host.classList.toggle(`without-${look}`, hidden);
    });
  }
}

const looksOf = (shown) => Object.keys(LOOKS).filter((look) => shown.some((row) => lookOf(row) === look));
const empty = (host, why) => element(host, "p", "dim", why);

const figures = {
  // The winner and the default on fresh seeds.
  arms(host) {
    const arms = [["default", report.verdict.default], [report.verdict.ship ? "shipped" : "finalist", report.verdict.winner]].filter(([, arm]) => arm && arm.values.length);
    if (!arms.length) return;
    const x = linear(...usual(arms.flatMap(([, arm]) => [...arm.values, arm.mean - (arm.sd || 0), arm.mean + (arm.sd || 0)]), 0.1));
    const { plot, X, Y } = frame(host, { x, y: choices(arms.map(([name]) => name).reverse()), height: 118, xLabel: report.verdict.metric, label: "Values of the default and the best finalist on fresh seeds" });
    arms.forEach(([name, arm], i) => {
      const y = Y(name), look = i ? "complete" : "baseline";
      if (arm.sd !== null) draw(plot, "line", { x1: X(arm.mean - arm.sd), x2: X(arm.mean + arm.sd), y1: y, y2: y, class: `spread ${look}` });
      draw(plot, "line", { x1: X(arm.mean), x2: X(arm.mean), y1: y - 10, y2: y + 10, class: `spread ${look}` });
      for (const value of arm.values) draw(plot, "circle", { cx: X(value), cy: y, r: 4, class: `mark ${look}`, "data-tip": `${name}: ${format(value)}` });
    });
  },

  progress(host, controls) {
    const steps = report.history.steps;
    if (!steps.length) return empty(host, "No trial has ended yet.");
    const scales = {
      trials: [steps.map((s) => s.n_trials), "trials that have ended"],
      "full runs": [report.spending.full_runs_by_step, "full-run equivalents"],
      trained: [steps.map((s) => s.cost_seconds), "trained"],
      "wall time": [steps.map((s) => s.wall_seconds), "wall time, without pauses"],
    };
    const chosen = host.dataset.over || "trials";
    for (const name of Object.keys(scales)) {
      const button = element(controls, "button", "", name);
      button.type = "button";
      button.setAttribute("aria-pressed", String(name === chosen));
      button.addEventListener("click", () => { host.dataset.over = name; redraw(host); });
    }
    let [xs, xLabel] = scales[chosen];
    const noise = report.noise, spread = noise ? noise.sd || 0 : 0;
    if (xLabel.startsWith("trained") || xLabel.startsWith("wall")) {
      const [size, unit] = [[86400, "days"], [3600, "hours"], [60, "minutes"], [1, "seconds"]].find(([size]) => xs.at(-1) >= size) || [1, "seconds"];
      xs = xs.map((value) => value / size);
      xLabel += `, ${unit}`;
    }
    const shown = steps.map((step) => byNumber.get(step.number));
    const values = steps.map((step, i) => valueOf(shown[i]));
    const wanted = [...values, ...steps.map((s) => s.best), ...(noise ? [noise.mean - spread, noise.mean + spread] : [])];
    const { plot, X, Y, box } = frame(host, { x: linear(0, xs.at(-1) || 1), y: linear(...usual(wanted)), height: narrow(host) ? 240 : 300, xLabel, yLabel: metric, label: `Best ${metric} so far` });
    if (noise) {
      const top = Y(noise.mean + spread), bottom = Y(noise.mean - spread);
      draw(plot, "rect", { x: box.left, width: box.right - box.left, y: top, height: Math.max(0, bottom - top), class: "band" });
      draw(plot, "line", { x1: box.left, x2: box.right, y1: Y(noise.mean), y2: Y(noise.mean), class: "default-line" });
    }
    shown.forEach((row, i) => mark(plot, X(xs[i]), isNumber(values[i]) ? Y(values[i]) : box.bottom - 5, row));
    const line = [];
    steps.forEach((step, i) => {
      if (step.best === null) return;
      if (line.length) line.push([X(xs[i]), line.at(-1)[1]]);
      line.push([X(xs[i]), Y(step.best)]);
    });
    draw(plot, "path", { d: path(line), class: "best-line" });
    legend(host, looksOf(shown));
  },

  curves(host) {
    const shown = rows.filter((row) => row.curve.length > 1);
    if (!shown.length && report.objectives.length > 1) return empty(host, "With several objectives the journal has no curves; metrics.jsonl in each trial's folder has them.");
    if (!shown.length) return empty(host, "No trial has reported more than one step.");
    const last = Math.max(...shown.map((row) => row.curve.at(-1)[0])), first = Math.min(...shown.map((row) => row.curve[0][0]));
    const ends = shown.flatMap((row) => [row.curve[0][1], row.curve[row.curve.length >> 1][1], row.curve.at(-1)[1]]);
    const { plot, X, Y } = frame(host, { x: linear(first, last), y: linear(...usual(ends)), height: narrow(host) ? 260 : 340, xLabel: "step", yLabel: metric, label: `${metric} by step, a line for each trial` });
    const order = ["pruned", "interrupted", "failed", "infeasible", "complete", "final", "claim", "baseline"];
    const sorted = shown.slice().sort((a, b) => (a.number === bestNumber) - (b.number === bestNumber) || order.indexOf(lookOf(a)) - order.indexOf(lookOf(b)));
    for (const row of sorted) {
      const points = row.curve.filter(([, value]) => isNumber(value)).map(([step, value]) => [X(step), Y(value)]);
      const look = lookOf(row);
      draw(plot, "path", { d: path(points), class: `line ${look}${row.number === bestNumber ? " best" : ""}`, "data-trial": row.number });
      if (points.length && ["pruned", "failed", "interrupted"].includes(look)) mark(plot, ...points.at(-1), row, look === "pruned" ? 2 : 4);
    }
    legend(host, looksOf(shown));
  },

  slices(host) {
    const shown = searched.filter((row) => ["complete", "infeasible", "pruned", "failed"].includes(row.standing));
    if (!shown.some(hasResult)) return empty(host, "No trial has a value yet.");
    const values = shown.map((row) => (hasResult(row) ? valueOf(row) : null));
    const y = linear(...usual(values));
    const grid = element(host, "div", "small-multiples");
    const each = host.clientWidth < 560 ? host.clientWidth : Math.floor(host.clientWidth / Math.max(2, Math.floor(host.clientWidth / 300))) - 8;
    for (const axis of axesRanked.filter((axis) => axis.choices.length !== 1 && axis.low !== axis.high || axis.choices.length > 1)) {
      const cell = element(grid, "div"), choice = axis.choices.length > 0;
      const { plot, X, Y, box } = frame(cell, { x: scaleOf(axis), y, width: each, height: 190, xLabel: short[axis.parameter], label: `${metric} by ${axis.parameter}` });
      shown.forEach((row, i) => {
        if (!(axis.parameter in row.params)) return;
        const shift = choice ? ((row.number * 0.618) % 1 - 0.5) * Math.min(24, (box.right - box.left) / axis.choices.length / 2) : 0;
        mark(plot, X(row.params[axis.parameter]) + shift, values[i] === null ? box.bottom - 5 : Y(values[i]), row, 3);
      });
      const effect = report.effects.find((effect) => effect.parameter === axis.parameter);
      for (const level of effect ? effect.levels : []) {
        if (level.mean === null) continue;
        const [from, to] = choice ? [X(level.low) - 16, X(level.low) + 16] : [X(level.low), Math.max(X(level.high), X(level.low) + 6)];
        draw(plot, "line", { x1: from, x2: to, y1: Y(level.mean), y2: Y(level.mean), class: "mean", "data-tip": `mean ${format(level.mean)}, median ${format(level.median)} of ${level.n_values} with a value` });
      }
    }
    legend(host, looksOf(shown));
  },

  parallel(host) {
    const shown = searched.filter(hasResult);
    if (shown.length < 2) return empty(host, "Fewer than two trials have a value.");
    const room = Math.max(2, Math.floor(host.clientWidth / (narrow(host) ? 64 : 96)) - 1);
    const axes = axesRanked.slice(0, room), values = shown.map(valueOf);
    const result = linear(...usual(values)), width = host.clientWidth, height = 330, top = 52, bottom = height - 40, inactive = height - 14;
    const columns = [...axes.map((axis) => ({ name: short[axis.parameter], scale: scaleOf(axis), of: (row) => row.params[axis.parameter] })), { name: metric, scale: result, of: valueOf }];
    const place = (i) => 34 + (i * (width - 34 - 44)) / (columns.length - 1);
    const svg = draw(host, "svg", { width, height, role: "img", "aria-label": "Parallel coordinates of all parameters", class: "parallel" });
    const lines = draw(svg, "g"), ranked = shown.slice().sort((a, b) => (maximize ? 1 : -1) * (valueOf(a) - valueOf(b)));
    const pixel = (column, row) => (column.of(row) === undefined ? inactive : bottom - column.scale.at(column.of(row)) * (bottom - top));
    const drawn = ranked.map((row, i) => {
      const at = columns.map((column) => pixel(column, row));
      const points = at.map((y, j) => [place(j), y]);
      const shade = Math.floor((5 * i) / ranked.length);
      return { at, node: draw(lines, "path", { d: path(points), class: `thread shade${shade}${row.number === bestNumber ? " best" : row.purpose === "baseline" ? " default" : ""}`, "data-trial": row.number }) };
    });
    const ranges = new Map();
    const update = () => drawn.forEach(({ at, node }) => {
      const out = [...ranges].some(([i, [low, high]]) => at[i] < low || at[i] > high);
      node.classList.toggle("out", out);
    });
    columns.forEach((column, i) => {
      const x = place(i), axis = draw(svg, "g", { class: "axes" });
      draw(axis, "line", { x1: x, x2: x, y1: top, y2: bottom });
      const most = Math.max(5, Math.floor((width / columns.length) / 6.6)), name = column.name;
      draw(axis, "text", { x, y: i % 2 ? 30 : 14, "text-anchor": i ? i === columns.length - 1 ? "end" : "middle" : "start", class: "label", dx: i === columns.length - 1 ? 40 : i ? 0 : -32 }, cut(name, 2 * most));
      for (const [value, text] of column.scale.ticks(5)) {
        const y = bottom - column.scale.at(value) * (bottom - top);
        draw(axis, "line", { x1: x - 4, x2: x, y1: y, y2: y });
        draw(axis, "text", { x: x + 4, y: y + 4, class: "halo" }, cut(text, 11));
      }
      if (shown.some((row) => column.of(row) === undefined)) draw(axis, "text", { x: x + 4, y: inactive + 4, class: "halo" }, "not active");
      const chosen = draw(axis, "rect", { x: x - 7, width: 14, y: top, height: 0, class: "range" });
      const grip = draw(axis, "rect", { x: x - 14, width: 28, y: top - 6, height: height - top + 6, class: "grip", "data-axis": column.name });
      let from = null;
      const here = (event) => Math.min(height, Math.max(top - 1, event.clientY - svg.getBoundingClientRect().top));
      grip.addEventListener("pointerdown", (event) => { from = here(event); grip.setPointerCapture(event.pointerId); });
      grip.addEventListener("pointermove", (event) => {
        if (from === null) return;
        const low = Math.min(from, here(event)), high = Math.max(from, here(event));
        if (high - low < 4) return;
        ranges.set(i, [low, high]);
        chosen.setAttribute("y", low);
        chosen.setAttribute("height", high - low);
        update();
      });
      grip.addEventListener("pointerup", (event) => {
        if (from !== null && Math.abs(here(event) - from) < 4) { ranges.delete(i); chosen.setAttribute("height", 0); update(); }
        from = null;
      });
    });
    const more = axesRanked.length - axes.length;
    if (more > 0) element(host, "p", "dim", `The ${axes.length} most important parameters; there is no room here for ${more} more.`);
    const key = element(host, "div", "legend dim");
    key.append("worst ");
    for (let i = 0; i < 5; i++) element(key, "i", `swatch shade${i}`);
    key.append(" best fifth ");
    if (shown.some((row) => row.purpose === "baseline")) {
      element(key, "i", "swatch default");
      key.append(" the default");
    }
  },

  contour(host) {
    const { x, y, values } = report.surface, n = values.length;
    const [ax, ay] = [x, y].map((name) => report.axes.find((axis) => axis.parameter === name));
    const flat = values.flat().filter(isNumber);
    const low = Math.min(...flat), high = Math.max(...flat), levels = 9;
    const { plot, X, Y, box } = frame(host, { x: scaleOf(ax), y: scaleOf(ay), height: 330, xLabel: short[x], yLabel: short[y], label: `${metric} over ${x} and ${y}` });
    const w = (box.right - box.left) / n, h = (box.bottom - box.top) / n;
    const level = (value) => {
      const share = high > low ? (value - low) / (high - low) : 0.5;
      return Math.min(levels - 1, Math.floor((maximize ? share : 1 - share) * levels));
    };
    values.forEach((line, j) => {
      for (let i = 0; i < n; ) {
        let end = i + 1;
        if (line[i] !== null) {
          while (end < n && line[end] !== null && level(line[end]) === level(line[i])) end++;
          draw(plot, "rect", { x: box.left + i * w, y: box.bottom - (j + 1) * h - 0.3, width: (end - i) * w + 0.3, height: h + 0.6, class: `level l${level(line[i])}` });
        }
        i = end;
      }
    });
    for (const row of searched.filter((row) => hasResult(row) && x in row.params && y in row.params)) mark(plot, X(row.params[x]), Y(row.params[y]), row, 3.5);
    const best = bestNumber === null ? null : byNumber.get(bestNumber);
    if (best && x in best.params && y in best.params) draw(plot, "circle", { cx: X(best.params[x]), cy: Y(best.params[y]), r: 8, class: "ring" });
    const key = element(host, "div", "legend dim");
    key.append(`${format(maximize ? low : high)} `);
    for (let i = 0; i < levels; i++) element(key, "i", `swatch level l${i}`);
    key.append(` ${format(maximize ? high : low)}; the ring is what is recommended`);
  },

  pareto(host) {
    const shown = rows.filter((row) => !row.replaced && row.values && ["complete", "infeasible"].includes(row.standing));
    const front = new Set(report.front), grid = element(host, "div", "small-multiples"), names = report.objectives;
    const pairs = names.flatMap((_, i) => names.slice(i + 1).map((_, j) => [i, i + 1 + j])).slice(0, 3);
    const each = pairs.length > 1 && host.clientWidth > 700 ? Math.floor(host.clientWidth / 2) - 10 : host.clientWidth;
    for (const [i, j] of pairs) {
      const cell = element(grid, "div");
      const { plot, X, Y } = frame(cell, { x: linear(...usual(shown.map((r) => r.values[i]))), y: linear(...usual(shown.map((r) => r.values[j]))), width: each, height: 300, xLabel: names[i].metric, yLabel: names[j].metric, label: `${names[j].metric} over ${names[i].metric}` });
      const edge = shown.filter((row) => front.has(row.number)).sort((a, b) => a.values[i] - b.values[i]);
      if (names.length === 2) draw(plot, "path", { d: path(edge.map((row) => [X(row.values[i]), Y(row.values[j])])), class: "best-line" });
      for (const row of shown) mark(plot, X(row.values[i]), Y(row.values[j]), row, front.has(row.number) ? 6 : 3);
    }
    legend(host, looksOf(shown));
  },

  timeline(host) {
    const shown = rows.filter((row) => row.lane !== null && row.begin !== null);
    if (!shown.length) return empty(host, "No trial has ended yet.");
    const lanes = Math.max(...shown.map((row) => row.lane)) + 1, end = Math.max(...shown.map((row) => row.end)) || 1;
    const [size, unit] = [[86400, "days"], [3600, "hours"], [60, "minutes"], [1, "seconds"]].find(([size]) => end >= size) || [1, "seconds"];
    const lane = Math.max(5, Math.min(26, 320 / lanes)), height = Math.round(lanes * lane) + 50;
    const names = Array.from({ length: lanes }, (_, i) => i);
    const y = { at: (value) => 1 - (value + 0.5) / lanes, ticks: () => (lanes > 16 ? [] : names.map((i) => [i, String(i + 1)])) };
    const { plot, X, Y } = frame(host, { x: linear(0, end / size), y, height, xLabel: `wall time, ${unit}`, label: "What each worker ran when" });
    for (const row of shown) {
      const from = X(row.begin / size);
      draw(plot, "rect", { x: from, width: Math.max(1.2, X(row.end / size) - from - 0.6), y: Y(row.lane) - lane * 0.4, height: lane * 0.8, class: `run ${lookOf(row)}`, "data-trial": row.number });
    }
    legend(host, looksOf(shown));
  },
};
