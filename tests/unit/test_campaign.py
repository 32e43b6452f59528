import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from raymark.config import config_hash, validate
from raymark.dataset.campaign import Campaign, TracerSettings, read_campaign
from raymark.dataset.identity import campaign_hash
from raymark.errors import ConfigError
from raymark.generator.plan import check_campaign, load_campaign, preset_names
from raymark.radio import BAND_PRESETS, Band

CAMPAIGN: dict[str, Any] = {
    "name": "unit",
    "scenes": ["munich"],
    "bands": ["6GHz"],
    "sampling": {"kind": "tracks", "num_ues": 10},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The campaign with one key, given by its dotted place, set to a value."""
    data = copy.deepcopy(CAMPAIGN)
    *parents, last = place.split(".")
    inner = data
    for key in parents:
        inner = inner.setdefault(key, {})
    inner[last] = value
    return data


def parse(data: dict[str, Any]) -> Campaign:
    return validate(Campaign, data, where="campaign.yaml")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("sede", r"unknown key at campaign\.yaml: sede; did you mean 'seed'\?"),
        (
            "tracer.max_dept",
            r"unknown key at campaign\.yaml: tracer\.max_dept; did you mean 'max_depth'\?",
        ),
        (
            "front_end.panel.nun_rows",
            r"unknown key at campaign\.yaml: front_end\.panel\.nun_rows; did you mean 'num_rows'\?",
        ),
        ("front_end.qqqqqqqq", r"unknown key at campaign\.yaml: front_end\.qqqqqqqq$"),
    ],
)
def test_campaign_names_place_and_nearest_key_when_a_key_is_unknown(
    place: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed(place, 1))


def test_campaign_names_the_item_when_a_key_in_a_list_is_unknown() -> None:
    band = {"name": "x", "carrier_hz": 1e9, "bandwith_hz": 1e6}

    message = r"unknown key at campaign\.yaml: bands\[0\]\.bandwith_hz; did you mean 'bandwidth_hz'"
    with pytest.raises(ConfigError, match=message):
        parse(changed("bands", [band]))


def test_campaign_names_the_sampling_key_when_it_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"sampling.*nun_ues; did you mean 'num_ues'"):
        parse(changed("sampling.nun_ues", 5))


@pytest.mark.parametrize(
    ("place", "level"),
    [
        ("num_ues", "'sampling'"),
        ("tracer.num_ues", "'sampling'"),
        ("max_depth", "'tracer'"),
        ("sampling.seed", "the top level"),
        ("front_end.num_rows", "'front_end.panel'"),
    ],
)
def test_level_of_a_key_is_told_when_it_stands_at_another(place: str, level: str) -> None:
    with pytest.raises(ConfigError, match=rf"campaign\.yaml: {place}; it is a key of {level}$"):
        parse(changed(place, 1))


@pytest.mark.parametrize(
    ("place", "offer"),
    [
        ("sampling.carrier_h", "$"),  # which bands have
        ("sampling.steps_per_trak", r"; did you mean 'steps_per_track'\?$"),
    ],
)
def test_key_is_offered_when_it_is_of_the_same_level(place: str, offer: str) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key at campaign\.yaml: {place}{offer}"):
        parse(changed(place, 1))


def test_time_of_a_step_counts_only_where_it_is_given() -> None:
    without, timed = parse(CAMPAIGN), parse(changed("sampling.step_s", 0.5))

    # Datasets from before there was such a key keep their hashes.
    assert "step_s" not in without.sampling.identity()
    assert "step_s" not in without.sampling.describe(0)
    assert campaign_hash(without, {}) != campaign_hash(timed, {})
    assert "step_s 0.5" in timed.sampling.describe(0)


@pytest.mark.parametrize("key", ["name", "scenes", "bands", "sampling"])
def test_campaign_names_the_key_when_one_is_missing(key: str) -> None:
    data = {name: value for name, value in CAMPAIGN.items() if name != key}

    with pytest.raises(ConfigError, match=rf"missing key at campaign\.yaml: {key}"):
        parse(data)


def test_campaign_reports_every_fault_when_there_are_several() -> None:
    data = {**changed("sede", 1), "tracer": {"max_depth": -1}}

    with pytest.raises(ConfigError, match=r"sede.*; .*tracer\.max_depth|max_depth.*; .*sede"):
        parse(data)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("seed", -1, r"greater than or equal to 0, got -1 at campaign\.yaml: seed"),
        ("tracer.max_depth", 99, r"less than or equal to 8, got 99 at .*tracer\.max_depth"),
        ("tracer.max_num_paths", 0, r"greater than or equal to 1, got 0"),
        ("tracer.max_path_length_m", -3, r"greater than 0, got -3"),
        ("front_end.ue.tx_power_dbm", 300, r"less than or equal to 60, got 300"),
        ("front_end.panel.num_rows", 0, r"greater than or equal to 1, got 0"),
        ("front_end.impairments.clock_offset_std_s", -1e-9, r"greater than or equal to 0"),
        ("front_end.impairments.quantization_bits", 0, r"greater than or equal to 1, got 0"),
        ("name", "a b", r"should match pattern .*, got 'a b' at campaign\.yaml: name"),
        ("name", "", r"should match pattern"),
        ("schema_version", 2, r"should be 1, got 2 at campaign\.yaml: schema_version"),
        ("seed", "many", r"valid integer.*, got 'many' at campaign\.yaml: seed"),
        ("seed", 1.5, r"valid integer.*, got 1\.5"),
        ("tracer.max_path_length_m", float("nan"), r"finite number, got nan"),
        ("front_end.ue.tx_power_dbm", float("inf"), r"finite number, got inf"),
        ("scenes", [], r"at least 1 item .*campaign\.yaml: scenes"),
        ("bands", [], r"at least 1 item .*campaign\.yaml: bands"),
        ("tracer.discovery", "quik", r"unknown discovery 'quik'; did you mean 'quick'"),
    ],
)
def test_campaign_raises_when_a_value_is_absurd(place: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed(place, value))


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ({"name": "x", "carrier_hz": -1e9}, r"at campaign\.yaml: bands\[0\]\.carrier_hz"),
        ({"name": "x", "carrier_hz": 1e15}, r"got 1000000000000000\.0 at .*carrier_hz"),
        ({"name": "x", "carrier_hz": 1e9, "bandwidth_hz": 0}, r"greater than 0, got 0"),
        ({"name": "x", "carrier_hz": 1e9, "num_subcarriers": 1}, r"equal to 2, got 1"),
        ({"name": "a/b", "carrier_hz": 1e9}, r"should match pattern"),
        ({"carrier_hz": 1e9}, r"missing key at campaign\.yaml: bands\[0\]\.name"),
    ],
)
def test_campaign_raises_when_a_band_is_absurd(band: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed("bands", [band]))


def test_campaign_offers_the_nearest_when_a_band_is_unknown() -> None:
    message = (
        r"unknown band '26Gz'; did you mean '2\.6GHz'\? \(presets: 2\.6GHz, 6GHz, 28GHz, .*"
        r"at campaign\.yaml: bands\[1\]"
    )
    with pytest.raises(ConfigError, match=message):
        parse(changed("bands", ["6GHz", "26Gz"]))


@pytest.mark.parametrize(
    ("name", "carrier_hz", "noise_figure_db"),
    [("39GHz", 39e9, 7.0), ("7.5GHz", 7.5e9, 6.0), ("900MHz", 9e8, 5.0), ("n78", 3.55e9, 5.0)],
)
def test_campaign_takes_a_carrier_when_it_is_a_name(
    name: str, carrier_hz: float, noise_figure_db: float
) -> None:
    band = parse(changed("bands", [name])).bands[0]

    assert band == Band(name=name, carrier_hz=carrier_hz, noise_figure_db=noise_figure_db)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("28 GHz", "28GHz"),
        (" 28ghz ", "28GHz"),
        ("3500 mhz", "3500MHz"),
        ("3.5e9", "3.5GHz"),
        (3.5e9, "3.5GHz"),
        (28_000_000_000, "28GHz"),
        ("0.14THz", "0.14THz"),
        (".5 GHz", "0.5GHz"),
        ("+28GHz", "28GHz"),
        ({"name": "28 GHz", "num_subcarriers": 128}, "28GHz"),
    ],
)
def test_band_is_read_when_it_is_written_as_people_do(written: Any, name: str) -> None:
    band = parse(changed("bands", [written])).bands[0]

    plain = parse(changed("bands", [name])).bands[0]
    assert (band.name, band.carrier_hz, band.noise_figure_db) == (
        name,
        plain.carrier_hz,
        plain.noise_figure_db,
    )


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (28, r"band '28' has no unit: write '28GHz', or its carrier in Hz, as 3\.5e9"),
        ("3500", r"band '3500' has no unit: write '3500MHz'"),
        ("-3.5GHz", r"the carrier of band '-3\.5GHz' is negative"),
        (-3.5e9, r"the carrier of band '-3\.5GHz' is negative"),
        ("0GHz", r"the carrier of band '0GHz' must be from 0\.1 to 300 GHz"),
        ({"name": "x", "carrier_ghz": 3.5}, r"unknown key at .*carrier_ghz; did you mean 'carrier"),
        (True, r"at campaign\.yaml: bands\[0\]"),
        ("\u0663GHz", r"unknown band"),
    ],
)
def test_band_gets_a_sentence_when_it_cannot_be_read(written: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(changed("bands", [written]))


def test_band_starts_from_its_name_when_a_mapping_gives_no_carrier() -> None:
    band = parse(changed("bands", [{"name": "39GHz", "num_subcarriers": 128}])).bands[0]

    assert (band.carrier_hz, band.num_subcarriers, band.noise_figure_db) == (39e9, 128, 7.0)


def test_campaign_names_the_place_when_a_carrier_is_out_of_range() -> None:
    message = r"carrier of band '500GHz' must be from 0\.1 to 300 GHz.* at campaign\.yaml: bands"
    with pytest.raises(ConfigError, match=message):
        parse(changed("bands", ["500GHz"]))


def test_front_end_is_the_bands_own_when_it_has_one() -> None:
    panel = {"num_rows": 16, "num_cols": 16}
    bands = ["6GHz", {"name": "28GHz", "front_end": {"panel": panel}}]
    campaign = parse(changed("bands", bands))

    sizes = [campaign.front_end_at(band).panel.num_antennas for band in campaign.bands]
    assert sizes == [64, 256]


def test_campaign_is_refused_when_its_fields_do_not_cover_an_interaction() -> None:
    data = changed("tracer.fields", "raymark")
    data["tracer"]["refraction"] = True

    with pytest.raises(ConfigError, match="fields 'raymark' know no transmission"):
        parse(data)


def test_sites_are_the_users_own_when_they_are_mappings() -> None:
    own = {"name": "mast", "position_m": [8.5, 21.0, 30.0], "azimuth_deg": 170.0}
    campaign = parse(changed("scenes", [{"name": "munich", "sites": ["bs0", own]}]))
    ((_, sites),) = check_campaign(campaign)

    assert [(site.name, site.azimuth_deg) for site in sites] == [("bs0", 45.0), ("mast", 170.0)]


def test_each_site_has_three_panels_when_three_are_asked_for() -> None:
    campaign = parse(changed("scenes", [{"name": "munich", "num_panels": 3}]))
    ((_, sites),) = check_campaign(campaign)

    assert [site.name for site in sites] == ["bs0-p0", "bs0-p1", "bs0-p2"]
    assert [site.azimuth_deg for site in sites] == [45.0, 165.0, -75.0]
    assert {site.position_m for site in sites} == {(8.5, 21.0, 27.0)}


def test_campaign_takes_any_carrier_when_given_as_a_mapping() -> None:
    campaign = parse(changed("bands", [{"name": "n77", "carrier_hz": 3.5e9}, "28GHz"]))

    assert campaign.bands[0] == Band(name="n77", carrier_hz=3.5e9)
    assert campaign.bands[1] == BAND_PRESETS["28GHz"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bands", ["6GHz", "6GHz"], r"band '6GHz' is listed 2 times"),
        ("scenes", ["munich", "etoile", "munich"], r"scene 'munich' is listed 2 times"),
        ("scenes", ["munich", {"name": "my/munich"}], r"scene 'munich' is listed 2 times"),
    ],
)
def test_campaign_raises_when_an_item_is_listed_twice(
    key: str, value: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sampling", {"num_ues": 5}, r"^missing key 'kind' at campaign.yaml: sampling$"),
        (
            "sampling",
            {"kind": "unifrom", "num_ues": 5},
            r"^unknown 'kind', got 'unifrom' at .*: sampling; did you mean 'uniform'\?",
        ),
        ("scenes", "munich", r"^input should be a valid list, got 'munich' at .*: scenes$"),
        ("tracer", None, r"^input should be a valid mapping at campaign.yaml: tracer$"),
        ("scenes", [], r"^list should have at least 1 item .* at campaign.yaml: scenes$"),
    ],
)
def test_campaign_is_refused_in_words_of_yaml_when_a_value_is_of_another_kind(
    key: str, value: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed(key, value))


def test_campaign_shows_all_numbers_when_delays_would_alias() -> None:
    data = changed("bands", ["6GHz", {**BAND_PRESETS["6GHz"].model_dump(), "name": "wide"}])
    data["bands"][1]["bandwidth_hz"] = 400e6

    # 64 tones over 400 MHz: c / 6.25 MHz = 48 m; 200 m need 200 * 400e6 / c = 266.9 tones.
    message = (
        r"delay aliasing at bands\[1\]: 'wide' spaces 64 tones over 400 MHz, which is unambiguous "
        r"up to 48 m, but UEs up to sampling\.max_range_m = 200 m are kept; use at least 267 "
        r"subcarriers"
    )
    with pytest.raises(ConfigError, match=message):
        parse(data)

    data["tracer"] = {"max_path_length_m": 380.0}
    with pytest.raises(ConfigError, match=r"but paths up to tracer\.max_path_length_m = 380 m are"):
        parse(data)


def test_campaign_accepts_when_it_has_as_many_tones_as_the_message_asks() -> None:
    band = {"name": "wide", "carrier_hz": 6e9, "bandwidth_hz": 400e6}

    parse(changed("bands", [{**band, "num_subcarriers": 267}]))
    with pytest.raises(ConfigError, match="delay aliasing"):
        parse(changed("bands", [{**band, "num_subcarriers": 266}]))


def test_fields_are_sionnas_when_its_search_is_needed_and_none_are_named() -> None:
    assert TracerSettings().fields == "raymark"
    assert TracerSettings(refraction=True).fields == "sionna"
    assert TracerSettings(diffuse_reflection=True).fields == "sionna"


def test_sionnas_search_is_needed_when_diffuse_reflection_has_its_fields() -> None:
    assert TracerSettings(diffuse_reflection=True).needs_solver
    assert not TracerSettings(diffuse_reflection=True, fields="raymark").needs_solver


def test_campaign_raises_when_a_rough_material_is_unknown() -> None:
    data = changed("tracer.roughness", {"concret": {"scattering_coefficient": 0.3}})

    with pytest.raises(ConfigError, match=r"'concret' is no ITU-R P.2040 material; did you mean"):
        parse(data)


def test_hash_is_as_before_when_no_material_is_rough() -> None:
    rough = parse(changed("tracer.roughness", {"concrete": {"scattering_coefficient": 0.3}}))
    smooth = parse(changed("tracer.roughness", {}))

    assert config_hash(smooth) == config_hash(parse(changed("name", smooth.name)))
    assert config_hash(rough) != config_hash(smooth)
    assert "roughness" not in smooth.model_dump(mode="json")["tracer"]


@pytest.mark.parametrize("pattern", ["iso", "dipole"])
def test_campaign_raises_when_a_planar_array_cannot_tell_front_from_back(pattern: str) -> None:
    message = (
        rf"front/back ambiguity: a planar array of '{pattern}' .* use element_pattern 'tr38901"
    )
    with pytest.raises(ConfigError, match=message):
        parse(changed("front_end.panel.element_pattern", pattern))


def test_campaign_accepts_a_line_of_isotropic_elements_when_they_may_see_behind() -> None:
    line = {"num_rows": 1, "num_cols": 64, "element_pattern": "iso"}
    with pytest.raises(ConfigError, match=r"or allow it with mirrors_back"):
        parse(changed("front_end.panel", line))

    panel = parse(changed("front_end.panel", {**line, "mirrors_back": True})).front_end.panel

    assert panel.num_antennas == 64
    assert (
        "mirrors_back" not in parse(changed("front_end.panel", {})).front_end.model_dump()["panel"]
    )


def test_campaign_raises_when_one_open_column_is_told_to_see_behind() -> None:
    mast = {"num_cols": 1, "element_pattern": "iso", "mirrors_back": True}
    with pytest.raises(ConfigError, match=r"one column of 'iso' elements sees all around"):
        parse(changed("front_end.panel", mast))


@pytest.mark.parametrize("mirrors_back", [True, False])
def test_panel_of_directive_elements_is_closed_when_it_does_not_mirror(mirrors_back: bool) -> None:
    panel = parse(changed("front_end.panel.mirrors_back", mirrors_back)).front_end.panel
    assert panel.is_closed != mirrors_back


def test_campaign_accepts_isotropic_elements_when_they_stand_in_one_column() -> None:
    data = changed("front_end.panel", {"element_pattern": "iso", "num_cols": 1})

    assert parse(data).front_end.panel.num_antennas == 8


def test_campaign_raises_when_the_panel_has_grating_lobes() -> None:
    message = r"grating lobes: elements 0\.8 wavelengths apart repeat their response every 1\.25 "
    with pytest.raises(ConfigError, match=message):
        parse(changed("front_end.panel.spacing_wavelengths", 0.8))


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"min_range_m": 50, "max_range_m": 40}, r"max_range_m \(40 m\) must exceed min_range_m"),
        ({"max_range_m": 390}, r"but UEs up to sampling.max_range_m = 390 m are kept"),
        ({"min_step_m": 2.0, "max_step_m": 1.0}, r"max_step_m \(1 m\) must not be below min_step"),
        ({"sector_half_width_deg": 90}, r"less than 90, got 90"),
        ({"num_ues": 0}, r"greater than or equal to 1, got 0"),
        ({"height_m": -1}, r"greater than 0, got -1"),
        ({"kind": "track"}, r"sampling"),
    ],
)
def test_campaign_raises_when_sampling_makes_no_sense(
    sampling: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(changed("sampling", {**CAMPAIGN["sampling"], **sampling}))


@pytest.mark.parametrize("kind", ["uniform", "grid", "positions"])
def test_campaign_raises_when_a_key_belongs_to_another_kind_of_sampling(kind: str) -> None:
    with pytest.raises(ConfigError, match="steps_per_track"):
        parse(changed("sampling", {"kind": kind, "steps_per_track": 5}))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", r"c\.yaml must hold a mapping of keys, got list"),
        ("", r"c\.yaml must hold a mapping of keys, got NoneType"),
        ("a: [1, 2\n", r"c\.yaml is no valid YAML: .*line"),
        ("\x00", r"c\.yaml is no valid YAML"),
    ],
)
def test_read_campaign_raises_when_file_is_no_yaml_mapping(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_campaign(write(tmp_path / "c.yaml", text))


def test_read_campaign_raises_when_file_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\xfa")

    with pytest.raises(ConfigError, match=r"c\.yaml is no text in UTF-8"):
        read_campaign(tmp_path / "c.yaml")


def test_read_campaign_raises_when_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*c\.yaml: No such file"):
        read_campaign(tmp_path / "c.yaml")


def test_read_campaign_runs_no_code_when_yaml_has_tags(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    text = f"name: !!python/object/apply:os.mkdir ['{marker}']\n"

    with pytest.raises(ConfigError, match="no valid YAML"):
        read_campaign(write(tmp_path / "c.yaml", text))
    assert not marker.exists()


def test_read_campaign_finds_position_files_beside_it_when_paths_are_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {**CAMPAIGN, "sampling": {"kind": "positions", "files": {"munich": "ue/a.csv"}}}
    path = write(tmp_path / "c.yaml", yaml.safe_dump(data))
    monkeypatch.chdir(os.sep)

    sampling = read_campaign(path).sampling

    assert sampling.files == {"munich": str(tmp_path / "ue" / "a.csv")}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"munic": "a.csv"}, r"campaign has no scene 'munic'; did you mean 'munich'"),
        ({"munich": "/nowhere/a.csv"}, r"/nowhere/a\.csv does not exist"),
    ],
)
def test_check_campaign_raises_when_position_files_are_wrong(
    files: dict[str, str], message: str
) -> None:
    data = changed("sampling", {"kind": "positions", "files": files})

    with pytest.raises(ConfigError, match=message):
        check_campaign(parse(data))


def test_check_campaign_raises_when_a_scene_has_no_position_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "x_m,y_m\n1,2\n")
    sampling = {"kind": "positions", "files": {"munich": str(file)}}
    data = {**CAMPAIGN, "scenes": ["munich", "etoile"], "sampling": sampling}

    with pytest.raises(ConfigError, match="names no file for scene 'etoile'"):
        check_campaign(parse(data))


@pytest.mark.parametrize("name", ["mini", "small", "v1"])
def test_load_campaign_returns_the_preset_when_given_its_name(name: str) -> None:
    campaign = load_campaign(name)

    assert name in preset_names()
    assert campaign.name == name
    assert [scene.name for scene in campaign.scenes] == ["munich", "etoile", "florence"]
    assert [band.carrier_hz for band in campaign.bands] == [2.6e9, 6e9, 28e9]
    assert campaign.sampling.num_ues == {"mini": 200, "small": 2000, "v1": 10_000}[name]
    assert len(check_campaign(campaign)) == 3


def test_load_campaign_offers_the_nearest_when_preset_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown preset 'smal'; did you mean 'small'\?"):
        load_campaign("smal")


def test_load_campaign_raises_when_yaml_file_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"campaign file nowhere\.yaml does not exist"):
        load_campaign("nowhere.yaml")


def test_campaign_cannot_be_changed_when_made() -> None:
    campaign = parse(CAMPAIGN)

    with pytest.raises(ValueError, match="frozen"):
        campaign.seed = 3  # type: ignore[misc]
