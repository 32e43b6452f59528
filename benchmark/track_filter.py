"""From what each link of a track tells of its place to the track: a filter, and a smoother.

What a link tells is a mixture of normal distributions, and perhaps an outlier that tells nothing.
The filter holds a few normal hypotheses of the state, which take a link by moment matching (assumed
density filtering); each link may begin another, since all may have been wrong, and the two that
differ least become one. The smoother takes every link in the light of all others, by expectation
propagation ([minka2001], sec. 3) with a pass forward and one back ([rauch1965]) in each sweep.
With one normal distribution a link and no outliers they are Kalman's filter and the RTS smoother.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.benchmark.step_model import State, StateCovariance, StepModel

Point = Float[np.ndarray, "*batch 2"]
PointCovariance = Float[np.ndarray, "*batch 2 2"]

NUM_HYPOTHESES = 4
NUM_SWEEPS = 5
"""How often the smoother takes every link anew."""
_DAMPING = 0.5
"""Share of the old in each sweep, so that links that contradict each other do not swing."""
_LEAST_WEIGHT = 1e-300
_LEAST_PRECISION = 1e-9
"""Of a position [1/m^2]: less is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the links of tracks tell, in order of time; all arrays broadcast over `batch`.

    Attributes:
        present: False beyond the end of a shorter track.
        gap: Steps since the link before; the same over all of a batch but the last axis.
        told_m: The way from the link before, as odometry tells it; 0 without [m].
        mean_m: Means of the components [m].
        covariance_m2: Their covariances [m^2].
        log_weight: Logarithm of their shares, which may add up to less than 1.
        log_outlier: Logarithm of the density [1/m^2] of an outlier, times its share.
        restart: Probability, at each link, that all that was thought of its track is wrong.
    """

    present: Bool[np.ndarray, "step track"]
    gap: Int[np.ndarray, "step track"]
    told_m: Float[np.ndarray, "step track 2"]
    mean_m: Float[np.ndarray, "step ... component 2"]
    covariance_m2: Float[np.ndarray, "step ... component 2 2"]
    log_weight: Float[np.ndarray, "step ... component"]
    log_outlier: Float[np.ndarray, "step ..."]
    restart: Float[np.ndarray, "..."]

    def at(self, k: int) -> "_Link":
        """Return what the links at one place of their tracks tell."""
        return _Link(
            present=self.present[k],
            mean_m=self.mean_m[k],
            covariance_m2=self.covariance_m2[k],
            log_weight=self.log_weight[k],
            log_outlier=self.log_outlier[k],
        )

    def reversed(self) -> "Evidence":
        """Return the same tracks from their ends to their starts."""
        return Evidence(
            present=self.present[::-1],
            gap=np.roll(self.gap, -1, axis=0)[::-1],
            told_m=-np.roll(self.told_m, -1, axis=0)[::-1],
            mean_m=self.mean_m[::-1],
            covariance_m2=self.covariance_m2[::-1],
            log_weight=self.log_weight[::-1],
            log_outlier=self.log_outlier[::-1],
            restart=self.restart,
        )

    @property
    def batch(self) -> tuple[int, ...]:
        """Axes of the batch."""
        shapes = (
            self.mean_m.shape[1:-2],
            self.covariance_m2.shape[1:-3],
            self.log_weight.shape[1:-1],
            self.log_outlier.shape[1:],
        )
        return np.broadcast_shapes(*shapes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """What the links at one place of their tracks tell; the fields are those of `Evidence`."""

    present: Bool[np.ndarray, "..."]
    mean_m: Float[np.ndarray, "... component 2"]
    covariance_m2: Float[np.ndarray, "... component 2 2"]
    log_weight: Float[np.ndarray, "... component"]
    log_outlier: Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Mean and covariance of the position at every link."""

    mean_m: Float[np.ndarray, "step *batch 2"]
    covariance_m2: Float[np.ndarray, "step *batch 2 2"]

    def reversed(self) -> "Estimates":
        """Return them from the ends of the tracks to their starts."""
        return Estimates(mean_m=self.mean_m[::-1], covariance_m2=self.covariance_m2[::-1])


def filtered(evidence: Evidence, model: StepModel) -> Estimates:
    """Return where each link is, by itself and the links before it in its track."""
    return _follow(evidence, model)[1]


