"""Scenes as folders: geometry, materials, base-station sites and a card each."""

from raymark.scenes.materials import ITU_RANGES_HZ, check_material
from raymark.scenes.scene import Scene, get_scene, scene_names
from raymark.scenes.trust import call_trusting, trust_folder, trusted_folders

__all__ = [
    "ITU_RANGES_HZ",
    "Scene",
    "call_trusting",
    "check_material",
    "get_scene",
    "scene_names",
    "trust_folder",
    "trusted_folders",
]
