from pathlib import Path
from typing import Any

import pytest
import yaml

from raymark.errors import ConfigError, SceneError
from raymark.scenes.importing.material_rules import MaterialRules, read_rules

RULES: dict[str, Any] = {
    "default": {"walls": "concrete", "roofs": "metal"},
    "ground": "concrete",
    "rules": [
        {"tag": "building:material", "values": ["brick", "red_brick"], "walls": "brick"},
        {"tag": "roof:material", "values": ["glass"], "roofs": "glass"},
        {"tag": "building", "values": ["barn"], "walls": "wood", "roofs": "wood"},
    ],
}


def rules_with(tmp_path: Path, **changes: Any) -> MaterialRules:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({**RULES, **changes}), encoding="utf-8")
    return read_rules(path)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, ("concrete", "metal")),
        ({"building:material": "brick"}, ("brick", "metal")),
        ({"building:material": " Red brick"}, ("brick", "metal")),
        ({"building:material": "brick;glass"}, ("brick", "metal")),
        ({"building:material": "straw;brick"}, ("concrete", "metal")),
        ({"roof:material": "glass"}, ("concrete", "glass")),
        ({"roof:material": "brick"}, ("concrete", "metal")),
        ({"building": "barn"}, ("wood", "wood")),
        ({"building": "barn", "building:material": "brick"}, ("brick", "wood")),
    ],
)
def test_materials_follow_the_first_rule_that_matches(
    tmp_path: Path, tags: dict[str, str], expected: tuple[str, str]
) -> None:
    assert rules_with(tmp_path).materials_of(tags) == expected


def test_unknown_materials_are_named_when_a_material_tag_has_no_rule(tmp_path: Path) -> None:
    rules = rules_with(tmp_path)
    tags = {"building": "house", "building:material": "Straw", "roof:material": "glass"}
    assert rules.unknown_materials(tags) == ("building:material=Straw",)
    assert rules.unknown_materials({"building": "house"}) == ()


@pytest.mark.parametrize(
    ("value", "walls"),
    [
        ("brick", "brick"),
        ("sandstone", "marble"),
        ("timber_framing", "wood"),
        ("mirror", "glass"),
        ("steel", "metal"),
        ("plaster", "concrete"),
        ("cement_block", "concrete"),
    ],
)
def test_default_rules_map_common_materials_when_mappers_give_them(value: str, walls: str) -> None:
    assert read_rules().materials_of({"building:material": value}) == (walls, "concrete")


def test_default_materials_are_defined_from_1_to_100_ghz_when_no_tag_is_given() -> None:
    rules = read_rules()
    assert rules.materials_of({"building": "yes"}) == ("concrete", "concrete")
    rules.check_at_bands([1e9, 28e9, 100e9], used={"concrete"})
    rules.check_at_bands([1e9, 6e9, 40e9])


def test_bands_raise_with_the_rule_named_when_a_material_has_no_value_there(
    tmp_path: Path,
) -> None:
    rules = rules_with(tmp_path)
    expected = r"rules\[0\].walls: material 'brick' is defined for 1-40 GHz.*got 60 GHz"
    with pytest.raises(SceneError, match=expected):
        rules.check_at_bands([28e9, 60e9])
    rules.check_at_bands([28e9, 60e9], used={"concrete", "metal"})
    with pytest.raises(SceneError, match=r"ground: material 'wet_ground'.*got 28 GHz"):
        rules_with(tmp_path, ground="wet_ground").check_at_bands([28e9])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ground": "concret"}, r"did you mean 'concrete'\?.*rules.yaml: ground"),
        ({"default": {"walls": "concrete"}}, r"missing key at .*rules.yaml: default.roofs"),
        (
            {"rules": [{"tag": "building", "values": ["barn"], "walls": "woods"}]},
            r"did you mean 'wood'\?.*rules\[0\].walls",
        ),
        ({"rules": [{"tag": "building", "values": ["barn"]}]}, "what the walls or the roofs"),
        ({"rules": [{"tag": "building", "values": [], "walls": "wood"}]}, r"rules\[0\].values"),
        ({"rules": [{"tag": "building", "values": ["A b"], "walls": "wood"}]}, "never match"),
        (
            {"rules": [{"tag": "building", "values": [True], "walls": "wood"}]},
            r"^--materials: input should be a valid string, got True at .*values\[0\]$",
        ),
        ({"rules": RULES["rules"][:1] * 2}, "'building:material=brick' has two rules for walls"),
        ({"wals": {}}, "unknown key at"),
    ],
)
def test_rules_are_refused_with_their_place_when_they_are_wrong(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        rules_with(tmp_path, **changes)
