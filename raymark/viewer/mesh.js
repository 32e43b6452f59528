// Buildings and ground: flat faces, darker towards the foot of a wall, and their sharp edges.

const SHARP_COSINE = Math.cos((25 * Math.PI) / 180);
const FOOT_SHADE = 0.8;

/** Unit normals of all triangles, three numbers each. */
function faceNormals(vertex, face) {
  const normal = new Float32Array(face.length);
  for (let f = 0; f < face.length; f += 3) {
    const [a, b, c] = [3 * face[f], 3 * face[f + 1], 3 * face[f + 2]];
    const [ux, uy, uz] = [vertex[b] - vertex[a], vertex[b + 1] - vertex[a + 1], vertex[b + 2] - vertex[a + 2]];
    const [vx, vy, vz] = [vertex[c] - vertex[a], vertex[c + 1] - vertex[a + 1], vertex[c + 2] - vertex[a + 2]];
    const [x, y, z] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    const length = Math.hypot(x, y, z) || 1; // a sliver of no area has no normal
    normal.set([x / length, y / length, z / length], f);
  }
  return normal;
}

/** End points of the edges of some faces that are sharp or belong to one face only. */
function sharpEdges(vertex, face, normal, rows) {
  const first = new Map();
  const sharp = new Map();
  const count = vertex.length / 3;
  for (const f of rows) {
    for (let k = 0; k < 3; k += 1) {
      const [a, b] = [face[3 * f + k], face[3 * f + ((k + 1) % 3)]];
      const key = Math.min(a, b) * count + Math.max(a, b);
      const other = first.get(key);
      if (other === undefined) {
        first.set(key, f);
        sharp.set(key, [a, b]);
      } else {
        const dot = normal[3 * f] * normal[3 * other] + normal[3 * f + 1] * normal[3 * other + 1] + normal[3 * f + 2] * normal[3 * other + 2];
        if (Math.abs(dot) > SHARP_COSINE) sharp.delete(key);
      }
    }
  }
  const points = new Float32Array(6 * sharp.size);
  let at = 0;
  for (const pair of sharp.values()) for (const i of pair) for (let k = 0; k < 3; k += 1) points[at++] = vertex[3 * i + k];
  return points;
}

/** A geometry of the faces `rows`; every corner stands alone, since neighbours differ in colour. */
function facesGeometry(vertex, face, normal, rows) {
  const [position, normals] = [new Float32Array(9 * rows.length), new Float32Array(9 * rows.length)];
  rows.forEach((f, row) => {
    for (let k = 0; k < 9; k += 1) {
      position[9 * row + k] = vertex[3 * face[3 * f + Math.floor(k / 3)] + (k % 3)];
      normals[9 * row + k] = normal[3 * f + (k % 3)];
    }
  });
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(position, 3));
  geometry.setAttribute("normal", new THREE.BufferAttribute(normals, 3));
  geometry.setAttribute("color", new THREE.BufferAttribute(new Float32Array(position.length), 3));
  return geometry;
}

/** Colour roofs and walls by height above the foot of the scene, and the foot of a wall darker. */
function paintBuildings(geometry, palette, low, high) {
  const { position, normal, color } = geometry.attributes;
  const shades = ["wallLow", "wallHigh", "roofLow", "roofHigh"].map((name) => new THREE.Color(palette[name]));
  const shade = new THREE.Color();
  for (let f = 0; f < position.count; f += 3) {
    const z = [position.getZ(f), position.getZ(f + 1), position.getZ(f + 2)];
    const [bottom, top] = [Math.min(...z), Math.max(...z)];
    const isRoof = Math.abs(normal.getZ(f)) > 0.35;
    const share = Math.min(1, Math.max(0, (top - low) / (high - low || 1)));
    shade.lerpColors(shades[isRoof ? 2 : 0], shades[isRoof ? 3 : 1], share);
    for (let k = 0; k < 3; k += 1) {
      const lift = isRoof ? 1 : FOOT_SHADE + (1 - FOOT_SHADE) * ((z[k] - bottom) / (top - bottom || 1));
      color.setXYZ(f + k, shade.r * lift, shade.g * lift, shade.b * lift);
    }
  }
  color.needsUpdate = true;
}

function quantile(values, share) {
  const sorted = Float32Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}

/** The whole scene as three objects, and a function that paints them for a palette. */
function makeMesh(arrays) {
  const vertex = Float32Array.from(arrays["mesh/vertex_cm"], (value) => value / 100);
  const face = arrays["mesh/face"];
  const normal = faceNormals(vertex, face);
  const rows = { ground: [], building: [] };
  arrays["mesh/is_ground"].forEach((isGround, f) => rows[isGround ? "ground" : "building"].push(f));
  const flat = (extra) => new THREE.MeshLambertMaterial({ side: THREE.DoubleSide, shadowSide: THREE.DoubleSide, ...extra });
  const ground = new THREE.Mesh(facesGeometry(vertex, face, normal, rows.ground), flat({}));
  ground.receiveShadow = true;
  // Pushed back a little: edges on its faces stay in front.
  const pushed = { vertexColors: true, polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 };
  const buildings = new THREE.Mesh(facesGeometry(vertex, face, normal, rows.building), flat(pushed));
  [buildings.castShadow, buildings.receiveShadow] = [true, true];
  const lines = new THREE.BufferGeometry();
  lines.setAttribute("position", new THREE.BufferAttribute(sharpEdges(vertex, face, normal, rows.building), 3));
  const edges = new THREE.LineSegments(lines, new THREE.LineBasicMaterial({ transparent: true }));
  const heights = rows.building.map((f) => vertex[3 * face[3 * f] + 2]);
  const [low, high] = [quantile(heights, 0), quantile(heights, 0.98)];
  const paint = (palette) => {
    ground.material.color.set(palette.ground);
    paintBuildings(buildings.geometry, palette, low, high);
    edges.material.color.set(palette.edge);
  };
  return { ground, buildings, edges, paint, low, high };
}
