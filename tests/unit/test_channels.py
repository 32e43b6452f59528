import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from raymark.benchmark.channels import Channels, channels_of, concatenate_channels
from raymark.dataset import Dataset, Selection
from raymark.dataset.materialization import BATCH_SIZE
from raymark.errors import ConfigError
from raymark.radio import fingerprints

FLOAT32_REL = 1e-5
"""The same sums in float32 over shorter padding, in another order; relative to the largest."""


@pytest.fixture
def _no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "add_noise", lambda csi, *_: csi)


def noiseless(selection: Selection) -> np.ndarray:
    ranges = selection.ranges()
    batches = [selection.fingerprints(*r, kind="oracle").csi.numpy() for r in ranges]
    return np.concatenate(batches)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_same_csi(found: Any, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    scale = np.abs(expected).max(axis=(1, 2), keepdims=True)
    assert (np.abs(found.numpy() - expected) <= FLOAT32_REL * scale).all()


def selection_of(dataset: Dataset, band: str = "6GHz") -> Selection:
    return dataset.select(scene=dataset.scenes[0], band=band)


@pytest.mark.usefixtures("_no_noise")
@pytest.mark.parametrize("name", ["small_dataset", "two_site_dataset"])
def test_csi_is_that_of_the_links_when_there_is_no_noise(
    request: pytest.FixtureRequest, name: str
) -> None:
    selection = selection_of(request.getfixturevalue(name))
    expected, channels = noiseless(selection), channels_of(selection)
    rows = np.arange(len(selection))
    shuffled = np.random.default_rng(0).integers(len(rows), size=3 * len(rows))

    assert len(channels) == len(selection)
    assert_same_csi(channels.csi(rows, seeded()), expected)
    assert_same_csi(channels.csi(shuffled, seeded()), expected[shuffled])
    assert_same_csi(channels.csi(rows[:0], seeded()), expected[:0])
    kept = channels.with_clean_csi()
    assert_same_csi(kept.csi(shuffled, seeded()), expected[shuffled])
    assert_same_csi(kept.take(shuffled[:5]).csi(np.arange(5), seeded()), expected[shuffled[:5]])


@pytest.mark.usefixtures("_no_noise")
@pytest.mark.parametrize("name", ["small_dataset", "two_site_dataset"])
def test_csi_is_that_of_the_links_when_taken_joined_and_taken_again(
    request: pytest.FixtureRequest, name: str
) -> None:
    dataset = request.getfixturevalue(name)
    selections = [selection_of(dataset, band) for band in ("2.6GHz", "6GHz")]
    rng = np.random.default_rng(1)
    chosen = [rng.integers(len(s), size=len(s)) for s in selections]
    joined = concatenate_channels(
        [channels_of(s).take(rows) for s, rows in zip(selections, chosen, strict=True)]
    )
    expected = np.concatenate(
        [noiseless(s)[rows] for s, rows in zip(selections, chosen, strict=True)]
    )
    order = rng.integers(len(expected), size=20)

    assert_same_csi(joined.csi(order, seeded()), expected[order])
    taken = joined.take(order)
    assert len(taken) == 20
    assert_same_csi(taken.csi(np.arange(20), seeded()), expected[order])


def test_csi_is_that_of_a_survey_when_the_noise_is_the_same_draw(small_dataset: Dataset) -> None:
    selection = selection_of(small_dataset)
    ((start, stop),) = selection.ranges(BATCH_SIZE)
    noise = [selection.batch_noise_generator(start, 3) for _ in range(2)]

    found = channels_of(selection).csi(np.arange(start, stop), noise[0])

    expected = selection.fingerprints(start, stop, generator=noise[1]).csi
    assert torch.equal(found, expected)


def test_noise_is_fresh_and_of_the_right_power_when_drawn_again(small_dataset: Dataset) -> None:
    selection = selection_of(small_dataset)
    channels, generator = channels_of(selection), seeded()
    front_end = small_dataset.manifest.campaign.front_end
    rows = np.zeros(200, dtype="i8")
    noise = channels.csi(rows, generator).numpy() - noiseless(selection)[rows]
    again = channels.csi(rows, generator).numpy() - noiseless(selection)[rows]

    # The mean of 8e5 exponential variables deviates by 1e-3 of itself.
    expected = front_end.noise_variance(selection.band)
    assert (np.abs(noise) ** 2).mean() == pytest.approx(expected, rel=0.01)
    correlation = np.vdot(noise, again) / np.linalg.norm(noise) / np.linalg.norm(again)
    assert abs(correlation) < 5 / np.sqrt(noise.size)


def test_impairments_and_calibration_are_applied_when_the_front_end_has_them(
    two_site_dataset: Dataset,
) -> None:
    """Antenna gains of each site, quantised to one bit: signs of the parts alone are left."""
    selection = selection_of(two_site_dataset)
    channels = channels_of(selection)
    impairments = channels.front_end.impairments.model_copy(update={"quantization_bits": 1})
    gains = tuple(torch.full_like(g, 1j * (i + 1)) for i, g in enumerate(channels.calibrations))
    worse = dataclasses.replace(
        channels,
        front_end=channels.front_end.model_copy(update={"impairments": impairments}),
        calibrations=gains,
    )
    rows = np.array([8, 0, 13, 3])

    found = worse.csi(rows, seeded()).numpy()

    for csi in found:
        levels = np.unique(np.abs(np.concatenate([csi.real.ravel(), csi.imag.ravel()])))
        assert np.ptp(levels) <= FLOAT32_REL * levels.max()
    turned = noiseless(selection)[rows] * 1j
    # Most entries stand far above the noise, and keep their signs.
    assert (np.sign(found.real) == np.sign(turned.real)).mean() > 0.9


def test_noise_is_the_same_draw_when_clean_csi_is_kept(two_site_dataset: Dataset) -> None:
    channels = channels_of(selection_of(two_site_dataset))
    rows = np.arange(len(channels))[::-1]

    fresh = channels.csi(rows, seeded(3))
    assert_same_csi(channels.with_clean_csi().csi(rows, seeded(3)), fresh.numpy())


def test_no_path_of_another_link_is_in_reach_when_links_are_taken(
    two_site_dataset: Dataset,
) -> None:
    selection = selection_of(two_site_dataset)
    taken = channels_of(selection).take(np.array([9, 2, 9]))

    held = [(len(b.mask), int(b.mask.sum())) for b in taken.batches]
    counts = [int(np.diff(selection.path_table(i, i + 1).path_offset)[0]) for i in (2, 9)]
    assert held == [(1, counts[0]), (1, counts[1])]
    empty = taken.take(np.array([1])).batches[1]
    assert len(empty.mask) == 0


def test_channels_are_the_same_when_pickled(two_site_dataset: Dataset) -> None:
    channels = channels_of(selection_of(two_site_dataset))
    pickled = pickle.dumps(channels)
    back = pickle.loads(pickled)  # noqa: S301 - our own
    rows = np.array([3, 12, 0])

    assert isinstance(back, Channels)
    assert torch.equal(back.csi(rows, seeded()), channels.csi(rows, seeded()))
    # 32 kB a link is what CSI would take.
    assert len(pickled) < 2000 * len(channels)


def test_channels_are_refused_when_their_front_ends_differ(two_site_dataset: Dataset) -> None:
    channels = channels_of(selection_of(two_site_dataset))
    ue = channels.front_end.ue.model_copy(update={"tx_power_dbm": 10.0})
    other = dataclasses.replace(
        channels, front_end=channels.front_end.model_copy(update={"ue": ue})
    )

    with pytest.raises(ConfigError, match="channels of different front-ends cannot be joined"):
        concatenate_channels([channels, other])
