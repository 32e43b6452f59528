"""Stored fingerprints against new ones: rounding passes, anything else does not."""

import numpy as np
import pytest
import torch

from raymark.dataset import Dataset, Selection
from raymark.dataset.materialization import fingerprint_batches
from raymark.radio.fingerprints import estimate_distance
from raymark.release.remade_fingerprints import TOLERANCE, different_arrays, undecided_links

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def selection(small_dataset: Dataset) -> Selection:
    return small_dataset.select(scene=small_dataset.scenes[0], band=small_dataset.bands[0])


@pytest.fixture
def made(selection: Selection) -> Arrays:
    return dict(next(fingerprint_batches(selection, "measured", "bartlett", 0))[1])


def disturbed(csi: np.ndarray, size: float) -> np.ndarray:
    largest = np.abs(csi).max(axis=(1, 2), keepdims=True)
    phase = np.exp(2j * np.pi * np.random.default_rng(0).random(csi.shape))
    changed: np.ndarray = (csi + size * largest * phase).astype("c8")
    return changed


def test_arrays_agree_when_they_were_rounded_otherwise(made: Arrays) -> None:
    stored = made | {
        "csi": disturbed(made["csi"], TOLERANCE / 2),
        "gain_db": made["gain_db"] + np.float32(0.005),
        "distance_m": made["distance_m"] + np.float32(0.005),
    }

    assert different_arrays(stored, made, np.zeros(len(made["csi"]), dtype=bool)) == []


def test_arrays_differ_by_name_when_the_weakest_link_was_changed(made: Arrays) -> None:
    weakest = int(np.abs(made["csi"]).max(axis=(1, 2)).argmin())
    nothing = np.zeros(len(made["csi"]), dtype=bool)
    for name, array in made.items():
        stored = {key: value.copy() for key, value in made.items()}
        if array.dtype == bool:
            stored[name][weakest] ^= True
        elif name == "csi":
            stored[name][weakest] *= 1.001
        else:
            stored[name][weakest] += 1
        assert different_arrays(stored, made, nothing) == [name]
    for bad in (np.nan, np.inf):
        stored = made | {"csi": np.full_like(made["csi"], bad)}
        assert different_arrays(stored, made, nothing) == ["csi"]


def test_link_is_undecided_when_its_only_peak_stands_at_the_threshold(
    selection: Selection, made: Arrays
) -> None:
    """A strong link is weakened until rounding decides whether its peak passes the threshold."""
    csi = torch.from_numpy(made["csi"])
    noise = selection.front_end.noise_variance(selection.band)
    assert not undecided_links(made["csi"], selection).all()
    strong = int(csi.abs().amax(dim=(1, 2)).argmax())
    low, high = 0.0, 200.0  # of the change of power [dB] at which the link is lost
    for _ in range(40):
        middle = (low + high) / 2
        weak = csi[strong : strong + 1] * 10 ** (-middle / 20)
        found = bool(estimate_distance(weak, selection.band, noise)[1])
        low, high = (middle, high) if found else (low, middle)
    weak = csi[strong : strong + 1] * 10 ** (-low / 20)

    assert undecided_links(weak.numpy(), selection).tolist() == [True]
    stored = {"has_signal": np.array([True])}
    assert different_arrays(stored, {"has_signal": np.array([False])}, np.array([True])) == []
