"""From a map file to a scene folder: read, project, repair, extrude, write."""

from raymark.scenes.importing.import_scene import find_map, import_scene
from raymark.scenes.importing.report import FindingCount, ImportOptions, ImportReport
from raymark.scenes.importing.scene_folder import target_folder

__all__ = [
    "FindingCount",
    "ImportOptions",
    "ImportReport",
    "find_map",
    "import_scene",
    "target_folder",
]
