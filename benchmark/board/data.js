// The embedded data, looked up by cell, and numbers as text.

const DATA = JSON.parse(document.getElementById("board-data").textContent);
const EVERY = "all";
const LABEL_TITLES = DATA.label_titles;
const SHORT_LABELS = { all: "LOS + NLOS", los: "LOS", nlos: "NLOS", detectable: "NLOS, detectable", blind: "No path", outage: "Outage" };
const MISSING = "–";

const isKnown = (value) => value !== null && value !== undefined;
const byName = (items) => new Map(items.map((item) => [item.name, item]));
const TRACKS = byName(DATA.tracks);
const MODELS = byName(DATA.models);
const METRICS = byName(DATA.metrics);

/** Rows of a table that was stored by column, with the names put back in place of numbers. */
function rowsOf(columns) {
  const names = Object.keys(columns);
  const count = names.length ? columns[names[0]].length : 0;
  return Array.from({ length: count }, (_, i) => Object.fromEntries(names.map((name) => {
    const value = columns[name][i];
    return [name, DATA.names[name] && typeof value === "number" ? DATA.names[name][value] : value];
  })));
}

const cellKey = (cell, ...more) => [cell.track, cell.shots ?? "", cell.scene, cell.band, ...more].join("|");

function group(items, key) {
  const groups = new Map();
  for (const item of items) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

const SUMMARY = group(rowsOf(DATA.summary), (row) => cellKey(row, row.label));
const COMPARISONS = group(rowsOf(DATA.comparisons), (row) => cellKey(row, row.label, row.metric));
const BUDGETS = group(rowsOf(DATA.budgets), (row) => cellKey(row, row.label));
const AUDITS = group(rowsOf(DATA.audits), (row) => row.track);
const CDFS = group(DATA.cdfs, (cdf) => cellKey(cdf, cdf.label));
const MAPS = new Map(DATA.maps.map((map) => [cellKey(map), map]));

/** Summary rows of a cell and label, by model. */
function summaryOf(cell, label) {
  return new Map((SUMMARY.get(cellKey(cell, label)) ?? []).map((row) => [row.model, row]));
}

/** The cell itself, else the first scene and band within it that `has` knows. */
function nearestCell(cell, has) {
  const within = (chosen, names) => (chosen === EVERY ? names : [chosen]);
  for (const scene of within(cell.scene, DATA.names.scene)) {
    for (const band of within(cell.band, DATA.names.band)) {
      const found = { track: cell.track, shots: cell.shots, scene, band };
      if (has(found)) return found;
    }
  }
  return null;
}

/** What a figure says where it shows another cell than the chosen one. */
function substituteNote(cell, state) {
  const isOther = cell.scene !== state.scene || cell.band !== state.band;
  return isOther ? " (choose a scene and a band for another cell)" : "";
}

function unpackCodes(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, i) => view.getUint16(2 * i, true) / 65535);
}

const unpackErrors = (text) => unpackCodes(text).map((share) => DATA.scale.smallest_m * 10 ** (share * DATA.scale.decades));
const unpackPositions = (packed) => unpackCodes(packed.codes).map((share) => packed.from + share * (packed.to - packed.from));

const isShare = (metric) => metric.unit === "" || metric.unit === "1";
const unitOf = (metric) => (isShare(metric) ? "%" : metric.unit);

/** Three significant digits, never in exponents. */
function formatNumber(value) {
  if (!isKnown(value)) return MISSING;
  const size = Math.abs(value);
  if (size >= 1e9) return `${formatNumber(value / 1e9)} G`;
  if (size >= 1e6) return `${formatNumber(value / 1e6)} M`;
  if (size >= 1e4) return `${formatNumber(value / 1e3)} k`;
  if (size === 0) return "0";
  if (size < 0.001) return value < 0 ? "−0.000" : "<0.001";
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  return value.toFixed(digits).replace("-", "−");
}

function formatMetric(metric, value) {
  if (!isKnown(value)) return MISSING;
  return isShare(metric) ? (100 * value).toFixed(1).replace("-", "−") : formatNumber(value);
}

/** Two significant digits: a deviation over a few seeds knows no more. */
function formatSpread(metric, value) {
  const shown = isShare(metric) ? 100 * value : value;
  if (shown >= 100 || shown === 0) return shown.toFixed(0);
  return shown.toFixed(shown >= 10 ? 0 : shown >= 1 ? 1 : 2);
}

function formatSeconds(value) {
  if (!isKnown(value)) return MISSING;
  return value >= 120 ? `${formatNumber(value / 60)} min` : `${formatNumber(value)} s`;
}

function formatSize(value) {
  if (!isKnown(value)) return MISSING;
  return value >= 1e6 ? `${formatNumber(value / 1e6)} M` : value >= 1e4 ? `${Math.round(value / 1e3)} k` : String(value);
}

/** "2.6GHz" as "2.6 GHz", "street_canyon" as "street canyon". */
const titleOf = (name) => name.replaceAll("_", " ").replace(/^([\d.]+)([GM]?Hz)$/, "$1 $2");

const sceneTitle = (name) => (name === EVERY ? "all scenes" : titleOf(name));
const bandTitle = (name) => (name === EVERY ? "all bands" : titleOf(name));

/** "munich, all bands": the place of a cell in words. */
function describeCell(cell) {
  const parts = [TRACKS.get(cell.track).title];
  if (isKnown(cell.shots)) parts.push(`${cell.shots} shots`);
  parts.push(sceneTitle(cell.scene), bandTitle(cell.band));
  return parts.join(" · ");
}

const hasTarget = (metric) => isKnown(metric.target);

/** Smaller for a better value. */
function costOf(metric, value) {
  if (!isKnown(value)) return null;
  return hasTarget(metric) ? Math.abs(value - metric.target) : metric.higher ? -value : value;
}

/** How much worse than the best: 1 for the best itself, null where it cannot be said. */
function ratioToBest(metric, value, best) {
  if (hasTarget(metric) || !metric.ratios || !value || !best) return null;
  return metric.higher ? best / value : value / best;
}

/** Make an element; null children are left out. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter(isKnown));
  return node;
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const byId = (id) => document.getElementById(id);
