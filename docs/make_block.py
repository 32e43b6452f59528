"""Write a map of a made-up quarter, with what real maps of buildings hold: `block.geojson`.

Perimeter blocks around courtyards, one of them entered through a passage, terraces, detached
houses, an L-shaped school and a church with a tower; heights of some, levels of others, nothing of
the rest; one outline that crosses itself and one that was drawn twice.

    python docs/make_block.py block.geojson [SEED]
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely import MultiPoint, Polygon
from shapely.affinity import rotate, translate

ORIGIN_DEG = (9.17345, 48.77126)
"""Longitude and latitude of the quarter's middle; nothing of what stands there is copied."""
STREET_M, DEPTH_M, PITCH_M = 15.0, 11.0, (88.0, 70.0)
BLOCKS = (  # from south to north, values of the tag `building`
    ("apartments", "apartments", "terrace", "house"),
    ("terrace", "school", "apartments", "apartments"),
    ("apartments", "church", "apartments", "house"),
)
Feature = dict[str, Any]


def make_blocks(rng: np.random.Generator) -> list[Polygon]:
    """Return the ground of each block: a grid of streets with every crossing moved."""
    rows, columns = len(BLOCKS), len(BLOCKS[0])
    y, x = np.mgrid[: rows + 1, : columns + 1]
    crossing = np.stack([x - columns / 2, y - rows / 2], axis=-1) * PITCH_M
    crossing = crossing + rng.uniform(-9, 9, crossing.shape)
    grounds = [
        Polygon([crossing[i, j], crossing[i, j + 1], crossing[i + 1, j + 1], crossing[i + 1, j]])
        for i, j in np.ndindex(rows, columns)
    ]
    return [ground.buffer(-STREET_M / 2) for ground in grounds]


def along(line: shapely.Geometry, spacing_m: float, rng: np.random.Generator) -> list[Polygon]:
    """Divide the plane by the nearest of points along a line: lots with common walls."""
    count = max(2, round(line.length / spacing_m))
    place = (np.arange(count) + rng.uniform(-0.15, 0.15, count)) / count
    points = MultiPoint(shapely.line_interpolate_point(line, place, normalized=True))
    return list(shapely.voronoi_polygons(points, extend_to=line.buffer(60)).geoms)


def perimeter(block: Polygon, rng: np.random.Generator) -> list[Polygon]:
    """Return houses all around a courtyard."""
    ring = block.difference(block.buffer(-DEPTH_M, join_style="mitre"))
    lots = along(block.buffer(-DEPTH_M / 2, join_style="mitre").exterior, 24.0, rng)
    return [lot.intersection(ring) for lot in lots if lot.intersects(ring)]


def terraces(block: Polygon, rng: np.random.Generator) -> list[Polygon]:
    """Return two rows of narrow houses."""
    corner = shapely.get_coordinates(block.minimum_rotated_rectangle)
    if np.linalg.norm(corner[1] - corner[0]) < np.linalg.norm(corner[2] - corner[1]):
        corner = corner[1:]
    rows = [shapely.LineString(corner[:2]), shapely.LineString(corner[2:4])]
    strips = [block.buffer(-3) & row.buffer(DEPTH_M + 4, cap_style="flat") for row in rows]
    return [
        lot & strip
        for row, strip in zip(rows, strips, strict=True)
        for lot in along(row, 11.0, rng)
        if lot.intersects(strip)
    ]


def houses(block: Polygon, rng: np.random.Generator) -> list[Polygon]:
    """Return detached houses, each turned a little."""
    x0, y0, x1, y1 = block.bounds
    house = shapely.box(-4.5, -5.5, 4.5, 5.5)
    middles = [(x, y) for x in np.arange(x0 + 10, x1, 19) for y in np.arange(y0 + 10, y1, 21)]
    found = [translate(rotate(house, rng.uniform(-15, 15)), x, y) for x, y in middles]
    return [house for house in found if block.contains(house)]


def school(block: Polygon, _rng: np.random.Generator) -> list[Polygon]:
    """Return one building in the form of an L."""
    x, y = shapely.get_coordinates(block.centroid)[0]
    long, short = shapely.box(-26, -17, 26, -3), shapely.box(12, -17, 26, 17)
    return [rotate(translate(long.union(short), x, y), 4)]


def tags_of(kind: str, rng: np.random.Generator) -> Feature:
    """Draw what a mapper knew of a house."""
    levels = int(rng.integers(2, 4) if kind in ("house", "terrace") else rng.integers(3, 7))
    tags: Feature = {"building": kind}
    known = rng.choice(["height", "levels", "nothing"], p=[0.45, 0.35, 0.2])
    if known == "height":
        tags["height"] = round(3.1 * levels + rng.uniform(0.5, 2.5), 1)
    elif known == "levels":
        tags["building:levels"] = str(levels)
    material = rng.choice(["", "brick", "glass"], p=[0.7, 0.25, 0.05])
    return {**tags, "building:material": str(material)} if material else tags


def make_church(block: Polygon) -> list[tuple[Polygon, Feature]]:
    """Return the outline of a church, its nave and its tower, as parts."""
    x, y = shapely.get_coordinates(block.centroid)[0]
    nave, tower = shapely.box(-12, -8, 18, 8), shapely.box(-20, -4, -12, 4)
    church = {"building": "church", "height": 38, "building:material": "sandstone"}
    low, high = ({"building:part": "yes", "height": height} for height in (17, 38))
    pieces: list[tuple[Polygon, Feature]] = [(nave | tower, church), (nave, low), (tower, high)]
    return [(translate(outline, x, y), tags) for outline, tags in pieces]


MAKERS = {"apartments": perimeter, "terrace": terraces, "house": houses, "school": school}


def make_map(seed: int) -> Feature:
    """Return the whole quarter as GeoJSON."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Polygon, Feature]] = []
    for block, kind in zip(make_blocks(rng), sum(BLOCKS, ()), strict=True):
        if kind == "church":
            found += make_church(block)
            continue
        for i, lot in enumerate(MAKERS[kind](block, rng)):
            # A passage leads into the courtyard: the third house begins above it.
            above = {"height": 15.5, "min_height": 3.8} if (kind, i) == ("apartments", 2) else {}
            found.append((lot, {**tags_of(kind, rng), **above}))
    x, y = shapely.get_coordinates(found[-1][0].centroid)[0]
    bow_tie = Polygon([(x + 22, y), (x + 32, y + 9), (x + 32, y), (x + 22, y + 9)])
    found += [(bow_tie, {"building": "shed", "height": 3}), found[0]]
    head = {"source": "a made-up quarter", "licence": "CC0-1.0", "attribution": "raymark"}
    features = [_feature(i, outline, tags) for i, (outline, tags) in enumerate(found)]
    return {"type": "FeatureCollection", **head, "features": features}


def _feature(index: int, outline: Polygon, tags: Feature) -> Feature:
    lon, lat = ORIGIN_DEG
    degree_m = np.array([111_320 * math.cos(math.radians(lat)), 111_200])
    placed = shapely.transform(outline, lambda xy: np.round([lon, lat] + xy / degree_m, 7))
    shape = shapely.geometry.mapping(placed)
    return {"type": "Feature", "id": f"way/{index}", "properties": tags, "geometry": shape}


if __name__ == "__main__":
    file, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    quarter = make_map(seed)
    file.write_text(json.dumps(quarter, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {file}: {len(quarter['features'])} outlines")
