"""Estimates of one place by several sites, fused: normal ones, and ones that may be outliers."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.benchmark.localizer import Prediction
from raymark.benchmark.ue_links import UeLinks


def fused(
    position_m: Float[np.ndarray, "ue site 2"],
    covariance_m2: Float[np.ndarray, "ue site 2 2"],
    is_heard: Bool[np.ndarray, "ue site"],
) -> tuple[Float[np.ndarray, "ue 2"], Float[np.ndarray, "ue 2 2"]]:
    """Fuse independent normal estimates of places: precisions add up, means are weighted by them.

    Args:
        position_m: Means, in one frame [m].
        covariance_m2: Their covariances [m^2].
        is_heard: Which of them there are.

    Returns:
        Means and covariances; those of UEs that nobody hears are 0.
    """
    precision = _precisions(covariance_m2, is_heard)
    total = precision.sum(axis=1)
    moment = np.einsum("usij,usj->ui", precision, position_m)
    is_known = np.asarray(is_heard.any(axis=1))[:, None, None]
    found_m2 = np.where(is_known, np.linalg.inv(np.where(is_known, total, np.eye(2))), 0.0)
    return np.einsum("uij,uj->ui", found_m2, moment), found_m2


def _precisions(
    covariance_m2: Float[np.ndarray, "ue site 2 2"], is_heard: Bool[np.ndarray, "ue site"]
) -> Float[np.ndarray, "ue site 2 2"]:
    safe_m2 = np.where(is_heard[..., None, None], covariance_m2, np.eye(2))
    return np.where(is_heard[..., None, None], np.linalg.inv(safe_m2), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Where UEs are of which nothing is known.

    Attributes:
        mean_m: In the common frame [m].
        covariance_m2: About that [m^2].
    """

    mean_m: Float[np.ndarray, "2"]
    covariance_m2: Float[np.ndarray, "2 2"]

    def log_density(
        self, position_m: Float[np.ndarray, "*n 2"], *, widened: float = 1.0
    ) -> Float[np.ndarray, "*n"]:
        """Return the logarithm of the density [1/m^2] at positions, covariances times `widened`."""
        covariance_m2 = widened * self.covariance_m2
        offset_m = position_m - self.mean_m
        squared = np.einsum("...i,ij,...j->...", offset_m, np.linalg.inv(covariance_m2), offset_m)
        return -0.5 * (squared + np.linalg.slogdet(2 * np.pi * covariance_m2)[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What sites tell of places; nothing where they hear nothing.

    Attributes:
        position_m: Means, in one frame [m].
        covariance_m2: Of the truth about them, if they are no outliers [m^2].
        share: Probability that they are none, within 0 and 1.
        is_heard: Which of them there are.
    """

    position_m: Float[np.ndarray, "ue site 2"]
    covariance_m2: Float[np.ndarray, "ue site 2 2"]
    share: Float[np.ndarray, "ue site"]
    is_heard: Bool[np.ndarray, "ue site"]


def fused_with_outliers(
    told: Told, prior: Prior
) -> tuple[Float[np.ndarray, "ue 2"], Float[np.ndarray, "ue 2 2"]]:
    """Fuse estimates each of which may be an outlier, by which sites are right.

    The density of a place is that of the prior times, for each site, the told normal distribution
    by its share and the density of outliers, `outlier_log_density`, by the rest. Multiplied out
    it is a mixture of 2^sites components: one for each set of sites that are right. The prior
    weighs these and does not move them, since models have learnt from the same UEs where UEs are;
    it stands alone where all sites are wrong.

    Returns:
        Means of the heaviest components with a site that is right, or of the prior if nobody hears
        the UE; and the mixtures' mean squared offsets from them, which the other components widen.
    """
    precision = _precisions(told.covariance_m2, told.is_heard)
    moment = np.einsum("usij,usj->usi", precision, told.position_m)
    squared = np.einsum("usi,usi->us", moment, told.position_m)
    density = np.linalg.slogdet(np.where(told.is_heard[..., None, None], precision, np.eye(2)))[1]
    log_right = np.log(told.share) + 0.5 * (density - squared) - np.log(2 * np.pi)
    log_wrong = np.log1p(-told.share) + outlier_log_density(told.position_m, prior)
    rows = [
        _component(np.array(is_right), told.is_heard, (log_right, log_wrong), (precision, moment))
        for is_right in itertools.product((True, False), repeat=told.share.shape[1])
    ]
    log_weight, information, shift = (np.stack(part, axis=1) for part in zip(*rows, strict=True))
    return _heaviest(log_weight, information, shift, prior)


def outlier_log_density(
    position_m: Float[np.ndarray, "*n 2"], prior: Prior
) -> Float[np.ndarray, "*n"]:
    """Return the logarithm of the density [1/m^2] of what is told by a site that is wrong.

    It lies about as far from the UEs as these lie from their mean.
    """
    return prior.log_density(position_m, widened=2.0)


def _component(
    is_right: Bool[np.ndarray, "site"],
    is_heard: Bool[np.ndarray, "ue site"],
    log_weights: tuple[Float[np.ndarray, "ue site"], Float[np.ndarray, "ue site"]],
    told: tuple[Float[np.ndarray, "ue site 2 2"], Float[np.ndarray, "ue site 2"]],
) -> tuple[Float[np.ndarray, "ue"], Float[np.ndarray, "ue 2 2"], Float[np.ndarray, "ue 2"]]:
    """Return logarithm of the weight, precision and moment where these sites are right."""
    right, wrong = log_weights
    # A site that does not hear the UE is right in no component but one of two equal ones.
    unheard = np.where(is_right, -np.inf, 0.0)
    by_site = np.where(is_heard, np.where(is_right, right, wrong), unheard)
    return by_site.sum(axis=1), told[0][:, is_right].sum(axis=1), told[1][:, is_right].sum(axis=1)


def _heaviest(
    log_weight: Float[np.ndarray, "ue component"],
    precision: Float[np.ndarray, "ue component 2 2"],
    moment: Float[np.ndarray, "ue component 2"],
    prior: Prior,
) -> tuple[Float[np.ndarray, "ue 2"], Float[np.ndarray, "ue 2 2"]]:
    """Weigh components by the prior; return the mean of the heaviest, and all offsets from it."""
    known = np.linalg.inv(prior.covariance_m2)
    is_told = np.linalg.det(precision) > 0
    sure = np.where(is_told[..., None, None], precision, known)
    mean_m = np.where(
        is_told[..., None], np.linalg.solve(sure, moment[..., None])[..., 0], prior.mean_m
    )
    weight = _weights(log_weight, precision + known, moment + known @ prior.mean_m)
    # Where a site hears the UE, that all are wrong tells of no place.
    counts = np.where(is_told | ~is_told.any(axis=1, keepdims=True), weight, -1.0)
    best_m = mean_m[np.arange(len(mean_m)), counts.argmax(axis=1)]
    offset_m = mean_m - best_m[:, None]
    spread_m2 = np.linalg.inv(sure) + offset_m[..., :, None] * offset_m[..., None, :]
    return best_m, np.einsum("uc,ucij->uij", weight, spread_m2)


def _weights(
    log_weight: Float[np.ndarray, "ue component"],
    precision: Float[np.ndarray, "ue component 2 2"],
    moment: Float[np.ndarray, "ue component 2"],
) -> Float[np.ndarray, "ue component"]:
    """Return the components' shares of the whole: exp(w + x^T m - x^T P x / 2), integrated."""
    peak = np.einsum("uci,uci->uc", moment, np.linalg.solve(precision, moment[..., None])[..., 0])
    log_weight = log_weight + 0.5 * (peak - np.linalg.slogdet(precision)[1])
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return weight / weight.sum(axis=1, keepdims=True)


def fused_links(
    ues: UeLinks, told: Prediction, is_told: Bool[np.ndarray, "link"], rest: Prediction
) -> Prediction:
    """Fuse what is told of the links of each UE; all its links get the same place.

    Args:
        ues: The links.
        told: Of each link, with covariances.
        is_told: Which of that counts.
        rest: Of the links of UEs of which nothing is told, with covariances.
    """
    if told.covariance_m2 is None or rest.covariance_m2 is None:
        raise ValueError("estimates are fused by their covariances, which are missing")
    counts = ues.by_site(is_told)
    position_m, covariance_m2 = fused(
        ues.by_site(ues.common_positions(told.position_m)),
        ues.by_site(ues.common_covariances(told.covariance_m2)),
        counts,
    )
    is_known = ues.by_link(np.asarray(counts.any(axis=1)))
    known_m, known_m2 = ues.positions_of_links(position_m), ues.covariances_of_links(covariance_m2)
    return Prediction(
        position_m=np.where(is_known[:, None], known_m, rest.position_m),
        covariance_m2=np.where(is_known[:, None, None], known_m2, rest.covariance_m2),
    )
