// The distribution of errors: one line per model, the bound dashed, a cursor that reads shares.

const HUES = 6;
const PLOT = { left: 44, right: 14, top: 10, bottom: 44, height: 360 };
const hiddenLines = new Set();
const SHORTEST_M = 0.001;
const LONGEST_M = 1000;
let chart = null;

/** Colour and dashes of a model: the same in every cell. */
function lineStyle(name) {
  const model = MODELS.get(name);
  const order = DATA.models.filter((m) => m.kind === model.kind).findIndex((m) => m.name === name);
  if (model.kind === "bound") return { color: "var(--ink)", dash: "7 5" };
  if (model.kind === "reference") return { color: "var(--other)", dash: ["none", "2 3", "8 3 2 3"][order % 3] };
  return { color: `var(--c${order % HUES})`, dash: ["none", "1.5 3.5", "9 3"][Math.floor(order / HUES) % 3] };
}

function lineAttributes(name) {
  const { color, dash } = lineStyle(name);
  return { class: "line", stroke: color, "stroke-dasharray": dash, "stroke-linecap": dash === "none" ? "butt" : "round" };
}

function axisRange(lines, isLog) {
  const models = lines.filter((line) => MODELS.get(line.model).kind !== "bound");
  const shown = models.length ? models : lines;
  const level = (percent, items) => items.map((line) => line.errors[percent]);
  if (!isLog) return [0, Math.max(...level(90, shown), 0.1) * 1.15];
  const early = Math.max(Math.min(...level(5, lines)), SHORTEST_M);
  const late = Math.max(Math.min(Math.max(...level(100, lines)), LONGEST_M), 10 * early);
  const step = (value, round) => 10 ** (round(3 * Math.log10(value)) / 3);
  return [step(early, Math.floor), step(late, Math.ceil)];
}

function ticksOf([low, high], isLog) {
  if (isLog) {
    const steps = Math.log10(high / low) > 3.5 ? [1] : [1, 2, 5];
    const powers = Array.from({ length: 12 }, (_, i) => 10 ** (i - 5));
    return powers.flatMap((power) => steps.map((step) => step * power)).filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
  }
  const raw = high / 5;
  const base = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * base).find((s) => s >= raw);
  return Array.from({ length: Math.floor(high / step) + 1 }, (_, i) => i * step);
}

/** Share of errors up to x, from quantiles at levels 0, 0.01, ..., 1. */
function shareBelow(errors, x) {
  if (x < errors[0]) return 0;
  const above = errors.findIndex((e) => e > x);
  if (above < 0) return 1;
  const before = errors[above - 1];
  return (above - 1 + (x - before) / (errors[above] - before)) / (errors.length - 1);
}

function renderCdf(state) {
  const cell = nearestCell(state, (c) => CDFS.has(cellKey(c, state.label)));
  const stored = cell ? CDFS.get(cellKey(cell, state.label)) : [];
  const order = cell ? modelsByRank({ ...state, ...cell }) : [];
  const lines = stored.map((cdf) => ({ model: cdf.model, errors: unpackErrors(cdf.errors) })).sort((a, b) => order.indexOf(a.model) - order.indexOf(b.model));
  const isLog = state.scale !== "linear";
  const host = byId("cdf-chart");
  byId("cdf-where").textContent = cell ? `${describeCell(cell)} · ${LABEL_TITLES[state.label]}${substituteNote(cell, state)}` : describeCell(state);
  byId("cdf-readout").textContent = lines.length ? "Point at the chart, or use its arrow keys, to read the share of points within an error." : "";
  if (!lines.length) {
    chart = null;
    host.replaceChildren(el("p", { class: "notice" }, "No errors are stored for these points."));
    host.removeAttribute("aria-label");
    byId("cdf-legend").replaceChildren();
    return;
  }
  const width = Math.max(280, host.clientWidth || 640);
  const range = axisRange(lines, isLog);
  const [low, high] = range;
  const inner = width - PLOT.left - PLOT.right;
  const span = PLOT.height - PLOT.top - PLOT.bottom;
  const toX = (error) => PLOT.left + inner * (isLog ? Math.log(Math.max(error, low) / low) / Math.log(high / low) : error / high);
  const fromX = (x) => { const share = (x - PLOT.left) / inner; return isLog ? low * (high / low) ** share : high * share; };
  const toY = (share) => PLOT.top + span * (1 - share);
  const image = svg("svg", { viewBox: `0 0 ${width} ${PLOT.height}`, width, height: PLOT.height, "aria-hidden": "true" });
  drawAxes(image, { range, isLog, toX, toY, width });
  image.append(svg("clipPath", { id: "cdf-clip" }, svg("rect", { x: PLOT.left, y: PLOT.top - 2, width: inner, height: span + 4 })));
  const layer = svg("g", { "clip-path": "url(#cdf-clip)" });
  for (const line of lines.slice().reverse()) {
    if (hiddenLines.has(line.model)) continue;
    const points = line.errors.map((error, i) => `${toX(error).toFixed(1)},${toY(i / 100).toFixed(1)}`).join(" ");
    layer.append(svg("polyline", { ...lineAttributes(line.model), points, "data-model": line.model }));
  }
  const cursor = svg("line", { class: "cursor", y1: PLOT.top, y2: PLOT.top + span, visibility: "hidden" });
  image.append(layer, cursor);
  host.replaceChildren(image);
  host.setAttribute("aria-label", `Share of points by horizontal error, ${lines.length} lines`);
  chart = { lines, toX, fromX, cursor, low: isLog ? low : 0, high, isLog, x: null, image, width };
  image.addEventListener("pointermove", (event) => {
    const box = image.getBoundingClientRect();
    readShares(fromX(((event.clientX - box.left) / box.width) * width));
  });
  image.addEventListener("pointerleave", () => readShares(null));
  renderLegend(state);
}

