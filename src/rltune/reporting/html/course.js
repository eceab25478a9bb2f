// How the study went: the claim, the best so far, learning curves, the Pareto front, what ran when.
"use strict";

// The winner and the default on fresh seeds.
figures.arms = (host) => {
  const { winner, default: base, ship } = report.verdict;
  const named = [["default", base, "baseline"], [ship ? "shipped" : "finalist", winner, "complete"]];
  const arms = named.filter(([, arm]) => arm && arm.values.length);
  if (!arms.length) return;
  const reach = arms.flatMap(([, arm]) => [...arm.values, arm.mean - (arm.sd || 0), arm.mean + (arm.sd || 0)]);
  const { plot, X, Y } = frame(host, {
    x: linear(...usual(reach, 0.1)),
    y: choices(arms.map(([name]) => name).reverse()),
    height: 118,
    xLabel: report.verdict.metric,
    label: "Values of the default and the best finalist on fresh seeds",
  });
  for (const [name, arm, look] of arms) {
    const y = Y(name), mean = X(arm.mean);
    if (arm.sd !== null) {
      const [x1, x2] = [X(arm.mean - arm.sd), X(arm.mean + arm.sd)];
      draw(plot, "line", { x1, x2, y1: y, y2: y, class: `spread ${look}` });
    }
    draw(plot, "line", { x1: mean, x2: mean, y1: y - 10, y2: y + 10, class: `spread ${look}` });
    for (const value of arm.values) {
      const tip = `${name}: ${format(value)}`;
      draw(plot, "circle", { cx: X(value), cy: y, r: 4, class: `mark ${look}`, "data-tip": tip });
    }
  }
};

