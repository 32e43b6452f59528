"""Scenario folders against closed forms, other tracings and the dataset itself.

What the deepmimo package makes of them is tested in tests/e2e/test_deepmimo_package.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raymark.dataset import Dataset, open_dataset
from raymark.errors import ConfigError, DatasetError
from raymark.interop.deepmimo_export import export_deepmimo
from raymark.interop.deepmimo_format import decode_interactions, encode_interactions

SPEED_OF_LIGHT_M_S = 299_792_458.0
TracePoints = Callable[..., Dataset]


def read(folder: Path, matrix: str, transmitter: int = 0, receivers: int = 1) -> np.ndarray:
    with np.load(folder / f"{matrix}_t{transmitter:03}_tx000_r{receivers:03}.npz") as file:
        return file[matrix]


def params(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    return data


def wrapped_deg(angle_deg: Any) -> np.ndarray:
    return (np.asarray(angle_deg) + 180) % 360 - 180


@pytest.fixture(scope="module")
def canyon(small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "canyon_6ghz"
    export_deepmimo(small_dataset, folder, scene="street_canyon", band="6GHz")
    return folder


def test_line_of_sight_has_the_closed_forms_of_isotropic_antennas(
    far_ground: Path, trace_points: TracePoints, tmp_path: Path
) -> None:
    points = np.array([[80.0, 10.0, -20.0], [50.0, -60.0, 5.0], [-30.0, 5.0, 1.0]])
    panel = {"panel": {"num_rows": 8, "num_cols": 8}}  # 3GPP elements; it looks along +x
    data = trace_points(
        far_ground, points, bands=["6GHz"], front_end=panel, specular_reflection=False
    )

    export_deepmimo(data, tmp_path / "los", scene="far_ground", band="6GHz")

    length_m = np.linalg.norm(points, axis=1)
    azimuth_deg = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    zenith_deg = np.degrees(np.arccos(points[:, 2] / length_m))
    expected = {
        "delay": length_m / SPEED_OF_LIGHT_M_S,
        "aod_az": azimuth_deg,
        "aod_el": zenith_deg,
        "aoa_az": wrapped_deg(azimuth_deg + 180),
        "aoa_el": 180 - zenith_deg,
        "inter": np.zeros(3),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(read(tmp_path / "los", name)[:, 0], values, rtol=1e-6)
    # Friis for isotropic antennas; the pattern that is taken out is traced in float32.
    friis_db = 20 * np.log10(SPEED_OF_LIGHT_M_S / 6e9 / (4 * np.pi * length_m))
    np.testing.assert_allclose(read(tmp_path / "los", "power")[:, 0], friis_db, atol=1e-3)
    turns = 6e9 * read(tmp_path / "los", "delay")[:, 0].astype("f8")
    phase_deg = read(tmp_path / "los", "phase")[:, 0]
    np.testing.assert_allclose(wrapped_deg(phase_deg + 360 * turns), 0, atol=1e-3)
    np.testing.assert_array_equal(read(tmp_path / "los", "rx_pos"), points.astype("f4"))
    np.testing.assert_array_equal(read(tmp_path / "los", "tx_pos"), [[0, 0, 0]])


@pytest.mark.parametrize(
    "front_end",
    [
        {"panel": {"num_rows": 4, "num_cols": 4}},
        {"panel": {"num_rows": 4, "num_cols": 4, "polarization": "H"}},
        {"panel": {"num_rows": 4, "num_cols": 1, "element_pattern": "dipole"}},
        {"ue": {"element_pattern": "dipole"}},
    ],
    ids=["tr38901", "horizontal", "dipole", "ue-dipole"],
)
def test_patterns_are_taken_out_exactly(
    ground_and_wall: Path, trace_points: TracePoints, tmp_path: Path, front_end: dict[str, Any]
) -> None:
    """The same paths, traced with isotropic elements of the same polarization, are the oracle."""
    points = np.random.default_rng(1).uniform([-60, -60, 1], [60, 25, 20], (30, 3))
    polarization = front_end.get("panel", {}).get("polarization", "V")
    element = {"num_rows": 1, "num_cols": 1, "element_pattern": "iso", "polarization": polarization}
    matrices = []
    for name, used in (("as_given", front_end), ("isotropic", {"panel": element})):
        data = trace_points(ground_and_wall, points, bands=["2.6GHz"], front_end=used)
        export_deepmimo(data, tmp_path / name, scene="ground_and_wall", band="2.6GHz")
        matrices.append({m: read(tmp_path / name, m) for m in ("power", "phase", "inter")})
        # However weak it is: across polarizations a reflection is stronger.
        los = data.select(scene="ground_and_wall", band="2.6GHz").los
        np.testing.assert_array_equal(matrices[-1]["inter"][:, 0] == 0, los == 1)

    ours, traced = matrices
    np.testing.assert_array_equal(ours["inter"], traced["inter"])
    assert np.isfinite(ours["power"]).sum() > 80
    # Float32 fields, and angles at the steepest part of a dipole's pattern.
    np.testing.assert_allclose(ours["power"], traced["power"], atol=5e-3)
    strong = traced["power"] > -150  # the phase of a field near zero is lost
    off_deg = wrapped_deg(ours["phase"] - traced["phase"])[strong]
    np.testing.assert_allclose(off_deg, 0, atol=0.05)


def test_patterns_stay_when_they_are_kept(small_dataset: Dataset, tmp_path: Path) -> None:
    links = small_dataset.select(scene="street_canyon", band="6GHz")
    table = links.path_table(0, len(links))

    export_deepmimo(
        small_dataset,
        tmp_path / "kept",
        scene="street_canyon",
        band="6GHz",
        keep_element_patterns=True,
    )

    power = read(tmp_path / "kept", "power")
    total = np.nansum(10 ** (power.astype("f8") / 10))
    assert total == pytest.approx((np.abs(table.amplitude.astype("c16")) ** 2).sum(), rel=1e-5)
    notes = params(tmp_path / "kept")["rt_params"]["raw_params"]["raymark"]
    assert (notes["element_patterns"], notes["bs_pattern"]) == ("included", "tr38901")


def test_paths_start_with_the_line_of_sight_and_fall_in_power(
    canyon: Path, small_dataset: Dataset
) -> None:
    links = small_dataset.select(scene="street_canyon", band="6GHz")
    power, code = read(canyon, "power"), read(canyon, "inter")
    count = np.diff(links.path_table(0, len(links)).path_offset)

    np.testing.assert_array_equal(np.isfinite(power).sum(axis=1), count)
    assert set(links.los) >= {0, 1}
    for label, row, kind in zip(links.los, power, code, strict=True):
        assert (kind[0] == 0) == (label == 1)
        assert not (kind[1:] == 0).any()
        rest = row[np.isfinite(row)][1 if label == 1 else 0 :]
        assert (np.diff(rest) <= 0).all()
        # Padding stands at the end only.
        assert np.isfinite(row[: np.isfinite(row).sum()]).all()


def test_points_and_codes_tell_the_same_way_as_the_dataset(
    canyon: Path, small_dataset: Dataset
) -> None:
    """A path's points, from BS to UE, add up to its delay; its code has a digit for each."""
    points, delay, code = (read(canyon, name) for name in ("inter_pos", "delay", "inter"))
    site = np.array(small_dataset.manifest.sites[0].position_m)
    digit_of = {"1": 1, "2": 8, "3": 2, "4": 4}
    links = small_dataset.select(scene="street_canyon", band="6GHz")
    stored = links.path_table(0, len(links)).interaction
    seen: list[tuple[int, ...]] = []
    for ue, position_m in enumerate(links.position_m):
        for path in np.flatnonzero(np.isfinite(delay[ue])):
            way = points[ue, path][np.isfinite(points[ue, path]).all(axis=1)]
            digits = str(int(code[ue, path])).replace("0", "")
            corners = np.concatenate([[site], way, [position_m]])
            length_m = np.linalg.norm(np.diff(corners, axis=0), axis=1).sum()
            assert len(way) == len(digits)
            assert length_m == pytest.approx(delay[ue, path] * SPEED_OF_LIGHT_M_S, abs=0.02)
            seen.append(tuple(digit_of[d] for d in digits))
    assert sorted(seen) == sorted(tuple(row[row > 0].tolist()) for row in stored)
    assert any(8 in kinds for kinds in seen)


