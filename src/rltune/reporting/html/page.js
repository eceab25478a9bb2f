// What the reader does with the page: the theme, pointing at a trial, the table of trials.
"use strict";

function redraw(host) {
  const controls = host.parentElement.querySelector(".controls");
  if (controls) controls.replaceChildren();
  host.replaceChildren();
  host.className = "plot";
  host.dataset.width = host.clientWidth;
  figures[host.dataset.figure](host, controls);
  fade(host);
}

const plots = [...document.querySelectorAll(".plot")];
let waiting = 0;
new ResizeObserver(() => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(() => plots.filter((host) => host.dataset.width && host.clientWidth !== Number(host.dataset.width)).forEach(redraw));
}).observe(document.querySelector("main"));

// --- the theme -------------------------------------------------------------------------------------------------------

const root = document.documentElement;
const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

// --- pointing at a trial ---------------------------------------------------------------------------------------------

const tip = document.getElementById("tip");
let chosen = null, pointed = null;

function light() {
  for (const node of document.querySelectorAll(".hot")) node.classList.remove("hot");
  for (const number of [chosen, pointed])
    if (number !== null) for (const node of document.querySelectorAll(`[data-trial="${number}"]`)) node.classList.add("hot");
}

function describe(row) {
  const lines = [`trial ${row.number}, ${row.purpose}, ${row.standing}${row.stopped_by ? ` (${row.stopped_by.replaceAll("_", " ")})` : ""}`];
  if (row.values) report.objectives.forEach((objective, i) => lines.push(`${objective.metric} = ${format(row.values[i])}`));
  if (row.cause) lines.push(`${row.cause.replaceAll("_", " ")}: ${row.why.slice(0, 120)}`);
  for (const [name, value] of Object.entries(row.params).slice(0, 14)) lines.push(`${short[name] || name} = ${format(value)}`);
  if (row.cost_seconds !== null) lines.push(`trained ${seconds(row.cost_seconds)}, seed ${row.seed}`);
  return lines;
}

function point(event) {
  const node = event.target.closest ? event.target.closest("svg [data-trial], svg [data-tip]") : null;
  const number = node && node.dataset.trial !== undefined ? Number(node.dataset.trial) : null;
  if (number !== pointed) { pointed = number; light(); }
  tip.hidden = !node;
  if (!node) return;
  tip.replaceChildren();
  const lines = node.dataset.tip ? [node.dataset.tip] : describe(byNumber.get(number));
  lines.forEach((line, i) => element(tip, "div", i ? "" : "first", line));
  const box = tip.getBoundingClientRect(), wide = root.clientWidth;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, wide - box.width - 6))}px`;
  tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? Math.max(4, event.clientY - box.height - 12) : event.clientY + 18}px`;
}
document.addEventListener("pointermove", point);
document.addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
document.addEventListener("click", (event) => {
  const node = event.target.closest("[data-trial]");
  if (!node) return;
  const number = Number(node.dataset.trial);
  chosen = chosen === number && !node.matches("a") ? null : number;
  light();
  if (node.matches("a")) { event.preventDefault(); filter.value = ""; apply(); line(number).scrollIntoView({ block: "center" }); }
});

// --- the table -------------------------------------------------------------------------------------------------------

const why = (row) => [row.cause, row.stopped_by && `stopped by ${row.stopped_by}`].filter(Boolean).join(", ").replaceAll("_", " ");
const columns = [
  ["trial", (row) => row.number], ["for", (row) => row.purpose], ["standing", (row) => row.standing + (row.replaced ? ", run again" : "")],
  ["cause", why],
  ...report.objectives.map((objective, i) => [objective.metric, (row) => (row.values ? row.values[i] : null)]),
  ...report.axes.map((axis) => [short[axis.parameter], (row) => (axis.parameter in row.params ? row.params[axis.parameter] : null)]),
  ["last step", (row) => (row.curve.length ? row.curve.at(-1)[0] : null)], ["trained, s", (row) => row.cost_seconds], ["seed", (row) => row.seed],
  ["evidence", (row) => row.why],
];
const table = document.getElementById("table"), filter = document.getElementById("filter"), shown = document.getElementById("shown");
const lines = new Map(), kept = new Set(rows.map((row) => row.number));
const texts = new Map(rows.map((row) => [row.number, columns.map(([, of]) => String(of(row) ?? "")).join(" ").toLowerCase()]));
const line = (number) => lines.get(number);

