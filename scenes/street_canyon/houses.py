"""The meshes of the street canyon: each house a closed box, on a flat ground."""

from pathlib import Path

import numpy as np
import trimesh

from raymark.scenes.scene_files import write_geometry
from raymark.scenes.street_canyon.geometry import LEAST_HEIGHT_M
from raymark.seeding import child_generator

_WALL_MATERIALS = ("concrete", "brick", "marble")
_WALL_THICKNESS_M = 0.3


def write_houses(
    values: dict[str, float], extent_m: tuple[float, float, float, float], folder: Path
) -> None:
    """Write `scene.xml` and one PLY per material into `folder`.

    Args:
        values: Every parameter, checked.
        extent_m: x_min, y_min, x_max, y_max of the ground [m].
        folder: Where to.
    """
    rng = child_generator(int(values["seed"]), "street_canyon")
    houses: dict[str, list[trimesh.Trimesh]] = {name: [] for name in _WALL_MATERIALS}
    for low, high in _lots(values):
        height = rng.normal(values["mean_height_m"], values["std_height_m"])
        tallest = values["mean_height_m"] + 3 * values["std_height_m"]
        top = float(np.clip(height, LEAST_HEIGHT_M, tallest))
        material = _WALL_MATERIALS[int(rng.integers(len(_WALL_MATERIALS)))]
        houses[material].append(trimesh.creation.box(bounds=[[*low, 0.0], [*high, top]]))
    meshes = {f"{name}_houses": (_join(boxes), name) for name, boxes in houses.items() if boxes}
    meshes["ground"] = (_ground(extent_m), "concrete")
    write_geometry(folder, meshes, thickness_m=_WALL_THICKNESS_M)


def _lots(values: dict[str, float]) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Return lower and upper corner of every house's footprint [m]."""
    size, num_lots = values["block_size_m"], int(values["lots_per_side"])
    pitch, lot = size + values["street_width_m"], size / num_lots
    num_x, num_y = int(values["num_blocks_x"]), int(values["num_blocks_y"])
    corners = []
    for block_x, block_y in np.ndindex(num_x, num_y):
        x0 = (block_x - num_x / 2) * pitch + values["street_width_m"] / 2
        y0 = (block_y - num_y / 2) * pitch + values["street_width_m"] / 2
        for i, j in np.ndindex(num_lots, num_lots):
            low = (x0 + i * lot, y0 + j * lot)
            corners.append((low, (low[0] + lot, low[1] + lot)))
    return corners


def _join(boxes: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    """Put boxes into one mesh without merging their corners."""
    first = np.cumsum([0] + [len(box.vertices) for box in boxes[:-1]])
    faces = [box.faces + start for box, start in zip(boxes, first, strict=True)]
    vertices = np.concatenate([box.vertices for box in boxes])
    return trimesh.Trimesh(vertices=vertices, faces=np.concatenate(faces), process=False)


def _ground(box: tuple[float, float, float, float]) -> trimesh.Trimesh:
    x0, y0, x1, y1 = box
    vertices = [[x0, y0, 0], [x1, y0, 0], [x1, y1, 0], [x0, y1, 0]]
    return trimesh.Trimesh(vertices=vertices, faces=[[0, 1, 2], [0, 2, 3]], process=False)
