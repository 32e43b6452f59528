// Where the camera stands: framing, keys, and what is where on the screen.

const ELEVATION_RAD = 0.82;

/** The sphere that should be seen at the start: site and UEs, or the scene where there are none. */
function focusOf(points, extent, low) {
  const [x0, y0, x1, y1] = extent;
  const shown = points.length ? points : [[x0, y0, low], [x1, y1, low]];
  const ends = [0, 1, 2].map((k) => [Math.min(...shown.map((p) => p[k])), Math.max(...shown.map((p) => p[k]))]);
  const centre = new THREE.Vector3(...ends.map(([a, b]) => (a + b) / 2));
  if (points.length) centre.z = ends[2][0];
  return { centre, radius: Math.max(30, Math.hypot(...ends.slice(0, 2).map(([a, b]) => (b - a) / 2))) };
}

/** Stand so that the focus fills the stage; from above, north is up in both views. */
function frame(camera, controls, focus, elevation) {
  const half = Math.tan((camera.fov * Math.PI) / 360) * Math.min(1, camera.aspect);
  const distance = (focus.radius * 0.92) / half;
  const back = [0, -Math.cos(elevation), Math.sin(elevation)].map((share) => share * distance);
  controls.target.copy(focus.centre);
  camera.position.copy(focus.centre).add(new THREE.Vector3(...back));
  controls.update();
}

/** Turn the camera about its target, by angles [rad]. */
function turn(camera, controls, right, up) {
  const offset = camera.position.clone().sub(controls.target);
  const distance = offset.length();
  const azimuth = Math.atan2(offset.y, offset.x) + right;
  const limit = Math.PI / 2 - 0.01;
  const elevation = Math.min(limit, Math.max(0.02, Math.asin(offset.z / distance) + up));
  const flat = Math.cos(elevation);
  offset.set(flat * Math.cos(azimuth), flat * Math.sin(azimuth), Math.sin(elevation)).multiplyScalar(distance);
  camera.position.copy(controls.target).add(offset);
  controls.update();
}

/** Move camera and target over the ground, by shares of their distance. */
function slide(camera, controls, right, ahead) {
  const offset = controls.target.clone().sub(camera.position);
  const reach = offset.length();
  const heading = Math.atan2(offset.y, offset.x);
  const step = new THREE.Vector3(
    ahead * Math.cos(heading) + right * Math.sin(heading),
    ahead * Math.sin(heading) - right * Math.cos(heading),
    0,
  ).multiplyScalar(reach);
  camera.position.add(step);
  controls.target.add(step);
  controls.update();
}

function zoom(camera, controls, factor) {
  camera.position.sub(controls.target).multiplyScalar(factor).add(controls.target);
  controls.update();
}

/** Heading of the view, clockwise from north [rad]. */
function headingOf(camera, controls) {
  const offset = controls.target.clone().sub(camera.position);
  return Math.atan2(offset.x, offset.y);
}

/** Place of a point on the stage [px], and whether it lies before the camera. */
function onScreen(point, camera, width, height) {
  const projected = new THREE.Vector3(...point).project(camera);
  return { x: ((projected.x + 1) / 2) * width, y: ((1 - projected.y) / 2) * height, before: projected.z < 1 };
}

function distanceToSegment(at, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const share = Math.min(1, Math.max(0, ((at.x - a.x) * dx + (at.y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(at.x - a.x - share * dx, at.y - a.y - share * dy);
}

/** The largest of 1, 2 or 5 times a power of ten that is not longer. */
function roundLength(length) {
  const power = 10 ** Math.floor(Math.log10(length));
  return Math.max(...[1, 2, 5].map((step) => step * power).filter((step) => step <= length));
}
