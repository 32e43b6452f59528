// The panel beside the stage: which link, its paths as a table, and what the colours mean.

const minus = (text) => text.replace("-", "−");
const decibels = (value) => minus(value.toFixed(1));
const labelOf = (code) => LABELS.find((label) => label.code === code);

/** Marks of the legend in the shapes that the stage uses. */
function ueMark(code, palette) {
  const color = palette.tint(labelOf(code).color);
  const shapes = {
    1: `<circle cx="8" cy="8" r="5.5" fill="${color}"/>`,
    0: `<path d="M8 2.2 14.2 13.4H1.8Z" fill="${color}"/>`,
    "-1": `<path d="M3 3 13 13M13 3 3 13" stroke="${color}" stroke-width="2.6" fill="none"/>`,
  };
  const mark = el("span", { class: "mark" });
  mark.innerHTML = `<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">${shapes[code]}</svg>`;
  return mark;
}

const swatch = (kind, palette) => {
  const node = el("span", { class: "swatch" });
  node.style.background = palette.tint(KINDS[kind].color);
  return node;
};

function fillUeLegend(links, palette) {
  byId("ue-legend").replaceChildren(
    ...LABELS.map(({ code, name }) =>
      el("li", {}, ueMark(code, palette), el("span", {}, name), el("b", {}, String(links.filter((link) => link.label === code).length)))),
  );
}

function fillKindLegend(paths, palette) {
  byId("kind-legend").replaceChildren(
    ...KINDS.map((kind, index) => {
      const count = paths.filter((path) => path.kind === index).length;
      return el("li", { class: count ? "" : "none", "data-kind": kind.name, "data-count": String(count) },
        swatch(index, palette), el("span", {}, kind.name), el("b", {}, String(count)));
    }),
  );
}

/** Fill the list of links; the one option per link says what kind it is. */
function fillLinkList(links) {
  byId("choose-link").replaceChildren(
    ...links.map((link, index) => {
      const what = link.numPaths ? `${link.numPaths} path${link.numPaths > 1 ? "s" : ""}` : "no path";
      return el("option", { value: String(index) }, `UE ${link.number}: ${labelOf(link.label).name}, ${what}`);
    }),
  );
}

function fillSummary(site, link, palette) {
  const [dx, dy, dz] = link.position.map((value, k) => value - site.position_m[k]);
  const facts = [["distance", `${Math.hypot(dx, dy, dz).toFixed(1)} m`], ["paths", String(link.numPaths)]];
  if (link.numPaths) facts.push(["strongest", `${decibels(link.gain_db)} dB`]);
  byId("link-label").replaceChildren(ueMark(link.label, palette), labelOf(link.label).name);
  byId("link-facts").replaceChildren(...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

const WORDS = new Map(KINDS.map((kind) => [kind.code, kind.name]));

/** What happens on a path, in order from the site. */
function storyOf(path) {
  if (path.codes.length === 0) return ["line of sight"];
  return path.codes.map((code, i) => el("span", { class: "step" }, WORDS.get(code), el("small", {}, path.materials[i])));
}

/** One row per path that is shown; `act` is told of the pointer and of a choice. */
function fillTable(paths, shown, palette, act) {
  const rows = paths.slice(0, shown).map((path, index) =>
    el("tr", {
      "data-path": String(index), tabindex: "0", "aria-selected": "false",
      onpointerenter: () => act.hover(index), onpointerleave: () => act.hover(null),
      onfocus: () => act.hover(index), onblur: () => act.hover(null),
      onclick: () => act.choose(index),
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act.choose(index); } },
    },
    el("td", {}, swatch(path.kind, palette), el("span", { class: "rank" }, String(index + 1))),
    el("td", { class: "number" }, path.delay_ns.toFixed(1)),
    el("td", { class: "number" }, decibels(path.gain_db)),
    el("td", {}, ...storyOf(path))),
  );
  byId("path-rows").replaceChildren(...rows);
  const rest = paths.length - rows.length;
  byId("path-note").textContent = paths.length === 0 ? "No path reaches this UE."
    : rest > 0 ? `${rest} weaker path${rest > 1 ? "s are" : " is"} not shown.` : "";
  byId("path-table").hidden = paths.length === 0;
}

function markRow(index) {
  for (const row of byId("path-rows").children) row.setAttribute("aria-selected", String(row.dataset.path === String(index)));
}
