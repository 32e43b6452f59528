// Errors over the layout of a scene, for one or two models side by side.

const ERROR_STEPS_M = [1, 3, 10, 30, 100];
const LOS_NAMES = { 1: "LOS", 0: "NLOS", "-1": "outage" };
const IN_LABEL = {
  all: (los) => los >= 0,
  los: (los) => los === 1,
  nlos: (los) => los === 0,
  detectable: (los, isHeard) => los === 0 && isHeard,
  blind: (los, isHeard) => los >= 0 && !isHeard,
  outage: (los) => los === -1,
};
const layoutImages = new Map();
let panels = [];

const errorStep = (error) => ERROR_STEPS_M.filter((step) => error > step).length;

/** The decoded layout of a scene, drawn once it is there. */
function layoutImage(scene) {
  if (!DATA.layouts[scene]) return null;
  if (!layoutImages.has(scene)) {
    const image = new Image();
    image.addEventListener("load", () => panels.forEach(drawPanel));
    image.src = `data:image/png;base64,${DATA.layouts[scene].png}`;
    layoutImages.set(scene, image);
  }
  return layoutImages.get(scene);
}

function mapPoints(map, label) {
  const x = unpackPositions(map.x);
  const y = unpackPositions(map.y);
  const keep = map.los.map((los, i) => i).filter((i) => IN_LABEL[label](map.los[i], map.heard?.[i]));
  const errors = new Map(Object.entries(map.errors).map(([name, packed]) => {
    const all = unpackErrors(packed);
    return [name, keep.map((i) => all[i])];
  }));
  return { x: keep.map((i) => x[i]), y: keep.map((i) => y[i]), los: keep.map((i) => map.los[i]), errors };
}

const sitesOf = (map) => DATA.sites[map.scene] ?? [];

/** Square-scaled window around all points of the map and its sites, so that labels do not change the view. */
function viewOf(map) {
  const margin = 15;
  const range = (axis) => [map[axis].from, map[axis].to, ...sitesOf(map).map((site) => site[axis])];
  const [x0, x1] = [Math.min(...range("x")) - margin, Math.max(...range("x")) + margin];
  const [y0, y1] = [Math.min(...range("y")) - margin, Math.max(...range("y")) + margin];
  const aspect = Math.min(1.15, Math.max(0.6, (y1 - y0) / (x1 - x0)));
  const width = Math.max(x1 - x0, (y1 - y0) / aspect);
  return { x: (x0 + x1) / 2 - width / 2, y: (y0 + y1) / 2 - (width * aspect) / 2, width, aspect };
}

function renderMap(state, setState) {
  const cell = nearestCell(state, (c) => MAPS.has(cellKey(c)));
  const map = cell ? MAPS.get(cellKey(cell)) : null;
  panels = [];
  byId("map-readout").textContent = "";
  if (!map) {
    byId("map-where").textContent = describeCell(state);
    byId("maps").replaceChildren(el("p", { class: "notice" }, "No map is stored for this cell."));
    byId("map-legend").replaceChildren();
    for (const id of ["choose-left", "choose-right"]) fillSelect(byId(id), [["", "none"]], "");
    return;
  }
  const names = modelsByRank({ ...state, ...cell }).filter((name) => map.errors[name]);
  const options = names.map((name) => [name, MODELS.get(name)?.title ?? name]);
  const left = names.includes(state.left) ? state.left : names[0];
  const right = state.right === "none" || names.includes(state.right) ? state.right : names.find((name) => name !== left && MODELS.get(name)?.kind === "model") ?? "none";
  fillSelect(byId("choose-left"), options, left);
  fillSelect(byId("choose-right"), [["none", "none"], ...options], right);
  const points = mapPoints(map, state.label);
  const shown = map.los.length < map.num_points ? `${map.los.length.toLocaleString("en")} of ${map.num_points.toLocaleString("en")} positions` : `${map.num_points.toLocaleString("en")} positions`;
  byId("map-where").textContent = `${describeCell(cell)} · ${LABEL_TITLES[state.label]} · ${shown}${substituteNote(cell, state)}`;
  byId("maps").replaceChildren(...[left, right].filter((name) => name && name !== "none").map((name) => makePanel(map, points, name)));
  byId("map-legend").replaceChildren(...legendItems(sitesOf(map)));
  panels.forEach(drawPanel);
}

