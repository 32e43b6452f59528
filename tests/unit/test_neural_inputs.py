"""From measurements to batches: windows, scales, images and augmentation."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from torch import Tensor

from raymark.benchmark import Labelled, Measurements, Task
from raymark.benchmark.features import first_path, virtual_points
from raymark.benchmark.measurements import SiteContext
from raymark.benchmark.task_data import TaskData
from raymark.models.neural.images import csi_images, power_floor
from raymark.models.neural.inputs import (
    Augmentation,
    Batch,
    BatchSource,
    Scaler,
    order_windows,
    window_rows,
)
from raymark.models.neural.path_sets import path_set
from raymark.radio import BAND_PRESETS, Panel

CPU = torch.device("cpu")
WINDOW = 4

FLOAT32_REL = 1e-5
"""A few operations in float32."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small arrays lose by more."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def data(
    benchmark_task: Callable[..., Task], load_benchmark_task: Callable[[Task], TaskData]
) -> TaskData:
    """Training links of two bands and test links of a third, with CSI."""
    return load_benchmark_task(benchmark_task("cross-band", "yard"))


def walk(window: list[int], step: list[int], band: list[int] | None = None) -> Measurements:
    """Return links that know of nothing but their window and band; link i is at i metres."""
    num = len(window)
    zeros = np.zeros(num)
    return Measurements(
        sites=(SiteContext(name="a/bs0", panel=Panel(), height_m=8.5),),
        bands=tuple(BAND_PRESETS.values()),
        site_index=zeros.astype("i8"),
        band_index=np.array(band or [0] * num, dtype="i8"),
        window=np.array(window, dtype="i8"),
        window_step=np.array(step, dtype="i8"),
        path_range_m=np.ones((num, 2)),
        path_azimuth_rad=np.zeros((num, 2)),
        path_zenith_rad=np.ones((num, 2)),
        path_power_db=np.full((num, 2), -90.0),
        path_mask=np.ones((num, 2), dtype=bool),
        aoa_profile_db=np.zeros((num, 64)),
        distance_m=np.arange(num).astype("f8"),
        gain_db=zeros - 90,
        has_signal=zeros == 0,
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )


UNIT = Scaler(
    position_mean_m=(0.0, 0.0),
    position_scale_m=1.0,
    profile_db=(0.0, 1.0),
    distance_m=(0.0, 1.0),
    gain_db=(0.0, 1.0),
    image_floor=1.0,
)


def test_windows_hold_their_links_by_step_when_these_come_in_any_order() -> None:
    links = walk([7, 2, 7, 2, 7], [2, 1, 0, 0, 1])

    assert window_rows(links, 3).tolist() == [[3, 1, -1], [2, 4, 0]]


def test_windows_keep_a_gap_when_a_step_is_missing() -> None:
    assert window_rows(walk([0, 0], [0, 2]), 3).tolist() == [[0, -1, 1]]


def test_windows_are_cut_when_those_of_the_task_are_longer() -> None:
    links = walk([0, 0, 0, 0, 0, 1], [0, 1, 2, 3, 4, 0])

    assert window_rows(links, 2).tolist() == [[0, 1], [2, 3], [4, -1], [5, -1]]


def test_windows_are_links_in_their_order_when_the_size_is_one() -> None:
    assert window_rows(walk([3, 0, 3], [1, 0, 0]), 1).tolist() == [[0], [1], [2]]


@pytest.mark.parametrize("size", [1, 3])
def test_there_are_no_windows_when_there_are_no_links(size: int) -> None:
    assert window_rows(walk([], []), size).shape == (0, size)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_every_link_is_in_one_window_with_its_own_track_and_band(data: TaskData, size: int) -> None:
    for links in (data.train.measurements, data.validation.measurements, data.test):
        rows = window_rows(links, size)

        assert sorted(rows[rows >= 0].tolist()) == list(range(len(links)))
        assert (rows >= 0).any(axis=1).all()
        for row in rows:
            there = row[row >= 0]
            assert len(set(links.window[there].tolist())) == 1
            assert len(set(links.band_index[there].tolist())) == 1
            assert (np.diff(links.window_step[there]) > 0).all()


