"""The estimated paths of links as tensors: what is left out in training, and their features."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raymark.benchmark import Measurements
from raymark.benchmark.features import (
    FIRST_PATH_RANGE_DB,
    path_loss_free_power_db,
    virtual_points,
)

POINT_WAVELENGTHS_M = (8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Periods of the Fourier features of virtual points: from a house to the whole layout [m]."""

NUM_PATH_FEATURES = 12 + 4 * len(POINT_WAVELENGTHS_M)
IS_FIRST = 5
"""Which of them is 1 for the first path of a link, and 0 for all others."""

LENGTH_M, _POWER_DB, _MEAN_POWER_DB = 100.0, 20.0, -80.0
"""Scales that bring features near 1; the powers are free of the carrier's factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSet:
    """Estimated paths of links, in the frame of each link's site.

    Attributes:
        point_m: Virtual points: range times direction [m].
        power_db: Powers, the carrier's free-space factor taken out [dB].
        mask: True where there is a path.
        height_m: Height of the panel above the UE [m].
    """

    point_m: Float[Tensor, "*n path 3"]
    power_db: Float[Tensor, "*n path"]
    mask: Bool[Tensor, "*n path"]
    height_m: Float[Tensor, "*n"]

    def to(self, device: torch.device) -> "PathSet":
        """Return the paths on another device."""
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def take(self, rows: Int[Tensor, "*b"]) -> "PathSet":
        """Return the paths of some links."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def first(self) -> Int[Tensor, "*n 1"]:
        """Return the column of the earliest path that is not far weaker than the strongest."""
        power_db = self.power_db.masked_fill(~self.mask, -torch.inf)
        counts = self.mask & (power_db >= power_db.amax(-1, keepdim=True) - FIRST_PATH_RANGE_DB)
        return self._range_m().masked_fill(~counts, torch.inf).argmin(dim=-1, keepdim=True)

    def thinned(self, probability: float) -> "PathSet":
        """Return the set with paths left out at random, but never the first or the strongest."""
        dropped = torch.rand(self.mask.shape, device=self.mask.device) < probability
        power_db = self.power_db.masked_fill(~self.mask, -torch.inf)
        for kept in (self.first(), power_db.argmax(dim=-1, keepdim=True)):
            dropped = dropped.scatter(-1, kept, value=False)
        return replace(self, mask=self.mask & ~dropped)

    def anchor_m(self) -> Float[Tensor, "*n 2"]:
        """Return the horizontal virtual point of the first path; 0 without paths [m]."""
        index = self.first().unsqueeze(-1).expand(*self.mask.shape[:-1], 1, 2)
        point_m = self.point_m[..., :2].gather(-2, index).squeeze(-2)
        return point_m.masked_fill(~self.mask.any(-1, keepdim=True), 0.0)

    def features(self) -> Float[Tensor, "*n path feature"]:
        """Return `NUM_PATH_FEATURES` numbers of each path, some relative to the link's others."""
        range_m, first = self._range_m(), self.first()
        power_db = self.power_db.masked_fill(~self.mask, -torch.inf)
        horizontal_m = self.point_m[..., :2].norm(dim=-1).clamp(min=1e-3)
        waves = point_waves(self.point_m[..., :2])
        columns = [
            range_m / LENGTH_M,
            (range_m - range_m.gather(-1, first)) / LENGTH_M,
            (torch.arange(range_m.shape[-1], device=range_m.device) == first).float(),
            self.point_m[..., 0] / horizontal_m,
            self.point_m[..., 1] / horizontal_m,
            self.point_m[..., 2] / range_m.clamp(min=1e-3),
            (self.power_db - _MEAN_POWER_DB) / _POWER_DB,
            (self.power_db - power_db.amax(-1, keepdim=True)) / _POWER_DB,
            (self.height_m.unsqueeze(-1) / LENGTH_M).expand_as(range_m),
        ]
        parts = [self.point_m / LENGTH_M, torch.stack(columns, -1), waves]
        return torch.cat(parts, dim=-1).masked_fill(~self.mask.unsqueeze(-1), 0.0)

    def _range_m(self) -> Float[Tensor, "*n path"]:
        return self.point_m.norm(dim=-1)


def point_waves(point_m: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n wave"]:
    """Return the Fourier features of points, 4 for each of `POINT_WAVELENGTHS_M`."""
    wavelength_m = point_m.new_tensor(POINT_WAVELENGTHS_M)
    angle = (2 * torch.pi * point_m.unsqueeze(-1) / wavelength_m).flatten(-2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def path_set(links: Measurements) -> PathSet:
    """Return the estimated paths of links."""
    return PathSet(
        point_m=_tensor(virtual_points(links)),
        power_db=_tensor(path_loss_free_power_db(links)),
        mask=torch.from_numpy(links.path_mask.copy()),
        height_m=_tensor(links.height_m),
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype="f4"))
