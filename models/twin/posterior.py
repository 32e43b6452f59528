"""From the candidates of a link to one position with an honest covariance."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from raymark.models.twin.matching import Modes

Estimate = Literal["mean", "mode"]
"""The mean of the whole posterior, or of what lies around its highest mode."""

MODE_RADIUS_M = 3.0
_LEAST_VARIANCE_M2 = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a posterior is read.

    Attributes:
        temper: Power to which the likelihood is raised: paths of one house are wrong together, so
            that they tell less than as many independent ones.
        estimate: Which point of it is told.
        is_corrected: Whether it is of a map whose paths were corrected.
    """

    is_corrected: bool
    temper: float
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Where links are.

    Attributes:
        position_m: x and y [m].
        covariance_m2: About that position, other modes included [m^2].
    """

    position_m: Float[np.ndarray, "link 2"]
    covariance_m2: Float[np.ndarray, "link 2 2"]


def posterior(
    modes: Modes,
    weight: Float[np.ndarray, "link mode"],
    reading: Reading,
    is_blind: Bool[np.ndarray, "link"],
) -> Posterior:
    """Return position and covariance of links.

    Args:
        modes: Their best candidates.
        weight: The share of each in the posterior.
        reading: How the posterior is read.
        is_blind: Links that show no path: the mean is told, as no place stands out.
    """
    position_m = _mean(weight, modes.centre_m)
    if reading.estimate == "mode":
        best = np.take_along_axis(modes.centre_m, weight.argmax(axis=1)[:, None, None], axis=1)
        is_near = np.linalg.norm(modes.centre_m - best, axis=2) <= MODE_RADIUS_M
        near = np.where(is_near, weight, 0.0)
        about_best_m = _mean(near / near.sum(axis=1, keepdims=True), modes.centre_m)
        position_m = np.where(is_blind[:, None], position_m, about_best_m)
    offset = modes.centre_m - position_m[:, None]
    spread = offset[..., :, None] * offset[..., None, :] + modes.covariance_m2 / reading.temper
    covariance_m2 = np.einsum("lm,lmij->lij", weight, spread)
    return Posterior(
        position_m=position_m, covariance_m2=covariance_m2 + _LEAST_VARIANCE_M2 * np.eye(2)
    )


def weights(modes: Modes, temper: float) -> Float[np.ndarray, "link mode"]:
    """Return the share of each candidate in the posterior of its link."""
    exponent = temper * modes.log_likelihood
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def _mean(
    weight: Float[np.ndarray, "link mode"], centre_m: Float[np.ndarray, "link mode 2"]
) -> Float[np.ndarray, "link 2"]:
    return np.einsum("lm,lmd->ld", weight, centre_m)
