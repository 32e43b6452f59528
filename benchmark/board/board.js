// The state of the page: chosen in the controls, kept in the address, shown everywhere.

const STATE_KEYS = ["track", "shots", "scene", "band", "label", "metric", "model", "left", "right", "columns", "sort", "desc", "scale"];
let state = {};

function fillSelect(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
  select.value = chosen;
}

function fillSegments(host, name, options) {
  host.replaceChildren(...options.map(({ value, text, css, about }) => el("label", { title: about ?? null },
    el("input", { type: "radio", name, value, onchange: () => setState(changeOf(name, value)) }), el("span", { class: css ?? null }, text))));
}

function checkSegment(host, value) {
  for (const input of host.querySelectorAll("input")) input.checked = input.value === value;
}

/** A new metric is also sorted by. */
const changeOf = (name, value) => (name === "metric" ? { metric: value, sort: "", desc: false } : { [name]: value });

const present = (value, names, fallback) => (names.includes(value) ? value : fallback);

/** Replace what the board does not have by its default. */
function completed(wanted) {
  const { names, start } = DATA;
  const track = present(wanted.track, names.track, start.track);
  const { shots } = TRACKS.get(track);
  return {
    ...wanted,
    track,
    shots: shots.length ? present(Number(wanted.shots || shots[0]), shots, shots[0]) : null,
    scene: present(wanted.scene, names.scene, names.scene[0]),
    band: present(wanted.band, names.band, names.band[0]),
    label: present(wanted.label, names.label, start.label),
    metric: present(wanted.metric, names.metric, present(start.metric, names.metric, names.metric[0])),
    model: present(wanted.model, names.model, ""),
    desc: wanted.desc === true || wanted.desc === "true",
    columns: present(wanted.columns, Object.keys(COLUMN_SETS), "main"),
    scale: wanted.scale === "linear" ? "linear" : "log",
  };
}

function stateOfAddress() {
  const stored = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(STATE_KEYS.filter((key) => stored.has(key)).map((key) => [key, stored.get(key)]));
}

function addressOfState() {
  const kept = STATE_KEYS.filter((key) => isKnown(state[key]) && state[key] !== "" && state[key] !== false && state[key] !== "log" && state[key] !== "main");
  return `#${new URLSearchParams(kept.map((key) => [key, String(state[key])]))}`;
}

function setState(change) {
  state = completed({ ...state, ...change });
  const address = addressOfState();
  if (address !== location.hash) history.replaceState(null, "", address);
  render();
}

function renderControls() {
  const { names } = DATA;
  const track = TRACKS.get(state.track);
  checkSegment(byId("choose-track"), state.track);
  checkSegment(byId("choose-label"), state.label);
  checkSegment(byId("choose-columns"), state.columns);
  checkSegment(byId("choose-scale"), state.scale);
  for (const input of byId("choose-label").querySelectorAll("input")) input.disabled = !input.checked && !summaryOf(state, input.value).size;
  byId("field-shots").hidden = !track.shots.length;
  fillSelect(byId("choose-shots"), track.shots.map((n) => [n, String(n)]), String(state.shots));
  fillSelect(byId("choose-scene"), names.scene.map((name) => [name, sceneTitle(name)]), state.scene);
  fillSelect(byId("choose-band"), names.band.map((name) => [name, bandTitle(name)]), state.band);
  fillSelect(byId("choose-metric"), DATA.metrics.map((m) => [m.name, m.title]), state.metric);
  fillSelect(byId("choose-model"), DATA.models.map((m) => [m.name, m.title]), matrixModel(state));
  byId("track-note").replaceChildren(el("span", { class: track.ranked ? "badge" : "badge warn" }, track.ranked ? "ranked" : "diagnostic, not ranked"), ` ${track.about}`);
}

function render() {
  const focused = document.activeElement?.dataset?.focus;
  renderControls();
  renderStandings(state, setState);
  renderCdf(state);
  renderMatrix(state, setState);
  renderBudget(state);
  renderMap(state, setState);
  renderDifferences(state);
  renderAudit(state);
  markScrollable();
  if (focused) document.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/** Say where a table goes on beyond its edge. */
function markScrollable() {
  for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("goes-on", box.scrollWidth > box.clientWidth + 1);
}

function redraw() {
  const before = document.documentElement.dataset.width;
  document.documentElement.dataset.width = String(window.innerWidth);
  if (before === String(window.innerWidth)) return;
  renderCdf(state);
  renderBudget(state);
  panels.forEach(drawPanel);
  markScrollable();
}

function start() {
  if (!DATA.tracks.length || !DATA.metrics.length || !DATA.names.scene.length) {
    byId("controls").hidden = true;
    for (const section of document.querySelectorAll("main section:not(.notes):not([aria-labelledby=cards-title])")) section.hidden = true;
    byId("track-note").textContent = "The board has no results yet.";
    return;
  }
  fillSegments(byId("choose-track"), "track", DATA.tracks.map((t) => ({ value: t.name, text: t.title, css: t.ranked ? null : "diagnostic", about: t.ranked ? null : "A diagnostic, not ranked" })));
  fillSegments(byId("choose-label"), "label", DATA.names.label.map((name) => ({ value: name, text: SHORT_LABELS[name] })));
  fillSegments(byId("choose-columns"), "columns", Object.entries(COLUMN_SET_TITLES).map(([value, text]) => ({ value, text })));
  fillSegments(byId("choose-scale"), "scale", [{ value: "log", text: "log" }, { value: "linear", text: "linear" }]);
  for (const name of ["shots", "scene", "band", "metric", "model", "left", "right"]) byId(`choose-${name}`).addEventListener("change", (event) => setState(changeOf(name, event.target.value)));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("skip").addEventListener("click", (event) => { event.preventDefault(); byId("standings").focus(); });
  byId("cdf-chart").addEventListener("keydown", moveCursor);
  window.addEventListener("hashchange", () => { state = completed(stateOfAddress()); render(); });
  window.addEventListener("resize", redraw);
  window.addEventListener("beforeprint", () => { for (const card of document.querySelectorAll("details")) card.open = true; });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach(drawPanel));
  document.documentElement.dataset.width = String(window.innerWidth);
  state = completed(stateOfAddress());
  render();
}

start();