def test_params_describe_sets_carrier_and_source(canyon: Path, small_dataset: Dataset) -> None:
    data, manifest = params(canyon), small_dataset.manifest

    tx, rx = (data["txrx_sets"][f"txrx_set_{i}"] for i in (0, 1))
    site = manifest.sites[0]
    assert (tx["name"], tx["is_tx"], tx["is_rx"], tx["num_points"]) == (site.site, True, False, 1)
    assert (rx["name"], rx["is_tx"], rx["is_rx"], rx["num_points"]) == ("ue", False, True, 50)
    yaw_deg, pitch_deg, _ = np.degrees(site.orientation_rad)
    np.testing.assert_allclose(tx["array_orientation"], [yaw_deg, -pitch_deg, 0])
    assert data["rt_params"]["frequency"] == 6e9
    notes = data["rt_params"]["raw_params"]["raymark"]
    assert (notes["dataset_id"], notes["content_hash"]) == (manifest.id, manifest.content_hash)
    assert site.attribution in (canyon / "ATTRIBUTION").read_text(encoding="utf-8")


def test_every_site_transmits_to_the_same_ues(
    flat_ground: Path, make_dataset: Callable[..., Dataset], tmp_path: Path
) -> None:
    sites = [
        {"name": "west", "position_m": [-40.0, 0.0, 9.0], "azimuth_deg": 0.0},
        {"name": "east", "position_m": [40.0, 0.0, 11.0], "azimuth_deg": 180.0, "downtilt_deg": 5},
    ]
    data = make_dataset(
        {
            "name": "shared",
            "scenes": [{"name": str(flat_ground), "sites": sites}],
            "bands": ["6GHz"],
            "sampling": {"kind": "uniform", "num_ues": 4, "max_range_m": 60.0},
            "shared_ues": True,
            "tracer": {"max_depth": 1},
        }
    )

    made = export_deepmimo(data, tmp_path / "both", scene="flat_ground", band="6GHz")
    one = export_deepmimo(data, tmp_path / "east", scene="flat_ground", band="6GHz", site="east")

    assert (made.num_sites, made.num_ues, made.num_paths) == (2, 8, 32)
    assert (one.num_sites, one.num_ues, one.num_paths) == (1, 8, 16)
    names = [each["name"] for each in params(tmp_path / "both")["txrx_sets"].values()]
    assert names == ["west", "east", "ue"]
    for i, name in enumerate(("west", "east")):
        links = data.select(scene="flat_ground", band="6GHz", site=name)
        tx_m = read(tmp_path / "both", "tx_pos", i, 2)
        np.testing.assert_array_equal(tx_m, [sites[i]["position_m"]])
        np.testing.assert_array_equal(read(tmp_path / "both", "rx_pos", i, 2), links.position_m)
    np.testing.assert_array_equal(
        read(tmp_path / "both", "power", 1, 2), read(tmp_path / "east", "power")
    )


