"""Mixtures of normal densities over positions: what they say of a place, and what is told."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from raymark.benchmark import Mixture
from raymark.models.twin.posterior import MODE_RADIUS_M

Told = Literal["mean", "median", "mode"]
"""The mean of a mixture, the point of least expected distance, or the mean about the best mode."""

_LEAST_VARIANCE_M2 = 1e-4
_NUM_STEPS = 20


def normal(
    mean_m: Float[np.ndarray, "link 2"], covariance_m2: Float[np.ndarray, "link 2 2"]
) -> Mixture:
    """Return one normal density for each link."""
    return Mixture(
        weight=np.ones((len(mean_m), 1)),
        mean_m=mean_m[:, None],
        covariance_m2=covariance_m2[:, None],
    )


def log_normal(
    gap_m: Float[np.ndarray, "*#n 2"], covariance_m2: Float[np.ndarray, "*#n 2 2"]
) -> Float[np.ndarray, "..."]:
    """Return the logarithm of normal densities of two coordinates at some offsets [1/m^2]."""
    x, y = gap_m[..., 0], gap_m[..., 1]
    xx, xy, yy = covariance_m2[..., 0, 0], covariance_m2[..., 0, 1], covariance_m2[..., 1, 1]
    determinant = xx * yy - xy**2
    squared = (yy * x**2 - 2 * xy * x * y + xx * y**2) / determinant
    return np.asarray(-0.5 * squared - 0.5 * np.log(determinant) - np.log(2 * np.pi))


def log_density(
    mixture: Mixture, position_m: Float[np.ndarray, "link 2"]
) -> Float[np.ndarray, "link"]:
    """Return the logarithm of the density of each link at one position [1/m^2]."""
    each = log_normal(position_m[:, None] - mixture.mean_m, mixture.covariance_m2)
    return np.asarray(logsumexp(each, axis=1, b=mixture.weight))


def blended(
    parts: Sequence[Mixture], share: Float[np.ndarray, "link part"], same_m: Sequence[int]
) -> Mixture:
    """Return the mixture of mixtures; those whose components stand at the same places are joined.

    Args:
        parts: The mixtures.
        share: Of each in every link.
        same_m: A number for each part; parts of one number have the same `mean_m`.
    """
    joined = []
    for number in dict.fromkeys(same_m):
        rows = [i for i, other in enumerate(same_m) if other == number]
        weight = np.stack([share[:, i, None] * parts[i].weight for i in rows])
        covariance_m2 = np.stack([parts[i].covariance_m2 for i in rows])
        total = weight.sum(axis=0)
        part = weight / np.maximum(total, np.finfo(float).tiny)
        part[0][total == 0] = 1.0  # of no weight, but a covariance all the same
        joined.append(
            (total, parts[rows[0]].mean_m, np.einsum("elm,elmij->lmij", part, covariance_m2))
        )
    weight, mean_m, covariance_m2 = (np.concatenate(x, axis=1) for x in zip(*joined, strict=True))
    return Mixture(weight=weight, mean_m=mean_m, covariance_m2=covariance_m2)


def told(mixture: Mixture, which: Told) -> Float[np.ndarray, "link 2"]:
    """Return the one position that is told of each link [m]."""
    if which == "mean":
        return _mean(mixture.weight, mixture.mean_m)
    if which == "mode":
        return _about_best(mixture)
    return _median(mixture)


def told_or_median(
    mixture: Mixture, which: Told, is_blind: Bool[np.ndarray, "link"]
) -> Float[np.ndarray, "link 2"]:
    """Return the same, but the median of links that show no path, as no place stands out [m]."""
    position_m = told(mixture, which)
    blind = Mixture(
        weight=mixture.weight[is_blind],
        mean_m=mixture.mean_m[is_blind],
        covariance_m2=mixture.covariance_m2[is_blind],
    )
    position_m[is_blind] = _median(blind)
    return position_m


def covariance_about(
    mixture: Mixture, position_m: Float[np.ndarray, "link 2"]
) -> Float[np.ndarray, "link 2 2"]:
    """Return the covariance of the whole mixture about a position, other modes included [m^2]."""
    offset_m = mixture.mean_m - position_m[:, None]
    spread = offset_m[..., :, None] * offset_m[..., None, :] + mixture.covariance_m2
    whole = np.einsum("lm,lmij->lij", mixture.weight, spread)
    return np.asarray(whole + _LEAST_VARIANCE_M2 * np.eye(2))


def _mean(
    weight: Float[np.ndarray, "link part"], at_m: Float[np.ndarray, "link part 2"]
) -> Float[np.ndarray, "link 2"]:
    return np.asarray(np.einsum("lm,lmd->ld", weight, at_m))


def _about_best(mixture: Mixture) -> Float[np.ndarray, "link 2"]:
    """Return the mean of what lies around the component whose peak is highest."""
    peak = log_normal(np.zeros_like(mixture.mean_m), mixture.covariance_m2)
    with np.errstate(divide="ignore"):  # a share of 0 is none at all
        best = (np.log(mixture.weight) + peak).argmax(axis=1)
    best_m = np.take_along_axis(mixture.mean_m, best[:, None, None], axis=1)
    is_near = np.linalg.norm(mixture.mean_m - best_m, axis=2) <= MODE_RADIUS_M
    near = np.where(is_near, mixture.weight, 0.0)
    return _mean(near / near.sum(axis=1, keepdims=True), mixture.mean_m)


def _median(mixture: Mixture) -> Float[np.ndarray, "link 2"]:
    """Return the point of least expected distance, from the best component on ([weiszfeld1937])."""
    spread_m2 = np.trace(mixture.covariance_m2, axis1=2, axis2=3)
    found = np.empty((len(mixture.weight), 2))
    for i, (weight, at_m) in enumerate(zip(mixture.weight, mixture.mean_m, strict=True)):
        gap_m = at_m[:, None] - at_m
        distance_m = np.sqrt((gap_m**2).sum(axis=-1) + spread_m2[i])
        here_m = at_m[(distance_m @ weight).argmin()]
        for _ in range(_NUM_STEPS):
            pull = weight / np.sqrt(((at_m - here_m) ** 2).sum(axis=1) + spread_m2[i])
            here_m = pull @ at_m / pull.sum()
        found[i] = here_m
    return found
