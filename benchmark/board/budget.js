// Error against the processing gain of the receiver, one line for each model; references have none.

const BUDGET_PLOT = { height: 300, left: 52, right: 16, top: 12, bottom: 58 };

/** The chosen metric, or the P90 where the chosen one has no curve. */
const budgetMetric = (state) => METRICS.get(BUDGETS.size && isKnown(DATA.budgets[state.metric]) ? state.metric : "p90_m");

function renderBudget(state) {
  const section = byId("budget");
  const isCurved = [...BUDGETS.keys()].some((key) => key.startsWith(`${state.track}|`));
  section.hidden = !isCurved;
  if (!isCurved) return;
  const metric = budgetMetric(state);
  const rows = (BUDGETS.get(cellKey(state, state.label)) ?? []).filter((row) => isKnown(row[metric.name]) && MODELS.get(row.model)?.kind === "model");
  byId("budget-where").textContent = `${describeCell(state)} · ${LABEL_TITLES[state.label]} · ${metric.title} [${unitOf(metric)}]`;
  const host = byId("budget-chart");
  if (!rows.length) {
    host.replaceChildren(el("p", { class: "notice" }, "No curve is stored for these points."));
    byId("budget-legend").replaceChildren();
    return;
  }
  const order = modelsByRank(state);
  const lines = [...group(rows, (row) => row.model)].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  host.replaceChildren(drawBudget(lines, metric, detectableByGain(state), Math.max(280, host.clientWidth || 640)));
  host.setAttribute("aria-label", `${metric.title} by processing gain, ${lines.length} lines`);
  byId("budget-legend").replaceChildren(...lines.map(([model]) => el("span", {},
    svg("svg", { viewBox: "0 0 35 10", "aria-hidden": "true" }, svg("line", { ...lineAttributes(model), x1: 1, x2: 34, y1: 5, y2: 5 })), MODELS.get(model).title)));
}

/** Share of the NLOS points that show a path at each gain. */
function detectableByGain(state) {
  const known = (BUDGETS.get(cellKey(state, "nlos")) ?? []).filter((row) => isKnown(row.detectable_share));
  return new Map(known.map((row) => [row.gain_db, row.detectable_share]));
}

/** Ends of the axis: of errors, thirds of decades around them. */
function budgetRange(values, isLog) {
  if (!isLog) return [Math.min(0, ...values), Math.max(...values, 0.01)];
  const above = values.filter((v) => v > 0);
  const step = (value, round) => 10 ** (round(3 * Math.log10(value) + (round === Math.ceil ? 0.01 : -0.01)) / 3);
  return above.length ? [step(Math.min(...above), Math.floor), step(Math.max(...above), Math.ceil)] : [1, 10];
}

function drawBudget(lines, metric, shares, width) {
  const isLog = !isShare(metric) && metric.ratios;
  const rows = lines.flatMap(([, own]) => own);
  const gains = [...new Set(rows.map((row) => row.gain_db))].sort((a, b) => a - b);
  const values = rows.map((row) => row[metric.name]);
  const [least, most] = budgetRange(values, isLog);
  const place = (v) => (isLog ? Math.log(Math.max(v, least)) : v);
  const [low, high] = [place(least), place(most)];
  const plot = BUDGET_PLOT;
  const toX = (gain) => plot.left + ((width - plot.left - plot.right) * (gain - gains[0])) / (gains.at(-1) - gains[0] || 1);
  const toY = (v) => plot.top + (plot.height - plot.top - plot.bottom) * (1 - (place(v) - low) / (high - low || 1));
  const image = svg("svg", { viewBox: `0 0 ${width} ${plot.height}`, width, height: plot.height, "aria-hidden": "true" });
  const write = (text, attributes) => { const node = svg("text", attributes); node.textContent = text; image.append(node); };
  const bottom = plot.height - plot.bottom;
  for (const v of isLog ? ticksOf([least, most], true) : [0, 0.25, 0.5, 0.75, 1].map((share) => least + share * (most - least))) {
    image.append(svg("line", { class: "grid", x1: plot.left, x2: width - plot.right, y1: toY(v), y2: toY(v) }));
    write(formatMetric(metric, v), { x: plot.left - 6, y: toY(v) + 4, "text-anchor": "end" });
  }
  for (const gain of gains) {
    const anchor = { x: toX(gain), "text-anchor": gain === gains[0] ? "start" : gain === gains.at(-1) ? "end" : "middle" };
    image.append(svg("line", { class: "grid", x1: toX(gain), x2: toX(gain), y1: plot.top, y2: bottom }));
    write(`${gain > 0 ? "+" : ""}${String(gain).replace("-", "−")} dB`, { ...anchor, y: bottom + 18 });
    if (shares.has(gain)) write(`${(100 * shares.get(gain)).toFixed(0)} %`, { ...anchor, y: bottom + 34 });
  }
  write(shares.size ? "Processing gain, and the NLOS points that show a path" : "Processing gain", { x: (plot.left + width - plot.right) / 2, y: plot.height - 6, "text-anchor": "middle" });
  for (const [model, own] of lines.slice().reverse()) {
    const sorted = own.slice().sort((a, b) => a.gain_db - b.gain_db);
    const points = sorted.map((row) => `${toX(row.gain_db).toFixed(1)},${toY(row[metric.name]).toFixed(1)}`).join(" ");
    image.append(svg("polyline", { ...lineAttributes(model), points, "data-model": model }));
  }
  return image;
}
