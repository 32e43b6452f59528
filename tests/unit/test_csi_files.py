"""CSI in files: what is taken from them, and what is refused in one sentence."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.benchmark.csi_files import measure_csi, read_csi
from raymark.dataset import Dataset
from raymark.dataset.materialization import materialize
from raymark.errors import ConfigError, SchemaError
from raymark.radio import Receiver, Site, parse_bands, read_receiver

CSI = (np.arange(2 * 3 * 4).reshape(2, 3, 4) * (1 + 2j) / 1e4).astype("c8")


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "csi.npz", **arrays)
    return folder / "csi.npz"


def test_arrays_are_those_of_the_file_when_it_is_npz(tmp_path: Path) -> None:
    position_m = np.array([[1.0, 2.0, 1.5], [3.0, 4.0, 1.5]])

    file = read_csi(npz(tmp_path, csi=CSI.astype("c16"), position_m=position_m), site="bs0")

    np.testing.assert_array_equal(file.csi, CSI)
    np.testing.assert_array_equal(file.position_m, position_m[:, :2])
    assert (file.los, file.band, file.carrier_hz) == (None, "", None)


def test_links_are_those_of_the_site_when_fingerprints_are_of_two(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "prints.h5"
    materialize(two_site_dataset, path, scene="two_sites", band="6GHz")
    selection = two_site_dataset.select(scene="two_sites", band="6GHz", site="east")

    file = read_csi(path, site="east")

    assert file.position_m is not None
    np.testing.assert_allclose(file.position_m, selection.position_m[:, :2])
    np.testing.assert_array_equal(file.los, selection.los)
    with h5py.File(path) as stored:
        np.testing.assert_array_equal(file.csi, stored["csi"][7:])
    assert (file.band, file.carrier_hz) == ("6GHz", 6e9)
    assert file.receiver() == Receiver(band=parse_bands("6GHz")[0])
    with pytest.raises(ConfigError, match=r"has no link of site 'north' \(it has: west, east\)"):
        read_csi(path, site="north")


def test_estimates_are_those_of_a_plane_wave_when_csi_is_one(tmp_path: Path) -> None:
    """One path from the boresight, 30 m long, at a gain of -80 dB, hardly any noise."""
    band = parse_bands("6GHz")[0]
    tones_hz = (np.arange(64) - 31.5) * band.subcarrier_spacing_hz
    wave = 1e-4 * np.exp(-2j * np.pi * tones_hz * 30.0 / 299_792_458.0)
    csi = np.broadcast_to(wave, (1, 64, 64)).astype("c8")
    site = Site(name="bs0", position_m=(0.0, 0.0, 10.0), azimuth_deg=70.0)

    file = read_csi(npz(tmp_path, csi=csi), site="bs0")
    found = measure_csi(file, site, file.receiver("6GHz"), scene="town")

    assert found.path_mask.sum() == 1
    assert found.path_range_m[0, 0] == pytest.approx(30.0, abs=1e-2)
    assert found.path_azimuth_rad[0, 0] == pytest.approx(0.0, abs=1e-3)
    assert found.path_power_db[0, 0] == pytest.approx(-80.0, abs=0.01)
    assert found.sites[0].name == "town/bs0"


def test_receiver_is_that_of_the_file_when_one_is_given(tmp_path: Path) -> None:
    path = tmp_path / "receiver.yaml"
    path.write_text(
        "band: {name: 6GHz, bandwidth_hz: 100.0e+6, num_subcarriers: 128}\n"
        "front_end: {panel: {num_rows: 2}, ue: {tx_power_dbm: 10}}\n"
    )
    file = read_csi(npz(tmp_path, csi=CSI), site="bs0")

    found = file.receiver(None, read_receiver(path))

    assert found.in_use.panel.num_antennas == 16
    assert "2 x 8 'tr38901' elements, 128 tones over 100 MHz at 6 GHz, 10 dBm" in found.describe()
    noise = 1.380649e-23 * 290 * 100e6 * 10**0.5 / 10 ** (-2)
    assert found.noise_variance == pytest.approx(noise)
    with pytest.raises(ConfigError, match="--band 28GHz is not the band of the receiver, '6GHz'"):
        file.receiver("28GHz", found)
    path.write_text("band: 6GHz\nfront_end: {panels: {}}\n")
    with pytest.raises(ConfigError, match="panels"):
        read_receiver(path)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"h": CSI}, r"array 'csi' must be complex of shape \[link, ant, subcarrier\], got none"),
        ({"csi": CSI.real}, "got float32 of shape"),
        ({"csi": CSI[0]}, r"got complex64 of shape \(3, 4\)"),
        ({"csi": CSI, "position_m": np.zeros((3, 2))}, "must have a row for each of the 2 links"),
        ({"csi": CSI, "position_m": np.zeros((2, 4))}, r"of shape \[link, 2 or 3\]"),
        ({"csi": CSI, "position_m": np.full((2, 2), np.nan)}, "must be finite numbers"),
        ({"csi": np.array([{}], dtype=object)}, "is no NPZ file of plain arrays"),
    ],
)
def test_file_is_refused_when_its_arrays_are_no_csi(
    arrays: dict[str, np.ndarray], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_csi(npz(tmp_path, **arrays), site="bs0")


def test_file_is_refused_when_it_is_none_of_the_kinds(tmp_path: Path) -> None:
    for name in ("csi.npz", "csi.h5", "csi.mat"):
        (tmp_path / name).write_bytes(b"no arrays")

    with pytest.raises(ConfigError, match=r"csi\.npz is no NPZ file"):
        read_csi(tmp_path / "csi.npz", site="bs0")
    with pytest.raises(SchemaError, match=r"csi\.h5"):
        read_csi(tmp_path / "csi.h5", site="bs0")
    with pytest.raises(ConfigError, match=r"CSI is read from \.npz, \.h5 or \.hdf5"):
        read_csi(tmp_path / "csi.mat", site="bs0")


@pytest.mark.parametrize(
    ("csi", "sentence"),
    [
        (CSI[:0], r"csi\.npz holds no links"),
        (CSI * np.array([1, np.nan])[:, None, None], r"csi\.npz: 'csi' of link 1 is not finite"),
        (
            CSI.astype("c16") * 1e60,
            r"csi\.npz: link 0 gains \+\d{4} dB; CSI must be the channel's ga",
        ),
        (CSI * 1e4, r"csi\.npz: link 0 gains \+23 dB"),
        (np.full((1, 3, 4), 1 + 0j), r"csi\.npz: link 0 gains \+0 dB"),
    ],
)
def test_csi_is_refused_when_it_is_none_of_a_link(
    csi: np.ndarray, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_csi(npz(tmp_path, csi=csi), site="bs0")


def test_csi_is_refused_by_its_shape_when_it_has_no_antenna(tmp_path: Path) -> None:
    file = read_csi(npz(tmp_path, csi=CSI[:, :0]), site="bs0")
    site = Site(name="bs0", position_m=(0.0, 0.0, 10.0), azimuth_deg=0.0)

    with pytest.raises(ConfigError, match="must have 64 antennas and 64 tones"):
        measure_csi(file, site, file.receiver("6GHz"), scene="town")


def test_file_is_refused_when_it_is_a_bare_array(tmp_path: Path) -> None:
    np.save(tmp_path / "csi.npy", CSI)
    (tmp_path / "csi.npy").rename(tmp_path / "csi.npz")

    with pytest.raises(ConfigError, match=r"csi\.npz is one bare array, no NPZ file"):
        read_csi(tmp_path / "csi.npz", site="bs0")


def test_file_is_refused_when_its_archive_is_damaged_inside(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "csi.npz", csi=CSI)
    content = bytearray((tmp_path / "csi.npz").read_bytes())
    content[60:90] = bytes(30)
    (tmp_path / "csi.npz").write_bytes(content)

    with pytest.raises(ConfigError, match=r"csi\.npz is no NPZ file of plain arrays"):
        read_csi(tmp_path / "csi.npz", site="bs0")


def hdf5(folder: Path, arrays: dict[str, Any], attributes: dict[str, Any]) -> Path:
    with h5py.File(folder / "csi.h5", "w") as file:
        for name, values in {"csi": CSI, **arrays}.items():
            file[name] = values
        file.attrs.update(attributes)
    return folder / "csi.h5"


@pytest.mark.parametrize("carrier_hz", ["six", [6e9, 7e9], np.nan, np.inf, 0.0, -6e9])
def test_file_is_refused_when_its_carrier_is_no_number(carrier_hz: Any, tmp_path: Path) -> None:
    path = hdf5(tmp_path, {}, {"carrier_hz": carrier_hz})

    message = r"csi\.h5: attribute 'carrier_hz' must be one finite number above 0, got "
    with pytest.raises(ConfigError, match=message):
        read_csi(path, site="bs0")


def test_file_is_refused_when_no_link_is_of_the_site(tmp_path: Path) -> None:
    path = hdf5(tmp_path, {"ue/site_index": [1, 1]}, {"sites": ["bs0", "x"]})

    with pytest.raises(ConfigError, match=r"csi\.h5 has no link of site 'bs0' \(it has: x\)"):
        read_csi(path, site="bs0")


@pytest.mark.parametrize("los", [[1, 7], [0.5, 1.0], [np.nan, 1.0], [[1, 0], [0, 1]]])
def test_file_is_refused_when_its_labels_are_none(los: Any, tmp_path: Path) -> None:
    path = hdf5(tmp_path, {"link/los": los}, {})

    with pytest.raises(
        ConfigError, match=r"'link/los' must be 1 \(LOS\), 0 \(NLOS\) or -1 \(outage\)"
    ):
        read_csi(path, site="bs0")
