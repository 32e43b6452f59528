"""Links without labels, located on a map: what traces the map, estimates and matches, joined."""

from raymark.cli.locating.on_map import LocatedOnMap, LocatingSettings, Output, locate_on_map
from raymark.generator.scene_maps import DEFAULT_AREA, MapKeeping
from raymark.models.twin.unlabelled import Assumptions

__all__ = [
    "DEFAULT_AREA",
    "Assumptions",
    "LocatedOnMap",
    "LocatingSettings",
    "MapKeeping",
    "Output",
    "locate_on_map",
]
