// The tables: standings, scene x band matrix, paired differences, audit of the splits.

const COSTS = [
  { key: "num_parameters", title: "Parameters", format: formatSize },
  { key: "fit_s", title: "Fit time", format: formatSeconds },
  { key: "predict_ms_per_point", title: "Predict", note: "[ms/point]", format: formatNumber },
  { key: "peak_memory_mb", title: "Memory", note: "[MB]", format: formatNumber },
];
const TRUST = [
  { key: "inputs", title: "Sees" },
  { key: "pretraining", title: "Trained before on" },
  { key: "openness", title: "Open" },
  { key: "replication", title: "Made again by" },
];
/** What the standings show beside the chosen metric, so that it fits the page. */
const COLUMN_SETS = {
  main: ["skill", "win_rate", "median_m", "p90_m", "share_under_1m", "share_under_3m", "mse_m2", "ratio"],
  errors: ["median_m", "p67_m", "p80_m", "p90_m", "p95_m", "mean_m", "rmse_m", "outlier_share", "skill_geometry"],
  doubt: ["median_m", "nll_nat", "area_90_m2", "coverage_90"],
  cost: COSTS.map((cost) => cost.key),
  trust: ["p90_m", ...TRUST.map((column) => column.key)],
};
const COLUMN_SET_TITLES = { main: "Main", errors: "Errors", doubt: "Uncertainty", cost: "Cost", trust: "Trust" };
const GROUPS = [
  { kind: "model", title: null },
  { kind: "reference", title: "References: they use what no model may see, and get no rank" },
  { kind: "bound", title: "Physical limit" },
];

function compareValues(a, b, descending) {
  if (!isKnown(a) || !isKnown(b)) return isKnown(b) - isKnown(a);
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return descending ? -order : order;
}

/** Models of the cell with their values, ranked by the chosen metric among those of kind model. */
function standingsOf(state) {
  const metric = METRICS.get(state.metric);
  const rows = summaryOf(state, state.label);
  const entries = DATA.models.filter((model) => rows.has(model.name)).map((model) => ({ model, row: rows.get(model.name) }));
  const ranking = entries
    .filter((entry) => entry.model.kind === "model" && isKnown(entry.row[state.metric]))
    .sort((a, b) => costOf(metric, a.row[state.metric]) - costOf(metric, b.row[state.metric]));
  ranking.forEach((entry, index) => { entry.rank = index + 1; });
  const best = ranking.length ? ranking[0].row[state.metric] : null;
  for (const entry of entries) entry.ratio = ratioToBest(metric, entry.row[state.metric], best);
  return entries;
}

/** Names of all models, the best of the cell first, then those without a rank. */
function modelsByRank(state) {
  const ranks = new Map(standingsOf(state).map((entry) => [entry.model.name, entry.rank]));
  return DATA.models.map((model) => model.name).sort((a, b) => (ranks.get(a) ?? Infinity) - (ranks.get(b) ?? Infinity) || 0);
}

function columnsOf(state) {
  const chosen = METRICS.get(state.metric);
  const metricColumn = (metric) => ({
    key: metric.name,
    title: metric.title,
    note: `[${unitOf(metric)}]`,
    about: metric.about,
    descending: metric.higher && !hasTarget(metric),
    value: (entry) => entry.row[metric.name],
    order: (entry) => (hasTarget(metric) ? costOf(metric, entry.row[metric.name]) : entry.row[metric.name]),
    cell: (entry, context) => metricCell(entry, metric, context),
    chosen: metric === chosen,
    isKept: metric === chosen,
  });
  const shown = COLUMN_SETS[state.columns];
  const isShown = (key) => key === chosen.name || shown.includes(key);
  const others = DATA.metrics.filter((metric) => metric !== chosen).map(metricColumn);
  const ratio = { key: "ratio", title: "Ratio", note: "to best", about: "Ratio to the best model in the chosen metric", value: (e) => e.ratio, cell: ratioCell };
  return [
    { key: "rank", title: "#", about: "Rank by the chosen metric", value: (e) => e.rank, cell: (e) => el("td", { class: "rank" }, e.rank ? String(e.rank) : ""), css: "rank", isKept: true },
    { key: "model", title: "Model", value: (e) => e.model.title, cell: modelCell, css: "text", isKept: true },
    metricColumn(chosen),
    ...[ratio, ...others, ...COSTS.map(costColumn), ...TRUST.map(trustColumn)].filter((column) => isShown(column.key)),
  ];
}

const costColumn = (cost) => ({ ...cost, value: (e) => e.model[cost.key], cell: (e) => el("td", {}, cost.format(e.model[cost.key])) });
const trustColumn = (trust) => ({ ...trust, css: "text words", value: (e) => e.model[trust.key], cell: (e) => el("td", { class: "text words" }, e.model[trust.key] ?? MISSING) });

