"""Estimated and predicted paths as rows of numbers that can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.benchmark import MapPaths, Measurements

NUM_FEATURES = 4
"""Range [m], two direction cosines across the panel, power [dB]."""

NUM_KINDS = 8
"""Predicted paths by their number of interactions: none, one, two, more; these again, corrected."""
FIRST_CORRECTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The estimated paths of links.

    Attributes:
        feature: Range [m], cosines along the panel's y and z, power [dB], strongest first.
        mask: True where there is a path.
    """

    feature: Float[np.ndarray, "link path 4"]
    mask: Bool[np.ndarray, "link path"]

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.mask)

    @classmethod
    def joined(cls, parts: Sequence["Observed"]) -> "Observed":
        """Return the links of several."""
        return cls(
            feature=np.concatenate([part.feature for part in parts]),
            mask=np.concatenate([part.mask for part in parts]),
        )

    def take(self, rows: Int[np.ndarray, "row"]) -> "Observed":
        """Return some of the links."""
        return Observed(feature=self.feature[rows], mask=self.mask[rows])

    @property
    def is_full(self) -> Bool[np.ndarray, "link"]:
        """Whether a link has as many paths as are handed on, so that weaker ones may be there."""
        return np.asarray(self.mask.all(axis=1))

    @property
    def weakest_db(self) -> Float[np.ndarray, "link"]:
        """Power of the weakest path; inf where there is none [dB]."""
        return np.where(self.mask, self.feature[..., 3], np.inf).min(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """The paths that a map has at its candidate points.

    Attributes:
        feature: As of `Observed`.
        gradient: Change of the range with the point's x and y.
        kind: Number of interactions, at most 3; 4 more where labelled links have corrected it.
        mask: True where there is a path.
    """

    feature: Float[np.ndarray, "point path 4"]
    gradient: Float[np.ndarray, "point path 2"]
    kind: Int[np.ndarray, "point path"]
    mask: Bool[np.ndarray, "point path"]

    @classmethod
    def joined(cls, parts: Sequence["Predicted"]) -> "Predicted":
        """Return the points of several."""
        return cls(
            feature=np.concatenate([part.feature for part in parts]),
            gradient=np.concatenate([part.gradient for part in parts]),
            kind=np.concatenate([part.kind for part in parts]),
            mask=np.concatenate([part.mask for part in parts]),
        )

    def take(self, rows: Int[np.ndarray, "row"]) -> "Predicted":
        """Return some of the points."""
        return Predicted(
            feature=self.feature[rows],
            gradient=self.gradient[rows],
            kind=self.kind[rows],
            mask=self.mask[rows],
        )

    def moved(self, offset_m: Float[np.ndarray, "point 2"]) -> "Predicted":
        """Return what is predicted beside the points, to the first order: ranges change."""
        feature = self.feature.copy()
        feature[..., 0] += np.einsum("pjd,pd->pj", self.gradient, offset_m)
        return Predicted(feature=feature, gradient=self.gradient, kind=self.kind, mask=self.mask)


def observed(links: Measurements) -> Observed:
    """Return the estimated paths of links."""
    return Observed(
        feature=_features(
            links.path_range_m, links.path_azimuth_rad, links.path_zenith_rad, links.path_power_db
        ),
        mask=links.path_mask,
    )


def predicted(paths: MapPaths) -> Predicted:
    """Return the paths of a map."""
    return Predicted(
        feature=_features(paths.range_m, paths.azimuth_rad, paths.zenith_rad, paths.power_db),
        gradient=paths.range_gradient,
        kind=np.minimum(paths.num_interactions, FIRST_CORRECTED - 1),
        mask=paths.mask,
    )


def _features(
    range_m: Float[np.ndarray, "n path"],
    azimuth_rad: Float[np.ndarray, "n path"],
    zenith_rad: Float[np.ndarray, "n path"],
    power_db: Float[np.ndarray, "n path"],
) -> Float[np.ndarray, "n path 4"]:
    """Return rows of features; a flat panel cannot tell front from back, nor do the cosines."""
    across = np.sin(zenith_rad) * np.sin(azimuth_rad)
    return np.stack([range_m, across, np.cos(zenith_rad), power_db], axis=-1).astype("f4")


def is_blind(links: Measurements) -> Bool[np.ndarray, "link"]:
    """Return which links show no path."""
    return np.asarray(~links.path_mask.any(axis=1))


def heard_rows(links: Measurements) -> Int[np.ndarray, "row"]:
    """Return the links by which it is chosen how links are read: those that show a path, if any.

    Links without a path are tens of metres off however they are read, and would drown the choice.
    """
    rows = np.flatnonzero(~is_blind(links))
    return rows if len(rows) else np.arange(len(links))
