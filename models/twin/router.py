"""The router of the mixture: how far each expert is trusted, by what speaks for it in a link.

A multinomial logistic model of what is noted of a link, whose shares maximise the density that the
mixture has at true positions ([jacobs1991], eq. 1.3), of links that no expert has learnt from.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_softmax, logsumexp, softmax

_FARTHEST = 3.0
"""Standard deviations from the mean beyond which a note counts as that far."""
_LEAST_DEVIATION = 1e-6
_NUM_STEPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A gate over experts.

    Attributes:
        mean: Of each note where it was learnt.
        deviation: Standard deviation of each note there; inf where it never changed.
        slope: By how much a note, so scaled, raises the logit of each expert.
        offset: Logit of each expert where all notes are at their means.
    """

    mean: Float[np.ndarray, "note"]
    deviation: Float[np.ndarray, "note"]
    slope: Float[np.ndarray, "note expert"]
    offset: Float[np.ndarray, "expert"]

    @classmethod
    def of(
        cls,
        notes: Float[np.ndarray, "link note"],
        log_density: Float[np.ndarray, "link expert"],
        parts: Float[np.ndarray, "part expert"],
        *,
        penalty: float,
    ) -> "Router":
        """Learn from links at whose true positions the densities of all experts are known.

        Args:
            notes: What is noted of each link.
            log_density: Logarithm of each expert's density at the true position [1/m^2].
            parts: 1 where a part counts for an expert; logits are sums over an expert's parts.
            penalty: Of squared slopes, in links.
        """
        deviation = notes.std(axis=0)
        deviation = np.where(deviation > _LEAST_DEVIATION, deviation, np.inf)
        mean, shape = notes.mean(axis=0), (notes.shape[1] + 1, len(parts))
        inputs = np.column_stack([_scaled(notes, mean, deviation), np.ones(len(notes))])
        held = np.ones(shape[0])
        held[-1] = 0.1  # offsets are hardly held, but have one best value

        def cost(flat: Float[np.ndarray, "n"]) -> tuple[float, Float[np.ndarray, "n"]]:
            matrix = flat.reshape(shape)
            log_share = log_softmax(inputs @ matrix @ parts, axis=1)
            joint = log_share + log_density
            total = logsumexp(joint, axis=1)
            pull = np.exp(log_share) - np.exp(joint - total[:, None])
            value = -total.sum() + 0.5 * penalty * (held[:, None] * matrix**2).sum()
            slope = inputs.T @ pull @ parts.T + penalty * held[:, None] * matrix
            return value / len(notes), slope.ravel() / len(notes)

        options = {"maxiter": _NUM_STEPS}
        start = np.zeros(shape[0] * shape[1])
        found = minimize(cost, start, jac=True, method="L-BFGS-B", options=options).x.reshape(shape)
        slope, offset = found[:-1] @ parts, found[-1] @ parts
        return cls(mean=mean, deviation=deviation, slope=slope, offset=offset)

    @classmethod
    def even(cls, num_notes: int, num_experts: int) -> "Router":
        """Return a router that trusts all experts alike, where no link tells whom to trust."""
        return cls(
            mean=np.zeros(num_notes),
            deviation=np.full(num_notes, np.inf),
            slope=np.zeros((num_notes, num_experts)),
            offset=np.zeros(num_experts),
        )

    def shares(self, notes: Float[np.ndarray, "link note"]) -> Float[np.ndarray, "link expert"]:
        """Return how far each expert is trusted in each link; shares add up to 1."""
        return np.asarray(
            softmax(_scaled(notes, self.mean, self.deviation) @ self.slope + self.offset, axis=1)
        )


def _scaled(
    notes: Float[np.ndarray, "link note"],
    mean: Float[np.ndarray, "note"],
    deviation: Float[np.ndarray, "note"],
) -> Float[np.ndarray, "link note"]:
    return np.clip((notes - mean) / deviation, -_FARTHEST, _FARTHEST)
