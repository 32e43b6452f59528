"""DeepMIMO scenarios, written here by hand from closed forms or exported, as datasets."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from raymark.benchmark.split_settings import CrossingTracks, NlosBlocks, RandomTracks
from raymark.benchmark.splits import TEST, TRAIN, VALIDATION, make_split
from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError, PhysicsError, SchemaError
from raymark.interop.deepmimo_choice import DeepmimoImport
from raymark.interop.deepmimo_export import export_deepmimo
from raymark.interop.deepmimo_import import import_deepmimo
from raymark.radio import FrontEnd

SPEED_OF_LIGHT_M_S = 299_792_458.0
CARRIER_HZ = 3.5e9
WAVELENGTH_M = SPEED_OF_LIGHT_M_S / CARRIER_HZ
ISO = validate(
    FrontEnd, {"panel": {"num_rows": 1, "num_cols": 1, "element_pattern": "iso"}}, where="test"
)
BOUNCE = -0.6
"""Reflection coefficient of the ground in the scenarios of this file."""

Import = Callable[..., Dataset]
BASE_STATIONS = np.array([[0.0, 0.0, 12.0], [10.0, -30.0, 20.0]])


def grid() -> np.ndarray:
    x, y = np.meshgrid(np.arange(10.0, 70, 10), np.arange(-20.0, 30, 10), indexing="ij")
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, 1.5)], axis=1)


def angles_deg(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    zenith = np.degrees(np.arccos(direction[:, 2] / np.linalg.norm(direction, axis=1)))
    return zenith, np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))


def two_rays(tx: np.ndarray, rx: np.ndarray, *, has_carrier: bool) -> dict[str, np.ndarray]:
    """Line of sight and ground reflection of isotropic antennas, padded with a third, empty path.

    The last receiver has no path at all, and the one before it only the reflection.
    """
    count = len(rx)
    image = rx * [1, 1, -1]
    columns = []
    for seen, gain, code in ((rx, 1.0, 0), (image, BOUNCE, 1)):
        length_m = np.linalg.norm(seen - tx, axis=1)
        back = (rx - tx * [1, 1, -1]) if code else (rx - tx)  # from where the wave seems to come
        aod_el, aod_az = angles_deg(seen - tx)
        aoa_el, aoa_az = angles_deg(-back)
        phase = np.degrees(np.angle(gain)) * np.ones(count)
        if has_carrier:
            phase = phase - 360 * CARRIER_HZ * length_m / SPEED_OF_LIGHT_M_S
        share = tx[2] / (tx[2] + rx[:, 2:])
        columns.append(
            {
                "power": 20 * np.log10(abs(gain) * WAVELENGTH_M / (4 * np.pi * length_m)),
                "phase": (phase + 180) % 360 - 180,
                "delay": length_m / SPEED_OF_LIGHT_M_S,
                "aod_el": aod_el,
                "aod_az": aod_az,
                "aoa_el": aoa_el,
                "aoa_az": aoa_az,
                "inter": np.full(count, float(code)),
                "inter_pos": (tx + share * (image - tx)) if code else np.full((count, 3), np.nan),
            }
        )
    matrices = {}
    for name in columns[0]:
        values = np.stack([column[name] for column in columns], axis=1)
        values[-1] = np.nan
        values[-2, 0], values[-2, 1] = values[-2, 1], np.nan
        empty = np.full((count, 1, *values.shape[2:]), np.nan)
        matrices[name] = np.concatenate([values, empty], axis=1)
    matrices["inter_pos"] = matrices["inter_pos"][:, :, None]
    return {**matrices, "rx_pos": rx, "tx_pos": tx[None]}


def write_scenario(
    folder: Path,
    *,
    has_carrier: bool = True,
    suffix: str = "npz",
    rx: np.ndarray | None = None,
    change: Callable[[dict[str, np.ndarray]], None] = lambda _matrices: None,
) -> Path:
    """Write two base stations, in sets of one point, and one set of receivers (set 4)."""
    folder.mkdir()
    for i, tx in enumerate(BASE_STATIONS):
        matrices = two_rays(tx, grid() if rx is None else rx, has_carrier=has_carrier)
        change(matrices)
        for name, values in matrices.items():
            path = folder / f"{name}_t{i + 1:03}_tx000_r004.{suffix}"
            array = values.astype("f4")
            if suffix == "mat":
                scipy.io.savemat(path, {name: array})
            else:
                np.savez_compressed(path, **{name: array})
    sets = [{"id": i, "name": f"BS {i}", "is_tx": True, "is_rx": i == 2} for i in (1, 2)]
    sets.append({"id": 4, "name": "grid", "is_tx": False, "is_rx": True})
    for each in sets:
        each.update(num_points=30 if each["id"] == 4 else 1, dual_pol=False)
    data = {
        "version": "4.0.5",
        "rt_params": {"frequency": CARRIER_HZ, "raytracer_name": "By Hand", "raw_params": {"a": 1}},
        "txrx_sets": {f"txrx_set_{each['id']}": each for each in sets},
        "scene": {"num_scenes": 1},
        "materials": {},
    }
    (folder / "params.json").write_text(json.dumps(data), encoding="utf-8")
    return folder


def edit_params(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "params.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    edit(data)
    path.write_text(json.dumps(data), encoding="utf-8")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    return write_scenario(tmp_path / "hand")


@pytest.fixture
def read_in(tmp_path: Path) -> Import:
    """Import a scenario with options as plain data, check the dataset, and open it."""

    def run(folder: Path, **options: Any) -> Dataset:
        out = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        import_deepmimo(folder, out, DeepmimoImport(**options))
        assert verify_dataset(out) == []
        return open_dataset(out)

    return run


def test_paths_come_back_when_exported_and_imported(
    small_dataset: Dataset, tmp_path: Path, read_in: Import
) -> None:
    folder = tmp_path / "canyon"
    export_deepmimo(small_dataset, folder, scene="street_canyon", band="2.6GHz")

    data = read_in(folder, scene="street_canyon")

    before, after = (d.select(scene="street_canyon", band="2.6GHz") for d in (small_dataset, data))
    old, new = before.path_table(0, 50), after.path_table(0, 50)
    np.testing.assert_array_equal(after.position_m, before.position_m)
    np.testing.assert_array_equal(after.los, before.los)
    for name in ("path_offset", "delay_s", "interaction"):
        np.testing.assert_array_equal(getattr(new, name), getattr(old, name))
    for name in ("zenith_bs_rad", "azimuth_bs_rad", "zenith_ue_rad", "azimuth_ue_rad"):
        # Two float32 roundings of up to 180 degrees.
        np.testing.assert_allclose(getattr(new, name), getattr(old, name), atol=1e-6)
    # A float32 power of -150 dB is 1e-6 of an amplitude off, its phase in degrees 2e-7.
    np.testing.assert_allclose(new.amplitude, old.amplitude, rtol=5e-6)
    np.testing.assert_array_equal(
        after.detail_table(0, 50).vertex_m, before.detail_table(0, 50).vertex_m
    )
    site_before, site_after = before.sites[0], after.sites[0]
    assert (site_after.site, site_after.licence) == (site_before.site, site_before.licence)
    np.testing.assert_allclose(site_after.position_m, site_before.position_m)
    np.testing.assert_allclose(site_after.orientation_rad, site_before.orientation_rad)
    assert data.manifest.campaign.sampling.kind == "imported"


def test_amplitudes_come_back_when_patterns_were_kept(
    small_dataset: Dataset, tmp_path: Path, read_in: Import
) -> None:
    folder = tmp_path / "canyon"
    export_deepmimo(
        small_dataset, folder, scene="street_canyon", band="2.6GHz", keep_element_patterns=True
    )

    new = read_in(folder).select(scene="canyon", band="2.6GHz").path_table(0, 50)

    old = small_dataset.select(scene="street_canyon", band="2.6GHz").path_table(0, 50)
    np.testing.assert_allclose(new.amplitude, old.amplitude, rtol=5e-6)


@pytest.mark.parametrize(
    "options",
    [{"front_end": ISO}, {"azimuth_deg": 20}, {"downtilt_deg": 3}, {"num_panels": 3}],
    ids=lambda options: next(iter(options)),
)
def test_other_panels_are_refused_when_patterns_were_kept(
    small_dataset: Dataset, tmp_path: Path, read_in: Import, options: dict[str, Any]
) -> None:
    folder = tmp_path / "canyon"
    export_deepmimo(
        small_dataset, folder, scene="street_canyon", band="2.6GHz", keep_element_patterns=True
    )

    with pytest.raises(ConfigError, match=r"include the element patterns 'tr38901' \(BS\)"):
        read_in(folder, **options)


@pytest.mark.parametrize("suffix", ["npz", "mat"])
@pytest.mark.parametrize("has_carrier", [True, False])
def test_two_rays_have_their_closed_forms_when_imported(
    tmp_path: Path, read_in: Import, suffix: str, has_carrier: bool
) -> None:
    """Whether phases include the carrier's is told from the lines of sight."""
    folder = write_scenario(tmp_path / "hand", has_carrier=has_carrier, suffix=suffix)

    data = read_in(folder, front_end=ISO)

    rx = grid()
    for name, tx in zip(("tx1-0", "tx2-0"), BASE_STATIONS, strict=True):
        links = data.select(scene="hand", band="3.5GHz", site=name)
        assert links.los.tolist() == [1] * 28 + [0, -1]
        table = links.path_table(0, 28)
        assert table.interaction[:, 0].tolist() == [0, 1] * 28
        length_m = np.stack(
            [np.linalg.norm(p[:28] - tx, axis=1) for p in (rx, rx * [1, 1, -1])], axis=1
        ).ravel()
        np.testing.assert_allclose(table.delay_s, length_m / SPEED_OF_LIGHT_M_S, rtol=1e-6)
        friis = WAVELENGTH_M / (4 * np.pi * length_m) * np.tile([1, BOUNCE], 28)
        # Float32 delays of 300 ns turn the carrier by up to 4e-4 rad.
        np.testing.assert_allclose(table.amplitude, friis, rtol=1e-3)
        assert table.zenith_bs_rad[1] > table.zenith_bs_rad[0] > np.pi / 2
        points_m = links.detail_table(0, 28).vertex_m
        np.testing.assert_allclose(points_m[1::2, 0, 2], 0, atol=1e-5)
    assert data.manifest.campaign.shared_ues
    said = " ".join(data.manifest.notes)
    assert ("phases included the carrier" in said) == has_carrier


