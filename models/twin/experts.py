"""Densities over positions that a router weighs: what the cues say, by themselves and together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Mixture
from raymark.models.twin.cues import REGRESSIONS, Cues
from raymark.models.twin.densities import log_density, log_normal, normal
from raymark.models.twin.matching import Modes
from raymark.models.twin.posterior import weights
from raymark.models.twin.windows import Windows, window_weights

MAP, WINDOW, REGRESSION = "map", "window", "regression"
"""Names of cues."""

_NUM_STEPS = 30
_LEAST_SHARE = 0.01
_LEAST_SCALE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far errors of a regression exceed what its trees say: few of them by far.

    Attributes:
        tail_share: Share of the links whose error is of the tail.
        scale: Factor of the covariance of the others.
        tail_scale: Factor of the covariance in the tail.
    """

    tail_share: float
    scale: float
    tail_scale: float

    @classmethod
    def of(
        cls, error_m: Float[np.ndarray, "link 2"], covariance_m2: Float[np.ndarray, "link 2 2"]
    ) -> "Spread":
        """Learn from errors at places that the trees have not seen, by maximum likelihood.

        Without any, a fifth of the links is taken to be off by ten times as much.

        Args:
            error_m: What the trees told less what is true [m].
            covariance_m2: Of the trees [m^2].
        """
        if not len(error_m):
            return cls(tail_share=0.2, scale=1.0, tail_scale=100.0)
        squared = np.einsum("li,lij,lj->l", error_m, np.linalg.inv(covariance_m2), error_m)
        share = np.array([0.8, 0.2])
        scale = np.maximum(squared.mean() / 2 * np.array([0.5, 3.0]), _LEAST_SCALE)
        for _ in range(_NUM_STEPS):
            density = share / scale * np.exp(-0.5 * squared[:, None] / scale)
            of_part = density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
            share = np.maximum(of_part.mean(axis=0), _LEAST_SHARE)
            share /= share.sum()
            summed = (of_part * squared[:, None]).sum(axis=0)
            scale = np.maximum(summed / np.maximum(2 * of_part.sum(axis=0), 1e-9), _LEAST_SCALE)
        return cls(tail_share=float(share[1]), scale=float(scale[0]), tail_scale=float(scale[1]))

    def mixture(
        self, mean_m: Float[np.ndarray, "link 2"], covariance_m2: Float[np.ndarray, "link 2 2"]
    ) -> Mixture:
        """Return the densities of links that a regression has located."""
        share = np.array([1 - self.tail_share, self.tail_share])
        return Mixture(
            weight=np.broadcast_to(share, (len(mean_m), 2)),
            mean_m=np.repeat(mean_m[:, None], 2, axis=1),
            covariance_m2=np.stack(
                [self.scale * covariance_m2, self.tail_scale * covariance_m2], axis=1
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What experts know beside the cues of a link.

    Attributes:
        spread: Of each regression.
        step_m: Standard deviation of one coordinate over one step of a window [m].
        mean_m: Of the places of labelled links [m].
        covariance_m2: Of these [m^2].
    """

    spread: tuple[Spread, ...]
    step_m: float
    mean_m: Float[np.ndarray, "2"]
    covariance_m2: Float[np.ndarray, "2 2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How sure an expert of the map is.

    Attributes:
        temper: Power to which the likelihood is raised.
        kernel_m: Standard deviation of an error that candidates near each other share [m].
    """

    temper: float
    kernel_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """One density for each link.

    Attributes:
        cue: Which cues it follows.
        level: How sure it is, if it follows the map: a number, 0 for the surest.
        density: Over positions.
    """

    cue: str
    level: int | None
    density: Mixture


def experts_of(
    cues: Cues, windows: Windows, known: Surroundings, levels: Sequence[Level]
) -> list[Expert]:
    """Return all experts, the same for all links and in the same order.

    Those of the map come at each level, so that the router also says how sure a map may be; all of
    them are densities over the same candidates.

    Args:
        cues: What was found of links.
        windows: Which links were measured in a row.
        known: What was learnt beside.
        levels: How sure the map's experts are, the surest first.
    """
    regressions = [
        spread.mixture(cues.mean_m[:, i], cues.covariance_m2[:, i])
        for i, spread in enumerate(known.spread)
    ]
    agreeing = agreement(cues.modes, regressions[0])
    experts = []
    for number, level in enumerate(levels):
        shares = _of_map(cues.modes, agreeing, windows, level.temper, known.step_m)
        for cue, share in shares.items():
            density = _candidates(cues.modes, share, level)
            experts.append(Expert(cue=cue, level=number, density=density))
    for name, density in zip(REGRESSIONS, regressions, strict=True):
        experts.append(Expert(cue=f"{REGRESSION} on {name}", level=None, density=density))
    count = len(cues.fit)
    anywhere = normal(
        np.broadcast_to(known.mean_m, (count, 2)),
        np.broadcast_to(known.covariance_m2, (count, 2, 2)),
    )
    return [*experts, Expert(cue="anywhere", level=None, density=anywhere)]


def parts_of(experts: Sequence[Expert]) -> Float[np.ndarray, "part expert"]:
    """Return which parts the logit of each expert is the sum of: its cue's and its level's."""
    cues = list(dict.fromkeys(expert.cue for expert in experts))
    levels = list(dict.fromkeys(e.level for e in experts if e.level is not None))
    of_cue = [[expert.cue == cue for expert in experts] for cue in cues]
    of_level = [[expert.level == level for expert in experts] for level in levels]
    return np.array([*of_cue, *of_level], dtype="f8")


def log_densities(
    experts: Sequence[Expert], position_m: Float[np.ndarray, "link 2"]
) -> Float[np.ndarray, "link expert"]:
    """Return the logarithm of each expert's density at one position of each link [1/m^2]."""
    return np.stack([log_density(expert.density, position_m) for expert in experts], axis=1)


def agreement(modes: Modes, regression: Mixture) -> Float[np.ndarray, "link mode"]:
    """Return the logarithm of a regression's density at the candidates of the map [1/m^2]."""
    gap_m = modes.centre_m[:, :, None] - regression.mean_m[:, None]
    each = log_normal(gap_m, regression.covariance_m2[:, None])
    peak = each.max(axis=2, keepdims=True)
    summed = (regression.weight[:, None] * np.exp(each - peak)).sum(axis=2)
    return peak[..., 0] + np.log(summed)


def _of_map(
    modes: Modes,
    agreeing: Float[np.ndarray, "link mode"],
    windows: Windows,
    temper: float,
    step_m: float,
) -> dict[str, Float[np.ndarray, "link mode"]]:
    """Return the shares of candidates by the map, alone and with what else there is."""
    both = replace(modes, log_likelihood=modes.log_likelihood + agreeing / temper)
    return {
        MAP: weights(modes, temper),
        f"{MAP}, {REGRESSION}": weights(both, temper),
        f"{MAP}, {WINDOW}": window_weights(modes, windows, temper=temper, step_m=step_m),
        f"{MAP}, {WINDOW}, {REGRESSION}": window_weights(
            both, windows, temper=temper, step_m=step_m
        ),
    }


def _candidates(modes: Modes, share: Float[np.ndarray, "link mode"], level: Level) -> Mixture:
    """Return a density over candidates; the less sure, the wider its peaks are."""
    return Mixture(
        weight=share,
        mean_m=modes.centre_m,
        covariance_m2=modes.covariance_m2 / level.temper + level.kernel_m**2 * np.eye(2),
    )
