"""What every import of paths is asked: names, the grid of tones, limits, how many UEs, rights."""

import numpy as np
from jaxtyping import Bool, Int
from pydantic import Field

from raymark.config import Strict, validate
from raymark.radio import Band, parse_bands
from raymark.seeding import child_generator

_KEPT_SHARE_OF_RANGE = 0.99


class PathImport(Strict):
    """How paths that another program found become a dataset; the defaults take all of them."""

    name: str | None = Field(default=None, description="Of the dataset; the folder's if not given")
    scene: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="Of the scene; the folder's if not given",
    )
    bandwidth_hz: float = Field(default=50e6, gt=0, description="Of the band [Hz]")
    num_subcarriers: int = Field(default=64, ge=2, description="Of the band")
    noise_figure_db: float | None = Field(
        default=None, ge=0, le=30, description="Of the band; as of named bands if not given [dB]"
    )
    max_path_length_m: float | None = Field(
        default=None, gt=0, description="Longer paths are cut; else 99 % of what is unambiguous [m]"
    )
    max_num_paths: int = Field(default=256, ge=1, le=1000, description="Paths kept per link")
    every: int = Field(default=1, ge=1, description="Take each n-th of the receivers")
    max_ues: int | None = Field(default=None, ge=1, description="Draw at most so many of the rest")
    seed: int = Field(default=0, ge=0, lt=2**32, description="Of that draw, and of the dataset")
    licence: str | None = Field(default=None, description="SPDX identifier of the scenario's")
    attribution: str | None = Field(default=None, description="Whom a user has to name")

    def band(self, carrier_hz: float, *, name: str | None = None, where: str) -> Band:
        """Return a band at a carrier of the source, on the grid of these options.

        Args:
            carrier_hz: The carrier [Hz].
            name: Its name; the carrier's if not given.
            where: What is imported, for the message.

        Raises:
            ConfigError: If there can be no such band.
        """
        (like,) = parse_bands(f"{carrier_hz / 1e9:.6f}GHz")
        noise_figure_db = self.noise_figure_db
        return validate(
            Band,
            {
                "name": name or f"{carrier_hz / 1e9:.6g}GHz",
                "carrier_hz": carrier_hz,
                "bandwidth_hz": self.bandwidth_hz,
                "num_subcarriers": self.num_subcarriers,
                "noise_figure_db": like.noise_figure_db
                if noise_figure_db is None
                else noise_figure_db,
            },
            where=where,
        )

    def path_limit_m(self, band: Band) -> float:
        """Return the length of the longest paths that are kept [m]."""
        return self.max_path_length_m or _KEPT_SHARE_OF_RANGE * band.unambiguous_range_m

    def draw(self, is_wanted: Bool[np.ndarray, "ue"], *, kind: str) -> Int[np.ndarray, "kept"]:
        """Return which UEs are taken: each n-th, of these the wanted, of these a draw.

        Args:
            is_wanted: Which may be taken.
            kind: What is imported; draws of different kinds have nothing in common.
        """
        is_kept = np.zeros(len(is_wanted), dtype=bool)
        is_kept[:: self.every] = True
        rows = np.flatnonzero(is_kept & is_wanted)
        if self.max_ues is not None and len(rows) > self.max_ues:
            rng = child_generator(self.seed, kind, "ue")
            rows = np.sort(rng.choice(rows, self.max_ues, replace=False))
        return rows
