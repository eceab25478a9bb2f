// What the page carries: the report as JSON, and how its trials are called and coloured.
"use strict";

const report = JSON.parse(document.getElementById("report").textContent);
const rows = report.rows;
const byNumber = new Map(rows.map((row) => [row.number, row]));
const bestNumber = report.recommended ? report.recommended.number : null;

const metric = report.objective.metric;
const maximize = report.objective.direction === "maximize";
const metricIndex = report.objectives.findIndex((each) => each.metric === metric);
const valueOf = (row) => (row.values ? row.values[metricIndex] : null);

// The last value of a pruned trial belongs to another step, so it is no result; that of a raced one is.
const isWhole = (row) => ["complete", "infeasible"].includes(row.standing);
const hasResult = (row) => isNumber(valueOf(row)) && (isWhole(row) || row.stopped_by === "race");
const searched = rows.filter((row) => !row.replaced && !["final", "claim"].includes(row.purpose));

const LOOKS = {
  complete: "complete",
  baseline: "the default",
  final: "finals",
  claim: "claim",
  infeasible: "infeasible",
  pruned: "pruned",
  failed: "failed",
  interrupted: "interrupted",
};

const lookOf = (row) => (row.standing === "complete" && row.purpose in LOOKS ? row.purpose : row.standing);

// Parameters by importance: what matters comes first, and is what there is room for.
const shares = report.importance.fanova || report.importance.ped_anova || {};
const shareOf = (axis) => shares[axis.parameter] || 0;
const correlations = new Map(report.effects.map((effect) => [effect.parameter, Math.abs(effect.correlation || 0)]));
const strengthOf = (axis) => correlations.get(axis.parameter);
const axesRanked = report.axes.slice().sort((a, b) => shareOf(b) - shareOf(a) || strengthOf(b) - strengthOf(a));

// For each dotted name its shortest ending that no other has, as in the text.
function shortNames(names) {
  const endings = (name) => name.split(".").map((_, i, parts) => parts.slice(parts.length - 1 - i).join("."));
  const isTaken = (end, name) => names.some((other) => other !== name && endings(other).includes(end));
  return Object.fromEntries(names.map((name) => [name, endings(name).find((end) => !isTaken(end, name)) || name]));
}
const short = shortNames(report.axes.map((axis) => axis.parameter));

// One trial's mark: a shape and a colour for each way to stand, so that neither is needed alone.
function mark(parent, x, y, row, size = 4) {
  const look = lookOf(row), s = size, t = size + 1;
  const cross = `M${x - s} ${y - s}l${2 * s} ${2 * s}m0 ${-2 * s}l${-2 * s} ${2 * s}`;
  const diamond = `M${x} ${y - t}l${t} ${t}l${-t} ${t}l${-t} ${-t}z`;
  const circle = `M${x - s} ${y}a${s} ${s} 0 1 0 ${2 * s} 0a${s} ${s} 0 1 0 ${-2 * s} 0`;
  const d = ["failed", "interrupted"].includes(look) ? cross : row.purpose === "baseline" ? diamond : circle;
  return draw(parent, "path", { d, class: `mark ${look}`, "data-trial": row.number });
}

// The key to a figure's colours, each of which can be hidden in it.
function legend(host, shown) {
  const list = element(host, "div", "legend");
  for (const look of Object.keys(LOOKS).filter((each) => shown.some((row) => lookOf(row) === each))) {
    const item = element(list, "button", `key ${look}`, LOOKS[look]);
    item.type = "button";
    item.title = "Show or hide";
    item.setAttribute("aria-pressed", "true");
    item.addEventListener("click", () => {
      const hides = item.getAttribute("aria-pressed") === "true";
      item.setAttribute("aria-pressed", String(!hides));
      host.classList.toggle(`without-${look}`, hides);
    });
  }
}

// A row of coloured fields between two words.
function ramp(host, from, looks, to) {
  const key = element(host, "div", "legend dim");
  key.append(`${from} `);
  for (const look of looks) element(key, "i", `swatch ${look}`);
  key.append(` ${to}`);
  return key;
}

// A function of its own for each figure, by the name that its place in the page has.
const figures = {};
const empty = (host, why) => element(host, "p", "dim", why);
const isNarrow = (host) => host.clientWidth < 520;

// The unit in which so many seconds are read best.
function timeUnit(longest) {
  const units = [[86400, "days"], [3600, "hours"], [60, "minutes"]];
  const [size, unit] = units.find(([seconds]) => longest >= seconds) || [1, "seconds"];
  return { size, unit };
}