def smoothed(evidence: Evidence, model: StepModel) -> Estimates:
    """Return where each link is, by all links of its track."""
    factors = _first_factors(evidence, model)
    found = _backward(evidence, model, _forward(evidence, model, factors))
    for _ in range(NUM_SWEEPS):
        others = _Factors.of(found).over(factors)
        factors = factors.moved_to(_told(evidence, others))
        found = _backward(evidence, model, _forward(evidence, model, factors))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """States before and after each link was taken."""

    expected: Float[np.ndarray, "step *batch 4"]
    expected_covariance: Float[np.ndarray, "step *batch 4 4"]
    mean: Float[np.ndarray, "step *batch 4"]
    covariance: Float[np.ndarray, "step *batch 4 4"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Factors:
    """Normal factors of the positions: precision, and precision times mean."""

    precision: Float[np.ndarray, "step *batch 2 2"]
    shift: Float[np.ndarray, "step *batch 2"]

    @classmethod
    def of(cls, estimates: Estimates) -> "_Factors":
        precision = np.linalg.inv(estimates.covariance_m2)
        return cls(precision=precision, shift=_times(precision, estimates.mean_m))

    def times(self, other: "_Factors") -> "_Factors":
        """Return the product."""
        return _Factors(precision=self.precision + other.precision, shift=self.shift + other.shift)

    def over(self, other: "_Factors") -> "_Factors":
        """Return the quotient."""
        return _Factors(precision=self.precision - other.precision, shift=self.shift - other.shift)

    def moved_to(self, other: "_Factors") -> "_Factors":
        """Return a factor between both."""
        kept, new = _DAMPING, 1 - _DAMPING
        return _Factors(
            precision=kept * self.precision + new * other.precision,
            shift=kept * self.shift + new * other.shift,
        )

    def proper(self) -> "_Factors":
        """Return the same, without what would make a position less certain than before."""
        value, vector = np.linalg.eigh(self.precision)
        is_kept = value > _LEAST_PRECISION
        turned = np.where(is_kept, _times(_transposed(vector), self.shift), 0.0)
        return _Factors(
            precision=(vector * np.where(is_kept, value, 0.0)[..., None, :]) @ _transposed(vector),
            shift=_times(vector, turned),
        )

    def estimates(self) -> Estimates:
        """Return mean and covariance; what is not known at all is very uncertain."""
        value, vector = np.linalg.eigh(self.precision)
        covariance = (vector / np.maximum(value, _LEAST_PRECISION)[..., None, :]) @ _transposed(
            vector
        )
        return Estimates(mean_m=_times(covariance, self.shift), covariance_m2=covariance)


def _first_factors(evidence: Evidence, model: StepModel) -> _Factors:
    """Return what each link tells in the light of what was expected from before and from after.

    A track that went backwards has the same steps, so that one filter does for both directions.
    """
    before, _ = _follow(evidence, model)
    after, _ = _follow(evidence.reversed(), model)
    return _told(evidence, _Factors.of(before).times(_Factors.of(after.reversed())))


def _told(evidence: Evidence, others: _Factors) -> _Factors:
    """Return the factor of each link that changes what all others say as the link itself does."""
    expected = others.estimates()
    mean_m, covariance_m2 = expected.mean_m.copy(), expected.covariance_m2.copy()
    for k in range(len(mean_m)):
        mean_m[k], covariance_m2[k], _ = _taken(evidence.at(k), mean_m[k], covariance_m2[k])
    matched = _Factors.of(Estimates(mean_m=mean_m, covariance_m2=covariance_m2))
    return matched.over(_Factors.of(expected)).proper()


def _follow(evidence: Evidence, model: StepModel) -> tuple[Estimates, Estimates]:
    """Return what is expected of each link before it is taken, and what is known afterwards."""
    start = model.start((*evidence.batch, 1))
    weight, mean, covariance = np.ones((*evidence.batch, 1)), *start
    shape = (len(evidence.gap), *evidence.batch, 2)
    pairs = [
        Estimates(mean_m=np.empty(shape), covariance_m2=np.empty((*shape, 2))) for _ in range(2)
    ]
    for k, gap in enumerate(evidence.gap):
        told_m = evidence.told_m[k, :, None]
        mean, covariance = _stepped(model, gap[:, None], told_m, mean, covariance)
        pairs[0].mean_m[k], pairs[0].covariance_m2[k] = _whole(weight, mean, covariance)
        # Nothing is begun at the start, which is a beginning, nor where there is no link.
        begins = (evidence.restart * evidence.present[k] * (gap > 0))[..., None]
        weight = np.concatenate([weight * (1 - begins), begins], axis=-1)
        mean = np.concatenate([mean, start[0]], axis=-2)
        covariance = np.concatenate([covariance, start[1]], axis=-3)
        weight, mean, covariance = _all_taken(evidence.at(k), weight, mean, covariance)
        while weight.shape[-1] > NUM_HYPOTHESES:
            weight, mean, covariance = _merged(weight, mean, covariance)
        pairs[1].mean_m[k], pairs[1].covariance_m2[k] = _whole(weight, mean, covariance)
    return pairs[0], pairs[1]


def _all_taken(
    link: "_Link", weight: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Let every hypothesis take a link; the last one begins with it, which is then no outlier."""
    log_outlier = np.repeat(link.log_outlier[..., None], weight.shape[-1], axis=-1)
    log_outlier[..., -1] = -np.inf
    each = _Link(
        present=link.present[..., None],
        mean_m=link.mean_m[..., None, :, :],
        covariance_m2=link.covariance_m2[..., None, :, :, :],
        log_weight=link.log_weight[..., None, :],
        log_outlier=log_outlier,
    )
    after_m, after_m2, log_fit = _taken(each, mean[..., :2], covariance[..., :2, :2])
    mean, covariance = _updated(mean, covariance, after_m, after_m2)
    with np.errstate(divide="ignore"):  # a hypothesis of no weight stays one
        log_weight = np.log(weight) + np.where(link.present[..., None], log_fit, 0.0)
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True), mean, covariance


def _merged(
    weight: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make one of the two hypotheses whose merging adds least to the spread of positions."""
    num = weight.shape[-1]
    first, second = np.triu_indices(num, k=1)
    both = np.maximum(weight[..., first] + weight[..., second], _LEAST_WEIGHT)
    apart_m = mean[..., first, :2] - mean[..., second, :2]
    added = weight[..., first] * weight[..., second] / both * (apart_m**2).sum(axis=-1)
    pair = added.argmin(axis=-1)
    # What stays as it is, then the pair: an order of the hypotheses of each track.
    orders = np.array(
        [[*np.delete(np.arange(num), [i, j]), i, j] for i, j in zip(first, second, strict=True)]
    )
    order = orders[pair]
    weight = np.take_along_axis(weight, order, axis=-1)
    mean = np.take_along_axis(mean, order[..., None], axis=-2)
    covariance = np.take_along_axis(covariance, order[..., None, None], axis=-3)
    total = weight[..., -2:].sum(axis=-1, keepdims=True)
    share = np.where(total > 0, weight[..., -2:] / np.maximum(total, _LEAST_WEIGHT), 0.5)
    one, spread = _moments(share, mean[..., -2:, :], covariance[..., -2:, :, :])
    return (
        np.concatenate([weight[..., :-2], total], axis=-1),
        np.concatenate([mean[..., :-2, :], one[..., None, :]], axis=-2),
        np.concatenate([covariance[..., :-2, :, :], spread[..., None, :, :]], axis=-3),
    )


def _whole(
    weight: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of the position over all hypotheses."""
    return _moments(weight, mean[..., :2], covariance[..., :2, :2])


def _moments(
    share: np.ndarray, mean: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of a mixture, over the last axis of its shares."""
    middle = (share[..., None] * mean).sum(axis=-2)
    offset = mean - middle[..., None, :]
    spread = covariance + offset[..., :, None] * offset[..., None, :]
    return middle, _symmetric((share[..., None, None] * spread).sum(axis=-3))


def _stepped(
    model: StepModel,
    gap: Int[np.ndarray, "..."],
    told_m: Float[np.ndarray, "... 2"],
    mean: np.ndarray,
    covariance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the state so many steps later, on the way that odometry tells."""
    matrix, noise = model.transition(gap)
    spread = matrix @ covariance @ _transposed(matrix) + noise
    moved = _times(matrix, mean)
    moved[..., :2] += told_m
    return moved, _symmetric(spread)


def _updated(
    mean: np.ndarray, covariance: np.ndarray, after_m: np.ndarray, after_m2: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the state whose position has other moments, and the velocity what follows of them."""
    before_m, before_m2 = mean[..., :2], covariance[..., :2, :2]
    gain = covariance[..., :2] @ np.linalg.inv(before_m2)
    spread = covariance + gain @ (after_m2 - before_m2) @ _transposed(gain)
    return mean + _times(gain, after_m - before_m), _symmetric(spread)


def _forward(evidence: Evidence, model: StepModel, factors: _Factors) -> _Pass:
    """Take the factors of all links, one after the other: Kalman's filter."""
    mean, covariance = model.start(evidence.batch)
    shape = (len(evidence.gap), *evidence.batch, 4)
    passed = _Pass(
        expected=np.empty(shape),
        expected_covariance=np.empty((*shape, 4)),
        mean=np.empty(shape),
        covariance=np.empty((*shape, 4)),
    )
    for k, gap in enumerate(evidence.gap):
        mean, covariance = _stepped(model, gap, evidence.told_m[k], mean, covariance)
        passed.expected[k], passed.expected_covariance[k] = mean, covariance
        prior = np.linalg.inv(covariance[..., :2, :2])
        after_m2 = np.linalg.inv(prior + factors.precision[k])
        after_m = _times(after_m2, _times(prior, mean[..., :2]) + factors.shift[k])
        mean, covariance = _updated(mean, covariance, after_m, after_m2)
        passed.mean[k], passed.covariance[k] = mean, covariance
    return passed


def _backward(evidence: Evidence, model: StepModel, passed: _Pass) -> Estimates:
    """Go back over a forward pass (RTS)."""
    mean, covariance = passed.mean.copy(), passed.covariance.copy()
    for k in range(len(evidence.gap) - 2, -1, -1):
        matrix, _ = model.transition(evidence.gap[k + 1])
        spread = passed.expected_covariance[k + 1]
        gain = _transposed(np.linalg.solve(spread, matrix @ passed.covariance[k]))
        mean[k] += _times(gain, mean[k + 1] - passed.expected[k + 1])
        change = gain @ (covariance[k + 1] - spread) @ _transposed(gain)
        covariance[k] = _symmetric(covariance[k] + change)
    return _positions(mean, covariance)


def _taken(
    link: "_Link", mean_m: Point, covariance_m2: PointCovariance
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and covariance of a position times what a link tells, and the log of its fit."""
    prior_m2 = covariance_m2[..., None, :, :]
    offset_m = link.mean_m - mean_m[..., None, :]
    spread_m2 = prior_m2 + link.covariance_m2
    inverse = np.linalg.inv(spread_m2)
    distance = np.einsum("...i,...ij,...j->...", offset_m, inverse, offset_m)
    log_fit = -0.5 * (distance + np.log(np.linalg.det(spread_m2))) - np.log(2 * np.pi)
    log_fit = log_fit + link.log_weight
    highest = np.maximum(log_fit.max(axis=-1), link.log_outlier)
    fit = np.exp(log_fit - highest[..., None])
    total = fit.sum(axis=-1) + np.exp(link.log_outlier - highest)
    share = fit / total[..., None]
    gain = prior_m2 @ inverse
    moved_m = _times(gain, offset_m)
    step_m = (share[..., None] * moved_m).sum(axis=-2)
    spread = moved_m[..., :, None] * moved_m[..., None, :] - gain @ prior_m2
    change_m2 = (share[..., None, None] * spread).sum(axis=-3)
    change_m2 = change_m2 - step_m[..., :, None] * step_m[..., None, :]
    here = link.present[..., None]
    after_m = np.where(here, mean_m + step_m, mean_m)
    after_m2 = np.where(here[..., None], covariance_m2 + change_m2, covariance_m2)
    return after_m, _symmetric(after_m2), highest + np.log(total)


def _positions(mean: State, covariance: StateCovariance) -> Estimates:
    return Estimates(mean_m=mean[..., :2], covariance_m2=covariance[..., :2, :2])


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.asarray((matrix @ vector[..., None])[..., 0])


def _transposed(matrix: np.ndarray) -> np.ndarray:
    return matrix.swapaxes(-1, -2)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + _transposed(matrix)) / 2