@given(
    seed=st.integers(0, 10**6),
    num=st.integers(0, 30),
    size=st.integers(1, 6),
    vertex_dropout=st.sampled_from([0.0, 0.3, 0.95]),
)
def test_ordered_windows_lose_no_window_and_repeat_no_link(
    seed: int, num: int, size: int, vertex_dropout: float
) -> None:
    rng = np.random.default_rng(seed)
    rows = np.arange(num * size).reshape(num, size)
    rows = np.where(rng.random(rows.shape) < 0.3, -1, rows)
    rows[:, 0] = np.arange(num) * size

    ordered = order_windows(rows, rng, vertex_dropout=vertex_dropout)

    assert ordered.shape == rows.shape
    assert (ordered >= 0).any(axis=1).all()
    kept = ordered[ordered >= 0]
    assert len(set(kept.tolist())) == len(kept)
    assert set(kept.tolist()) <= set(rows[rows >= 0].tolist())
    # Of each window something is left, and it is in the order of the walk or in the other.
    assert sorted((ordered.max(axis=1) // size).tolist()) == list(range(num))
    for row in ordered:
        change = np.diff(row[row >= 0])
        assert (change > 0).all() or (change < 0).all()


def test_half_of_the_windows_are_walked_backwards_when_they_are_ordered() -> None:
    rows = np.arange(4000).reshape(1000, 4)

    ordered = order_windows(rows, np.random.default_rng(0), vertex_dropout=0.0)

    backwards = ordered[:, 0] > ordered[:, -1]
    back = np.where(backwards[:, None], ordered[:, ::-1], ordered)
    assert sorted(back.tolist()) == rows.tolist()
    assert back.tolist() != rows.tolist()
    # A fair coin thrown 1000 times deviates by 16; five of them.
    assert abs(int(backwards.sum()) - 500) < 80


def test_the_wanted_share_of_vertices_is_left_out_when_windows_are_ordered() -> None:
    rows = np.arange(5000).reshape(1000, 5)

    ordered = order_windows(rows, np.random.default_rng(0), vertex_dropout=0.2)

    # A share of 5000 draws deviates by 0.0057; five of them. Empty windows are 3 in 10,000.
    assert (ordered < 0).mean() == pytest.approx(0.2, abs=0.03)


def test_single_links_are_never_left_out() -> None:
    ordered = order_windows(np.arange(50)[:, None], np.random.default_rng(0), vertex_dropout=0.9)

    assert sorted(ordered[:, 0].tolist()) == list(range(50))


def test_scaler_standardises_positions_and_restores_them(data: TaskData) -> None:
    scaler = Scaler.fit(data.train, has_image=False)
    position_m = torch.from_numpy(data.train.position_m)

    standard = scaler.standardize(position_m)

    torch.testing.assert_close(scaler.restore(standard), position_m, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(2).double(), rtol=0, atol=1e-9)
    assert standard.numpy().std(axis=0).mean() == pytest.approx(1.0)


def test_scaler_keeps_shapes_when_positions_are_standardised(data: TaskData) -> None:
    scaler = Scaler.fit(data.train, has_image=False)
    square_m = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])

    sides = (scaler.standardize(square_m)[1:] - scaler.standardize(square_m)[0]).norm(dim=1)

    assert sides[0].item() == pytest.approx(sides[1].item(), rel=FLOAT32_REL)


def test_scaler_is_that_of_the_training_links_when_written_out(data: TaskData) -> None:
    train, links = data.train, data.train.measurements
    scaler = Scaler.fit(train, has_image=True)
    gain_db = links.gain_db + 20 * np.log10(links.carrier_hz / 1e9)

    assert scaler.position_mean_m == pytest.approx(tuple(train.position_m.mean(axis=0)))
    for found, values in (
        (scaler.profile_db, links.aoa_profile_db),
        (scaler.distance_m, links.distance_m),
        (scaler.gain_db, gain_db),
    ):
        assert found == pytest.approx((values.mean(), values.std()))
    csi = torch.from_numpy(links.csi(np.arange(len(links))))
    # Every bin of some hundred links, of which the scaler may take a part.
    assert scaler.image_floor == pytest.approx(power_floor(csi, links.sites[0].panel), rel=0.05)


def test_scaler_reads_no_csi_when_the_network_has_no_image(data: TaskData) -> None:
    links = dataclasses.replace(data.train.measurements, csi_files=None)
    without = dataclasses.replace(data.train, measurements=links)

    assert Scaler.fit(without, has_image=False).image_floor == 0.0
    with pytest.raises(ValueError, match="this model gets no CSI"):
        Scaler.fit(without, has_image=True)


