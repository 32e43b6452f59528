import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from pydantic import Field

from raymark.config import Strict, validate
from raymark.dataset.campaign import Campaign
from raymark.errors import ConfigError
from raymark.radio import Site

SCRIPT = Path(__file__).parents[2] / "docs" / "settings_table.py"
PURE_NUMBERS = ("share", "probability", "coefficient")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(script: ModuleType) -> list[type[Strict]]:
    """Every model that a file is read by."""
    found: list[type[Strict]] = []
    stack = [model for _, models in script.FILES.values() for model in models]
    while stack:
        model = stack.pop()
        if model not in found:
            found.append(model)
            for field in model.model_fields.values():
                stack.extend(script.models_in(field.annotation))
    return found


def test_page_is_what_the_script_writes_when_the_models_are_as_they_are(
    script: ModuleType,
) -> None:
    page = SCRIPT.with_name("settings.md").read_text(encoding="utf-8")
    assert page == script.settings_markdown(), "run `python docs/settings_table.py`"


def test_page_has_a_row_for_every_key_of_every_model(
    script: ModuleType, models: list[type[Strict]]
) -> None:
    sections = script.settings_markdown().split("\n### ")[1:]
    keys = {section.partition("\n")[0]: section for section in sections}

    assert set(keys) == {model.__name__ for model in models}
    for model in models:
        for name in model.model_fields:
            assert f"\n| `{name}` |" in keys[model.__name__]


def test_every_number_has_a_unit_or_is_a_share(
    script: ModuleType, models: list[type[Strict]]
) -> None:
    for model in models:
        for name, field in model.model_fields.items():
            kinds = {field.annotation, *get_args(field.annotation)}
            if float in kinds and not name.endswith(PURE_NUMBERS):
                assert script.split_unit(script.description_of(field))[1], (model, name)


def test_row_tells_unit_default_and_range_of_a_key(script: ModuleType) -> None:
    class Probe(Strict):
        """A probe."""

        length_m: float = Field(default=1500.0, gt=0, le=2e6, description="How long [m]")
        kind: str = Field(min_length=2, description="Which")

    section = script._section(Probe)

    assert "| `length_m` | number | m | `1,500` | > 0, ≤ 2,000,000 | How long |" in section
    assert "| `kind` | text |  | **required** | at least 2 | Which |" in section


@pytest.mark.parametrize(
    ("bearing_deg", "azimuth_deg"), [(0, 90), (90, 0), (180, -90), (270, -180), (-45, 135)]
)
def test_site_looks_along_its_bearing_when_it_is_given_from_north(
    bearing_deg: float, azimuth_deg: float
) -> None:
    data = {"name": "bs0", "position_m": [0, 0, 10], "bearing_deg": bearing_deg}

    site = validate(Site, data, where="test")

    assert site.azimuth_deg == azimuth_deg
    assert "bearing_deg" not in site.model_dump()


@pytest.mark.parametrize(
    ("angles", "message"),
    [
        ({"bearing_deg": 10, "azimuth_deg": 80}, r"azimuth_deg or bearing_deg, not both"),
        ({"bearing_deg": 400}, r"bearing_deg must be a number from -180 to 360, got 400"),
        ({"bearing_deg": "north"}, r"bearing_deg must be a number .* got 'north'"),
        ({}, r"missing key at test: azimuth_deg"),
    ],
)
def test_site_is_refused_when_its_angle_cannot_be_read(
    angles: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        validate(Site, {"name": "bs0", "position_m": [0, 0, 10], **angles}, where="test")


def test_campaign_takes_a_bearing_for_a_site_of_its_own() -> None:
    site = {"name": "mast", "position_m": [1, 2, 30], "bearing_deg": 60}
    data = {
        "name": "own",
        "scenes": [{"name": "munich", "sites": ["bs0", site]}],
        "bands": ["6GHz"],
        "sampling": {"kind": "uniform", "num_ues": 2},
    }

    campaign = validate(Campaign, data, where="test")

    sites = campaign.scenes[0].sites
    assert sites is not None
    assert isinstance(sites[1], Site)
    assert sites[1].azimuth_deg == 30
