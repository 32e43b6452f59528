"""From features of a map to buildings: what stands where, how high, and how that is known.

Tags are OpenStreetMap's, read as its "Simple 3D Buildings" says: heights count from the ground, and
parts take the place of the outline that holds them. Roofs without walls are slabs.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from jaxtyping import Bool

from raymark.errors import SceneError
from raymark.radio.frames import wrap_deg
from raymark.scenes.importing.buildings import (
    Building,
    HeightSource,
    ImportFinding,
    MapFeature,
    SourceMap,
)
from raymark.scenes.importing.geojson import is_underground
from raymark.scenes.importing.height_tags import (
    IMPLAUSIBLE,
    LEVEL_HEIGHT_M,
    Extent,
    is_plausible,
    parse_number,
    read_extent,
)
from raymark.scenes.importing.local_frame import WGS84, BBox, LocalFrame, select_in_box
from raymark.scenes.importing.material_rules import MaterialRules
from raymark.scenes.importing.outlines import Item, carve, find_outlines, finding_of
from raymark.scenes.importing.repair import make_valid
from raymark.seeding import child_generator

LEAST_KNOWN = 10
"""A kind of building of which so many heights are known sets the heights of its others."""

SLAB_M = 0.3
"""Thickness of a roof without walls."""

_MAX_DRAW = 2.0
"""Draws end at so many deviations: no assumed building is a tower among its kind."""
_NEAR_DEG = 0.01
"""Parts lie no farther than this outside of a box that their outline touches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typical:
    """A lognormal distribution of heights.

    Attributes:
        median_m: Its median [m].
        log_spread: Standard deviation of the logarithm.
    """

    median_m: float
    log_spread: float


DEFAULT_HEIGHT = Typical(median_m=9.0, log_spread=1 / 3)
"""Where the map knows too few heights of a kind: three levels, that is 9 m +- 3 m."""
DEFAULT_OPEN_HEIGHT = Typical(median_m=4.0, log_spread=1 / 4)
"""The same for roofs without walls, from carports to filling stations: 4 m +- 1 m."""
_OPEN_KINDS = frozenset({"roof", "carport", "canopy"})


def to_buildings(
    source: SourceMap,
    frame: LocalFrame,
    *,
    rules: MaterialRules,
    bbox: BBox | None = None,
    seed: int = 0,
    height_m: float | None = None,
) -> tuple[tuple[Building, ...], tuple[ImportFinding, ...]]:
    """Return the buildings of a map in the scene's frame, with heights and materials.

    Heights that are not known are drawn, unless one is given for all of them; a draw depends on the
    seed, the building's id and the heights that the whole map knows, so that a building is equally
    high in every box.

    Args:
        source: Features of one map.
        frame: Where they go.
        rules: What they are made of.
        bbox: Only buildings that touch this box are kept, whole; all if None.
        seed: Root of the draws.
        height_m: Of the buildings whose height the map does not know [m].

    Returns:
        Buildings that stand above ground, and what was assumed or dropped; the map's own findings
        are not repeated.

    Raises:
        SceneError: If no building is left.
    """
    if not source.features:
        raise SceneError(f"{source.source} holds no building")
    near = source if bbox is None else _select_near(source, bbox)
    items = _place(near, frame)
    kept = [item for item, is_in in zip(items, _touch(items, frame, bbox), strict=True) if is_in]
    findings = [finding_of("dropped", item.unusable, item) for item in kept if item.unusable]
    standing = [item for item in kept if not item.unusable]
    if not standing:
        raise SceneError(_nothing_left(items, findings, source, frame, bbox))
    findings += carve(standing)
    builder = _Builder(rules, typical_heights(source.features), seed, height_m)
    buildings = [builder.build(item) for item in standing if not item.footprint.is_empty]
    placed = [_place_faces(building, frame, source) for building in buildings]
    return tuple(placed), (*findings, *builder.findings)


def typical_heights(features: Sequence[MapFeature]) -> dict[str, Typical]:
    """Return the distribution of known heights of each kind of building with enough of them.

    Median and spread (half of what lies between the quantiles 0.16 and 0.84) of the logarithm are
    robust: a tower among houses does not make other houses tall.
    """
    known = defaultdict(list)
    for feature in features:
        top_m = _extent(feature).top_m
        if top_m:
            known[_kind(feature)].append(top_m)
    return {
        kind: typical_height(tops_m) for kind, tops_m in known.items() if len(tops_m) >= LEAST_KNOWN
    }