def test_scaler_divides_by_no_zero_when_all_links_are_alike() -> None:
    links = walk([0, 1, 2], [0, 0, 0])
    alike = dataclasses.replace(links, distance_m=np.full(3, 7.0))
    train = Labelled(
        measurements=alike, position_m=np.arange(6.0).reshape(3, 2), los=np.zeros(3, dtype="i8")
    )

    source = source_of(alike, Scaler.fit(train, has_image=False), window_size=1, has_image=False)
    batch = source.batch(source.rows, None)

    for name in ("profile", "distance", "gain"):
        assert (getattr(batch, name).abs() < 1e-3).all()


def source_of(links: Measurements, scaler: Scaler, **options: Any) -> BatchSource:
    values: dict[str, Any] = {"window_size": WINDOW, "has_image": True, "device": CPU}
    return BatchSource(links, scaler, **{**values, **options})


@pytest.fixture(scope="module")
def scaler(data: TaskData) -> Scaler:
    return Scaler.fit(data.train, has_image=True)


@pytest.fixture(scope="module")
def stored(data: TaskData, scaler: Scaler) -> BatchSource:
    """Test links: what was measured, and nothing else."""
    return source_of(data.test, scaler)


def short_rows(source: BatchSource) -> np.ndarray:
    """Return six windows; of the first ones the first vertex, the last, or all but one is gone."""
    rows = source.rows[(source.rows >= 0).all(axis=1)][:6].copy()
    rows[0, 0] = rows[1, -1] = -1
    rows[2, [0, 1, 3]] = -1
    return rows


def test_batch_holds_the_standardised_measurements_of_its_links(
    data: TaskData, stored: BatchSource, scaler: Scaler
) -> None:
    rows = short_rows(stored)
    batch, links, there = stored.batch(rows, None), data.test, rows >= 0
    at = rows[there]

    np.testing.assert_array_equal(batch.mask, there)
    gain_db = links.gain_db + 20 * np.log10(links.carrier_hz / 1e9)
    for found, values, (mean, deviation) in (
        (batch.profile, links.aoa_profile_db, scaler.profile_db),
        (batch.distance, links.distance_m, scaler.distance_m),
        (batch.gain, gain_db, scaler.gain_db),
    ):
        expected = (values[at] - mean) / deviation
        np.testing.assert_allclose(found.numpy()[there], expected, rtol=1e-4, atol=1e-5)
    paths = path_set(links)
    np.testing.assert_array_equal(batch.path_mask[batch.mask], paths.mask[at])
    np.testing.assert_array_equal(batch.paths[batch.mask], paths.features()[at])


def test_anchor_of_a_batch_is_the_first_virtual_point_in_its_units(
    data: TaskData, stored: BatchSource, scaler: Scaler
) -> None:
    column, has_path = first_path(data.test)
    point_m = virtual_points(data.test)[np.arange(len(data.test)), column, :2]
    rows = stored.rows
    there = (rows >= 0) & has_path[rows]

    anchor = stored.batch(rows, None).anchor

    expected = (point_m[rows[there]] - scaler.position_mean_m) / scaler.position_scale_m
    np.testing.assert_allclose(anchor.numpy()[there], expected, rtol=1e-4, atol=1e-5)


def test_images_are_those_of_the_stored_csi_and_zero_when_a_vertex_is_missing(
    data: TaskData, stored: BatchSource, scaler: Scaler
) -> None:
    rows = short_rows(stored)
    there = rows >= 0

    image = stored.batch(rows, None).image

    assert image is not None
    csi = torch.from_numpy(data.test.csi(rows[there]))
    expected = csi_images(csi, data.test.sites[0].panel, scaler.image_floor)
    torch.testing.assert_close(image[torch.from_numpy(there)], expected)
    assert (image[torch.from_numpy(~there)] == 0).all()


def test_batch_has_no_image_when_the_network_wants_none(data: TaskData, scaler: Scaler) -> None:
    links = dataclasses.replace(data.test, csi_files=None)
    source = source_of(links, scaler, has_image=False)

    assert source.batch(source.rows[:3], None).image is None
    assert len(source) == len(links)


def batch_is_finite(batch: Batch) -> bool:
    values = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return all(bool(v.isfinite().all()) for v in values if isinstance(v, Tensor))


def test_batches_are_finite_when_links_are_in_outage(data: TaskData, scaler: Scaler) -> None:
    train = data.train
    assert not train.measurements.has_signal.all()
    source = source_of(train.measurements, scaler, channels=train.channels)

    assert batch_is_finite(source.batch(source.rows, None))
    assert batch_is_finite(source.batch(source.rows, augmentation(0)))