function fill() {
  const head = element(table.tHead, "tr");
  columns.forEach(([name], i) => {
    const cell = element(head, "th", rows.some((row) => typeof columns[i][1](row) === "string") ? "text" : "");
    cell.scope = "col";
    const button = element(cell, "button", "", name);
    button.type = "button";
    button.addEventListener("click", () => sort(i, cell));
  });
  for (const row of rows) {
    const tr = element(table.tBodies[0], "tr", lookOf(row) + (row.number === bestNumber ? " best" : ""));
    tr.dataset.trial = row.number;
    for (const [name, of] of columns) {
      const value = of(row);
      const cell = element(tr, "td", typeof value === "string" ? "text" : "", name === "seed" ? String(value ?? "") : value === null ? "" : format(value));
      if (isNumber(value) && name !== "seed") cell.title = String(value);
      if (name === "evidence") cell.title = value;
    }
    lines.set(row.number, tr);
  }
}

function sort(i, cell) {
  const down = cell.getAttribute("aria-sort") === "ascending", of = columns[i][1];
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  cell.setAttribute("aria-sort", down ? "descending" : "ascending");
  const missing = (value) => value === null || value === undefined || value === "";
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sorted = rows.slice().sort((p, q) => {
    const a = of(p), b = of(q);
    if (missing(a) || missing(b)) return missing(a) - missing(b) || p.number - q.number;
    return (down ? -1 : 1) * compare(a, b) || p.number - q.number;
  });
  table.tBodies[0].append(...sorted.map((row) => line(row.number)));
}

// `lr > 1e-4`: a column whose name ends in the word, or a word anywhere.
function condition(part) {
  const found = /^(.+?)\s*(<=|>=|!=|=|<|>)\s*(\S.*)$/.exec(part);
  const column = found && columns.find(([name]) => name.toLowerCase() === found[1].trim());
  if (!column) return (row) => texts.get(row.number).includes(part);
  const number = Number(found[3]), other = Number.isNaN(number) ? found[3] : number;
  const tests = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b };
  return (row) => {
    const value = column[1](row);
    if (value === null || value === "") return false;
    return tests[found[2]](typeof value === "number" && typeof other === "number" ? value : String(value).toLowerCase(), typeof value === "number" && typeof other === "number" ? other : String(other));
  };
}

function apply() {
  const conditions = filter.value.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean).map(condition);
  for (const row of rows) {
    const keeps = conditions.every((holds) => holds(row));
    if (keeps) kept.add(row.number); else kept.delete(row.number);
    line(row.number).hidden = !keeps;
  }
  shown.textContent = kept.size === rows.length ? `${rows.length} trials` : `${kept.size} of ${rows.length} trials`;
  fade(document);
}

function fade(within) {
  for (const node of within.querySelectorAll("svg [data-trial]")) node.classList.toggle("off", !kept.has(Number(node.dataset.trial)));
}

// What is in sight comes first; the rest is drawn while the reader reads, one thing at a time.
const inSight = (host) => host.getBoundingClientRect().top < innerHeight;
const todo = [...plots.filter((host) => !inSight(host)).map((host) => () => redraw(host)), () => { fill(); filter.addEventListener("input", apply); apply(); }];
function next() {
  const task = todo.shift();
  if (task) { task(); setTimeout(next); } else root.dataset.ready = "true";
}
addEventListener("beforeprint", () => { while (todo.length) todo.shift()(); });
plots.filter(inSight).forEach(redraw);
root.dataset.open = "true";
requestAnimationFrame(() => setTimeout(next));
