"""UEs that several sites hear: which links are of one UE, and the frame that its sites share."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from raymark.benchmark.measurements import Measurements
from raymark.benchmark.splits import Split
from raymark.errors import SplitError

NumSites = int | Literal["all"] | None
"""How many sites hear each UE, in the order of the campaign; None where links stand alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UeLinks:
    """Links by the UE and the site that they are of.

    All UEs are in the frame of the scene. Where links stand alone, each is a UE of one site, in the
    frame of that site.

    Attributes:
        links: All of them.
        row: Row of `links` of each UE at each site; -1 where there is none.
    """

    links: Measurements
    row: Int[np.ndarray, "ue site"]

    @classmethod
    def of(cls, links: Measurements) -> "UeLinks":
        """Put links together by their UEs, in the order in which these come first."""
        if links.ue is None:
            return cls(links=links, row=np.arange(len(links))[:, None])
        ue, names = pd.factorize(links.ue)
        row = np.full((len(names), len(links.sites)), -1)
        row[ue, links.site_index] = np.arange(len(links))
        return cls(links=links, row=row)

    def __len__(self) -> int:
        """Return the number of UEs."""
        return len(self.row)

    @property
    def is_heard(self) -> Bool[np.ndarray, "ue site"]:
        """Where a site has an estimated path of the UE: the mask of all that it measured."""
        has_path = np.asarray(self.links.path_mask.any(axis=1))
        return (self.row >= 0) & has_path[self.row]

    @property
    def first_row(self) -> Int[np.ndarray, "ue"]:
        """The first link of each UE."""
        column = (self.row >= 0).argmax(axis=1)
        return self.row[np.arange(len(self)), column]

    def by_site(self, values: Shaped[np.ndarray, "link *rest"]) -> Shaped[np.ndarray, "ue site *r"]:
        """Return what belongs to links by UE and site; 0 where a site has no link of the UE."""
        found = values[self.row]
        found[self.row < 0] = 0
        return found

    def by_link(self, values: Shaped[np.ndarray, "ue *rest"]) -> Shaped[np.ndarray, "link *rest"]:
        """Return what belongs to UEs for each of their links."""
        return values[self._ue]

    @property
    def path_azimuth_rad(self) -> Float[np.ndarray, "link path"]:
        """Direction of each estimated path from its site, in the common frame [rad]."""
        turned = self.links.path_azimuth_rad + self._frames[1][:, None]
        return np.where(self.links.path_mask, np.angle(np.exp(1j * turned)), 0.0)

    def common_positions(
        self, position_m: Float[np.ndarray, "link 2"]
    ) -> Float[np.ndarray, "link 2"]:
        """Turn positions in the frames of the links' sites into the common frame [m]."""
        return np.einsum("lij,lj->li", self._rotation, position_m) + self._frames[0]

    def common_covariances(
        self, covariance_m2: Float[np.ndarray, "link 2 2"]
    ) -> Float[np.ndarray, "link 2 2"]:
        """Turn covariances in the frames of the links' sites into the common frame [m^2]."""
        return self._rotation @ covariance_m2 @ self._rotation.transpose(0, 2, 1)

    def positions_of_links(
        self, position_m: Float[np.ndarray, "ue 2"]
    ) -> Float[np.ndarray, "link 2"]:
        """Turn positions of UEs into the frame of the site of each of their links [m]."""
        offset_m = position_m[self._ue] - self._frames[0]
        return np.einsum("lji,lj->li", self._rotation, offset_m)

    def covariances_of_links(
        self, covariance_m2: Float[np.ndarray, "ue 2 2"]
    ) -> Float[np.ndarray, "link 2 2"]:
        """Turn covariances of UEs into the frame of the site of each of their links [m^2]."""
        return self._rotation.transpose(0, 2, 1) @ covariance_m2[self._ue] @ self._rotation

    @property
    def _ue(self) -> Int[np.ndarray, "link"]:
        """The UE of each link."""
        found = np.empty(len(self.links), dtype="i8")
        ue, site = np.nonzero(self.row >= 0)
        found[self.row[ue, site]] = ue
        return found

    @property
    def _frames(self) -> tuple[Float[np.ndarray, "link 2"], Float[np.ndarray, "link"]]:
        """Origin [m] and yaw [rad] of each link's site in the common frame."""
        if self.links.ue is None:
            return np.zeros((len(self.links), 2)), np.zeros(len(self.links))
        poses = np.array([site.pose for site in self.links.sites], dtype="f8")
        return poses[self.links.site_index, :2], poses[self.links.site_index, 2]

    @property
    def _rotation(self) -> Float[np.ndarray, "link 2 2"]:
        yaw_rad = self._frames[1]
        cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
        return np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)


def link_rows(
    num_sites: NumSites, split: Split, rows: Int[np.ndarray, "row"]
) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "link"]]:
    """Return the links of some UEs at the sites that hear them, site by site, and whose they are.

    Args:
        num_sites: How many sites.
        split: Of the scene.
        rows: One for each UE, at the first site.

    Returns:
        Rows of the split's table; and for each of them the place of its UE in `rows`.

    Raises:
        SplitError: If the scene has fewer sites.
    """
    if num_sites is None:
        return rows, np.arange(len(rows))
    site, names = pd.factorize(split.table["site"])
    count = len(names) if num_sites == "all" else num_sites
    if count > len(names):
        raise SplitError(
            f"UEs heard by {count} sites were asked for, and {split.scene} has {len(names)}; "
            "generate a dataset of more sites"
        )
    number = split.table["ue_index"].to_numpy()
    found, ue = [], []
    for i in range(count):
        here = np.flatnonzero(site == i)
        place = pd.Index(number[here]).get_indexer(number[rows])
        ue.append(np.flatnonzero(place >= 0))
        found.append(here[place[ue[-1]]])
    return np.concatenate(found), np.concatenate(ue)


def take_links(
    num_sites: NumSites, split: Split, measured: Measurements, rows: Int[np.ndarray, "row"]
) -> tuple[Measurements, Int[np.ndarray, "link"]]:
    """Return the measurements of some links; of UEs, at all sites that hear them.

    Args:
        num_sites: How many sites.
        split: Of the scene.
        measured: All links of the split's scene.
        rows: Which; of UEs, their links at the first site.

    Returns:
        The measurements, and their rows.
    """
    links, ue = link_rows(num_sites, split, rows)
    taken = measured.take(links)
    if num_sites is None:
        return taken, links
    count = len(taken.sites) if num_sites == "all" else num_sites
    # A UE stands in the window of its first link, which each site has by itself.
    return dataclasses.replace(
        taken,
        sites=taken.sites[:count],
        ue=ue,
        window=measured.window[rows][ue] * count + taken.site_index,
        window_step=measured.window_step[rows][ue],
    ), links