def typical_height(tops_m: Sequence[float]) -> Typical:
    """Return the distribution of known heights [m]; the default one if they are too few."""
    if len(tops_m) < LEAST_KNOWN:
        return DEFAULT_HEIGHT
    low, high = np.quantile(np.log(tops_m), (0.16, 0.84))
    return Typical(median_m=float(np.median(tops_m)), log_spread=float(high - low) / 2)


def draw_height_m(typical: Typical, seed: int, building: str) -> float:
    """Draw the height of a building [m] to the centimetre, by the seed and its id alone."""
    draw = child_generator(seed, "height", building).standard_normal()
    draw = float(np.clip(draw, -_MAX_DRAW, _MAX_DRAW))
    return round(typical.median_m * float(np.exp(typical.log_spread * draw)), 2)


class _Builder:
    """Fills in what a map leaves open, and notes it.

    Attributes:
        findings: What was assumed so far.
    """

    def __init__(
        self,
        rules: MaterialRules,
        typical: Mapping[str, Typical],
        seed: int,
        given_m: float | None,
    ) -> None:
        self._rules = rules
        self._typical = typical
        self._seed = seed
        self._given_m = given_m
        self.findings: list[ImportFinding] = []

    def build(self, item: Item) -> Building:
        """Return the building of a feature; faces, if any, are as its source has them."""
        extent = item.rest or item.extent
        for fault in extent.faults:
            self.findings.append(finding_of("assumed", fault, item))
        top_m, height_source = extent.top_m, extent.source
        if top_m is None:
            top_m, height_source = self._assume(item)
        bottom_m = extent.bottom_m
        if _is_open(item.feature) and bottom_m == 0 and top_m > SLAB_M:
            bottom_m = round(top_m - SLAB_M, 2)
            reason = f"roof without walls, made a slab of {SLAB_M:g} m"
            self.findings.append(finding_of("assumed", reason, item))
        wall, roof = self._materials(item)
        return Building(
            id=item.feature.id,
            footprint=item.footprint,
            bottom_m=bottom_m,
            top_m=top_m,
            height_source=height_source,
            wall_material=wall,
            roof_material=roof,
            is_part=item.feature.is_part,
            surfaces=item.feature.surfaces if extent.source == "surveyed" else (),
        )

    def _assume(self, item: Item) -> tuple[float, HeightSource]:
        """Return the height of a part's outline if that fits, the one given for all, or a draw."""
        bottom_m = item.extent.bottom_m
        whole = item.outline.extent if item.outline else None
        if whole and whole.top_m is not None and whole.top_m > bottom_m:
            self.findings.append(finding_of("assumed", "part is as high as its outline", item))
            return whole.top_m, whole.source
        if self._given_m is not None and self._given_m > bottom_m:
            limit_m = self._given_m if item.limit_m is None else item.limit_m
            return min(self._given_m, limit_m), "given"
        kind = _kind(item.feature)
        default, around = DEFAULT_HEIGHT, "9 m +- 3 m"
        if _is_open(item.feature):
            default, around = DEFAULT_OPEN_HEIGHT, "4 m +- 1 m"
        known = "those of its kind in the map" if kind in self._typical else around
        whose = "height" if item.limit_m is None else "height of what parts leave of an outline"
        reason = f"{whose} not known, drawn around {known}"
        self.findings.append(finding_of("assumed", reason, item))
        top_m = draw_height_m(self._typical.get(kind, default), self._seed, item.feature.id)
        top_m = top_m if item.limit_m is None else min(top_m, item.limit_m)
        return (top_m if top_m > bottom_m else bottom_m + LEVEL_HEIGHT_M), "assumed"

    def _materials(self, item: Item) -> tuple[str, str]:
        # What is said of the whole holds for its parts, unless they say otherwise.
        whole = item.outline.feature.tags if item.outline else {}
        tags = {**whole, **item.feature.tags}
        for value in self._rules.unknown_materials(tags):
            self.findings.append(finding_of("assumed", f"no material rule for {value}", item))
        return self._rules.materials_of(tags)


def _select_near(source: SourceMap, bbox: BBox) -> SourceMap:
    """Leave out what lies far from a box; what its features hold may lie a little outside."""
    select_in_box(source, bbox)  # raises if nothing lies in it
    west, south, east, north = bbox
    west, east = wrap_deg(west - _NEAR_DEG), wrap_deg(east + _NEAR_DEG)
    return select_in_box(source, (west, south - _NEAR_DEG, east, north + _NEAR_DEG))


