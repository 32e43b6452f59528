// UEs, sites with their sectors, and the names beside the sites.

const UE_SIZE_PX = { 1: 9, 0: 10, "-1": 9 };
const SITE_COLOR = "#CC79A7";
const BORESIGHT_M = 30;

function textureOf(canvas) {
  const texture = new THREE.CanvasTexture(canvas);
  texture.colorSpace = "srgb";
  return texture;
}

/** A small picture of a UE: a circle, a triangle or a cross, as in the figures of a dataset. */
function ueTexture(label, color, casing) {
  const canvas = el("canvas", { width: 64, height: 64 });
  const pen = canvas.getContext("2d");
  const outline = new Path2D();
  if (label === 1) outline.arc(32, 32, 22, 0, 7);
  else if (label === 0) {
    for (const [x, y] of [[32, 6], [58, 54], [6, 54]]) outline.lineTo(x, y);
    outline.closePath();
  } else {
    for (const [from, to] of [[14, 50], [50, 14]]) {
      outline.moveTo(from, 14);
      outline.lineTo(to, 50);
    }
  }
  const isCross = label === -1;
  [pen.strokeStyle, pen.lineWidth, pen.lineCap, pen.lineJoin] = [casing, isCross ? 22 : 10, "round", "round"];
  pen.stroke(outline);
  if (isCross) {
    [pen.strokeStyle, pen.lineWidth] = [color, 11];
    pen.stroke(outline);
  } else {
    pen.fillStyle = color;
    pen.fill(outline);
  }
  return textureOf(canvas);
}

function ringTexture(color, casing) {
  const canvas = el("canvas", { width: 64, height: 64 });
  const pen = canvas.getContext("2d");
  for (const [style, width] of [[casing, 13], [color, 6]]) {
    [pen.strokeStyle, pen.lineWidth] = [style, width];
    pen.beginPath();
    pen.arc(32, 32, 24, 0, 7);
    pen.stroke();
  }
  return textureOf(canvas);
}

function pointsOf(positions, map, size, extra = {}) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(Float32Array.from(positions.flat()), 3));
  const options = { map, size, sizeAttenuation: false, transparent: true, depthWrite: false, fog: false, ...extra };
  return new THREE.Points(geometry, new THREE.PointsMaterial(options));
}

/** The UEs of a site; those behind buildings shine through faintly. */
function makeUes(links, palette) {
  const group = new THREE.Group();
  for (const { code, color } of [...LABELS].reverse()) {
    const positions = links.filter((link) => link.label === code).map((link) => link.position);
    const map = ueTexture(code, palette.tint(color), palette.casing);
    const size = UE_SIZE_PX[code] * (links.length > 600 ? 0.7 : 1);
    const hidden = pointsOf(positions, map, size, { depthTest: false, opacity: 0.3 });
    const seen = pointsOf(positions, map, size);
    [hidden.renderOrder, seen.renderOrder] = [3, 4];
    group.add(hidden, seen);
  }
  return group;
}

const CLOUD_COLOR = "#9B30A8";
const [CLOUD_LEAST_PX, CLOUD_MOST_PX] = [7, 20];

/** Where a located link may be: the larger and fuller a point, the larger its share. */
function makeCloud(cloud, palette) {
  const group = new THREE.Group();
  const most = Math.max(...cloud.map((point) => point.share));
  const map = ueTexture(1, palette.tint(CLOUD_COLOR), palette.casing);
  for (const { position, share } of cloud) {
    const strength = Math.sqrt(share / most);
    const point = pointsOf([position], map, CLOUD_LEAST_PX + (CLOUD_MOST_PX - CLOUD_LEAST_PX) * strength, { depthTest: false, opacity: 0.45 + 0.45 * strength });
    [point.renderOrder, point.frustumCulled] = [5.8, false];
    group.add(point);
  }
  return group;
}

