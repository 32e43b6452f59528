from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.dataset import Dataset, materialization
from raymark.dataset.materialization import materialize
from raymark.errors import DatasetError
from raymark.storage import file_sha256

CANYON = {"scene": "street_canyon", "band": "6GHz"}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


def test_materialize_gives_the_same_bytes_when_repeated(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    first = materialize(small_dataset, tmp_path / "a.h5", **CANYON)
    second = materialize(small_dataset, tmp_path / "b.h5", **CANYON)

    assert first == second == file_sha256(tmp_path / "a.h5") == file_sha256(tmp_path / "b.h5")


def test_materialize_changes_only_what_is_measured_when_seed_is_another(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    materialize(small_dataset, tmp_path / "a.h5", **CANYON)
    materialize(small_dataset, tmp_path / "b.h5", seed=8, **CANYON)

    first, second = arrays_of(tmp_path / "a.h5"), arrays_of(tmp_path / "b.h5")
    changed = {name for name in first if not np.array_equal(first[name], second[name])}
    assert changed >= {"csi", "aoa_profile", "gain_db"}
    assert not changed & {"ue/position_m", "ue/ue_index", "link/los"}


def test_materialize_writes_noiseless_csi_when_kind_is_oracle(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    materialize(small_dataset, tmp_path / "a.h5", kind="oracle", **CANYON)

    found, selection = arrays_of(tmp_path / "a.h5"), small_dataset.select(**CANYON)
    expected = selection.fingerprints(0, 50, kind="oracle")
    np.testing.assert_array_equal(found["csi"], expected.csi.numpy())
    np.testing.assert_array_equal(found["distance_m"], expected.distance_m.numpy())
    np.testing.assert_array_equal(found["ue/position_m"], selection.position_m)
    np.testing.assert_array_equal(found["link/los"], selection.los)


def test_materialize_adds_noise_of_the_right_power_when_kind_is_measured(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    materialize(small_dataset, tmp_path / "m.h5", kind="measured", **CANYON)
    materialize(small_dataset, tmp_path / "o.h5", kind="oracle", **CANYON)

    noise = arrays_of(tmp_path / "m.h5")["csi"] - arrays_of(tmp_path / "o.h5")["csi"]
    front_end = small_dataset.manifest.campaign.front_end
    expected = front_end.noise_variance(small_dataset.band("6GHz"))
    power = np.abs(noise.astype("c16")) ** 2
    # Five sigma of a mean of exponentials, and float32 of a signal far above the noise.
    assert power.mean() == pytest.approx(expected, rel=5 / np.sqrt(power.size) + 1e-3)


def test_materialize_tells_what_it_holds_when_opened_with_plain_hdf5(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "a.h5"
    materialize(small_dataset, path, method="capon", seed=3, **CANYON)

    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        assert file["csi"].attrs["axes"].tolist() == ["link", "ant", "subcarrier"]
        assert file["distance_m"].attrs["unit"] == "m"
        assert file["csi"].shape == (50, 64, 64)
    expected: dict[str, Any] = {
        "kind": "fingerprints",
        "fingerprint_kind": "measured",
        "profile_method": "capon",
        "scene": "street_canyon",
        "band": "6GHz",
        "carrier_hz": 6e9,
        "seed": 3,
        "content_hash": small_dataset.manifest.content_hash,
    }
    assert expected.items() <= attributes.items()
    assert [path.name for path in path.parent.iterdir()] == ["a.h5"]


def test_materialize_gives_the_site_alone_as_within_all_when_sites_are_two(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    """The noise depends on seed, scene, site and band, not on what else is written."""
    choice = {"scene": "two_sites", "band": "6GHz"}
    materialize(two_site_dataset, tmp_path / "all.h5", **choice)
    materialize(two_site_dataset, tmp_path / "east.h5", site="east", **choice)

    whole, east = arrays_of(tmp_path / "all.h5"), arrays_of(tmp_path / "east.h5")
    assert whole["ue/site_index"].tolist() == [0] * 7 + [1] * 7
    np.testing.assert_array_equal(whole["csi"][7:], east["csi"])


def test_materialize_draws_other_noise_when_site_or_band_is_another(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    noise = {}
    for site in ("west", "east"):
        for band in two_site_dataset.bands:
            path = tmp_path / f"{site}-{band}.h5"
            materialize(two_site_dataset, path, scene="two_sites", band=band, site=site)
            selection = two_site_dataset.select(scene="two_sites", band=band, site=site)
            clean = selection.fingerprints(0, 7, kind="oracle").csi.numpy()
            noise[site, band] = (arrays_of(path)["csi"] - clean).ravel().astype("c16")

    keys = list(noise)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            scale = np.linalg.norm(noise[a]) * np.linalg.norm(noise[b])
            correlation = abs(np.vdot(noise[a], noise[b])) / scale
            assert correlation < 5 / np.sqrt(len(noise[a])), (a, b)  # five sigma of none


def test_materialize_reports_every_link_once_when_told(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    counts: list[int] = []

    materialize(small_dataset, tmp_path / "a.h5", progress=counts.append, **CANYON)

    assert sum(counts) == 50


def test_materialize_refuses_when_file_exists(small_dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"precious")

    with pytest.raises(DatasetError, match=r"a\.h5 exists; choose another name or add --overwrite"):
        materialize(small_dataset, path, **CANYON)
    assert path.read_bytes() == b"precious"


def test_materialize_replaces_the_file_when_overwrite_is_set(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"old")

    digest = materialize(small_dataset, path, overwrite=True, **CANYON)

    assert file_sha256(path) == digest


def test_materialize_leaves_nothing_under_the_name_when_interrupted(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    def interrupt(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(small_dataset, tmp_path / "a.h5", progress=interrupt, **CANYON)
    assert not (tmp_path / "a.h5").exists()


def test_materialize_raises_when_the_path_goes_through_a_file(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"cannot write .*a\.h5: a part of the path is a file"):
        materialize(small_dataset, tmp_path / "file" / "a.h5", **CANYON)


def test_materialize_raises_when_band_is_unknown(small_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no band '5GHz'; did you mean '6GHz'"):
        materialize(small_dataset, tmp_path / "a.h5", scene="street_canyon", band="5GHz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("batch_size", [1, 9, 50])
def test_materialize_writes_the_same_oracle_when_batches_are_of_any_size(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setattr(materialization, "BATCH_SIZE", batch_size)
    materialize(small_dataset, tmp_path / "a.h5", kind="oracle", **CANYON)

    found = arrays_of(tmp_path / "a.h5")
    expected = small_dataset.select(**CANYON).fingerprints(0, 50, kind="oracle")
    scale = expected.csi.abs().max().item()
    np.testing.assert_allclose(found["csi"], expected.csi.numpy(), atol=1e-5 * scale)
    np.testing.assert_allclose(found["gain_db"], expected.gain_db.numpy(), atol=1e-4)


def test_materialize_holds_no_nan_when_links_are_in_outage(
    make_dataset: Any, small_campaign: dict[str, Any], tmp_path: Path
) -> None:
    data = make_dataset({**small_campaign, "tracer": {"max_depth": 0}})
    los = data.select(**CANYON).los
    assert set(los) == {-1, 1}

    for kind in ("measured", "oracle"):
        materialize(data, tmp_path / f"{kind}.h5", kind=kind, **CANYON)
        found = arrays_of(tmp_path / f"{kind}.h5")
        for name, array in found.items():
            if array.dtype.kind in "fc":
                assert np.isfinite(array).all(), name
    oracle = arrays_of(tmp_path / "oracle.h5")
    np.testing.assert_array_equal(oracle["has_signal"], los == 1)
    assert (oracle["csi"][los == -1] == 0).all()
