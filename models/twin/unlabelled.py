"""Locate links on a map where no link has a label: nothing is learnt, what is assumed is said."""

import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from raymark.benchmark import Measurements
from raymark.benchmark.city_map import city_around, require_grid
from raymark.benchmark.site_frames import world_frame_covariances, world_frame_positions
from raymark.dataset import Dataset
from raymark.errors import ConfigError
from raymark.models.twin.calibration import Calibration, shares_at
from raymark.models.twin.features import NUM_KINDS, Observed, is_blind, observed, predicted
from raymark.models.twin.matching import Matcher
from raymark.models.twin.posterior import MODE_RADIUS_M, Reading, posterior, weights
from raymark.radio import Receiver
from raymark.radio.estimation import detection_threshold

NUM_MODES = 64
"""Candidates that are refined and kept of each link, as by the model twin_match."""

_LEAST_SHARE = 0.5
"""Part of an estimated path that must be a predicted one to count as explained by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What stands in for labels: how far paths are off on a map as good as a survey (our decision).

    Attributes:
        range_m: Standard deviation of a path's length, estimated less predicted [m].
        cosine: The same of its two direction cosines across the panel.
        power_db: The same of its power [dB].
        tail_share: Share of the paths that are off by more, by `TAIL` of the calibration.
        num_stray: Estimated paths of a link that the map does not explain, in the mean.
        seen_share: Share of the strong predicted paths that are seen.
        seen_within_db: Width of the step at the power that noise allows [dB].
        temper: Power to which the likelihood is raised.
    """

    range_m: float = 1.0
    cosine: float = 0.02
    power_db: float = 6.0
    tail_share: float = 0.2
    num_stray: float = 0.5
    seen_share: float = 0.9
    seen_within_db: float = 2.0
    temper: float = 0.35

    def __post_init__(self) -> None:
        """Check that widths are widths.

        Raises:
            ConfigError: If one is not above 0.
        """
        for name in ("range_m", "cosine", "power_db", "num_stray", "seen_within_db", "temper"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"assumption {name} must be above 0, got {getattr(self, name)}")

    def calibration(self, receiver: Receiver) -> Calibration:
        """Return what labels would have taught; detection is the link budget's."""
        width = (self.range_m, self.cosine, self.cosine, self.power_db)
        return Calibration(
            width=np.tile(width, (NUM_KINDS, 1)),
            tail_share=self.tail_share,
            bias_db=0.0,
            num_stray=self.num_stray,
            seen_share=self.seen_share,
            seen_at_db=weakest_db(receiver),
            seen_within_db=self.seen_within_db,
        )

    def describe(self, receiver: Receiver) -> tuple[str, ...]:
        """Return what is assumed, in sentences."""
        return (
            f"received by {receiver.describe()}; the clock of the UE is right, so that delays are "
            "absolute",
            f"no labels: paths are taken to be off by {self.range_m:g} m, {self.cosine:g} in "
            f"direction cosines and {self.power_db:g} dB (standard deviations, uncalibrated), "
            f"{self.tail_share:.0%} of them by more; {self.num_stray:g} strays a link",
            f"the map's paths are seen from {weakest_db(receiver):.0f} dB on, by the link budget; "
            f"the likelihood is raised to {self.temper:g}; the highest mode is told, the mean of a "
            "link that shows no path",
        )


def weakest_db(receiver: Receiver) -> float:
    """Return the gain [dB] of a path at which it stands out of the noise of one link.

    See `raymark.radio.estimation.estimate_paths`: there, noise alone makes a path of one link in a
    hundred.
    """
    panel, band = receiver.in_use.panel, receiver.band
    counts = (panel.num_cols, panel.num_rows, band.num_subcarriers)
    power = receiver.noise_variance * detection_threshold(counts) / math.prod(counts)
    return 10 * math.log10(power)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Locations:
    """Where links were found, in the frame of the scene.

    Attributes:
        position_m: x and y [m].
        covariance_m2: About them, other modes included [m^2].
        num_paths: Estimated paths.
        num_explained: How many of them the map has at the position.
        peak_share: Share of the posterior within 3 m of its highest mode.
        mode_m: x and y of the best candidates [m].
        mode_share: Share of each in the posterior.
        candidate: The candidate of the map that is nearest to each position.
        is_explaining: Which of its paths, strongest first, explain a measured one best.
        ms_per_link: Time of the matching [ms].
    """

    position_m: Float[np.ndarray, "link 2"]
    covariance_m2: Float[np.ndarray, "link 2 2"]
    num_paths: Int[np.ndarray, "link"]
    num_explained: Int[np.ndarray, "link"]
    peak_share: Float[np.ndarray, "link"]
    mode_m: Float[np.ndarray, "link mode 2"]
    mode_share: Float[np.ndarray, "link mode"]
    candidate: Int[np.ndarray, "link"]
    is_explaining: Bool[np.ndarray, "link path"]
    ms_per_link: float

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.position_m)

    @property
    def deviation_m(self) -> Float[np.ndarray, "link"]:
        """Root of the mean squared distance that the posterior expects [m]."""
        return np.sqrt(np.trace(self.covariance_m2, axis1=1, axis2=2))

    def table(self) -> pd.DataFrame:
        """Return a row for each link."""
        return pd.DataFrame(
            {
                "link": np.arange(len(self)),
                "x_m": self.position_m[:, 0],
                "y_m": self.position_m[:, 1],
                "var_x_m2": self.covariance_m2[:, 0, 0],
                "var_y_m2": self.covariance_m2[:, 1, 1],
                "cov_xy_m2": self.covariance_m2[:, 0, 1],
                "deviation_m": self.deviation_m,
                "num_paths": self.num_paths,
                "num_explained": self.num_explained,
                "peak_share": self.peak_share,
            }
        )


