"""Speed of `raymark scenes import`: a town of 5,000 houses, from GeoJSON to a scene folder.

    python perf/scene_import.py                      under a minute
    python perf/scene_import.py --num 500 --terrain

Houses stand in rows that share walls; one in a hundred each is drawn as a bow tie, twice, as a
sliver, or into its neighbour, and a third has no height. The peer is a plain loop of
`trimesh.creation.extrude_polygon` over the same outlines in metres: it neither reads nor repairs,
merges or writes, and its shared walls stay.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import trimesh

from raymark.scenes.importing import ImportOptions, import_scene
from raymark.scenes.importing.local_frame import WGS84, LocalFrame

FRAME = LocalFrame(origin_lon_deg=13.4, origin_lat_deg=52.5)
HOUSES_PER_ROW = 10
WIDTH_M, DEPTH_M, STREET_M = 11.0, 13.0, 16.0
PEER_HEIGHT_M = 10.0


def outlines(num: int, rng: np.random.Generator) -> list[shapely.Polygon]:
    """Return the outlines of rows of houses, turned by 12 degrees, with faults."""
    num_columns = math.ceil(math.sqrt(num / HOUSES_PER_ROW / 3))
    made = []
    for i in range(num):
        row, house = divmod(i, HOUSES_PER_ROW)
        line, column = divmod(row, num_columns)
        x = column * (HOUSES_PER_ROW * WIDTH_M + STREET_M) + house * WIDTH_M
        y = line * (DEPTH_M + STREET_M)
        fault = rng.integers(100)
        width = {0: 0.05, 1: WIDTH_M + 4.0}.get(int(fault), WIDTH_M)
        corners = [(x, y), (x + width, y), (x + width, y + DEPTH_M), (x, y + DEPTH_M)]
        if fault == 2:
            corners[1], corners[2] = corners[2], corners[1]
        made.append(shapely.Polygon(corners))
        if fault == 3:
            made.append(made[-1])
    return [shapely.affinity.rotate(shape, 12, origin=(0, 0)) for shape in made[:num]]


def write_map(path: Path, shapes: list[shapely.Polygon], rng: np.random.Generator) -> None:
    """Write the outlines in degrees, two thirds with a height or a number of levels."""
    degrees = shapely.transform(np.array(shapes), FRAME.to_lonlat)
    features = []
    for i, outline in enumerate(shapely.to_geojson(degrees)):
        tags: dict[str, Any] = {"building": "yes"}
        known = i % 3
        if known == 0:
            tags["height"] = f"{rng.uniform(6, 25):.1f}"
        elif known == 1:
            tags["building:levels"] = str(rng.integers(2, 8))
        features.append(
            {
                "type": "Feature",
                "id": f"way/{i}",
                "properties": tags,
                "geometry": json.loads(outline),
            }
        )
    collection = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(collection), encoding="utf-8")


def write_terrain(path: Path, extent_m: tuple[float, float, float, float]) -> None:
    """Write hills of 10 m height in the frame's own reference system."""
    x0, y0, x1, y1 = extent_m
    x, y = np.arange(x0, x1, 5.0), np.arange(y0, y1, 5.0)[::-1]
    heights = 5 * np.sin(x / 90)[None] + 5 * np.cos(y / 70)[:, None]
    head = f"ncols {len(x)}\nnrows {len(y)}\nxllcenter {x[0]}\nyllcenter {y[-1]}\ncellsize 5\n"
    rows = "\n".join(" ".join(f"{h:.3f}" for h in row) for row in heights)
    path.write_text(f"{head}{rows}\n", encoding="ascii")
    path.with_suffix(".prj").write_text(FRAME.crs.to_wkt(), encoding="utf-8")


def extrude_all(shapes: list[shapely.Polygon]) -> int:
    """Extrude each valid outline by itself, as the peer's users do; return the triangles."""
    degrees = shapely.transform(np.array(shapes), FRAME.to_lonlat)
    projected = FRAME.project(degrees, WGS84)
    valid = [shape for shape in projected if shape.is_valid]
    meshes = [trimesh.creation.extrude_polygon(s, PEER_HEIGHT_M, engine="earcut") for s in valid]
    return sum(len(mesh.faces) for mesh in meshes)


def main() -> None:
    """Time both on the same outlines and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=5000, help="houses")
    parser.add_argument("--terrain", action="store_true", help="on hills, every 10 m")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    shapes = outlines(args.num, rng)
    with tempfile.TemporaryDirectory() as workspace:
        folder = Path(workspace)
        write_map(folder / "town.geojson", shapes, rng)
        options = ImportOptions()
        if args.terrain:
            x0, y0, x1, y1 = shapely.total_bounds(np.array(shapes))
            write_terrain(folder / "hills.asc", (x0 - 200, y0 - 200, x1 + 200, y1 + 200))
            options = ImportOptions(terrain=folder / "hills.asc")
        start = time.perf_counter()
        report = import_scene(folder / "town.geojson", name="town", out=folder, options=options)
        ours_s = time.perf_counter() - start
    start = time.perf_counter()
    peer_triangles = extrude_all(shapes)
    peer_s = time.perf_counter() - start
    print(f"{args.num} houses, {report.num_buildings} in the scene")
    for finding in report.findings:
        print(f"  {finding.action:9} {finding.count:5}  {finding.reason}")
    print(f"import, file to folder     {ours_s:7.2f} s  {report.num_triangles:7} triangles")
    print(f"extrude_polygon in a loop  {peer_s:7.2f} s  {peer_triangles:7} triangles")
    print(f"ratio                      {ours_s / peer_s:7.2f}")


if __name__ == "__main__":
    main()
