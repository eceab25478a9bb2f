// A small kit for charts in SVG: scales, ticks, axes. Colours come from the style sheet, text is always a text node.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function draw(parent, name, attributes = {}, text = null) {
  const node = document.createElementNS(SVG, name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== null) node.textContent = text;
  parent.appendChild(node);
  return node;
}

function element(parent, name, className = "", text = null) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  parent.appendChild(node);
  return node;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// Four significant digits, as in the text of the page.
function format(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e6)) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function seconds(value) {
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "min"]])
    if (value >= size) return `${Number((value / size).toPrecision(3))} ${unit}`;
  return `${Number(value.toPrecision(2))} s`;
}

// The range of what is usual: a few extremes are drawn at its edge instead of squeezing all others together.
function usual(values, padding = 0.06) {
  const known = values.filter(isNumber).sort((a, b) => a - b);
  if (!known.length) return [0, 1];
  const at = (share) => known[Math.round(share * (known.length - 1))];
  const reach = 1.5 * (at(0.95) - at(0.05));
  let low = Math.max(known[0], at(0.05) - reach), high = Math.min(known.at(-1), at(0.95) + reach);
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  const room = (high - low) * padding;
  return [low - room, high + room];
}

// --- scales: from a value to a share of the axis, 0 to 1 -------------------------------------------------------------

function linear(low, high) {
  const span = high - low || 1;
  return {
    at: (value) => Math.min(1, Math.max(0, (value - low) / span)),
    ticks: (most) => {
      const rough = span / most, power = 10 ** Math.floor(Math.log10(rough));
      const step = [1, 2, 5, 10].map((k) => k * power).find((size) => size >= rough);
      const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
      const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
      return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => {
        const value = (first + i) * step;
        return [value, step >= 1e6 || step < 1e-5 ? format(value) : value.toFixed(digits)];
      });
    },
  };
}

function logarithmic(low, high) {
  const a = Math.log10(low), span = Math.log10(high) - a || 1;
  return {
    at: (value) => (value <= 0 ? 0 : Math.min(1, Math.max(0, (Math.log10(value) - a) / span))),
    ticks: (most) => {
      const factors = span < 1.5 ? [1, 2, 5] : [1];
      const every = Math.max(1, Math.ceil((span * factors.length) / most));
      const found = [];
      for (let power = Math.floor(a); power <= Math.ceil(a + span); power++)
        for (const factor of factors) {
          const value = factor * 10 ** power;
          if (value >= low * 0.999 && value <= high * 1.001 && (factors.length > 1 || power % every === 0))
            found.push([value, format(Number(value.toPrecision(6)))]);
        }
      return found;
    },
  };
}

function choices(values) {
  const place = (value) => values.findIndex((each) => each === value);
  return {
    at: (value) => (place(value) + 0.5) / values.length,
    ticks: () => values.map((value) => [value, String(value)]),
  };
}

function scaleOf(axis) {
  if (axis.choices.length) return choices(axis.choices);
  if (axis.low === axis.high) return linear(axis.low - 1, axis.high + 1);
  return axis.log && axis.low > 0 ? logarithmic(axis.low, axis.high) : linear(axis.low, axis.high);
}

// --- a frame with two axes -------------------------------------------------------------------------------------------

// Returns the picture's `svg`, its clipped `plot`, and `X`, `Y` from values to pixels.
function frame(host, { x, y, height = 260, xLabel = "", yLabel = "", label = "", width = host.clientWidth }) {
  const yTicks = y.ticks(Math.max(2, Math.round(height / 42)));
  const left = 14 + 6.4 * Math.min(14, Math.max(2, ...yTicks.map(([, text]) => text.length)));
  const box = { left, top: yLabel ? 22 : 8, right: width - 12, bottom: height - (xLabel ? 38 : 22) };
  const svg = draw(host, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const X = (value) => box.left + x.at(value) * (box.right - box.left);
  const Y = (value) => box.bottom - y.at(value) * (box.bottom - box.top);
  const axes = draw(svg, "g", { class: "axes" });
  for (const [value, text] of yTicks) {
    draw(axes, "line", { x1: box.left, x2: box.right, y1: Y(value), y2: Y(value), class: "rule" });
    draw(axes, "text", { x: box.left - 6, y: Y(value) + 4, "text-anchor": "end" }, cut(text, 14));
  }
  let last = -Infinity;
  for (const [value, whole] of x.ticks(Math.max(2, Math.round((box.right - box.left) / 62)))) {
    const text = cut(whole, 16);
    const half = text.length * 3.3, at = Math.min(X(value), width - half - 2);
    draw(axes, "line", { x1: X(value), x2: X(value), y1: box.bottom, y2: box.bottom + 4 });
    if (at - half < last + 6) continue;
    draw(axes, "text", { x: at, y: box.bottom + 16, "text-anchor": "middle" }, text);
    last = at + half;
  }
  draw(axes, "line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom });
  const middle = { x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle", class: "label" };
  if (xLabel) draw(axes, "text", middle, xLabel);
  if (yLabel) draw(axes, "text", { x: 4, y: 13, class: "label" }, yLabel);
  return { svg, plot: draw(svg, "g"), X, Y, box };
}

function path(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}