class MapLocator:
    """A traced map at one site and band, ready to locate links whose city has no labels."""

    def __init__(
        self, city: Dataset, receiver: Receiver, assumptions: Assumptions | None = None
    ) -> None:
        """Read what the map has.

        Args:
            city: The map of one site, as `raymark.generator.scene_maps.scene_map` makes it.
            receiver: What received the CSI.
            assumptions: What stands in for labels.

        Raises:
            ConfigError: If the map is of several sites, or its points are no grid.
        """
        if len(city.manifest.sites) != 1:
            known = ", ".join(site.key for site in city.manifest.sites)
            raise ConfigError(f"map {city.folder} must be of one site, it is of {known}")
        self.city, self.site = city, city.manifest.sites[0]
        self.receiver, self.assumptions = receiver, assumptions or Assumptions()
        self.area = require_grid(city)
        around = city_around(city, self.site, bands=[receiver.band.name])
        self.spacing_m, self._point_m = around.spacing_m, around.point_m
        selection = city.select(scene=self.site.scene, band=receiver.band.name, site=self.site.site)
        self.height_m = selection.position_m[:, 2]
        self._paths = predicted(around.paths[receiver.band.name])
        self._calibration = self.assumptions.calibration(receiver)
        self._matcher = Matcher(around.point_m, around.spacing_m, self._paths, self._calibration)

    @property
    def point_m(self) -> Float[np.ndarray, "point 2"]:
        """The candidates in the frame of the scene [m]."""
        return self._to_world(self._point_m)

    def locate(self, links: Measurements) -> Locations:
        """Return where links are; one that shows no path has a posterior, too.

        Args:
            links: What was measured at the site.
        """
        start = time.perf_counter()
        seen = observed(links)
        modes = self._matcher.best(seen, NUM_MODES)
        reading = Reading(is_corrected=False, temper=self.assumptions.temper, estimate="mode")
        share = weights(modes, reading.temper)
        found = posterior(modes, share, reading, is_blind(links))
        best_m = np.take_along_axis(modes.centre_m, share.argmax(axis=1)[:, None, None], axis=1)
        is_near = np.linalg.norm(modes.centre_m - best_m, axis=2) <= MODE_RADIUS_M
        candidate = cKDTree(self._point_m).query(found.position_m)[1]
        share_of_path = self._shares(seen, candidate, found.position_m)
        is_explained = share_of_path.sum(axis=2) > _LEAST_SHARE
        site_index = np.zeros(len(links), dtype="i8")
        return Locations(
            position_m=self._to_world(found.position_m),
            covariance_m2=world_frame_covariances(found.covariance_m2, site_index, (self.site,)),
            num_paths=seen.mask.sum(axis=1),
            num_explained=is_explained.sum(axis=1),
            peak_share=np.where(is_near, share, 0.0).sum(axis=1),
            mode_m=self._to_world(modes.centre_m.reshape(-1, 2)).reshape(modes.centre_m.shape),
            mode_share=share,
            candidate=candidate,
            is_explaining=_is_explaining(share_of_path, is_explained),
            ms_per_link=1e3 * (time.perf_counter() - start) / len(links),
        )

    def grid_shares(self, links: Measurements, link: int) -> Float[np.ndarray, "point"]:
        """Return the posterior of one link over all candidates, each a cell of the grid."""
        exponent = self.assumptions.temper * self._matcher.coarse(observed(links), link)
        share = np.exp(exponent - exponent.max())
        return share / share.sum()

    def _shares(
        self, seen: Observed, candidate: Int[np.ndarray, "link"], position_m: np.ndarray
    ) -> Float[np.ndarray, "link path other"]:
        """Return which part of each estimated path is each of the map's at a position."""
        offset_m = position_m - self._point_m[candidate]
        return shares_at(seen, self._paths.take(candidate).moved(offset_m), self._calibration)

    def _to_world(self, xy_m: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        return world_frame_positions(xy_m, np.zeros(len(xy_m), dtype="i8"), (self.site,))


def _is_explaining(
    share: Float[np.ndarray, "link path other"], is_explained: Bool[np.ndarray, "link path"]
) -> Bool[np.ndarray, "link other"]:
    """Return which of the map's paths explain an estimated one best, of those that are."""
    best = share.argmax(axis=2)[..., None] == np.arange(share.shape[2])
    return np.asarray((best & is_explained[..., None]).any(axis=1))