figures.progress = (host, controls) => {
  const steps = report.history.steps, noise = report.noise;
  if (!steps.length) return empty(host, "No trial has ended yet.");
  const [xs, xLabel] = progressScale(host, controls, steps);
  const shown = steps.map((step) => byNumber.get(step.number)), values = shown.map(valueOf);
  const spread = noise ? noise.sd || 0 : 0;
  const band = noise ? [noise.mean - spread, noise.mean + spread] : [];
  const { plot, X, Y, box } = frame(host, {
    x: linear(0, xs.at(-1) || 1),
    y: linear(...usual([...values, ...steps.map((step) => step.best), ...band])),
    height: isNarrow(host) ? 240 : 300,
    xLabel,
    yLabel: metric,
    label: `Best ${metric} so far`,
  });
  if (noise) {
    const [bottom, top] = band.map(Y), width = box.right - box.left;
    draw(plot, "rect", { x: box.left, width, y: top, height: Math.max(0, bottom - top), class: "band" });
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
  legend(host, shown);
};

// What the best is drawn over, by the button that is pressed.
function progressScale(host, controls, steps) {
  const scales = {
    trials: () => [steps.map((step) => step.n_trials), "trials that have ended"],
    "full runs": () => [report.spending.full_runs_by_step, "full-run equivalents"],
    trained: () => inTime(steps.map((step) => step.cost_seconds), "trained"),
    "wall time": () => inTime(steps.map((step) => step.wall_seconds), "wall time without pauses"),
  };
  const chosen = host.dataset.over || "trials";
  for (const name of Object.keys(scales)) {
    const button = element(controls, "button", "", name);
    button.type = "button";
    button.setAttribute("aria-pressed", String(name === chosen));
    button.addEventListener("click", () => {
      host.dataset.over = name;
      redraw(host);
    });
  }
  return scales[chosen]();
}

function inTime(values, name) {
  const { size, unit } = timeUnit(values.at(-1));
  return [values.map((value) => value / size), `${name}, ${unit}`];
}

figures.curves = (host) => {
  const shown = rows.filter((row) => row.curve.length > 1);
  if (!shown.length && report.objectives.length > 1)
    return empty(host, "With several objectives the journal has no curves; each trial's metrics.jsonl has them.");
  if (!shown.length) return empty(host, "No trial has reported more than one step.");
  const typical = shown.flatMap(({ curve }) => [curve[0], curve[curve.length >> 1], curve.at(-1)]);
  const first = Math.min(...shown.map((row) => row.curve[0][0]));
  const last = Math.max(...shown.map((row) => row.curve.at(-1)[0]));
  const { plot, X, Y } = frame(host, {
    x: linear(first, last),
    y: linear(...usual(typical.map(([, value]) => value))),
    height: isNarrow(host) ? 260 : 340,
    xLabel: "step",
    yLabel: metric,
    label: `${metric} by step, a line for each trial`,
  });
  const layers = ["pruned", "interrupted", "failed", "infeasible", "complete", "final", "claim", "baseline"];
  const layer = (row) => (row.number === bestNumber ? layers.length : layers.indexOf(lookOf(row)));
  for (const row of shown.slice().sort((a, b) => layer(a) - layer(b))) {
    const points = row.curve.filter(([, value]) => isNumber(value)).map(([step, value]) => [X(step), Y(value)]);
    const look = lookOf(row), best = row.number === bestNumber ? " best" : "";
    draw(plot, "path", { d: path(points), class: `line ${look}${best}`, "data-trial": row.number });
    const isShort = ["pruned", "failed", "interrupted"].includes(look);
    if (points.length && isShort) mark(plot, ...points.at(-1), row, look === "pruned" ? 2 : 4);
  }
  legend(host, shown);
};

figures.pareto = (host) => {
  const shown = rows.filter((row) => !row.replaced && row.values && isWhole(row));
  const front = new Set(report.front), names = report.objectives.map((each) => each.metric);
  const pairs = names.flatMap((_, i) => names.slice(i + 1).map((_, j) => [i, i + 1 + j])).slice(0, 3);
  const half = pairs.length > 1 && host.clientWidth > 700;
  const grid = element(host, "div", "small-multiples");
  for (const [i, j] of pairs) {
    const { plot, X, Y } = frame(element(grid, "div"), {
      x: linear(...usual(shown.map((row) => row.values[i]))),
      y: linear(...usual(shown.map((row) => row.values[j]))),
      width: half ? Math.floor(host.clientWidth / 2) - 10 : host.clientWidth,
      height: 300,
      xLabel: names[i],
      yLabel: names[j],
      label: `${names[j]} over ${names[i]}`,
    });
    const place = (row) => [X(row.values[i]), Y(row.values[j])];
    const edge = shown.filter((row) => front.has(row.number)).sort((a, b) => a.values[i] - b.values[i]);
    if (names.length === 2) draw(plot, "path", { d: path(edge.map(place)), class: "best-line" });
    for (const row of shown) mark(plot, ...place(row), row, front.has(row.number) ? 6 : 3);
  }
  legend(host, shown);
};

figures.timeline = (host) => {
  const shown = rows.filter((row) => row.lane !== null && row.begin !== null);
  if (!shown.length) return empty(host, "No trial has ended yet.");
  const lanes = Math.max(...shown.map((row) => row.lane)) + 1;
  const end = Math.max(...shown.map((row) => row.end)) || 1, { size, unit } = timeUnit(end);
  const thick = Math.max(5, Math.min(26, 320 / lanes));
  const numbered = lanes > 16 ? [] : Array.from({ length: lanes }, (_, i) => [i, String(i + 1)]);
  const { plot, X, Y } = frame(host, {
    x: linear(0, end / size),
    y: { at: (lane) => 1 - (lane + 0.5) / lanes, ticks: () => numbered },
    height: Math.round(lanes * thick) + 50,
    xLabel: `wall time, ${unit}`,
    label: "What each worker ran when",
  });
  for (const row of shown) {
    const x = X(row.begin / size), width = Math.max(1.2, X(row.end / size) - x - 0.6);
    const y = Y(row.lane) - thick * 0.4, look = lookOf(row);
    draw(plot, "rect", { x, width, y, height: thick * 0.8, class: `run ${look}`, "data-trial": row.number });
  }
  legend(host, shown);
};
