// The paths of one link as lines: colour by kind, width and opacity by power.

const FADED_DB = 40;
const [THIN_PX, THICK_PX, CASING_PX] = [1.6, 5, 2.4];

/** 1 for the strongest path of a link, 0 for one that is 40 dB weaker. */
const strengthOf = (path, strongest) => Math.max(0, 1 - (strongest.gain_db - path.gain_db) / FADED_DB);

/** All corners of a path from the site to the UE. */
const cornersOf = (path, site, link) => [site.position_m, ...path.points, link.position];

function lineOf(corners, options, order) {
  const pieces = corners.slice(1).flatMap((corner, i) => [...corners[i], ...corner]);
  const geometry = new THREE.LineSegmentsGeometry().setPositions(pieces);
  const line = new THREE.LineSegments2(geometry, new THREE.LineMaterial({ transparent: true, depthWrite: false, fog: false, ...options }));
  [line.renderOrder, line.frustumCulled] = [order, false];
  return line;
}

/** The lines of a link's paths, weakest first; where a building hides one, it shines through. */
function makePaths(site, link, paths, chosen, palette) {
  const group = new THREE.Group();
  [...paths.entries()].reverse().forEach(([index, path]) => {
    const strength = strengthOf(path, paths[0]);
    const isChosen = index === chosen;
    const isFaded = chosen !== null && !isChosen;
    const color = palette.tint(KINDS[path.kind].color);
    const linewidth = THIN_PX + (THICK_PX - THIN_PX) * strength + (isChosen ? 2 : 0);
    const opacity = isFaded ? 0.12 : isChosen ? 1 : 0.45 + 0.55 * strength;
    const corners = cornersOf(path, site, link);
    const order = isChosen ? 8 : 5;
    const casing = { color: palette.casing, linewidth: linewidth + CASING_PX, opacity: opacity * (isFaded ? 0.3 : 0.75) };
    group.add(
      lineOf(corners, { ...casing, depthTest: false, opacity: casing.opacity * 0.35 }, order),
      lineOf(corners, { color, linewidth, depthTest: false, opacity: opacity * 0.5 }, order),
      lineOf(corners, casing, order + 0.1),
      lineOf(corners, { color, linewidth, opacity }, order + 0.2),
    );
    if (path.points.length && !isFaded) {
      const dots = pointsOf(path.points, ueTexture(1, color, palette.casing), isChosen ? 12 : 5 + 4 * strength, { depthTest: false, opacity });
      [dots.renderOrder, dots.frustumCulled] = [order + 0.3, false];
      group.add(dots);
    }
  });
  return group;
}

/** Free what lines and points hold on the graphics card. */
function discard(group) {
  group.traverse((item) => {
    item.geometry?.dispose();
    item.material?.map?.dispose();
    item.material?.dispose();
  });
  group.removeFromParent();
}
