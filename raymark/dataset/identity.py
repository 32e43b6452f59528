"""What decides the content of a dataset: its campaign, the files that it names, its scenes."""

from pathlib import Path
from typing import Any

from raymark.config import config_hash
from raymark.dataset.campaign import Campaign


def campaign_hash(campaign: Campaign, scene_hashes: dict[str, str]) -> str:
    """Return the hash over everything that decides a dataset's content but software versions.

    Args:
        campaign: The campaign.
        scene_hashes: Hash of each scene by its name.
    """
    return config_hash({"campaign": _identity(campaign), "scenes": scene_hashes})


def _identity(campaign: Campaign) -> dict[str, Any]:
    """Return what decides the content: files by their hash, scenes by their name."""
    data: dict[str, Any] = campaign.model_dump(mode="json", exclude={"name", "description"})
    for choice in data["scenes"]:
        choice["name"] = Path(choice["name"]).name
    data["sampling"] = campaign.sampling.identity()
    return data
