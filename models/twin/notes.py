"""What the router is told of a link: what speaks for each cue, and whether they agree."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Measurements, Mixture
from raymark.benchmark.features import carrier_loss_db
from raymark.models.twin.cues import Cues
from raymark.models.twin.densities import covariance_about, told
from raymark.models.twin.experts import MAP, REGRESSION, WINDOW, Expert
from raymark.models.twin.posterior import MODE_RADIUS_M

_NUM_PATHS = (1, 2, 3, 4, 6)
"""A link shows at least so many paths, or not."""


def notes_of(
    links: Measurements, cues: Cues, experts: Sequence[Expert]
) -> Float[np.ndarray, "link note"]:
    """Return what is noted of each link; all of it is known without its position.

    The number of paths and the gain, how well the map explains them, how wide and how peaked each
    posterior is, how far regression and posteriors are apart as the regression's spread goes, the
    carrier, and how wrong the map was learnt to be.

    Args:
        links: What was measured.
        cues: What was found of them.
        experts: As `experts_of` returns them.
    """
    num_paths = links.path_mask.sum(axis=1)
    columns = [num_paths >= count for count in _NUM_PATHS]
    columns += [links.gain_db + carrier_loss_db(links), cues.fit]
    regression = next(e.density for e in experts if e.cue.startswith(REGRESSION))
    for cue in (MAP, f"{MAP}, {REGRESSION}", f"{MAP}, {WINDOW}"):
        found = next(e.density for e in experts if (e.cue, e.level) == (cue, 0))
        columns += [_log_spread(found), _peak_share(found), _log_distance(found, regression)]
    columns += [_log_spread(regression)]
    columns += [np.log(links.carrier_hz), np.log(cues.map_width_m)]
    return np.column_stack(columns).astype("f8")


def _log_spread(density: Mixture) -> Float[np.ndarray, "link"]:
    whole_m2 = covariance_about(density, told(density, "mean"))
    return 0.5 * np.log(np.trace(whole_m2, axis1=1, axis2=2))


def _peak_share(density: Mixture) -> Float[np.ndarray, "link"]:
    """Return the share of a density that lies near its best component."""
    best = density.weight.argmax(axis=1)
    best_m = np.take_along_axis(density.mean_m, best[:, None, None], axis=1)
    is_near = np.linalg.norm(density.mean_m - best_m, axis=2) <= MODE_RADIUS_M
    return np.where(is_near, density.weight, 0.0).sum(axis=1)


def _log_distance(density: Mixture, regression: Mixture) -> Float[np.ndarray, "link"]:
    """Return how far a density's mean is from a regression's, by the latter's spread."""
    gap_m = told(density, "mean") - told(regression, "mean")
    spread_m2 = covariance_about(regression, told(regression, "mean"))
    return np.log1p(np.einsum("li,lij,lj->l", gap_m, np.linalg.inv(spread_m2), gap_m))
