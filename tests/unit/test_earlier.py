"""Datasets of earlier versions: their settings, their hash, and what can no longer be done."""

from typing import Any

import pytest

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.dataset.earlier import with_earlier
from raymark.dataset.identity import campaign_hash
from raymark.errors import ConfigError
from raymark.generator.plan import make_plan

SCENES = {"munich": "0" * 64}

TRACER: dict[str, Any] = {
    "max_depth": 4,
    "specular_reflection": True,
    "diffraction": True,
    "refraction": False,
    "diffuse_reflection": False,
    "weld_edges": False,
    "discovery": {"discovery_rays": 1_000_000, "edge_points": 8, "cone_rays": 128},
    "max_num_paths": 25,
    "max_path_length_m": 380.0,
    "solver_rays": 100_000,
    "solver_block_size": 50,
}


def stored(tracer: dict[str, Any]) -> Campaign:
    """Read a campaign as one that a dataset holds."""
    data = {
        "name": "old",
        "scenes": ["munich"],
        "bands": ["6GHz"],
        "sampling": {"kind": "uniform", "num_ues": 5},
        "tracer": tracer,
    }
    return validate(Campaign, with_earlier(data), where="a dataset")


def test_campaign_keeps_its_hash_when_settings_have_come_since() -> None:
    """The hashes were written down before `refinements` existed, and with `fields` left out."""
    of_sionna = "8dcfce863d1ee15e331f30992b1387fa2a7d8200c01a11be14d544ffe9333325"
    of_raymark = "e2637c6a378d4ae0b8447d430170049f65b773d09120d68e9afa2b7f67bdf89b"

    assert campaign_hash(stored(TRACER), SCENES) == of_sionna
    assert campaign_hash(stored({**TRACER, "fields": "raymark"}), SCENES) == of_raymark


def test_stored_campaign_is_read_as_it_was_traced_when_it_names_no_later_setting() -> None:
    campaign = stored(TRACER)

    assert campaign.tracer.fields == "sionna"
    assert campaign.tracer.discovery.refinements is None
    assert validate(Campaign, campaign.model_dump(mode="json"), where="itself") == campaign


def test_campaign_has_another_hash_when_a_later_setting_is_used() -> None:
    discovery = {**TRACER["discovery"], "refinements": 0}
    campaigns = [stored(TRACER), stored({**TRACER, "discovery": discovery})]

    first, second = (campaign_hash(campaign, SCENES) for campaign in campaigns)
    assert first != second


def test_edge_points_have_one_hash_when_a_whole_number_is_written_either_way() -> None:
    hashes = {
        campaign_hash(stored({**TRACER, "discovery": {"edge_points": value}}), SCENES)
        for value in (2, 2.0)
    }

    assert len(hashes) == 1


def test_search_is_refused_when_it_was_one_of_an_earlier_version() -> None:
    plan = make_plan(stored({**TRACER, "discovery": {"refinements": None}}))

    with pytest.raises(ConfigError, match="refinements is null: these paths are of a search that"):
        plan.search(plan.sites[0])