def _place(source: SourceMap, frame: LocalFrame) -> list[Item]:
    """Bring all features into the frame, and find the outlines of parts."""
    raw = np.array([feature.geometry for feature in source.features], dtype=object)
    footprints = frame.project(raw, source.crs)
    items = []
    for feature, footprint in zip(source.features, footprints, strict=True):
        extent = _extent(feature)
        unusable = _unusable(feature, extent)
        items.append(Item(feature=feature, extent=extent, unusable=unusable, footprint=footprint))
    usable = [item for item in items if not item.unusable]
    parts = [item for item in usable if item.feature.is_part]
    outlines = [item for item in usable if not item.feature.is_part]
    if parts and outlines:
        find_outlines(parts, outlines)
    return items


def _touch(items: list[Item], frame: LocalFrame, bbox: BBox | None) -> Bool[np.ndarray, " item"]:
    """Return which features touch a box, or are parts of one that does."""
    if bbox is None:
        return np.ones(len(items), dtype=bool)
    west, south, east, north = bbox
    east = east + 360 if east < west else east
    # Parallels are curved in the frame.
    corners = shapely.segmentize(shapely.box(west, south, east, north), (east - west) / 16)
    box = frame.project(corners, WGS84)
    whole = np.array([(item.outline or item).footprint for item in items], dtype=object)
    valid = make_valid(whole)
    # What encloses nothing is kept here, to be dropped, and reported, by the repair.
    seen = np.where(shapely.is_empty(valid), shapely.envelope(whole), valid)
    return shapely.intersects(seen, box)


def _place_faces(building: Building, frame: LocalFrame, source: SourceMap) -> Building:
    """Bring the faces of a building into the frame, its lowest point to height 0."""
    if not building.surfaces:
        return building
    faces = frame.project_surfaces(building.surfaces, source.crs)
    lowest_m = min(ring[:, 2].min() for face in faces for ring in face.rings)
    down = np.array([0.0, 0.0, lowest_m])
    return replace(
        building,
        surfaces=tuple(replace(f, rings=tuple(ring - down for ring in f.rings)) for f in faces),
    )


def _extent(feature: MapFeature) -> Extent:
    """Return the height of a feature's faces, if it has some, else what its tags say."""
    if not feature.surfaces:
        return read_extent(feature.tags)
    height_m = float(np.ptp([z for s in feature.surfaces for ring in s.rings for z in ring[:, 2]]))
    if is_plausible(height_m):
        return Extent(bottom_m=0.0, top_m=height_m, source="surveyed")
    tagged = read_extent(feature.tags)
    return replace(tagged, faults=(*tagged.faults, f"3D faces ignored: height {IMPLAUSIBLE}"))


def _unusable(feature: MapFeature, extent: Extent) -> str:
    """Return why a feature is no building that waves meet, or nothing."""
    if extent.source == "surveyed":
        return ""
    kind, layer = _kind(feature), parse_number(feature.tags.get("layer", "0"))
    if kind == "no":
        return "tagged as no building"
    if is_underground(feature.tags):
        return "lies underground"
    if layer is not None and layer < 0 and extent.top_m is None:
        return "layer below the ground and no height"
    if extent.top_m == 0:
        return "nothing of it stands above the ground"
    return ""


def _is_open(feature: MapFeature) -> bool:
    """Whether a feature is a roof that stands on no walls."""
    return _kind(feature) in _OPEN_KINDS or feature.tags.get("wall") == "no"


def _kind(feature: MapFeature) -> str:
    return feature.tags.get("building:part" if feature.is_part else "building", "yes")


def _nothing_left(
    items: list[Item],
    dropped: list[ImportFinding],
    source: SourceMap,
    frame: LocalFrame,
    bbox: BBox | None,
) -> str:
    reasons = Counter(finding.reason for finding in dropped)
    unusable = "".join(f", {count} left out ({reason})" for reason, count in reasons.items())
    counts = f"{source.source}, which has {len(source.features)} in all{unusable}"
    if bbox is None:
        return f"no building stands above ground in {counts}; choose another map"
    bounds = shapely.total_bounds(np.array([item.footprint for item in items], dtype=object))
    nearest = frame.to_lonlat(bounds.reshape(2, 2)).ravel()
    return (
        f"the box {','.join(f'{value:g}' for value in bbox)} meets no building above ground of "
        f"{counts}; the nearest lie in {','.join(f'{value:.5f}' for value in nearest)}; "
        "choose another box"
    )