function modelCell({ model }) {
  const index = DATA.models.indexOf(model);
  const badges = [
    model.trajectory ? el("span", { class: "badge", title: "Sees a window of consecutive measurements" }, "trajectory") : null,
    model.verified ? null : el("span", { class: "badge warn", title: "Handed-in predictions, not made again yet" }, "not verified"),
  ].filter(Boolean);
  const link = el("a", { href: `#card-${index}`, onclick: (event) => { event.preventDefault(); openCard(index); } }, model.title);
  return el("th", { scope: "row" }, link, badges.length ? el("div", {}, badges) : null);
}

function openCard(index) {
  const card = byId(`card-${index}`);
  card.open = true;
  card.scrollIntoView({ block: "center" });
  card.querySelector("summary").focus({ preventScroll: true });
}

function metricCell({ model, row }, metric, { best, chosen }) {
  const value = row[metric.name];
  const low = row[`${metric.name}_low`];
  const high = row[`${metric.name}_high`];
  const spread = row[`${metric.name}_std`];
  const text = (x) => formatMetric(metric, x);
  const hasInterval = isKnown(low) && isKnown(high);
  const lines = [text(value)];
  if (hasInterval) lines.push(el("span", { class: "fine" }, `${text(low)}–${text(high)}`));
  if (isKnown(spread) && isKnown(value) && (!hasInterval || metric === chosen)) lines.push(el("span", { class: "fine" }, `±${formatSpread(metric, spread)}`));
  const classes = [metric === chosen ? "chosen" : "", model.kind === "model" && isKnown(value) && costOf(metric, value) === best.get(metric.name) ? "best" : ""];
  return el("td", { class: classes.join(" ").trim() || null }, lines);
}

function ratioCell({ ratio }, { largestRatio }) {
  if (!ratio) return el("td", {}, MISSING);
  const width = Math.min(100, (100 * ratio) / largestRatio).toFixed(1);
  return el("td", {}, `×${ratio.toFixed(2)}`, el("span", { class: "bar", "aria-hidden": "true" }, el("i", { style: `width:${width}%` })));
}

/** Least cost of each metric among the models. */
function bestCosts(entries) {
  const models = entries.filter((entry) => entry.model.kind === "model");
  return new Map(DATA.metrics.map((metric) => {
    const costs = models.map((entry) => costOf(metric, entry.row[metric.name])).filter(isKnown);
    return [metric.name, costs.length > 1 ? Math.min(...costs) : null];
  }));
}

function renderStandings(state, setState) {
  const track = TRACKS.get(state.track);
  const metric = METRICS.get(state.metric);
  const entries = standingsOf(state);
  const columns = columnsOf(state).filter((column) => column.isKept || entries.some((entry) => isKnown(column.value(entry))));
  const sorted = columns.find((column) => column.key === state.sort) ?? columns.find((column) => column.chosen);
  const isDescending = state.sort ? state.desc : sorted.descending;
  const ratios = entries.filter((e) => e.model.kind === "model").map((e) => e.ratio ?? 0);
  const largest = Math.max(...ratios, 0);
  const context = { best: bestCosts(entries), chosen: metric, largestRatio: Math.max(largest, 1) };

  const head = columns.map((column) => {
    const order = column === sorted ? (isDescending ? "descending" : "ascending") : null;
    const sort = () => setState({ sort: column.key, desc: column === sorted ? !isDescending : Boolean(column.descending) });
    const note = column.note ? el("span", { class: "unit" }, column.note) : null;
    return el("th", { scope: "col", class: [column.css, column.chosen ? "chosen" : ""].filter(Boolean).join(" ") || null, "aria-sort": order, "data-key": column.key, title: column.about ?? null },
      el("button", { type: "button", onclick: sort, "data-focus": `sort-${column.key}` }, column.title), note);
  });
  const table = byId("standings-table");
  table.tHead.replaceChildren(el("tr", {}, head));
  for (const body of [...table.tBodies]) body.remove();
  for (const { kind, title } of GROUPS) {
    const members = entries.filter((entry) => entry.model.kind === kind)
      .sort((a, b) => compareValues((sorted.order ?? sorted.value)(a), (sorted.order ?? sorted.value)(b), isDescending));
    if (!members.length) continue;
    const heading = title ? el("tr", { class: "group" }, el("th", { colspan: columns.length, scope: "rowgroup" }, el("span", {}, title))) : null;
    table.append(el("tbody", { class: kind === "model" ? null : "aside", "data-kind": kind }, heading,
      members.map((entry) => el("tr", { "data-model": entry.model.name }, columns.map((column) => column.cell(entry, context))))));
  }
  if (!entries.length) table.append(el("tbody", {}, el("tr", {}, el("td", { class: "text", colspan: columns.length }, "No model has points here. Choose other points, or another cell."))));
  const counts = entries.map((entry) => entry.row.num_points).filter(Boolean);
  const blocks = entries.map((entry) => entry.row.num_blocks).filter(Boolean);
  const points = counts.length ? ` · ${Math.max(...counts).toLocaleString("en")} test points${blocks.length ? ` in ${Math.max(...blocks).toLocaleString("en")} ${Math.max(...blocks) === 1 ? "block" : "blocks"}` : ""}${detectableShare(state)}` : "";
  byId("standings-where").textContent = `${describeCell(state)} · ${LABEL_TITLES[state.label]}${points}${state.scene === EVERY ? ` · independent scenes: ${DATA.num_scenes}` : ""}`;
  const hasIntervals = entries.some((entry) => isKnown(entry.row[`${metric.name}_low`]));
  const hasSpreads = entries.some((entry) => isKnown(entry.row[`${metric.name}_std`]));
  const print = [hasIntervals ? "95 % interval of the block bootstrap" : "", hasSpreads ? "± the deviation over seeds" : ""].filter(Boolean).join(", and ");
  const fine = print ? `Small print: ${print}. ` : hasIntervals || !entries.length ? "" : "No interval of this metric here. ";
  byId("standings-note").textContent = `Ranked by ${metric.title}${track.ranked ? "" : " for orientation only, as this track is a diagnostic"}. ${fine}${largest > 0 ? "The bar shows the ratio to the best model. " : ""}Choose a heading to sort, a name for the model's card.`;
}