def test_points_are_missing_when_the_dataset_has_no_detail_files(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    bare = open_dataset(small_dataset.folder)
    bare.manifest = bare.manifest.model_copy(update={"left_out": ("detail",)})

    made = export_deepmimo(bare, tmp_path / "bare", scene="street_canyon", band="6GHz")

    assert not made.has_points
    assert not list((tmp_path / "bare").glob("inter_pos*"))
    assert list((tmp_path / "bare").glob("inter_t*"))


def test_codes_of_eight_interactions_stay_exact() -> None:
    kinds = np.array([[1, 8, 2, 4, 1, 1, 1, 8], [0] * 8, [4, 1, 0, 0, 0, 0, 0, 0]], dtype="u1")

    codes = encode_interactions(kinds)

    assert codes.tolist() == [12341112, 0, 41]
    np.testing.assert_array_equal(decode_interactions(codes), kinds)


@pytest.mark.parametrize("code", [5.0, 102.0, 10.0, 1.5, -1.0])
def test_codes_are_refused_when_a_digit_is_no_interaction(code: float) -> None:
    with pytest.raises(ValueError, match=f"^{code:g}$"):
        decode_interactions(np.array([1.0, code, 12.0]))


def test_existing_folder_is_refused_and_kept(canyon: Path, small_dataset: Dataset) -> None:
    before = sorted(path.name for path in canyon.iterdir())

    with pytest.raises(DatasetError, match=r"canyon_6ghz exists; choose another folder"):
        export_deepmimo(small_dataset, canyon, scene="street_canyon", band="6GHz")

    assert sorted(path.name for path in canyon.iterdir()) == before


@pytest.mark.parametrize(("name", "good"), [("Munich_28GHz", "munich_28ghz"), ("a:b", "a_b")])
def test_name_is_refused_when_deepmimo_could_not_load_it(
    small_dataset: Dataset, tmp_path: Path, name: str, good: str
) -> None:
    with pytest.raises(ConfigError, match=rf"got '{name}'; name the folder '{good}'"):
        export_deepmimo(small_dataset, tmp_path / name, scene="street_canyon", band="6GHz")


def test_sites_are_refused_together_when_they_see_different_ues(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"one site at a time \(it has: west, east\)"):
        export_deepmimo(two_site_dataset, tmp_path / "two", scene="two_sites", band="6GHz")

    assert list(tmp_path.iterdir()) == []
    made = export_deepmimo(
        two_site_dataset, tmp_path / "two", scene="two_sites", band="6GHz", site="east"
    )
    assert made.num_ues == 7


def test_unknown_site_is_refused(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no site 'bs7'"):
        export_deepmimo(
            small_dataset, tmp_path / "x", scene="street_canyon", band="6GHz", site="bs7"
        )


def test_nothing_is_left_when_the_folder_cannot_be_written(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(DatasetError, match="a part of the path is a file"):
        export_deepmimo(small_dataset, tmp_path / "file" / "x", scene="street_canyon", band="6GHz")
