"""Paths of all sites of a UE as one set, in the frame that the sites share."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raymark.benchmark import Measurements, UeLinks
from raymark.models.neural.inputs import BatchSource
from raymark.models.neural.path_sets import (
    LENGTH_M,
    NUM_PATH_FEATURES,
    POINT_WAVELENGTHS_M,
    PathSet,
    path_set,
    point_waves,
)
from raymark.radio.frames import unit_vector

MOST_SITES = 8
"""Sites that a network tells apart by their index."""

NUM_SITE_FEATURES = NUM_PATH_FEATURES + 4 + 4 * len(POINT_WAVELENGTHS_M) + MOST_SITES


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePathSet(PathSet):
    """Estimated paths of links, turned into the common frame, and the places that they leave.

    Attributes:
        origin_m: Horizontal place of each link's site in the common frame [m].
        site: Index of that site.
    """

    origin_m: Float[Tensor, "*n 2"]
    site: Int[Tensor, "*n"]

    def anchor_m(self) -> Float[Tensor, "*n 2"]:
        """Return the virtual point of the first path in the common frame [m]."""
        return PathSet.anchor_m(self) + self.origin_m

    def features(self) -> Float[Tensor, "*n path feature"]:
        """Return `NUM_SITE_FEATURES` of each path: those from its site on, pose and site."""
        origin_m = self.origin_m.unsqueeze(-2).expand_as(self.point_m[..., :2])
        point_m = origin_m + self.point_m[..., :2]
        site = torch.nn.functional.one_hot(self.site, MOST_SITES).unsqueeze(-2)
        parts = [
            PathSet.features(self),
            origin_m / LENGTH_M,
            point_m / LENGTH_M,
            point_waves(point_m),
            site.expand(*self.mask.shape, MOST_SITES),
        ]
        return torch.cat(parts, dim=-1).masked_fill(~self.mask.unsqueeze(-1), 0.0)


class UeSource(BatchSource):
    """Makes batches of UEs: a window holds the links of one UE at all sites."""

    def windows_of(self, links: Measurements, size: int) -> Int[np.ndarray, "ue site"]:
        """Return the rows of each UE's links; -1 at sites that have none."""
        del size
        return UeLinks.of(links).row

    def paths_of(self, links: Measurements) -> SitePathSet:
        """Return the paths of links in the common frame."""
        return site_paths(links)


def site_paths(links: Measurements) -> SitePathSet:
    """Return the estimated paths of links in the frame that their sites share."""
    ues, own = UeLinks.of(links), path_set(links)
    direction = unit_vector(links.path_zenith_rad, ues.path_azimuth_rad)
    point_m = np.where(links.path_mask[..., None], direction * links.path_range_m[..., None], 0)
    origin_m = ues.common_positions(np.zeros((len(links), 2)))
    return SitePathSet(
        point_m=torch.from_numpy(point_m.astype("f4")),
        power_db=own.power_db,
        mask=own.mask,
        height_m=own.height_m,
        origin_m=torch.from_numpy(origin_m.astype("f4")),
        site=torch.from_numpy(links.site_index.astype("i8")),
    )
