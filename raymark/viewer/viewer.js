// The page: what is chosen, what is drawn, and what the pointer and the keys do.

const PALETTES = {
  light: {
    sky: "#e9eef2", ground: "#d9dcd8", wallLow: "#b9b2a6", wallHigh: "#cdc6ba", roofLow: "#d8d2c6", roofHigh: "#f7f4ed",
    edge: "#5b5850", edgeOpacity: 0.5, mast: "#5d646b", ink: "#12161b", casing: "#ffffff", sun: 2.1, fill: 1.7,
    tint: (color) => color,
  },
  dark: {
    sky: "#10151a", ground: "#1e252c", wallLow: "#343e48", wallHigh: "#46525e", roofLow: "#44505b", roofHigh: "#76838f",
    edge: "#98a6b3", edgeOpacity: 0.3, mast: "#a0abb7", ink: "#ffffff", casing: "#0b0f13", sun: 2.0, fill: 1.6,
    tint: (color) => `#${new THREE.Color(color).lerp(new THREE.Color("#ffffff"), color === "#000000" ? 0.85 : 0.06).getHexString()}`,
  },
};
const PICK_PX = { mouse: 12, touch: 24, pen: 18 };
const CLICK_PX = 6;
const [NEAR_SHARE, FAR_SHARE] = [0.002, 40];
const dark = matchMedia("(prefers-color-scheme: dark)");

function say(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = false;
}

function makeRenderer(canvas) {
  try {
    return new THREE.WebGLRenderer({ canvas, antialias: true, powerPreference: "high-performance" });
  } catch {
    return null;
  }
}

