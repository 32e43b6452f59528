"""Fingerprints made anew from the paths, compared with stored ones as other processors make them.

Processors and libraries add in another order: entries of CSI differ by some 1e-6 of the largest of
their link, which is compared with `TOLERANCE`. What is decided by a threshold (whether there is a
first path, and which one) may then turn out otherwise where it hangs on so little: there it is not
compared, and such links are found by disturbing their CSI by a tenth of the tolerance.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Bool, Complex
from torch import Tensor

from raymark.dataset import Dataset, Selection
from raymark.dataset.hdf5 import array_names
from raymark.dataset.materialization import fingerprint_batches
from raymark.dataset.schema import fields_of
from raymark.dataset.shard import open_shard
from raymark.radio.fingerprints import estimate_distance
from raymark.release.record import Materialized

TOLERANCE = 1e-4
"""Largest difference of CSI and of powers over azimuth, over the largest entry of their link."""

_DISTANCE_M, _GAIN_DB = 0.01, 0.01
"""Largest differences of what is estimated from CSI [m], [dB]."""

_DECIDED = ("distance_m", "has_signal")
_NUM_DISTURBANCES = 8


def fingerprint_faults(dataset: Dataset, files: tuple[Materialized, ...]) -> Iterator[str]:
    """Make every file anew, batch by batch, and compare.

    Yields:
        A sentence for every array that differs.
    """
    names = {field.name for field in fields_of("fingerprints")}
    for item in files:
        path = dataset.folder.below(item.file)
        selection = dataset.select(scene=item.scene, band=item.band)
        with open_shard(path, "fingerprints") as file:
            lengths = {name: file[name].shape[:1] for name in array_names(file)}
            if lengths != dict.fromkeys(names, (item.num_links,)):
                yield f"{path}: it has not the arrays of {item.num_links} links"
                continue
            differing = set[str]()
            for rows, made in fingerprint_batches(selection, item.kind, "bartlett", item.seed):
                stored = {name: file[name][rows] for name in made}
                found = different_arrays(stored, made, np.zeros(len(made["csi"]), dtype=bool))
                if item.kind == "measured" and not {*_DECIDED}.isdisjoint(found):
                    found = different_arrays(stored, made, undecided_links(made["csi"], selection))
                differing |= set(found)
        for name in sorted(differing):
            yield f"{path}: {name} differs from what the paths give"


def different_arrays(
    stored: Mapping[str, np.ndarray],
    made: Mapping[str, np.ndarray],
    undecided: Bool[np.ndarray, "link"],
) -> list[str]:
    """Return the names of the arrays that differ by more than rounding.

    Args:
        stored: Arrays of links, by their names in the schema.
        made: The same, made anew.
        undecided: Links of which nothing is compared that hangs on a threshold.
    """
    return [
        name
        for name, values in made.items()
        if (stored[name].shape, stored[name].dtype) != (values.shape, values.dtype)
        or not (_agree(name, stored[name], values) | (undecided & (name in _DECIDED))).all()
    ]


def undecided_links(csi: np.ndarray, selection: Selection) -> Bool[np.ndarray, "link"]:
    """Return which links have another first path when their CSI is disturbed by rounding."""
    band, front_end = selection.band, selection.front_end
    noise_variance = front_end.noise_variance(band)
    tensor = torch.from_numpy(csi)
    distance_m, found = estimate_distance(tensor, band, noise_variance)
    undecided = torch.zeros_like(found)
    for disturbed in _disturbed(tensor):
        other_m, other = estimate_distance(disturbed, band, noise_variance)
        undecided |= (other != found) | ((other_m - distance_m).abs() > _DISTANCE_M)
    return undecided.numpy()


def _disturbed(
    csi: Complex[Tensor, "link ant subcarrier"],
) -> Iterator[Complex[Tensor, "link ant subcarrier"]]:
    """Yield the CSI as other processors may round it: stronger, weaker, and every entry otherwise.

    Entries that change at random move the power of a peak by little, and half of them upward; a
    peak at the threshold is crossed for certain by one change of all.
    """
    size = TOLERANCE / 10
    yield csi * (1 + size)
    yield csi * (1 - size)
    generator = torch.Generator().manual_seed(0)
    largest = csi.abs().amax(dim=(1, 2), keepdim=True)
    for _ in range(_NUM_DISTURBANCES):
        yield csi + size * largest * torch.randn(csi.shape, dtype=csi.dtype, generator=generator)


def _agree(name: str, stored: np.ndarray, made: np.ndarray) -> Bool[np.ndarray, "link"]:
    """Return which links agree in an array; nothing agrees with what is not finite."""
    if name == "aoa_profile":
        stored, made = (10 ** (array.astype("f8") / 10) for array in (stored, made))
    difference = np.abs(stored - made) if made.dtype != bool else stored != made
    limit: float | np.ndarray = 0.0
    if name in {"csi", "aoa_profile"}:
        limit = TOLERANCE * np.abs(made).reshape(len(made), -1).max(axis=1)
    elif name in {"distance_m", "gain_db"}:
        limit = _DISTANCE_M if name == "distance_m" else _GAIN_DB
    largest = difference.reshape(len(made), -1).max(axis=1)
    agree: np.ndarray = largest <= limit
    return agree
