"""Paths of a range of links as ragged arrays, as they are stored."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8

from raymark.dataset.schema import NO_INTERACTION
from raymark.presenting import Presented
from raymark.radio import Band
from raymark.radio.synthesis import PathBatch


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PathTable(Presented):
    """Ragged paths of a range of links in numpy, as they are stored.

    `path_offset[i]:path_offset[i + 1]` are the rows of link i, strongest first. The arrays are
    those of the schema, by their names without the group.
    """

    path_offset: Int[np.ndarray, "link1"]
    delay_s: Float[np.ndarray, "path"]
    zenith_bs_rad: Float[np.ndarray, "path"]
    azimuth_bs_rad: Float[np.ndarray, "path"]
    zenith_ue_rad: Float[np.ndarray, "path"]
    azimuth_ue_rad: Float[np.ndarray, "path"]
    interaction: UInt8[np.ndarray, "path depth"]
    amplitude: np.ndarray

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.path_offset) - 1

    def facts(self) -> dict[str, str]:
        """Return how many links and paths there are, and how many interactions they hold."""
        counts = np.diff(self.path_offset)
        most = (self.interaction != NO_INTERACTION).sum(axis=1).max(initial=0)
        return {
            "links": str(len(self)),
            "paths": str(len(self.delay_s)),
            "most of a link": str(counts.max(initial=0)),
            "most interactions": str(most),
        }

    def batch(
        self, links: Int[np.ndarray, "link"], band: Band, orientation_rad: Float[np.ndarray, "3"]
    ) -> PathBatch:
        """Return the paths of some links in torch, padded to the longest list among them.

        Args:
            links: Numbers of the links in this table; they share a panel.
            band: Band of the amplitudes.
            orientation_rad: Yaw, pitch and roll of the panel [rad].
        """
        first, last = self.path_offset[links], self.path_offset[links + 1]
        column = np.arange(max(1, (last - first).max(initial=0)))
        mask = column < (last - first)[:, None]
        rows = (first[:, None] + column)[mask]
        num_interactions = (self.interaction[rows] != NO_INTERACTION).sum(axis=1)
        return PathBatch(
            amplitude=_padded(self.amplitude[rows], mask),
            delay_s=_padded(self.delay_s[rows], mask),
            zenith_bs_rad=_padded(self.zenith_bs_rad[rows], mask),
            azimuth_bs_rad=_padded(self.azimuth_bs_rad[rows], mask),
            num_interactions=_padded(num_interactions, mask),
            mask=torch.from_numpy(mask),
            band=band,
            orientation_rad=orientation_rad,
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class DetailTable(Presented):
    """Interaction points and diffracting edges of a range of links, row by row of its paths.

    The rows are those of the `PathTable` of the same links.
    """

    vertex_m: Float[np.ndarray, "path depth 3"]
    wedge: Float[np.ndarray, "path 13"]

    def facts(self) -> dict[str, str]:
        """Return how many paths there are."""
        return {"paths": str(len(self.wedge)), "most points": str(self.vertex_m.shape[1])}


def _padded(
    values: Shaped[np.ndarray, "path"], mask: Bool[np.ndarray, "link most"]
) -> torch.Tensor:
    """Return ragged values as rows, zero where there is no path."""
    whole = np.zeros(mask.shape, dtype=values.dtype)
    whole[mask] = values
    return torch.from_numpy(whole)