def test_elements_are_multiplied_in_when_the_front_end_has_them(
    scenario: Path, read_in: Import
) -> None:
    data = read_in(scenario, tx_sets=1, azimuth_deg=0, downtilt_deg=10)

    table = data.select(scene="hand", band="3.5GHz").path_table(0, 28)
    direct = table.interaction[:, 0] == 0
    offset = grid()[:28] - BASE_STATIONS[0]
    # The panel's own angles by hand: turn the world up by the tilt.
    tilt = np.radians(10)
    local_z = np.cos(tilt) * offset[:, 2] + np.sin(tilt) * offset[:, 0]
    local_x = np.cos(tilt) * offset[:, 0] - np.sin(tilt) * offset[:, 2]
    length_m = np.linalg.norm(offset, axis=1)
    theta = np.degrees(np.arccos(local_z / length_m))
    phi = np.degrees(np.arctan2(offset[:, 1], local_x))
    loss_db = np.minimum(12 * ((theta - 90) / 65) ** 2, 30) + np.minimum(12 * (phi / 65) ** 2, 30)
    gain_db = 8 - np.minimum(loss_db, 30)  # 3GPP TR 38.901, table 7.3-1
    friis_db = 20 * np.log10(WAVELENGTH_M / (4 * np.pi * length_m))
    found_db = 20 * np.log10(np.abs(table.amplitude[direct]))
    np.testing.assert_allclose(found_db, friis_db + gain_db, atol=1e-4)

    plain = read_in(scenario, tx_sets=1, apply_element_patterns=False)
    direct_db = 20 * np.log10(
        np.abs(plain.select(scene="hand", band="3.5GHz").path_table(0, 28).amplitude[direct])
    )
    np.testing.assert_allclose(direct_db, friis_db, atol=1e-4)