function drawAxes(image, { range, isLog, toX, toY, width }) {
  const bottom = PLOT.height - PLOT.bottom;
  for (const share of [0, 0.25, 0.5, 0.75, 0.9, 1]) {
    const label = svg("text", { x: PLOT.left - 8, y: toY(share) + 4, "text-anchor": "end" });
    label.textContent = `${Math.round(100 * share)}`;
    image.append(svg("line", { class: share ? "grid" : "axis", x1: PLOT.left, x2: width - PLOT.right, y1: toY(share), y2: toY(share) }), label);
  }
  for (const tick of ticksOf(range, isLog)) {
    const label = svg("text", { x: toX(tick), y: bottom + 18, "text-anchor": "middle" });
    label.textContent = tick >= 1 || tick === 0 ? tick.toLocaleString("en") : String(Number(tick.toPrecision(2)));
    image.append(svg("line", { class: "grid", x1: toX(tick), x2: toX(tick), y1: PLOT.top, y2: bottom }), label);
  }
  const middle = (PLOT.left + width - PLOT.right) / 2;
  const xTitle = svg("text", { x: middle, y: PLOT.height - 6, "text-anchor": "middle" });
  xTitle.textContent = "Horizontal error [m]";
  const yTitle = svg("text", { x: 12, y: toY(0.5), "text-anchor": "middle", transform: `rotate(-90 12 ${toY(0.5)})` });
  yTitle.textContent = "Points within [%]";
  image.append(xTitle, yTitle);
}

function renderLegend(state) {
  byId("cdf-legend").replaceChildren(...chart.lines.map((line) => {
    const toggle = () => {
      if (!hiddenLines.delete(line.model)) hiddenLines.add(line.model);
      renderCdf(state);
      document.querySelector(`[data-focus="line-${CSS.escape(line.model)}"]`)?.focus();
    };
    const sample = svg("svg", { viewBox: "0 0 35 10", "aria-hidden": "true" }, svg("line", { ...lineAttributes(line.model), x1: 1, x2: 34, y1: 5, y2: 5 }));
    return el("li", {}, el("button", { type: "button", "aria-pressed": String(!hiddenLines.has(line.model)), "data-focus": `line-${line.model}`, onclick: toggle },
      sample, el("span", {}, MODELS.get(line.model).title), el("span", { class: "value", "data-model": line.model })));
  }));
}

/** Put the cursor at an error [m] and write each line's share beside its name; null removes it. */
function readShares(x) {
  chart.x = x === null ? null : Math.min(chart.high, Math.max(chart.low, x));
  chart.cursor.setAttribute("visibility", chart.x === null ? "hidden" : "visible");
  if (chart.x !== null) {
    chart.cursor.setAttribute("x1", chart.toX(chart.x));
    chart.cursor.setAttribute("x2", chart.toX(chart.x));
  }
  byId("cdf-readout").textContent = chart.x === null ? "" : `Share of points within ${formatNumber(chart.x)} m:`;
  for (const value of byId("cdf-legend").querySelectorAll(".value")) {
    const line = chart.lines.find((item) => item.model === value.dataset.model);
    value.textContent = chart.x === null ? "" : `${(100 * shareBelow(line.errors, chart.x)).toFixed(0)} %`;
  }
}

function moveCursor(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!chart || !step) return;
  event.preventDefault();
  const from = chart.x ?? chart.fromX(chart.width / 2);
  readShares(chart.isLog ? from * 1.1 ** step : from + (step * chart.high) / 50);
}
