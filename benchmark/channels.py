"""True paths of labelled links, from which CSI is made batch by batch, each time with new noise."""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Int
from torch import Tensor

from raymark.benchmark.conditions import Conditions
from raymark.dataset import Selection
from raymark.errors import ConfigError
from raymark.radio import FrontEnd
from raymark.radio.fingerprints import received_csi
from raymark.radio.synthesis import PathBatch, synthesize_csi

_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """The propagation paths of links, and the front-end that measures them.

    Attributes:
        batches: Padded paths, one batch for each site and band.
        front_end: Panel, UE power and impairments of the dataset.
        calibrations: Complex gain of each antenna, of each batch.
        batch_index: Batch of each link.
        row: Row of each link in its batch.
        clean: Noiseless CSI of each batch, if it is kept (`with_clean_csi`).
    """

    batches: tuple[PathBatch, ...]
    front_end: FrontEnd
    calibrations: tuple[Complex[Tensor, "ant"], ...]
    batch_index: Int[np.ndarray, "link"]
    row: Int[np.ndarray, "link"]
    clean: tuple[Complex[Tensor, "_ ant subcarrier"], ...] | None = None

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.row)

    def __reduce__(self) -> tuple[Callable[[bytes], "Channels"], tuple[bytes]]:
        """Pickle tensors as bytes: processes would share them in memory that containers lack."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _unpickle, (pickle.dumps(values),)

    def take(self, rows: Int[np.ndarray, "row"]) -> "Channels":
        """Return the links at `rows`, in that order; the paths of no other link stay in reach."""
        batch_index, row = self.batch_index[rows], np.empty_like(self.row[rows])
        batches = []
        for i, paths in enumerate(self.batches):
            mine = batch_index == i
            kept, row[mine] = np.unique(self.row[rows][mine], return_inverse=True)
            batches.append(_take_links(paths, kept))
        return replace(self, batches=tuple(batches), batch_index=batch_index, row=row, clean=None)

    def to(self, device: torch.device | str) -> "Channels":
        """Return the channels on another device, without CSI that is kept."""
        return replace(
            self,
            batches=tuple(paths.to(device) for paths in self.batches),
            calibrations=tuple(gain.to(device) for gain in self.calibrations),
            clean=None,
        )

    def with_clean_csi(self) -> "Channels":
        """Keep the noiseless CSI, of which `csi` is then made faster (32 kB a link)."""
        clean = [
            torch.cat(
                [
                    self._synthesized(i, rows.numpy())
                    for rows in torch.arange(paths.num_links).split(_CHUNK)
                ]
            )
            for i, paths in enumerate(self.batches)
        ]
        return replace(self, clean=tuple(clean))

    def csi(
        self, rows: Int[np.ndarray, "row"], generator: torch.Generator
    ) -> Complex[Tensor, "row ant subcarrier"]:
        """Synthesise noisy CSI of the links at `rows`, as the dataset's front-end measures it.

        Args:
            rows: Links, in any order, also several times.
            generator: Source of noise and of the impairments' draws, on the device of the paths.
        """
        places = [np.flatnonzero(self.batch_index[rows] == i) for i in range(len(self.batches))]
        pieces = [
            received_csi(
                self._synthesized(i, self.row[rows[place]]),
                self.batches[i].band,
                self.front_end,
                generator=generator,
                calibration=self.calibrations[i],
            )
            for i, place in enumerate(places)
        ]
        csi = torch.cat(pieces)
        order = torch.from_numpy(np.argsort(np.concatenate(places)))
        return csi[order.to(csi.device)]

    def _synthesized(
        self, batch: int, rows: Int[np.ndarray, "row"]
    ) -> Complex[Tensor, "row ant subcarrier"]:
        """Return the noiseless CSI of some links of a batch."""
        if self.clean is not None:
            return self.clean[batch][torch.from_numpy(rows)]
        paths = _take_links(self.batches[batch], rows)
        return synthesize_csi(paths, self.front_end.panel, late_paths=self.front_end.late_paths)


def channels_of(selection: Selection, conditions: Conditions | None = None) -> Channels:
    """Return the channels of all links of a selection, in its order.

    Args:
        selection: The links.
        conditions: The link budget that they are measured under, if not the dataset's own.
    """
    front_end, band = selection.front_end, selection.band
    if conditions is not None:
        front_end, band = conditions.applied_to(front_end, band)
    ranges = list(selection.ranges(len(selection)))
    counts = [stop - start for start, stop in ranges]
    return Channels(
        batches=tuple(
            replace(selection.path_batch(start, stop), band=band) for start, stop in ranges
        ),
        front_end=front_end,
        calibrations=tuple(selection.calibration(start, front_end) for start, _ in ranges),
        batch_index=np.repeat(np.arange(len(ranges)), counts),
        row=np.concatenate([np.arange(count) for count in counts]),
    )


def concatenate_channels(parts: Sequence[Channels]) -> Channels:
    """Join the channels of several scenes and bands of one dataset.

    Raises:
        ConfigError: If they were not made for the same front-end.
    """
    front_end = parts[0].front_end
    if any(part.front_end != front_end for part in parts):
        raise ConfigError("channels of different front-ends cannot be joined; use one dataset")
    first = np.cumsum([0, *(len(part.batches) for part in parts[:-1])])
    index = [part.batch_index + start for part, start in zip(parts, first, strict=True)]
    return Channels(
        batches=tuple(paths for part in parts for paths in part.batches),
        front_end=front_end,
        calibrations=tuple(gain for part in parts for gain in part.calibrations),
        batch_index=np.concatenate(index),
        row=np.concatenate([part.row for part in parts]),
    )


def _take_links(paths: PathBatch, rows: Int[np.ndarray, "row"]) -> PathBatch:
    """Return some links of a batch, padded to the longest list among them."""
    at = torch.from_numpy(rows).to(paths.mask.device)
    num_columns = max(1, int(paths.mask[at].any(dim=0).sum()))
    values: dict[str, Any] = {name: getattr(paths, name) for name in PathBatch.__slots__}
    for name, value in values.items():
        if isinstance(value, Tensor):
            values[name] = value[at, :num_columns]
    return PathBatch(**values)


def _unpickle(pickled: bytes) -> Channels:
    return Channels(**pickle.loads(pickled))  # noqa: S301 - what `__reduce__` wrote