def test_panels_look_to_the_middle_of_their_receivers_when_nothing_is_said(
    scenario: Path, read_in: Import
) -> None:
    data = read_in(scenario, num_panels=3)

    rx = grid()[:29]
    names, yaw_deg = [], []
    for site in data.manifest.sites:
        names.append(site.site)
        yaw_deg.append(np.degrees(site.orientation_rad[0]))
    assert names == [f"tx{i}-0-p{j}" for i in (1, 2) for j in range(3)]
    for i, tx in enumerate(BASE_STATIONS):
        middle = (rx - tx).mean(axis=0)
        first = np.degrees(np.arctan2(middle[1], middle[0]))
        expected = (first + np.array([0, 120, 240]) + 180) % 360 - 180
        np.testing.assert_allclose(yaw_deg[3 * i : 3 * i + 3], expected, atol=0.051)
    # All panels of a site stand where it stands, and see the same UEs.
    assert len({site.position_m for site in data.manifest.sites}) == 2
    assert len(data.index) == 6 * 30


@pytest.mark.slow
def test_receivers_are_thinned_out_as_asked(scenario: Path, read_in: Import) -> None:
    def chosen(**options: Any) -> np.ndarray:
        links = read_in(scenario, **options).select(scene="hand", band="3.5GHz", site="tx1-0")
        rows = [np.flatnonzero((grid() == p).all(axis=1))[0] for p in links.position_m]
        return np.array(rows)

    np.testing.assert_array_equal(chosen(every=7), np.arange(0, 30, 7))
    np.testing.assert_array_equal(chosen(drop_outage=True), np.arange(29))
    few, again, other = (chosen(max_ues=8, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(few, again)
    assert len(few) == len(set(few)) == 8
    assert (np.diff(few) > 0).all()
    assert few.tolist() != other.tolist()
    rx = grid()
    narrow = chosen(azimuth_deg=[0, 180], sector_half_width_deg=30)
    inside = np.degrees(np.abs(np.arctan2(rx[:, 1], rx[:, 0]))) <= 30
    np.testing.assert_array_equal(narrow, np.flatnonzero(inside))
    # Straight north of the second station is 90 deg off west, and nothing else is so near to it.
    wide = chosen(azimuth_deg=-180, sector_half_width_deg=95)
    np.testing.assert_array_equal(wide, np.flatnonzero(rx[:, 0] == 10))


def test_far_links_are_in_outage_when_delays_would_be_ambiguous(
    tmp_path: Path, read_in: Import
) -> None:
    rx = grid() * [12, 1, 1]  # up to 720 m away
    folder = write_scenario(tmp_path / "far", rx=rx)

    data = read_in(folder, tx_sets=1)
    wide = read_in(folder, tx_sets=1, num_subcarriers=256)

    limit_m = 0.99 * 64 * SPEED_OF_LIGHT_M_S / 50e6
    length_m = np.linalg.norm(rx - BASE_STATIONS[0], axis=1)[:28]
    los = data.select(scene="far", band="3.5GHz").los
    np.testing.assert_array_equal(los[:28], np.where(length_m < limit_m, 1, -1))
    num_far = int((length_m > limit_m).sum()) + 1  # and the one with a reflection only
    assert f"longer than {limit_m:.0f} m: {num_far} link" in " ".join(data.manifest.notes)
    assert wide.select(scene="far", band="3.5GHz").los[:28].tolist() == [1] * 28
    # All power of a link that lost its paths is counted as cut off: 0 dB of it.
    shard = data.load_shard(data.manifest.shards[0])
    lost_db = shard["link/truncated_power_db"][0, :28]
    np.testing.assert_allclose(lost_db[length_m > limit_m], 0, atol=1e-5)


def test_weak_paths_are_cut_when_fewer_may_be_kept(scenario: Path, read_in: Import) -> None:
    data = read_in(scenario, tx_sets=1, max_num_paths=1)

    shard = data.load_shard(data.manifest.shards[0])
    assert np.diff(shard["link/path_offset"]).tolist() == [1] * 29 + [0]
    assert shard["link/saturated"].tolist() == [True] * 28 + [False] * 2


@pytest.mark.parametrize(
    "settings",
    [RandomTracks(), CrossingTracks(buffer_m=1.0), NlosBlocks(block_m=15, buffer_m=1, num_folds=3)],
    ids=lambda settings: settings.kind,
)
def test_splits_are_made_when_no_ue_is_on_a_track(
    small_dataset: Dataset, tmp_path: Path, read_in: Import, settings: Any
) -> None:
    export_deepmimo(small_dataset, tmp_path / "canyon", scene="street_canyon", band="6GHz")
    data = read_in(tmp_path / "canyon")
    assert set(data.index["track_id"]) == {-1}

    split = make_split(data, "canyon", settings, window_size=5)

    assert all(len(split.rows(part)) > 0 for part in (TRAIN, VALIDATION, TEST))
    # Every UE is a track of its own: windows of one.
    used = split.table[split.table["part"] > 0]
    assert used["window"].is_unique


def test_delays_are_lifted_when_text_rounded_them(tmp_path: Path, read_in: Import) -> None:
    """Six digits of a delay are some millimetres."""

    def shorten(matrices: dict[str, np.ndarray]) -> None:
        matrices["delay"] -= 4e-3 / SPEED_OF_LIGHT_M_S

    folder = write_scenario(tmp_path / "rounded", has_carrier=False, change=shorten)

    data = read_in(folder, tx_sets=1)

    table = data.select(scene="rounded", band="3.5GHz").path_table(0, 28)
    length_m = np.linalg.norm(grid()[:28] - BASE_STATIONS[0], axis=1)
    found_m = table.delay_s[table.interaction[:, 0] == 0] * SPEED_OF_LIGHT_M_S
    np.testing.assert_allclose(found_m, length_m, atol=1e-4)
    assert "lifted to it: 28 delays" in " ".join(data.manifest.notes)


def test_import_is_refused_when_a_delay_is_impossible(tmp_path: Path, read_in: Import) -> None:
    def shorten(matrices: dict[str, np.ndarray]) -> None:
        matrices["delay"] *= 0.9

    folder = write_scenario(tmp_path / "fast", has_carrier=False, change=shorten)

    with pytest.raises(PhysicsError, match="shorter than the straight line"):
        read_in(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["fast"]


def test_arrivals_are_turned_when_they_point_inwards(tmp_path: Path, read_in: Import) -> None:
    def turn(matrices: dict[str, np.ndarray]) -> None:
        matrices["aoa_az"] += 180
        matrices["aoa_el"] = 180 - matrices["aoa_el"]

    turned = read_in(write_scenario(tmp_path / "inwards", change=turn), tx_sets=1)
    plain = read_in(write_scenario(tmp_path / "outwards"), tx_sets=1)

    ours = turned.select(scene="inwards", band="3.5GHz").path_table(0, 30)
    expected = plain.select(scene="outwards", band="3.5GHz").path_table(0, 30)
    np.testing.assert_allclose(ours.zenith_ue_rad, expected.zenith_ue_rad, atol=1e-6)
    off_rad = (ours.azimuth_ue_rad - expected.azimuth_ue_rad + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(off_rad, 0, atol=1e-6)
    assert "pointed inwards, and were turned" in " ".join(turned.manifest.notes)


def test_import_is_refused_when_elevation_counts_from_the_horizon(
    tmp_path: Path, read_in: Import
) -> None:
    def level(matrices: dict[str, np.ndarray]) -> None:
        matrices["aod_el"] = 90 - matrices["aod_el"]

    with pytest.raises(SchemaError, match=r"tx set 1, tx 0: departure and arrival .* from \+z"):
        read_in(write_scenario(tmp_path / "level", change=level))


def test_import_asks_when_phases_do_not_tell_whether_they_include_the_carrier(
    tmp_path: Path, read_in: Import
) -> None:
    def scramble(matrices: dict[str, np.ndarray]) -> None:
        rng = np.random.default_rng(0)
        matrices["phase"] = rng.uniform(-180, 180, matrices["phase"].shape)

    folder = write_scenario(tmp_path / "random", change=scramble)

    with pytest.raises(ConfigError, match=r"its 56 lines of sight do not tell .*carrier_in_phase"):
        read_in(folder)
    few = write_scenario(tmp_path / "few", rx=grid()[:6])
    with pytest.raises(ConfigError, match="its 8 lines of sight do not tell"):
        read_in(few, every=15)
    read_in(folder, carrier_in_phase=True)


def test_vertices_are_zero_and_said_to_be_when_points_are_missing(
    scenario: Path, read_in: Import
) -> None:
    for path in scenario.glob("inter_pos_*"):
        path.unlink()

    data = read_in(scenario)

    links = data.select(scene="hand", band="3.5GHz", site="tx1-0")
    assert not links.detail_table(0, 30).vertex_m.any()
    assert "no interaction points" in " ".join(data.manifest.notes)


def test_points_are_zero_beyond_the_last_interaction(tmp_path: Path, read_in: Import) -> None:
    def fill(matrices: dict[str, np.ndarray]) -> None:
        matrices["inter_pos"] = np.nan_to_num(matrices["inter_pos"], nan=7.0)

    data = read_in(write_scenario(tmp_path / "filled", change=fill), tx_sets=1)

    points_m = data.select(scene="filled", band="3.5GHz").detail_table(0, 28).vertex_m
    assert not points_m[0::2].any()  # lines of sight
    assert points_m[1::2].any(axis=2).all()


def test_sites_have_the_same_depth_when_their_paths_differ(tmp_path: Path, read_in: Import) -> None:
    """`Selection.path_table` joins the links of all sites."""

    def deepen(matrices: dict[str, np.ndarray]) -> None:
        if matrices["tx_pos"][0, 2] == BASE_STATIONS[1, 2]:
            matrices["inter"][matrices["inter"] == 1] = 1234

    data = read_in(write_scenario(tmp_path / "deep", change=deepen))

    table = data.select(scene="deep", band="3.5GHz").path_table(0, 60)
    assert table.interaction[1].tolist() == [1, 0, 0, 0]
    assert table.interaction[58].tolist() == [1, 8, 2, 4]
    tracer = data.manifest.campaign.tracer
    assert (tracer.max_depth, tracer.diffraction, tracer.refraction) == (4, True, True)


def test_licence_is_what_the_caller_says(scenario: Path, read_in: Import) -> None:
    given = read_in(scenario, licence="CC-BY-4.0", attribution="Somebody")
    silent = read_in(scenario)

    assert (given.manifest.sites[0].licence, given.manifest.sites[0].attribution) == (
        "CC-BY-4.0",
        "Somebody",
    )
    assert silent.manifest.sites[0].licence == "see the scenario's source"


def test_sets_that_also_receive_are_left_out_unless_named(scenario: Path, read_in: Import) -> None:
    """Set 2 of the scenario transmits and receives; there are no matrices of its reception."""
    assert len(read_in(scenario, rx_sets=4).index) == 60
    with pytest.raises(SchemaError, match=r"file rx_pos_t001_tx000_r002\.npz \(or \.mat\) is miss"):
        read_in(scenario, rx_sets=[2, 4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tx_sets": 3}, r"hand has no tx set 3 \(it has: 1 'BS 1', 2 'BS 2'\)"),
        ({"rx_sets": [1]}, r"hand has no rx set 1 \(it has: 2 'BS 2', 4 'grid'\)"),
        ({"azimuth_deg": (1, 2, 3)}, "azimuth_deg must have one value or one for each of the 2"),
        ({"azimuth_deg": 180, "sector_half_width_deg": 1}, "none of its 30 receivers is left"),
        ({"max_path_length_m": 500}, r"delay aliasing at bands\[0\].*at import of .*hand"),
        ({"name": "a b"}, r"string should match pattern.*at import of .*hand: name"),
    ],
)
def test_options_are_refused_when_they_do_not_fit(
    scenario: Path, read_in: Import, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_in(scenario, **options)


def break_json(folder: Path) -> None:
    (folder / "params.json").write_text("{", encoding="utf-8")


def lose_frequency(folder: Path) -> None:
    edit_params(folder, lambda data: data["rt_params"].pop("frequency"))


def lose_receivers(folder: Path) -> None:
    edit_params(folder, lambda data: data["txrx_sets"].pop("txrx_set_4"))


def make_dynamic(folder: Path) -> None:
    edit_params(folder, lambda data: data["scene"].update(num_scenes=20))


def make_v3(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "O1_60.params.mat").write_bytes(b"")


def make_empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def lose_delays(folder: Path) -> None:
    (folder / "delay_t002_tx000_r004.npz").unlink()


def cut_off_power(folder: Path) -> None:
    path = folder / "power_t001_tx000_r004.npz"
    path.write_bytes(path.read_bytes()[:60])


def replace_matrix(folder: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = folder / f"{name}_t001_tx000_r004.npz"
    with np.load(path) as file:
        array = change(file[name])
    np.savez_compressed(path, **{name: array})


def narrow_phase(folder: Path) -> None:
    replace_matrix(folder, "phase", lambda array: array[:, :2])


def flat_positions(folder: Path) -> None:
    replace_matrix(folder, "rx_pos", lambda array: array[:, :2])


def move_receivers(folder: Path) -> None:
    replace_matrix(folder, "rx_pos", lambda array: array + 1)


def lose_an_angle(folder: Path) -> None:
    replace_matrix(folder, "aod_az", lambda array: np.where(array == array[0, 0], np.nan, array))


def strange_code(folder: Path) -> None:
    replace_matrix(folder, "inter", lambda array: np.where(array == 1, 17, array))


def odd_points(folder: Path) -> None:
    replace_matrix(folder, "inter_pos", lambda array: array[:20])


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (shutil.rmtree, DatasetError, "hand does not exist or is no folder"),
        (make_empty, DatasetError, r"holds no DeepMIMO v4 scenario \(params\.json is missing\)"),
        (make_v3, DatasetError, "looks like a scenario of DeepMIMO v3 or older; only v4"),
        (make_dynamic, DatasetError, "is a dynamic scenario of 20 scenes; only static ones"),
        (
            lose_receivers,
            DatasetError,
            "hand has no rx set that does not transmit as well; name one",
        ),
        (break_json, SchemaError, r"params\.json is no valid JSON"),
        (lose_frequency, SchemaError, "field required at rt_params.frequency"),
        (lose_delays, SchemaError, r"the file delay_t002_tx000_r004\.npz \(or \.mat\) is missing"),
        (cut_off_power, SchemaError, r"power_t001_tx000_r004\.npz cannot be read as the matrix"),
        (narrow_phase, SchemaError, r"phase_t001.*expected the shape \[30, 3\], that of 'power', "),
        (flat_positions, SchemaError, r"rx_pos_t001.*expected the shape \[receiver, 3\]"),
        (move_receivers, SchemaError, "rx_pos differs between transmitters"),
        (lose_an_angle, SchemaError, r"aod_az_t001.*is not finite at a path that has a power"),
        (strange_code, SchemaError, "tx set 1, tx 0: interaction code 17 has a digit"),
        (odd_points, SchemaError, r"inter_pos_t001.*expected the shape \[30, 3, depth, 3\], got"),
    ],
)
def test_scenario_is_refused_when_something_is_wrong(
    scenario: Path,
    read_in: Import,
    spoil: Callable[[Path], None],
    error: type[Exception],
    message: str,
) -> None:
    spoil(scenario)

    with pytest.raises(error, match=message):
        read_in(scenario)
    assert not list(scenario.parent.glob("data*"))


def test_existing_dataset_is_refused_and_kept(scenario: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("kept")

    with pytest.raises(DatasetError, match="out exists; choose another folder"):
        import_deepmimo(scenario, out)

    assert [path.name for path in out.iterdir()] == ["mine"]
