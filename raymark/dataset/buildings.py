"""The buildings of a dataset's scenes: heights to draw below maps, and footprints for models.

They stand beside the paths and outside the content hash: paths do not hang on these files.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from raymark.dataset.hdf5 import read_names
from raymark.dataset.schema import Arrays, check_arrays
from raymark.dataset.shard import checked_copy, open_shard, read_shard, write_shard
from raymark.errors import SchemaError
from raymark.storage import PlaceLike, as_place

BUILDINGS_FOLDER = "buildings"
DEFAULT_RANGE_M = 100.0
"""How far around a site is shown [m] where positions were given and no range is known."""
_TEXTS = ("licence", "attribution", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeightMap:
    """Height of the topmost surface above ground, on a raster; 0 where there is no building.

    Attributes:
        height_m: Height above ground [m].
        x_m: Edges of the columns [m].
        y_m: Edges of the rows [m].
    """

    height_m: Float[np.ndarray, "y x"]
    x_m: Float[np.ndarray, "x+1"]
    y_m: Float[np.ndarray, "y+1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildingPart:
    """An upright piece of a building, the same at every height.

    Attributes:
        building: Number of the building that it is of.
        rings_m: x and y [m] of the outline, anticlockwise, then of its holes, clockwise; the first
            point is not repeated.
        ground_m: z of the ground from which its heights count [m].
        bottom_m: Where it begins above ground [m]; above 0 where one can pass below.
        top_m: Where it ends above ground [m].
        wall_material: ITU-R P.2040 name.
        roof_material: ITU-R P.2040 name.
    """

    building: int
    rings_m: tuple[Float[np.ndarray, "_ 2"], ...]
    ground_m: float
    bottom_m: float
    top_m: float
    wall_material: str
    roof_material: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Buildings:
    """What stands in a scene.

    Attributes:
        heights: Around the sites of the dataset.
        parts: Of all buildings of the scene.
        licence: SPDX identifier of the scene's licence, under which these buildings are, too.
        attribution: Whom a user has to name.
        note: Why the parts could not be found; empty if they were.
    """

    heights: HeightMap
    parts: tuple[BuildingPart, ...]
    licence: str
    attribution: str
    note: str = ""


def buildings_file(scene: str) -> str:
    """Return the path of a scene's buildings, relative to the dataset."""
    return f"{BUILDINGS_FOLDER}/{scene}.h5"


def write_buildings(folder: PlaceLike, scene: str, buildings: Buildings) -> str:
    """Write the file of a scene's buildings; the same buildings give the same bytes.

    Args:
        folder: The dataset.
        scene: Name of the scene.
        buildings: What stands there.

    Returns:
        SHA-256 (hex) of the file.

    Raises:
        SchemaError: If a value is not finite.
        DatasetError: If the disk is full or the folder cannot be written.
    """
    parts = buildings.parts
    materials = sorted({m for part in parts for m in (part.wall_material, part.roof_material)})
    attributes = {
        "frame": "world: x east, y north, z up [m]",
        "scene": scene,
        "materials": materials,
        "licence": buildings.licence,
        "attribution": buildings.attribution,
        "note": buildings.note,
    }
    arrays = {**_raster_arrays(buildings.heights), **_part_arrays(parts, materials)}
    return write_shard(as_place(folder) / buildings_file(scene), "buildings", arrays, attributes)


def read_buildings(path: PlaceLike, sha256: str) -> Buildings:
    """Read the file of a scene's buildings.

    Args:
        path: The file.
        sha256: What the manifest says of it.

    Raises:
        SchemaError: If the file is missing, differs from the manifest or breaks the schema.
    """
    with checked_copy(path, sha256) as copy:
        arrays = read_shard(copy, "buildings")
        with open_shard(copy, "buildings") as file:
            names = {name: read_names(file, name, path) for name in ("materials", *_TEXTS)}
    check_arrays("buildings", arrays, where=str(path))
    _check_offsets(arrays, num_materials=len(names["materials"]), where=str(path))
    return Buildings(
        heights=HeightMap(
            height_m=arrays["raster/height_m"], x_m=arrays["raster/x_m"], y_m=arrays["raster/y_m"]
        ),
        parts=tuple(_part(arrays, i, names["materials"]) for i in range(len(arrays["part/top_m"]))),
        **{name: " ".join(names[name]) for name in _TEXTS},
    )


def _raster_arrays(heights: HeightMap) -> dict[str, np.ndarray]:
    return {
        "raster/x_m": heights.x_m.astype("f8"),
        "raster/y_m": heights.y_m.astype("f8"),
        "raster/height_m": heights.height_m.astype("f4"),
    }


def _part_arrays(parts: Sequence[BuildingPart], materials: list[str]) -> dict[str, np.ndarray]:
    rings = [ring for part in parts for ring in part.rings_m]
    names = ("building", "ground_m", "bottom_m", "top_m")
    types = {"building": "i4"}
    return {
        **{
            f"part/{name}": np.array([getattr(p, name) for p in parts], dtype=types.get(name, "f4"))
            for name in names
        },
        **{
            f"part/{name}": np.array([materials.index(getattr(p, name)) for p in parts], dtype="i2")
            for name in ("wall_material", "roof_material")
        },
        "part/ring_offset": _offsets([len(part.rings_m) for part in parts]),
        "ring/point_offset": _offsets([len(ring) for ring in rings]),
        "point/position_m": np.concatenate([np.zeros((0, 2)), *rings]).astype("f4"),
    }


def _offsets(counts: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *counts]).astype("i4")


def _part(arrays: Arrays, i: int, materials: tuple[str, ...]) -> BuildingPart:
    first, last = arrays["part/ring_offset"][i : i + 2]
    edges = arrays["ring/point_offset"][first : last + 1]
    return BuildingPart(
        building=int(arrays["part/building"][i]),
        rings_m=tuple(
            arrays["point/position_m"][start:stop].astype("f8")
            for start, stop in itertools.pairwise(edges)
        ),
        ground_m=float(arrays["part/ground_m"][i]),
        bottom_m=float(arrays["part/bottom_m"][i]),
        top_m=float(arrays["part/top_m"][i]),
        wall_material=materials[arrays["part/wall_material"][i]],
        roof_material=materials[arrays["part/roof_material"][i]],
    )


def _check_offsets(arrays: Arrays, *, num_materials: int, where: str) -> None:
    counts = {"part/ring_offset": ("ring", 1), "ring/point_offset": ("point", 3)}
    lengths = {
        "ring": len(arrays["ring/point_offset"]) - 1,
        "point": len(arrays["point/position_m"]),
    }
    for name, (rows, least) in counts.items():
        offset = arrays[name]
        if offset[0] != 0 or offset[-1] != lengths[rows] or (np.diff(offset) < least).any():
            raise SchemaError(f"{where}: {name} does not divide the rows of {rows}/*")
    for name in ("part/wall_material", "part/roof_material"):
        if ((arrays[name] < 0) | (arrays[name] >= num_materials)).any():
            raise SchemaError(f"{where}: {name} counts beyond the {num_materials} `materials`")