function makePanel(map, points, name) {
  const errors = points.errors.get(name);
  const middle = errors.length ? errors.slice().sort((a, b) => a - b)[Math.floor(errors.length / 2)] : null;
  const title = MODELS.get(name)?.title ?? name;
  const canvas = el("canvas", { role: "img", "aria-label": `${title}: errors of ${errors.length} points over the layout of ${titleOf(map.scene)}, median ${formatNumber(middle)} m` });
  const panel = { canvas, map, points, errors, name, view: viewOf(map), marked: null };
  canvas.addEventListener("pointermove", (event) => markNearest(panel, event));
  canvas.addEventListener("pointerleave", () => markPoint(null));
  panels.push(panel);
  return el("figure", {}, el("figcaption", {}, el("b", {}, title), el("span", {}, middle === null ? "no points" : `median ${formatNumber(middle)} m of the points shown`)), canvas);
}

function placer(panel) {
  const scale = panel.canvas.clientWidth / panel.view.width;
  const height = panel.canvas.clientWidth * panel.view.aspect;
  return { scale, height, place: (x, y) => [(x - panel.view.x) * scale, height - (y - panel.view.y) * scale] };
}

function drawPanel(panel) {
  const { canvas, map, points, errors, marked } = panel;
  const style = getComputedStyle(document.documentElement);
  const { scale, height, place } = placer(panel);
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.aspectRatio = `1 / ${panel.view.aspect}`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const image = layoutImage(map.scene);
  if (image?.complete && image.naturalWidth) {
    const [x0, y0, x1, y1] = DATA.layouts[map.scene].extent_m;
    pen.globalAlpha = Number(style.getPropertyValue("--building"));
    pen.drawImage(image, ...place(x0, y1), (x1 - x0) * scale, (y1 - y0) * scale);
    pen.globalAlpha = 1;
  }
  const colors = Array.from({ length: ERROR_STEPS_M.length + 1 }, (_, i) => style.getPropertyValue(`--e${i}`).trim());
  const size = Math.min(5, Math.max(2.6, canvas.clientWidth / 130));
  const order = errors.map((_, i) => i).sort((a, b) => errors[a] - errors[b]);
  for (const i of order) drawMark(pen, place(points.x[i], points.y[i]), points.los[i], size, colors[errorStep(errors[i])], style.getPropertyValue("--edge"));
  for (const site of sitesOf(map)) drawSite(pen, place(site.x, site.y), site.name, style);
  if (marked !== null) {
    pen.strokeStyle = style.getPropertyValue("--ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(...place(points.x[marked], points.y[marked]), size + 5, 0, 2 * Math.PI);
    pen.stroke();
  }
  drawScaleBar(pen, canvas.clientWidth, height, scale, style);
}

function drawMark(pen, [x, y], los, size, color, edge) {
  pen.beginPath();
  pen.lineWidth = 0.8;
  pen.strokeStyle = edge;
  pen.fillStyle = color;
  if (los === -1) {
    pen.lineWidth = 2;
    pen.strokeStyle = color;
    pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size);
    pen.moveTo(x - size, y + size); pen.lineTo(x + size, y - size);
    pen.stroke();
    return;
  }
  if (los === 0) {
    pen.moveTo(x, y - 1.25 * size); pen.lineTo(x + 1.1 * size, y + 0.75 * size); pen.lineTo(x - 1.1 * size, y + 0.75 * size);
    pen.closePath();
  } else pen.arc(x, y, size, 0, 2 * Math.PI);
  pen.fill();
  pen.stroke();
}