/** How many of the NLOS points of a cell show a path: no model can locate the others. Rows may lack points. */
function detectableShare(state) {
  const known = [...summaryOf(state, "nlos").values()].filter((row) => isKnown(row.detectable_share));
  const whole = known.reduce((most, row) => (most && most.num_points >= row.num_points ? most : row), null);
  return whole ? ` · ${(100 * whole.detectable_share).toFixed(0)} % of the NLOS points show a path` : "";
}

/** The chosen model, else the best one over all scenes and bands, else the first that has points. */
function matrixModel(state) {
  if (state.model) return state.model;
  const entries = standingsOf({ ...state, scene: DATA.names.scene[0], band: DATA.names.band[0] });
  return (entries.find((entry) => entry.rank === 1) ?? entries[0])?.model.name ?? DATA.models[0]?.name;
}

function renderMatrix(state, setState) {
  const model = matrixModel(state);
  const metric = METRICS.get(state.metric);
  const scenes = DATA.names.scene;
  const bands = DATA.names.band;
  const value = (scene, band) => summaryOf({ ...state, scene, band }, state.label).get(model)?.[state.metric];
  // Errors differ by factors, shares by points: the first are shaded on a log scale.
  const badness = (v) => (isShare(metric) ? costOf(metric, v) : isKnown(v) ? Math.log(Math.max(v, 1e-6)) : null);
  const known = scenes.flatMap((scene) => bands.map((band) => badness(value(scene, band)))).filter(isKnown);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const depth = (v) => (isKnown(v) ? `${(6 + 52 * (high > low ? (badness(v) - low) / (high - low) : 0.5)).toFixed(0)}%` : "0%");
  const button = (scene, band) => {
    const v = value(scene, band);
    const text = formatMetric(metric, v);
    const chosen = scene === state.scene && band === state.band;
    return el("td", { class: scene === EVERY || band === EVERY ? "aggregate" : null },
      el("button", { type: "button", style: `--depth:${depth(v)}`, "aria-pressed": String(chosen), "data-focus": `cell-${scene}-${band}`,
        "aria-label": `${titleOf(scene)} scene, ${titleOf(band)} band: ${text} ${unitOf(metric)}`, onclick: () => setState({ scene, band }) }, text));
  };
  byId("matrix").replaceChildren(
    el("thead", {}, el("tr", {}, el("td"), bands.map((band) => el("th", { scope: "col" }, titleOf(band))))),
    el("tbody", {}, scenes.map((scene) => el("tr", {}, el("th", { scope: "row", title: titleOf(scene) }, titleOf(scene)), bands.map((band) => button(scene, band))))));
  const shots = isKnown(state.shots) ? ` · ${state.shots} shots` : "";
  byId("matrix-where").textContent = `${TRACKS.get(state.track).title}${shots} · ${LABEL_TITLES[state.label]} · ${metric.title} [${unitOf(metric)}]`;
}

/** The chosen metric, or the last one that has paired differences where the chosen one has none. */
function comparedMetric(state) {
  const has = (metric) => nearestCell(state, (c) => COMPARISONS.has(cellKey(c, state.label, metric.name)));
  return [METRICS.get(state.metric), ...[...DATA.metrics].reverse()].find(has) ?? METRICS.get(state.metric);
}

