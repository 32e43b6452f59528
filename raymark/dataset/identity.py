"""What decides the content of a dataset: its campaign, the files that it names, its scenes."""

from pathlib import Path
from typing import Any

from raymark.config import config_hash
from raymark.dataset.campaign import Campaign
from raymark.dataset.earlier import without_earlier

NOT_DECISIVE = ("name", "description", "version")
"""Settings of a campaign that its content does not hang on."""


def campaign_hash(campaign: Campaign, scene_hashes: dict[str, str]) -> str:
    """Return the hash over everything that decides a dataset's content but software versions.

    Args:
        campaign: The campaign.
        scene_hashes: Hash of each scene by its name.
    """
    return config_hash({"campaign": _identity(campaign), "scenes": scene_hashes})


def is_surely_another(campaign: Campaign, other: Campaign) -> bool:
    """Tell whether two campaigns differ in what can be seen without their files and scenes."""
    return _settings(campaign) != _settings(other)


def _identity(campaign: Campaign) -> dict[str, Any]:
    """Return what decides the content: files by their hash, scenes by their name."""
    return _settings(campaign) | {"sampling": campaign.sampling.identity()}


def _settings(campaign: Campaign) -> dict[str, Any]:
    """Return the same but for files, which are not read."""
    data = without_earlier(campaign.model_dump(mode="json", exclude=set(NOT_DECISIVE)))
    for choice in data["scenes"]:
        choice["name"] = Path(choice["name"]).name
    data["sampling"].pop("files", None)
    return data