def augmentation(seed: int, *, path_dropout: float = 0.0) -> Augmentation:
    return Augmentation(path_dropout=path_dropout, noise=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def training(data: TaskData, scaler: Scaler) -> BatchSource:
    train = data.train
    return source_of(train.measurements, scaler, channels=train.channels)


def image_of(source: BatchSource, rows: np.ndarray, chosen: Augmentation | None) -> Tensor:
    image = source.batch(rows, chosen).image
    assert image is not None
    return image


def test_noise_is_fresh_in_every_batch_and_the_same_when_its_seed_is(
    training: BatchSource,
) -> None:
    rows, drawn = training.rows[:4], augmentation(0)

    first, second = (image_of(training, rows, drawn) for _ in range(2))

    assert not torch.equal(first, second)
    assert torch.equal(image_of(training, rows, augmentation(0)), first)
    assert not torch.equal(image_of(training, rows, augmentation(1)), first)


def test_images_are_those_of_channels_with_that_noise_when_augmented(
    data: TaskData, training: BatchSource, scaler: Scaler
) -> None:
    rows = short_rows(training)
    there = rows >= 0
    assert data.train.channels is not None
    csi = data.train.channels.csi(rows[there], torch.Generator().manual_seed(4))

    image = image_of(training, rows, augmentation(4))

    panel = data.train.measurements.sites[0].panel
    expected = csi_images(csi, panel, scaler.image_floor)
    torch.testing.assert_close(image[torch.from_numpy(there)], expected)
    assert (image[torch.from_numpy(~there)] == 0).all()


def test_images_are_the_measured_ones_when_there_are_no_channels_or_no_augmentation(
    data: TaskData, training: BatchSource, scaler: Scaler
) -> None:
    without = source_of(data.train.measurements, scaler)
    rows = training.rows[:4]

    measured = image_of(without, rows, None)

    assert torch.equal(image_of(training, rows, None), measured)
    assert torch.equal(image_of(without, rows, augmentation(0)), measured)


def test_images_are_the_measured_ones_when_they_are_kept(data: TaskData, scaler: Scaler) -> None:
    made, kept = (source_of(data.validation.measurements, scaler) for _ in range(2))
    kept.keep_images()
    rows = short_rows(made)

    for chosen in (None, augmentation(0)):
        found = image_of(kept, rows, chosen)
        torch.testing.assert_close(found, image_of(made, rows, None), rtol=0, atol=1e-5)
    assert source_of(data.test, scaler, has_image=False).keep_images() is None


def test_fresh_images_show_the_same_links_as_the_measured_ones(training: BatchSource) -> None:
    """The log angle-delay power is alike but for the noise, and that of other links is not."""
    rows = np.flatnonzero(training.links.has_signal)[:24, None]

    measured = image_of(training, rows, None)[:, 0, 2].flatten(1)
    fresh = image_of(training, rows, augmentation(0))[:, 0, 2].flatten(1)

    distance = torch.cdist(fresh, measured)
    # Neighbours on a track may look alike, most others do not.
    assert distance.diag().max() < 0.5 * distance.median()


def test_paths_are_left_out_when_augmented_and_never_the_first(training: BatchSource) -> None:
    torch.manual_seed(0)
    rows = training.rows[:10]
    whole = training.batch(rows, None)

    thin = training.batch(rows, augmentation(0, path_dropout=0.5))

    assert not (thin.path_mask & ~whole.path_mask).any()
    assert thin.path_mask.sum() < whole.path_mask.sum()
    assert torch.equal(thin.path_mask.any(dim=-1), whole.path_mask.any(dim=-1))
    assert torch.equal(thin.distance, whole.distance)


BAND_INDEX = [2, 2, 0, 0, 1, 1]
"""The first link, which stands in for missing ones, is of the highest band."""


@pytest.mark.parametrize("band", [BAND_INDEX, [1, 1, 0, 0, 2, 2], [0, 0, 1, 1, 2, 2]])
@pytest.mark.parametrize("missing", [None, 0, 1])
def test_carrier_is_that_of_the_window_when_a_vertex_is_missing(
    band: list[int], missing: int | None
) -> None:
    links = walk([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1], band)
    source = source_of(links, UNIT, window_size=2, has_image=False)
    rows = source.rows.copy()
    if missing is not None:
        rows[:, missing] = -1

    carrier = source.batch(rows, None).carrier

    expected = 2 * np.log10(links.carrier_hz[::2] / 8e9)
    np.testing.assert_allclose(carrier, expected, rtol=FLOAT32_REL)
    assert (carrier.abs() < 1.2).all()
