import json
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raymark.config import canonical_json, config_hash, validate
from raymark.dataset.campaign import Campaign

CAMPAIGN: dict[str, Any] = {
    "schema_version": 1,
    "name": "hash",
    "seed": 5,
    "scenes": [
        {"name": "street_canyon", "sites": ["bs0"], "params": {"seed": 2, "num_blocks_x": 4}}
    ],
    "bands": [
        {
            "name": "a",
            "carrier_hz": 2.6e9,
            "bandwidth_hz": 50e6,
            "num_subcarriers": 64,
            "noise_figure_db": 5.0,
        }
    ],
    "front_end": {
        "panel": {"num_rows": 8, "num_cols": 8, "spacing_wavelengths": 0.5},
        "ue": {"tx_power_dbm": 23.0},
        "impairments": {"clock_offset_std_s": 1e-8, "antenna_gain_std_db": 0.5},
    },
    "sampling": {
        "kind": "tracks",
        "num_ues": 100,
        "height_m": 1.5,
        "max_range_m": 200.0,
        "max_step_m": 1.5,
    },
    "tracer": {"max_depth": 4, "max_num_paths": 25, "max_path_length_m": 300.0},
}

NUMBERS = [
    ("seed",),
    ("scenes", 0, "params", "seed"),
    ("bands", 0, "carrier_hz"),
    ("bands", 0, "bandwidth_hz"),
    ("bands", 0, "num_subcarriers"),
    ("bands", 0, "noise_figure_db"),
    ("front_end", "panel", "num_rows"),
    ("front_end", "panel", "spacing_wavelengths"),
    ("front_end", "ue", "tx_power_dbm"),
    ("front_end", "impairments", "clock_offset_std_s"),
    ("front_end", "impairments", "antenna_gain_std_db"),
    ("sampling", "num_ues"),
    ("sampling", "height_m"),
    ("sampling", "max_range_m"),
    ("sampling", "max_step_m"),
    ("tracer", "max_depth"),
    ("tracer", "max_num_paths"),
    ("tracer", "max_path_length_m"),
]


def campaign_hash(data: dict[str, Any]) -> str:
    return config_hash(validate(Campaign, data, where="test"))


def in_other_order(value: Any, order: list[int]) -> Any:
    """The same data with the keys of every mapping shuffled by `order`."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: order[len(key) % len(order)])
        return {key: in_other_order(value[key], order) for key in keys}
    if isinstance(value, list):
        return [in_other_order(item, order) for item in value]
    return value


@given(st.permutations(range(12)))
def test_config_hash_is_the_same_when_keys_are_in_another_order(order: list[int]) -> None:
    assert campaign_hash(in_other_order(CAMPAIGN, order)) == campaign_hash(CAMPAIGN)


@pytest.mark.parametrize("place", NUMBERS, ids=lambda place: ".".join(map(str, place)))
@given(change=st.floats(-1e-2, -1e-12) | st.floats(1e-12, 1e-2))
def test_config_hash_is_another_when_a_number_changes(
    place: tuple[Any, ...], change: float
) -> None:
    data = json.loads(json.dumps(CAMPAIGN))
    parent = data
    for key in place[:-1]:
        parent = parent[key]
    old = parent[place[-1]]
    down_only = place[-1] == "spacing_wavelengths"
    factor = 1 - abs(change) if down_only else 1 + change
    parent[place[-1]] = old + int(np.sign(change)) if isinstance(old, int) else old * factor

    assert campaign_hash(data) != campaign_hash(CAMPAIGN)


@pytest.mark.parametrize("flag", ["specular_reflection", "diffraction", "refraction"])
def test_config_hash_is_another_when_a_switch_changes(flag: str) -> None:
    default = validate(Campaign, CAMPAIGN, where="test").tracer
    data = {**CAMPAIGN, "tracer": {**CAMPAIGN["tracer"], flag: not getattr(default, flag)}}

    assert campaign_hash(data) != campaign_hash(CAMPAIGN)


def test_campaign_is_the_same_when_written_and_read_back() -> None:
    campaign = validate(Campaign, CAMPAIGN, where="test")

    for text in (canonical_json(campaign), yaml.safe_dump(campaign.model_dump(mode="json"))):
        again = validate(Campaign, yaml.safe_load(text), where="test")
        assert again == campaign
        assert config_hash(again) == config_hash(campaign)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(json_values)
def test_canonical_json_holds_the_same_value_when_read_back(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_raises_when_number_is_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"x": value})