/** A square with its name. */
function drawSite(pen, [x, y], name, style) {
  pen.fillStyle = style.getPropertyValue("--accent");
  pen.strokeStyle = style.getPropertyValue("--paper");
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.rect(x - 5, y - 5, 10, 10);
  pen.fill();
  pen.stroke();
  pen.font = `600 12px ${style.getPropertyValue("--sans")}`;
  pen.lineWidth = 3;
  pen.strokeText(name, x + 9, y + 4);
  pen.fillText(name, x + 9, y + 4);
}

function drawScaleBar(pen, width, height, scale, style) {
  const length = [10, 20, 50, 100, 200, 500, 1000].filter((m) => m * scale < width / 3).at(-1) ?? 10;
  const [x, y] = [14, height - 14];
  pen.fillStyle = style.getPropertyValue("--paper");
  pen.globalAlpha = 0.8;
  pen.fillRect(x - 6, y - 20, length * scale + 12, 28);
  pen.globalAlpha = 1;
  pen.strokeStyle = pen.fillStyle = style.getPropertyValue("--ink");
  pen.lineWidth = 1.5;
  pen.beginPath();
  pen.moveTo(x, y - 4); pen.lineTo(x, y); pen.lineTo(x + length * scale, y); pen.lineTo(x + length * scale, y - 4);
  pen.stroke();
  pen.font = `11px ${style.getPropertyValue("--sans")}`;
  pen.fillText(`${length} m`, x + 4, y - 6);
}

function legendItems(sites) {
  const names = [`≤ ${ERROR_STEPS_M[0]} m`, ...ERROR_STEPS_M.slice(1).map((step, i) => `${ERROR_STEPS_M[i]}–${step}`), `> ${ERROR_STEPS_M.at(-1)} m`];
  const shapes = {
    LOS: svg("circle", { cx: 7, cy: 7, r: 4.5, fill: "currentColor" }),
    NLOS: svg("path", { d: "M7 1.5 12.5 12H1.5Z", fill: "currentColor" }),
    outage: svg("path", { d: "M2.5 2.5 11.5 11.5M11.5 2.5 2.5 11.5", stroke: "currentColor", "stroke-width": 2 }),
    ...(sites.length && { "base station": svg("rect", { x: 2, y: 2, width: 10, height: 10, fill: "var(--accent)" }) }),
  };
  return [
    ...names.map((name, i) => el("span", {}, el("i", { style: `background:var(--e${i})` }), name)),
    ...Object.entries(shapes).map(([name, shape]) => el("span", {}, svg("svg", { viewBox: "0 0 14 14", "aria-hidden": "true" }, shape), name)),
  ];
}

function markNearest(panel, event) {
  const box = panel.canvas.getBoundingClientRect();
  const { place } = placer(panel);
  let nearest = null;
  let best = 14;
  panel.points.x.forEach((x, i) => {
    const [px, py] = place(x, panel.points.y[i]);
    const distance = Math.hypot(px - (event.clientX - box.left), py - (event.clientY - box.top));
    if (distance < best) [nearest, best] = [i, distance];
  });
  markPoint(nearest);
}

/** Ring the same point in every panel and write what its errors are. */
function markPoint(index) {
  if (panels.every((panel) => panel.marked === index)) return;
  for (const panel of panels) {
    panel.marked = index;
    drawPanel(panel);
  }
  const { points } = panels[0];
  byId("map-readout").textContent = index === null ? "" : `x ${formatNumber(points.x[index])} m, y ${formatNumber(points.y[index])} m, ${LOS_NAMES[points.los[index]]}: ${panels.map((panel) => `${MODELS.get(panel.name)?.title ?? panel.name} ${formatNumber(panel.errors[index])} m`).join(" · ")}`;
}
