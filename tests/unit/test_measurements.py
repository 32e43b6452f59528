import dataclasses
from pathlib import Path

import numpy as np
import pytest

from raymark.benchmark.channels import channels_of
from raymark.benchmark.measurements import (
    CsiFiles,
    Labelled,
    Measurements,
    SiteContext,
    concatenate,
    concatenate_labelled,
)
from raymark.dataset import Dataset
from raymark.radio import BAND_PRESETS, Panel

NUM_PATHS, NUM_ANTENNAS, NUM_TONES = 3, 2, 4

PER_LINK = [
    field.name
    for field in dataclasses.fields(Measurements)
    if field.name not in {"sites", "bands", "csi_files", "site_index", "band_index", "window", "ue"}
]


def make_part(
    seed: int, sites: tuple[str, ...], band: str, *, csi: Path | None = None, num_links: int = 6
) -> Measurements:
    """Return measurements of random values; the CSI, if any, is written to a file."""
    rng = np.random.default_rng(seed)
    per_link = ("distance_m", "gain_db", "delay_spread_s", "azimuth_spread_rad")
    per_path = ("path_range_m", "path_azimuth_rad", "path_zenith_rad", "path_power_db")
    if csi is not None:
        values = rng.normal(size=(2, num_links, NUM_ANTENNAS, NUM_TONES)).astype("f4")
        np.save(csi, (values[0] + 1j * values[1]).astype("c8"))
    return Measurements(
        sites=tuple(
            SiteContext(name=name, panel=Panel(), height_m=float(len(name))) for name in sites
        ),
        bands=(BAND_PRESETS[band],),
        site_index=rng.integers(len(sites), size=num_links),
        band_index=np.zeros(num_links, dtype="i8"),
        window=np.arange(num_links) // 2 + 3,
        window_step=np.arange(num_links) % 2,
        path_mask=rng.random((num_links, NUM_PATHS)) < 0.5,
        has_signal=rng.random(num_links) < 0.5,
        ue_azimuth_rad=rng.uniform(-3, 3, num_links),
        odometry_m=rng.normal(size=(num_links, 2)),
        aoa_profile_db=rng.normal(size=(num_links, 5)),
        csi_files=csi
        and CsiFiles(
            files=(csi,), file_index=np.zeros(num_links, dtype="i8"), row=np.arange(num_links)
        ),
        **{name: rng.normal(size=num_links) for name in per_link},
        **{name: rng.normal(size=(num_links, NUM_PATHS)) for name in per_path},
    )


@pytest.fixture
def parts(tmp_path: Path) -> list[Measurements]:
    """Two bands of one scene, the first again, and another scene."""
    return [
        make_part(0, ("a/west", "a/east"), "6GHz", csi=tmp_path / "0.npy"),
        make_part(1, ("a/west", "a/east"), "28GHz", csi=tmp_path / "1.npy"),
        make_part(2, ("a/west", "a/east"), "6GHz", csi=tmp_path / "0.npy"),
        make_part(3, ("b/tall-mast",), "28GHz", csi=tmp_path / "3.npy"),
    ]


def test_concatenate_keeps_every_value_in_order_when_parts_are_joined(
    parts: list[Measurements],
) -> None:
    joined = concatenate(parts)

    assert len(joined) == 24
    for name in PER_LINK:
        expected = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(joined, name), expected, err_msg=name)


def test_concatenate_points_at_the_same_sites_and_bands_when_parts_share_them(
    parts: list[Measurements],
) -> None:
    joined = concatenate(parts)

    assert [site.name for site in joined.sites] == ["a/west", "a/east", "b/tall-mast"]
    assert [band.name for band in joined.bands] == ["6GHz", "28GHz"]
    sites = [part.sites[i].name for part in parts for i in part.site_index]
    bands = [part.bands[i].name for part in parts for i in part.band_index]
    assert [joined.sites[i].name for i in joined.site_index] == sites
    assert [joined.bands[i].name for i in joined.band_index] == bands
    np.testing.assert_array_equal(joined.height_m, [len(name) for name in sites])
    np.testing.assert_array_equal(
        joined.carrier_hz, [BAND_PRESETS[name].carrier_hz for name in bands]
    )


