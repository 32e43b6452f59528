"""What labelled links tell of single walls and edges of a map: correction of predicted paths.

Where a wall is off by half a metre, all paths over it are, and by much the same. So the difference
of an estimated and a predicted path at a known place holds for like paths nearby: those that leave
the panel and reach the point from the same directions. Each predicted path is moved by the mean
difference of its neighbours among the labelled ones.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from raymark.models.twin.calibration import Calibration, shares_at
from raymark.models.twin.features import FIRST_CORRECTED, Observed, Predicted

_SCALES = np.array([0.03, 0.03, 0.2, 0.2, 20.0, 20.0])
"""Of neighbourhood: cosines at the panel, gradient of the range at the point, position [m]."""
_NUM_NEIGHBOURS, _FARTHEST = 24, 3.0
"""How many neighbours count at most, within how many scales."""
_DOUBT = 0.5
"""Made-up neighbours that differ by nothing."""
_LEAST_WEIGHT = 1.0
"""Weight of the neighbours from which on a path counts as corrected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Differences of estimated and predicted paths at known places.

    Attributes:
        key: Where each lies among paths, in scales of neighbourhood.
        difference: Estimated less predicted features, without the bias of the power.
        position_m: Of the link [m].
    """

    key: Float[np.ndarray, "path 6"]
    difference: Float[np.ndarray, "path 4"]
    position_m: Float[np.ndarray, "path 2"]

    def __len__(self) -> int:
        """Return the number of differences."""
        return len(self.key)

    def apply(
        self,
        paths: Predicted,
        point_m: Float[np.ndarray, "point 2"],
        *,
        beyond_m: float = 0.0,
    ) -> Predicted:
        """Correct the paths of points; those with neighbours become of other kinds.

        Args:
            paths: What a map has at the points.
            point_m: The points [m].
            beyond_m: Use no links nearer than this, as if the place were unseen [m].
        """
        rows, columns = np.nonzero(paths.mask)
        if not len(self) or not len(rows):
            return paths
        key = _keys(paths, point_m, rows, columns)
        count = min(_NUM_NEIGHBOURS, len(self))
        distance, neighbour = cKDTree(self.key).query(
            key, k=range(1, count + 1), distance_upper_bound=_FARTHEST
        )
        weight = np.exp(-0.5 * distance**2)
        neighbour = np.minimum(neighbour, len(self) - 1)  # where there is none within reach
        away_m = np.linalg.norm(self.position_m[neighbour] - point_m[rows][:, None], axis=2)
        weight = np.where(away_m >= beyond_m, weight, 0.0)
        total = weight.sum(axis=1)
        summed = np.einsum("pn,pnf->pf", weight, self.difference[neighbour])
        feature, kind = paths.feature.copy(), paths.kind.copy()
        feature[rows, columns] += summed / (total + _DOUBT)[:, None]
        kind[rows, columns] += np.where(total >= _LEAST_WEIGHT, FIRST_CORRECTED, 0)
        return replace(paths, feature=feature, kind=kind)


def corrections_of(
    links: Observed,
    truth: Predicted,
    position_m: Float[np.ndarray, "link 2"],
    calibration: Calibration,
) -> Corrections:
    """Return what is surely a pair at the places of labelled links.

    Args:
        links: Estimated paths.
        truth: What the map has at their places.
        position_m: Their places [m].
        calibration: Learnt from them.
    """
    share = shares_at(links, truth, calibration)
    rows, columns = np.nonzero(share.max(axis=2, initial=0.0) > 0.5)
    other = share[rows, columns].argmax(axis=1)
    bias = np.array([0.0, 0.0, 0.0, calibration.bias_db])
    return Corrections(
        key=_keys(truth, position_m, rows, other),
        difference=links.feature[rows, columns] - truth.feature[rows, other] - bias,
        position_m=position_m[rows],
    )


def _keys(
    paths: Predicted,
    point_m: Float[np.ndarray, "point 2"],
    rows: np.ndarray,
    columns: np.ndarray,
) -> Float[np.ndarray, "path 6"]:
    cosines, gradient = paths.feature[rows, columns, 1:3], paths.gradient[rows, columns]
    return np.concatenate([cosines, gradient, point_m[rows]], axis=1) / _SCALES