function makeRing(palette) {
  const ring = pointsOf([[0, 0, 0]], ringTexture(palette.ink, palette.casing), 24, { depthTest: false });
  [ring.renderOrder, ring.visible, ring.frustumCulled] = [9, false, false];
  return ring;
}

/** A mast with a panel that looks along its boresight, and the outline of the sector. */
function makeSite(site, palette) {
  const group = new THREE.Group();
  const color = new THREE.Color(SITE_COLOR);
  const [x, y, z] = site.position_m;
  const mast = new THREE.Mesh(new THREE.CylinderGeometry(0.35, 0.35, 1), new THREE.MeshLambertMaterial({ color: palette.mast }));
  const height = Math.max(0.1, z - site.ground_m);
  mast.scale.y = height;
  mast.rotation.x = Math.PI / 2;
  mast.position.set(x, y, z - height / 2);
  const ahead = new THREE.Vector3(
    Math.cos(site.azimuth_rad) * Math.cos(site.downtilt_rad),
    Math.sin(site.azimuth_rad) * Math.cos(site.downtilt_rad),
    -Math.sin(site.downtilt_rad),
  );
  const panel = new THREE.Mesh(new THREE.BoxGeometry(2.4, 0.7, 3.4), new THREE.MeshLambertMaterial({ color, emissive: color, emissiveIntensity: 0.35 }));
  panel.up.set(0, 0, 1);
  panel.rotation.order = "ZYX";
  panel.rotation.set(site.downtilt_rad, 0, site.azimuth_rad + Math.PI / 2);
  panel.position.set(x, y, z);
  group.add(mast, panel, ...boresight(site, ahead, color), ...sector(site, color));
  return group;
}

function boresight(site, ahead, color) {
  const start = new THREE.Vector3(...site.position_m);
  const end = start.clone().addScaledVector(ahead, BORESIGHT_M);
  const geometry = new THREE.LineSegmentsGeometry().setPositions([...start.toArray(), ...end.toArray()]);
  const shaft = new THREE.LineSegments2(geometry, new THREE.LineMaterial({ color, linewidth: 3, depthTest: false, transparent: true }));
  const head = new THREE.Mesh(new THREE.ConeGeometry(1.6, 5, 20), new THREE.MeshBasicMaterial({ color, depthTest: false, transparent: true }));
  head.position.copy(end);
  head.quaternion.setFromUnitVectors(new THREE.Vector3(0, 1, 0), ahead);
  [shaft.renderOrder, head.renderOrder] = [6, 6];
  return [shaft, head];
}

function sector(site, color) {
  const [x, y] = site.position_m;
  const arc = Array.from({ length: 49 }, (_, i) => site.azimuth_rad + site.half_width_rad * (i / 24 - 1));
  const rim = [[x, y], ...arc.map((angle) => [x + site.range_m * Math.cos(angle), y + site.range_m * Math.sin(angle)])];
  const shape = new THREE.Shape();
  shape.moveTo(...rim[0]);
  for (const point of rim.slice(1)) shape.lineTo(...point);
  const level = site.ground_m + 0.4;
  const wash = new THREE.Mesh(
    new THREE.ShapeGeometry(shape),
    new THREE.MeshBasicMaterial({ color, transparent: true, opacity: 0.1, side: THREE.DoubleSide, depthWrite: false }),
  );
  wash.position.z = level;
  const corners = rim.map(([u, v]) => [u, v, level]);
  const pieces = corners.flatMap((corner, i) => [...corner, ...corners[(i + 1) % corners.length]]);
  const options = { color, linewidth: 1.6, transparent: true };
  const outline = (extra) => new THREE.LineSegments2(new THREE.LineSegmentsGeometry().setPositions(pieces), new THREE.LineMaterial({ ...options, ...extra }));
  const [hidden, seen] = [outline({ depthTest: false, opacity: 0.25 }), outline({ opacity: 0.9 })];
  [wash.renderOrder, hidden.renderOrder, seen.renderOrder] = [1, 2, 2];
  return [wash, hidden, seen];
}