/** Lights: a sun in the south-west that casts shadows around the focus, and the sky. */
function makeLights(focus) {
  const sky = new THREE.HemisphereLight("#ffffff", "#b8b2a8", 1);
  sky.position.set(0, 0, 1);
  const sun = new THREE.DirectionalLight("#ffffff", 1);
  const reach = Math.min(900, 2.2 * focus.radius + 100);
  sun.position.copy(focus.centre).add(new THREE.Vector3(-0.62, -0.5, 0.85).multiplyScalar(2 * reach));
  sun.target.position.copy(focus.centre);
  sun.castShadow = true;
  sun.shadow.mapSize.set(4096, 4096);
  Object.assign(sun.shadow.camera, { left: -reach, right: reach, top: reach, bottom: -reach, near: 1, far: 5 * reach });
  [sun.shadow.bias, sun.shadow.normalBias] = [-0.0004, 0.4];
  return { sky, sun };
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    say("This browser is too old to unpack the scene; open the page in a current one.");
    return;
  }
  const canvas = byId("canvas");
  const stage = byId("stage");
  const renderer = makeRenderer(canvas);
  if (renderer === null) {
    say("This page draws in 3D with WebGL, which this browser does not offer; turn on hardware acceleration or open it in another browser.");
    return;
  }
  const arrays = readArrays(await unpackBlock());
  const sites = PLAIN.sites.map((site, index) => ({ ...site, links: linksOf(arrays, index) }));
  const mesh = makeMesh(arrays);
  const points = sites.flatMap((site) => [site.position_m, ...site.links.map((link) => link.position)]);
  const focus = focusOf(points, PLAIN.extent_m, mesh.low);
  const lights = makeLights(focus);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color();
  scene.fog = new THREE.Fog("#ffffff", 4 * focus.radius, 14 * focus.radius);
  scene.add(lights.sky, lights.sun, lights.sun.target, mesh.ground, mesh.buildings, mesh.edges);
  const camera = new THREE.PerspectiveCamera(38, 1, Math.max(0.5, NEAR_SHARE * focus.radius), FAR_SHARE * focus.radius);
  camera.up.set(0, 0, 1);
  const controls = new THREE.OrbitControls(camera, canvas);
  Object.assign(controls, { enableDamping: true, dampingFactor: 0.14, maxPolarAngle: Math.PI / 2 - 0.02, screenSpacePanning: false, zoomToCursor: true });
  [controls.minDistance, controls.maxDistance] = [4, 12 * focus.radius];
  renderer.shadowMap.enabled = true;
  renderer.shadowMap.type = THREE.PCFShadowMap;
  renderer.shadowMap.autoUpdate = false;

  let palette = PALETTES.light;
  let state = { site: 0, link: 0, shown: Infinity, chosen: null, hovered: null };
  let paths = [];
  const drawn = { ues: null, ring: null, sites: [], paths: null, cloud: null };
  const names = sites.map((site) => byId("labels").appendChild(el("span", { class: "site-name" }, site.name)));

  // Drawing happens when something has changed, not all the time.
  let isWaiting = false;
  function invalidate() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      if (controls.update()) invalidate();
      renderer.render(scene, camera);
      drawOverlay();
    });
  }

  function drawOverlay() {
    const { clientWidth: width, clientHeight: height } = stage;
    sites.forEach((site, index) => {
      const [x, y, z] = site.position_m;
      const at = onScreen([x, y, z + 3], camera, width, height);
      names[index].hidden = !at.before || at.x < 0 || at.x > width || at.y < 0 || at.y > height;
      names[index].style.transform = `translate(${at.x.toFixed(1)}px, ${at.y.toFixed(1)}px) translate(-50%, -115%)`;
    });
    byId("needle").setAttribute("transform", `rotate(${((-headingOf(camera, controls) * 180) / Math.PI).toFixed(1)} 24 24)`);
    const distance = camera.position.distanceTo(controls.target);
    const metresPerPixel = (2 * distance * Math.tan((camera.fov * Math.PI) / 360)) / height;
    const length = roundLength(110 * metresPerPixel);
    byId("scale-bar").style.width = `${(length / metresPerPixel).toFixed(1)}px`;
    byId("scale-text").textContent = `${length} m`;
  }

  function drawPaths() {
    if (drawn.paths) discard(drawn.paths);
    const site = sites[state.site];
    const link = site?.links[state.link];
    drawn.paths = new THREE.Group();
    if (link) {
      const chosen = state.hovered ?? state.chosen;
      drawn.paths = makePaths(site, link, paths.slice(0, state.shown), chosen, palette);
      drawn.ring.visible = true;
      drawn.ring.position.set(...link.position);
      markRow(chosen);
    }
    scene.add(drawn.paths);
    stage.dataset.paths = String(Math.min(paths.length, state.shown));
    invalidate();
  }

  function drawCloud() {
    if (drawn.cloud) discard(drawn.cloud);
    const cloud = sites[state.site]?.links[state.link]?.cloud() ?? [];
    drawn.cloud = makeCloud(cloud, palette);
    drawn.cloud.visible = byId("show-ues").checked;
    stage.dataset.cloud = String(cloud.length);
    scene.add(drawn.cloud);
  }

  function drawSite() {
    for (const group of [drawn.ues, drawn.ring, ...drawn.sites]) if (group) discard(group);
    drawn.sites = sites.map((site) => makeSite(site, palette));
    drawn.ring = makeRing(palette);
    drawn.ues = makeUes(sites[state.site]?.links ?? [], palette);
    drawn.ues.visible = byId("show-ues").checked;
    scene.add(drawn.ring, drawn.ues, ...drawn.sites);
    names.forEach((name, index) => name.classList.toggle("active", index === state.site));
    if (sites.length) fillUeLegend(sites[state.site].links, palette);
  }

  function showLink() {
    const site = sites[state.site];
    const link = site?.links[state.link];
    if (!link) return;
    paths = link.paths();
    drawCloud();
    fillSummary(site, link, palette);
    fillKindLegend(paths, palette);
    fillTable(paths, state.shown, palette, {
      hover: (index) => setState({ hovered: index }),
      choose: (index) => setState({ chosen: state.chosen === index ? null : index }),
    });
    byId("choose-link").value = String(state.link);
    stage.dataset.ue = String(link.number);
    history.replaceState(null, "", `#site=${encodeURIComponent(site.name)}&ue=${link.number}`);
  }

  function setState(change) {
    const before = state;
    state = { ...state, ...change };
    const isOther = (...keys) => keys.some((key) => before[key] !== state[key]);
    if (isOther("site")) {
      state.link = startLink(sites[state.site].links, change.ue);
      drawSite();
      fillLinkList(sites[state.site].links);
    }
    if (isOther("site", "link")) [state.chosen, state.hovered] = [null, null];
    if (isOther("site", "link", "shown")) showLink();
    drawPaths();
  }

  function repaint() {
    palette = dark.matches ? PALETTES.dark : PALETTES.light;
    scene.background.set(palette.sky);
    scene.fog.color.set(palette.sky);
    mesh.paint(palette);
    [lights.sun.intensity, lights.sky.intensity] = [palette.sun, palette.fill];
    showBuildings();
    drawSite();
    showLink();
    drawPaths();
  }

  function showBuildings() {
    const how = document.querySelector('input[name="buildings"]:checked').value;
    const { material } = mesh.buildings;
    mesh.buildings.visible = how !== "hidden";
    mesh.buildings.castShadow = how === "solid";
    Object.assign(material, { transparent: how === "glass", opacity: how === "glass" ? 0.22 : 1, depthWrite: how !== "glass", needsUpdate: true });
    mesh.edges.visible = how !== "hidden";
    mesh.edges.material.opacity = palette.edgeOpacity;
    mesh.ground.visible = byId("show-ground").checked;
    for (const group of [drawn.ues, drawn.cloud]) if (group) group.visible = byId("show-ues").checked;
    renderer.shadowMap.needsUpdate = true;
    invalidate();
  }

  const step = (by) => {
    const { length } = sites[state.site]?.links ?? [];
    if (length) setState({ link: (state.link + by + length) % length });
  };

  function pickUe(at, reach) {
    if (!drawn.ues.visible || !sites.length) return null;
    const { clientWidth: width, clientHeight: height } = stage;
    let [best, least] = [null, reach];
    sites[state.site].links.forEach((link, index) => {
      const seen = onScreen(link.position, camera, width, height);
      const away = Math.hypot(seen.x - at.x, seen.y - at.y);
      if (seen.before && away < least) [best, least] = [index, away];
    });
    return best;
  }

  function pickPath(at, reach) {
    const site = sites[state.site];
    let [best, least] = [null, reach];
    paths.slice(0, state.shown).forEach((path, index) => {
      const corners = cornersOf(path, site, site.links[state.link]).map((corner) => onScreen(corner, camera, stage.clientWidth, stage.clientHeight));
      if (!corners.every((corner) => corner.before)) return;
      const away = Math.min(...corners.slice(1).map((corner, i) => distanceToSegment(at, corners[i], corner)));
      if (away < least) [best, least] = [index, away];
    });
    return best;
  }

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  function showTip(at, text) {
    const tip = byId("tip");
    tip.hidden = !text;
    tip.textContent = text ?? "";
    const isRight = at.x > stage.clientWidth - 240;
    tip.style.transform = `translate(${at.x.toFixed(0)}px, ${at.y.toFixed(0)}px) translate(${isRight ? "calc(-100% - 14px)" : "14px"}, 14px)`;
  }

  function point(event) {
    if (event.buttons || event.pointerType === "touch") return;
    const at = place(event);
    const ue = pickUe(at, 9);
    const path = ue === null ? pickPath(at, 6) : null;
    canvas.style.cursor = ue === null && path === null ? "" : "pointer";
    if (ue !== null) {
      const link = sites[state.site].links[ue];
      showTip(at, `UE ${link.number}: ${labelOf(link.label).name}, ${link.numPaths} paths`);
    } else if (path !== null) {
      const { delay_ns: delay, gain_db: gain, kind } = paths[path];
      showTip(at, `${path + 1}. ${KINDS[kind].name}: ${delay.toFixed(1)} ns, ${decibels(gain)} dB`);
    } else showTip(at, null);
    if (path !== state.hovered) setState({ hovered: path });
  }

  let pressed = null;
  canvas.addEventListener("pointerdown", (event) => {
    pressed = place(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    const at = place(event);
    if (!pressed || Math.hypot(at.x - pressed.x, at.y - pressed.y) > CLICK_PX) return;
    const ue = pickUe(at, PICK_PX[event.pointerType] ?? 12);
    if (ue !== null) setState({ link: ue });
    else setState({ chosen: pickPath(at, PICK_PX[event.pointerType] ?? 12) });
  });
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerleave", () => {
    showTip({ x: 0, y: 0 }, null);
    if (state.hovered !== null) setState({ hovered: null });
  });

  const keys = {
    ArrowLeft: (shift) => (shift ? slide(camera, controls, -0.06, 0) : turn(camera, controls, -0.08, 0)),
    ArrowRight: (shift) => (shift ? slide(camera, controls, 0.06, 0) : turn(camera, controls, 0.08, 0)),
    ArrowUp: (shift) => (shift ? slide(camera, controls, 0, 0.06) : turn(camera, controls, 0, 0.06)),
    ArrowDown: (shift) => (shift ? slide(camera, controls, 0, -0.06) : turn(camera, controls, 0, -0.06)),
    "+": () => zoom(camera, controls, 0.88),
    "=": () => zoom(camera, controls, 0.88),
    "-": () => zoom(camera, controls, 1 / 0.88),
    n: () => step(1),
    p: () => step(-1),
    r: () => frame(camera, controls, focus, ELEVATION_RAD),
    t: () => frame(camera, controls, focus, Math.PI / 2 - 0.001),
  };
  canvas.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act(event.shiftKey);
    invalidate();
  });

  const onClick = (id, act) => byId(id).addEventListener("click", () => {
    act();
    invalidate();
  });
  onClick("reset", keys.r);
  onClick("from-above", keys.t);
  for (const input of document.querySelectorAll('input[name="buildings"], #show-ues, #show-ground')) input.addEventListener("change", showBuildings);
  if (sites.length) {
    onClick("next", keys.n);
    onClick("previous", keys.p);
    byId("choose-link").addEventListener("change", (event) => setState({ link: Number(event.target.value) }));
    byId("choose-site").addEventListener("change", (event) => setState({ site: Number(event.target.value) }));
    byId("choose-shown").addEventListener("change", (event) => setState({ shown: Number(event.target.value) || Infinity }));
    const wanted = new URLSearchParams(location.hash.slice(1));
    state.site = Math.max(0, sites.findIndex((site) => site.name === wanted.get("site")));
    byId("choose-site").replaceChildren(...sites.map((site, index) => el("option", { value: String(index) }, site.name)));
    byId("choose-site").value = String(state.site);
    state.link = startLink(sites[state.site].links, wanted.get("ue"));
    fillLinkList(sites[state.site].links);
  }

  function fit() {
    const { clientWidth: width, clientHeight: height } = stage;
    if (!width || !height) return;
    renderer.setPixelRatio(Math.min(2, devicePixelRatio || 1));
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    invalidate();
  }
  controls.addEventListener("change", invalidate);
  dark.addEventListener("change", repaint);
  new ResizeObserver(fit).observe(stage);
  fit();
  frame(camera, controls, focus, ELEVATION_RAD);
  repaint();
  document.body.dataset.ready = "true";
}

/** The link that is asked for by its number, else a typical NLOS one, else the strongest. */
function startLink(links, number) {
  const asked = links.findIndex((link) => String(link.number) === number);
  if (asked >= 0) return asked;
  const falling = links.filter((link) => link.numPaths).sort((a, b) => b.gain_db - a.gain_db);
  const nlos = falling.filter((link) => link.label === 0);
  return Math.max(0, links.indexOf(nlos[Math.floor(nlos.length / 2)] ?? falling[0]));
}

start().catch((error) => {
  say(`The scene cannot be shown: ${error.message}`);
  throw error;
});