def test_concatenate_keeps_windows_apart_when_parts_use_the_same_numbers(
    parts: list[Measurements],
) -> None:
    joined = concatenate(parts)

    origin = [(i, number) for i, part in enumerate(parts) for number in part.window]
    pairs = set(zip(joined.window.tolist(), origin, strict=True))
    assert len(pairs) == len({new for new, _ in pairs}) == len({old for _, old in pairs}) == 12


def test_csi_is_that_of_the_link_when_parts_are_taken_joined_and_taken_again(
    parts: list[Measurements],
) -> None:
    stored = [np.load(part.csi_files.files[0]) for part in parts if part.csi_files]
    chosen = [np.array([4, 1]), np.array([0, 5, 2]), np.array([3]), np.array([5, 0])]
    joined = concatenate([p.take(rows) for p, rows in zip(parts, chosen, strict=True)])
    expected = np.concatenate([csi[rows] for csi, rows in zip(stored, chosen, strict=True)])
    order = np.array([7, 0, 3, 3, 5, 1])

    np.testing.assert_array_equal(joined.csi(np.arange(8)), expected)
    np.testing.assert_array_equal(joined.take(order).csi(np.arange(6)), expected[order])
    np.testing.assert_array_equal(joined.csi(order), expected[order])
    assert joined.csi(order[:0]).shape == (0, NUM_ANTENNAS, NUM_TONES)


def test_concatenate_drops_the_csi_when_a_part_has_none(parts: list[Measurements]) -> None:
    without = dataclasses.replace(parts[1], csi_files=None)

    assert concatenate([parts[0], without]).csi_files is None


def test_csi_is_refused_when_the_model_did_not_name_it() -> None:
    with pytest.raises(ValueError, match=r"add 'csi' to `inputs` in its model\.yaml"):
        make_part(0, ("a/west",), "6GHz").csi(np.array([0]))


def test_channels_are_dropped_when_a_part_has_none(
    parts: list[Measurements], small_dataset: Dataset
) -> None:
    channels = channels_of(small_dataset.select(scene="street_canyon", band="6GHz"))
    one, two = (
        Labelled(
            measurements=part,
            position_m=np.zeros((len(part), 2)),
            los=part.window_step,
            channels=channels.take(np.arange(len(part))),
        )
        for part in parts[:2]
    )

    joined = concatenate_labelled([one, two]).channels
    assert joined is not None
    assert len(joined) == len(one) + len(two)
    without = dataclasses.replace(two, channels=None)
    assert concatenate_labelled([one, without]).channels is None


def test_take_returns_the_rows_in_their_order_when_they_repeat(parts: list[Measurements]) -> None:
    rows = np.array([5, 2, 2, 0])
    taken = parts[0].take(rows)

    assert len(taken) == 4
    for name in [*PER_LINK, "site_index", "band_index", "window"]:
        np.testing.assert_array_equal(getattr(taken, name), getattr(parts[0], name)[rows])


def test_labels_stay_with_their_links_when_taken_and_joined(parts: list[Measurements]) -> None:
    labelled = [
        Labelled(
            measurements=part,
            position_m=np.column_stack([part.gain_db, part.distance_m]),
            los=part.window_step,
        )
        for part in parts[:2]
    ]
    rows = np.array([9, 0, 7, 3])
    joined = concatenate_labelled(labelled).take(rows)

    assert len(joined) == len(rows)
    np.testing.assert_array_equal(joined.position_m[:, 0], joined.measurements.gain_db)
    np.testing.assert_array_equal(joined.position_m[:, 1], joined.measurements.distance_m)
    np.testing.assert_array_equal(joined.los, joined.measurements.window_step)


def test_angle_at_the_ue_is_known_only_when_all_parts_know_it(parts: list[Measurements]) -> None:
    one = dataclasses.replace(parts[0], ue_azimuth_rad=None)

    assert one.take(np.array([1, 0])).ue_azimuth_rad is None
    assert concatenate([one, parts[1]]).ue_azimuth_rad is None