function renderDifferences(state) {
  const metric = comparedMetric(state);
  const cell = nearestCell(state, (c) => COMPARISONS.has(cellKey(c, state.label, metric.name))) ?? state;
  const rows = (COMPARISONS.get(cellKey(cell, state.label, metric.name)) ?? []).slice().sort((a, b) => Math.abs(a.difference) - Math.abs(b.difference));
  const titleFor = (name) => MODELS.get(name)?.title ?? name;
  const table = byId("differences");
  byId("differences-where").textContent = `${describeCell(cell)} · ${LABEL_TITLES[state.label]} · ${metric.title} [${unitOf(metric)}]${rows.length ? ` · against ${titleFor(rows[0].rival)}` : ""}${substituteNote(cell, state)}`;
  if (!rows.length) {
    table.replaceChildren(el("tbody", {}, el("tr", {}, el("td", { class: "text" }, "No paired differences here: they need two models with the same points."))));
    byId("differences-note").textContent = "";
    return;
  }
  const ends = rows.flatMap((row) => [row.low, row.high, row.difference]).filter(isKnown);
  const [least, most] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  const x = (v) => 6 + (196 * (v - least)) / (most - least || 1);
  const plot = (row) => svg("svg", { viewBox: "0 0 208 20", "aria-hidden": "true" },
    svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: 20 }),
    svg("line", { class: "span", x1: x(row.low ?? row.difference), x2: x(row.high ?? row.difference), y1: 10, y2: 10 }),
    svg("circle", { class: "dot", cx: x(row.difference), cy: 10, r: 3.5 }));
  const signed = (v) => (v > 0 ? `+${formatMetric(metric, v)}` : formatMetric(metric, v));
  const isClear = (row) => isKnown(row.p_holm) && row.p_holm < 0.05;
  table.replaceChildren(
    el("thead", {}, el("tr", {}, ["Model", `Difference [${unitOf(metric)}]`, "95 % interval", "", "p (Holm)", "Verdict"].map((text, i) => el("th", { scope: "col", class: i === 0 || i === 5 ? "text" : null }, text)))),
    el("tbody", {}, rows.map((row) => el("tr", { class: isClear(row) ? null : "unclear" },
      el("th", { scope: "row" }, titleFor(row.model)),
      el("td", {}, signed(row.difference)),
      el("td", {}, !isKnown(row.low) ? MISSING : `${signed(row.low)} to ${signed(row.high)}`),
      el("td", {}, plot(row)),
      el("td", {}, !isKnown(row.p_holm) ? MISSING : row.p_holm < 0.001 ? "<0.001" : row.p_holm.toFixed(3)),
      el("td", { class: "text" }, isClear(row) ? "differs" : "not told apart")))));
  byId("differences-note").textContent = `Each line is a model's value less that of the best model of the cell, ${metric.higher ? "below" : "above"} zero where it is worse. “Not told apart” means that these scenes do not separate the two, not that they are equal.`;
}

const AUDIT_TITLES = [
  ["scene", "Scene"], ["fold", "Fold"], ["num_train", "Train"], ["num_validation", "Validation"], ["num_test", "Test"],
  ["distance_q10_m", "Distance q10"], ["distance_q50_m", "q50"], ["distance_q90_m", "q90"],
  ["oracle_nn_median_m", "Oracle NN median"], ["oracle_nn_p90_m", "P90"], ["centroid_median_m", "Centroid median"],
  ["buffer_m", "Buffer"], ["variogram_m", "Variogram range"],
];

function renderAudit(state) {
  const rows = (AUDITS.get(state.track) ?? []).filter((row) => state.scene === EVERY || row.scene === state.scene);
  byId("audit-where").textContent = `${TRACKS.get(state.track).title} · ${sceneTitle(state.scene)}`;
  if (!rows.length) {
    byId("audit").replaceChildren(el("tbody", {}, el("tr", {}, el("td", { class: "text" }, "No split of this track has an audit here."))));
    return;
  }
  const text = (key, value) => (key === "scene" ? titleOf(value) : key.startsWith("num_") || key === "fold" ? (value ?? MISSING).toLocaleString("en") : formatNumber(value));
  byId("audit").replaceChildren(
    el("thead", {}, el("tr", {}, AUDIT_TITLES.map(([key, title]) => el("th", { scope: "col", class: key === "scene" ? "text" : null }, title, key.endsWith("_m") ? el("span", { class: "unit" }, "[m]") : null)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, AUDIT_TITLES.map(([key]) => el(key === "scene" ? "th" : "td", key === "scene" ? { scope: "row" } : {}, text(key, row[key])))))));
}
