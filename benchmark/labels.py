"""Choices of test points that are scored together: by what is in sight, and by what is heard."""

import numpy as np
from jaxtyping import Bool, Int

from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import ScoringError

ALL, LOS_LABEL, NLOS_LABEL, DETECTABLE, BLIND, OUTAGE_LABEL = (
    "all",
    "los",
    "nlos",
    "detectable",
    "blind",
    "outage",
)

LABELS = (ALL, LOS_LABEL, NLOS_LABEL, DETECTABLE, BLIND, OUTAGE_LABEL)
"""Choices of points, in table order.

`all` is LOS and NLOS, as an outage has no path to measure. `detectable` is NLOS with at least one
estimated path, `blind` is LOS or NLOS with none: what can be located, and what can only be guessed.
"""

LABEL_TITLES = {
    ALL: "LOS and NLOS points",
    LOS_LABEL: "LOS points",
    NLOS_LABEL: "NLOS points",
    DETECTABLE: "NLOS points that show a path",
    BLIND: "points that show no path",
    OUTAGE_LABEL: "points in outage",
}
"""Each choice in words."""


def label_masks(
    los: Int[np.ndarray, " point"], is_detected: Bool[np.ndarray, " point"] | None = None
) -> dict[str, Bool[np.ndarray, " point"]]:
    """Return which points each of `LABELS` takes.

    Args:
        los: 1 LOS, 0 NLOS, -1 outage, as in `link/los`.
        is_detected: Whether at least one path was estimated; `detectable` and `blind` are left out
            where that is not known.

    Raises:
        ScoringError: If a point has another label.
    """
    masks = {LOS_LABEL: los == LOS, NLOS_LABEL: los == NLOS, OUTAGE_LABEL: los == OUTAGE}
    masks[ALL] = masks[LOS_LABEL] | masks[NLOS_LABEL]
    is_unknown = ~(masks[ALL] | masks[OUTAGE_LABEL])
    if is_unknown.any():
        row = int(np.argmax(is_unknown))
        raise ScoringError(
            f"row {row}: label is none of 1, 0 and -1, got {los[row].tolist()}"
            f" ({int(is_unknown.sum())} of {len(los)} rows)"
        )
    if is_detected is not None:
        masks[DETECTABLE] = masks[NLOS_LABEL] & is_detected
        masks[BLIND] = masks[ALL] & ~is_detected
    return {label: masks[label] for label in LABELS if label in masks}
