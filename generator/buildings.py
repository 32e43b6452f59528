"""What stands in the scenes of a plan: heights around the sites, and every building's outline."""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from raymark.dataset.buildings import (
    DEFAULT_RANGE_M,
    BuildingPart,
    Buildings,
    HeightMap,
)
from raymark.errors import SceneError
from raymark.generator.outdoors import RayCaster, ground_height
from raymark.generator.plan import Plan
from raymark.scenes import Scene
from raymark.scenes.footprints import scene_buildings
from raymark.scenes.importing.buildings import Building

Extent = tuple[float, float, float, float]

_ROOF_TOLERANCE_M = 1.0
"""Largest difference of a sloped roof and its layers: what maps of cities are wrong by, too."""
_MAX_CELLS = 500
_RANGE_MARGIN = 1.15


def plan_buildings(plan: Plan, scene_name: str) -> Buildings:
    """Return what stands in one scene of a plan.

    A scene whose outlines cannot be found still has heights: a dataset must not fail for them.
    """
    sites = [site for site in plan.sites if site.scene.name == scene_name]
    scene, sector = sites[0].scene, plan.campaign.sampling.sector
    range_m = sector.max_range_m if sector is not None else DEFAULT_RANGE_M
    positions_m = [site.site.position_m for site in sites]
    parts, note = _parts_of(scene)
    return Buildings(
        heights=height_map(sites[0].loaded, surroundings_m(scene.extent_m, positions_m, range_m)),
        parts=parts,
        licence=scene.settings.licence,
        attribution=scene.settings.attribution,
        note=note,
    )


def height_map(
    loaded: RayCaster, extent_m: Extent, *, resolution_m: float | None = None
) -> HeightMap:
    """Return the height of the topmost surface above ground over an area.

    One ray goes down at the centre of each cell; the ground below is what a ray from underneath
    meets first, so that heights are above terrain. At most 500 x 500 cells are made.

    Args:
        loaded: The scene.
        extent_m: x_min, y_min, x_max, y_max [m].
        resolution_m: Side of a cell [m], made larger where the limit asks for it; 1 m if not given.
    """
    x_min, y_min, x_max, y_max = extent_m
    longest = max(x_max - x_min, y_max - y_min)
    step = max(resolution_m or 1.0, longest / _MAX_CELLS)
    num_x, num_y = (max(1, math.ceil(s / step)) for s in (x_max - x_min, y_max - y_min))
    x_edges, y_edges = np.linspace(x_min, x_max, num_x + 1), np.linspace(y_min, y_max, num_y + 1)
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges)]
    x, y = np.meshgrid(*centres)
    heights = _height_above_ground(loaded, np.column_stack([x.ravel(), y.ravel()]))
    return HeightMap(x_m=x_edges, y_m=y_edges, height_m=heights.reshape(num_y, num_x))


def surroundings_m(
    extent_m: Extent, sites_m: Sequence[tuple[float, float, float]], range_m: float
) -> Extent:
    """Return the box around the ranges of sites, cut at the scene's own extent.

    Args:
        extent_m: That of the scene, x_min, y_min, x_max, y_max [m].
        sites_m: Where the sites stand [m].
        range_m: How far their UEs are [m].
    """
    reach = _RANGE_MARGIN * range_m
    x, y, _ = np.array(sites_m).T
    x_min, y_min, x_max, y_max = extent_m
    return (
        max(x_min, float(x.min()) - reach),
        max(y_min, float(y.min()) - reach),
        min(x_max, float(x.max()) + reach),
        min(y_max, float(y.max()) + reach),
    )


def _height_above_ground(
    loaded: RayCaster, xy_m: Float[np.ndarray, "cell 2"]
) -> Float[np.ndarray, "cell"]:
    _, high = loaded.box_m
    above = high[2] + 1.0
    origin = np.column_stack([xy_m, np.full(len(xy_m), above)])
    distance, _ = loaded.hit_distance(origin, np.tile((0.0, 0.0, -1.0), (len(xy_m), 1)))
    ground = ground_height(loaded, xy_m)
    has_ground = np.isfinite(distance) & np.isfinite(ground)
    top = above - np.where(has_ground, distance, 0.0)
    # Up and down rays meet a slope at slightly different heights: no cell lies below ground.
    return np.where(has_ground, np.maximum(top - np.where(has_ground, ground, 0.0), 0.0), 0.0)


def _parts_of(scene: Scene) -> tuple[tuple[BuildingPart, ...], str]:
    """Return the parts of a scene's buildings, and why there is none."""
    try:
        found = scene_buildings(scene, tolerance_m=_ROOF_TOLERANCE_M)
    except (SceneError, shapely.errors.ShapelyError) as error:
        return (), " ".join(str(error).split())
    numbers = _building_numbers(found).tolist()
    pieces = (_upright_parts(*item) for item in zip(found, numbers, strict=True))
    return tuple(itertools.chain.from_iterable(pieces)), ""


def _building_numbers(pieces: Sequence[Building]) -> Int[np.ndarray, "piece"]:
    """Count the buildings: pieces of one object that touch each other, as its roof's layers do."""
    # A piece is named after its object, with its own number behind a slash if there are several.
    names = [piece.id.rpartition("/")[0] or piece.id for piece in pieces]
    number = np.unique(names, return_inverse=True)[1]
    shapes = np.array([piece.footprint for piece in pieces], dtype=object)
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    is_same = number[one] == number[other]
    touching = (is_same[is_same], (one[is_same], other[is_same]))
    graph = coo_array(touching, shape=(len(pieces), len(pieces)))
    return connected_components(graph, directed=False)[1]


def _upright_parts(building: Building, number: int) -> Iterable[BuildingPart]:
    for polygon in shapely.get_parts(shapely.orient_polygons(building.footprint)).tolist():
        yield BuildingPart(
            building=number,
            rings_m=tuple(
                shapely.get_coordinates(ring)[:-1]
                for ring in (polygon.exterior, *polygon.interiors)
            ),
            ground_m=building.ground_m or 0.0,
            bottom_m=building.bottom_m,
            top_m=building.top_m,
            wall_material=building.wall_material,
            roof_material=building.roof_material,
        )
