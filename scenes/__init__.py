"""Scenes as folders: geometry, materials, base-station sites and a card each."""

from raymark.scenes.materials import ITU_RANGES_HZ, check_material
from raymark.scenes.scene import Scene, get_scene, scene_names

__all__ = ["ITU_RANGES_HZ", "Scene", "check_material", "get_scene", "scene_names"]
