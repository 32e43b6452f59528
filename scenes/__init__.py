"""Scenes as folders: geometry, materials, base-station sites and a card each."""

from raymark.scenes.materials import check_material
from raymark.scenes.scene import Scene, get_scene, scene_names
from raymark.scenes.trust import call_trusting, trust_folder, trusted_folders

__all__ = [
    "Scene",
    "call_trusting",
    "check_material",
    "get_scene",
    "scene_names",
    "trust_folder",
    "trusted_folders",
]
