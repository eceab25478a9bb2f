// What the reader does with the page: the theme, pointing at a trial, the table of trials.
"use strict";

const root = document.documentElement;
const plots = [...document.querySelectorAll(".plot")];

function redraw(host) {
  const controls = host.parentElement.querySelector(".controls");
  if (controls) controls.replaceChildren();
  host.replaceChildren();
  host.className = "plot";
  host.dataset.width = host.clientWidth;
  figures[host.dataset.figure](host, controls);
  fade(host);
}

let waiting = 0;
const isOld = (host) => host.dataset.width && host.clientWidth !== Number(host.dataset.width);
new ResizeObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => plots.filter(isOld).forEach(redraw));
}).observe(document.querySelector("main"));

const prefersDark = matchMedia("(prefers-color-scheme: dark)");
document.getElementById("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
  root.dataset.theme = isDark ? "light" : "dark";
});

// --- pointing at a trial ---------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");
const spaced = (name) => name.replaceAll("_", " ");
let chosen = null, pointed = null;

function light() {
  for (const node of document.querySelectorAll(".hot")) node.classList.remove("hot");
  for (const number of [chosen, pointed].filter((each) => each !== null))
    for (const node of document.querySelectorAll(`[data-trial="${number}"]`)) node.classList.add("hot");
}

function describe(row) {
  const stopped = row.stopped_by ? ` (${spaced(row.stopped_by)})` : "";
  const lines = [`trial ${row.number}, ${row.purpose}, ${row.standing}${stopped}`];
  if (row.values) report.objectives.forEach(({ metric }, i) => lines.push(`${metric} = ${format(row.values[i])}`));
  if (row.cause) lines.push(`${spaced(row.cause)}: ${cut(row.why, 120)}`);
  for (const { parameter } of axesRanked.filter((axis) => axis.parameter in row.params).slice(0, 14))
    lines.push(`${short[parameter]} = ${format(row.params[parameter])}`);
  if (row.cost_seconds !== null) lines.push(`trained ${seconds(row.cost_seconds)}, seed ${row.seed}`);
  return lines;
}

function point(event) {
  const node = event.target.closest ? event.target.closest("svg [data-trial], svg [data-tip]") : null;
  const number = node && node.dataset.trial !== undefined ? Number(node.dataset.trial) : null;
  if (number !== pointed) {
    pointed = number;
    light();
  }
  tip.hidden = !node;
  if (!node) return;
  const lines = node.dataset.tip ? [node.dataset.tip] : describe(byNumber.get(number));
  tip.replaceChildren();
  lines.forEach((text, i) => element(tip, "div", i ? "" : "first", text));
  const { width, height } = tip.getBoundingClientRect(), { clientX: x, clientY: y } = event;
  tip.style.left = `${Math.max(4, Math.min(x + 14, root.clientWidth - width - 6))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? Math.max(4, y - height - 12) : y + 18}px`;
}

document.addEventListener("pointermove", point);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
document.addEventListener("click", (event) => {
  const node = event.target.closest("[data-trial]");
  if (!node) return;
  const number = Number(node.dataset.trial), isLink = node.matches("a");
  chosen = chosen === number && !isLink ? null : number;
  light();
  if (!isLink) return;
  event.preventDefault();
  filter.value = "";
  apply();
  lines.get(number).scrollIntoView({ block: "center" });
});

// --- the table -------------------------------------------------------------------------------------------------------

const stopOf = (row) => row.stopped_by && `stopped by ${row.stopped_by}`;
const columns = [
  ["trial", (row) => row.number],
  ["for", (row) => row.purpose],
  ["standing", (row) => row.standing + (row.replaced ? ", run again" : "")],
  ["cause", (row) => spaced([row.cause, stopOf(row)].filter(Boolean).join(", "))],
  ...report.objectives.map(({ metric }, i) => [metric, (row) => (row.values ? row.values[i] : null)]),
  ...report.axes.map(({ parameter }) => [short[parameter], (row) => row.params[parameter] ?? null]),
  ["last step", (row) => (row.curve.length ? row.curve.at(-1)[0] : null)],
  ["trained, s", (row) => row.cost_seconds],
  ["seed", (row) => row.seed],
  ["evidence", (row) => row.why],
];
const table = document.getElementById("table");
const filter = document.getElementById("filter");
const shown = document.getElementById("shown");
const lines = new Map();
const kept = new Set(rows.map((row) => row.number));
const wordsOf = (row) => columns.map(([, of]) => String(of(row) ?? "")).join(" ").toLowerCase();
const words = new Map(rows.map((row) => [row.number, wordsOf(row)]));

function fill() {
  const head = element(table.tHead, "tr");
  columns.forEach(([name, of], i) => {
    const cell = element(head, "th", rows.some((row) => typeof of(row) === "string") ? "text" : "");
    cell.scope = "col";
    const button = element(cell, "button", "", name);
    button.type = "button";
    button.addEventListener("click", () => sort(i, cell));
  });
  for (const row of rows) {
    const line = element(table.tBodies[0], "tr", lookOf(row) + (row.number === bestNumber ? " best" : ""));
    line.dataset.trial = row.number;
    for (const [name, of] of columns) {
      const value = of(row), isWhole = Number.isInteger(value);
      const text = value === null ? "" : isWhole ? String(value) : format(value);
      const cell = element(line, "td", typeof value === "string" ? "text" : "", text);
      if ((isNumber(value) && !isWhole) || name === "evidence") cell.title = String(value);
    }
    lines.set(row.number, line);
  }
}

function sort(i, cell) {
  const isDown = cell.getAttribute("aria-sort") === "ascending", of = columns[i][1];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  cell.setAttribute("aria-sort", isDown ? "descending" : "ascending");
  const isMissing = (value) => value === null || value === "";
  const areNumbers = (a, b) => typeof a === "number" && typeof b === "number";
  const compare = (a, b) => (areNumbers(a, b) ? a - b : String(a).localeCompare(String(b)));
  const sorted = rows.slice().sort((p, q) => {
    const a = of(p), b = of(q);
    if (isMissing(a) || isMissing(b)) return isMissing(a) - isMissing(b) || p.number - q.number;
    return (isDown ? -1 : 1) * compare(a, b) || p.number - q.number;
  });
  table.tBodies[0].append(...sorted.map((row) => lines.get(row.number)));
}

const TESTS = {
  "<": (a, b) => a < b,
  ">": (a, b) => a > b,
  "<=": (a, b) => a <= b,
  ">=": (a, b) => a >= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

// `lr > 1e-4` compares a column; anything else is a word that may stand anywhere.
function condition(part) {
  const found = /^(.+?)\s*(<=|>=|!=|=|<|>)\s*(\S.*)$/.exec(part);
  const column = found && columns.find(([name]) => name.toLowerCase() === found[1]);
  if (!column) return (row) => words.get(row.number).includes(part);
  const test = TESTS[found[2]], number = Number(found[3]);
  return (row) => {
    const value = column[1](row);
    if (value === null || value === "") return false;
    const areNumbers = typeof value === "number" && !Number.isNaN(number);
    return areNumbers ? test(value, number) : test(String(value).toLowerCase(), found[3]);
  };
}

function apply() {
  const parts = filter.value.toLowerCase().split(",").map((part) => part.trim());
  const conditions = parts.filter(Boolean).map(condition);
  kept.clear();
  for (const row of rows) {
    const keeps = conditions.every((holds) => holds(row));
    if (keeps) kept.add(row.number);
    lines.get(row.number).hidden = !keeps;
  }
  shown.textContent = kept.size === rows.length ? `${rows.length} trials` : `${kept.size} of ${rows.length} trials`;
  fade(document);
}

function fade(within) {
  for (const node of within.querySelectorAll("svg [data-trial]"))
    node.classList.toggle("off", !kept.has(Number(node.dataset.trial)));
}

// --- what is in sight comes first, the rest while the reader reads, one thing at a time ------------------------------

const isInSight = (host) => host.getBoundingClientRect().top < innerHeight;
const todo = plots.filter((host) => !isInSight(host)).map((host) => () => redraw(host));
todo.push(() => {
  fill();
  filter.addEventListener("input", apply);
  apply();
});

function next() {
  const task = todo.shift();
  if (task) task();
  if (todo.length) setTimeout(next);
  else root.dataset.ready = "true";
}

addEventListener("beforeprint", () => {
  while (todo.length) todo.shift()();
  for (const details of document.querySelectorAll("details")) details.open = true;
});
plots.filter(isInSight).forEach(redraw);
requestAnimationFrame(() => setTimeout(next));
