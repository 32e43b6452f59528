"""Whom the router trusts, by band, grade of the map and number of paths."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from raymark.benchmark import Measurements
from raymark.models.twin.experts import Expert

PATH_COUNTS = {"none": (0, 0), "1-3": (1, 3), "4-7": (4, 7), "8 and more": (8, np.inf)}
"""Names of groups of links by their estimated paths, with the fewest and most of each."""


def trust_table(
    links: Measurements, experts: Sequence[Expert], share: Float[np.ndarray, "link expert"]
) -> list[dict[str, str | int | float]]:
    """Return the mean share of each cue, over all powers of the likelihood, by kind of link.

    Args:
        links: What was measured.
        experts: The experts.
        share: Of each in every link.

    Returns:
        A row for each band, grade and number of paths that a link has: `band`, `grade`, `paths`,
        how many `links`, and the share of each cue.
    """
    cues = list(dict.fromkeys(expert.cue for expert in experts))
    by_cue = np.stack(
        [share[:, [expert.cue == cue for expert in experts]].sum(axis=1) for cue in cues], axis=1
    )
    num_paths = links.path_mask.sum(axis=1)
    grades = np.array([site.city.grade if site.city else "" for site in links.sites])
    rows: list[dict[str, str | int | float]] = []
    for i, band in enumerate(links.bands):
        for grade in dict.fromkeys(grades.tolist()):
            here = (links.band_index == i) & (grades[links.site_index] == grade)
            for name, (fewest, most) in PATH_COUNTS.items():
                chosen = np.flatnonzero(here & (num_paths >= fewest) & (num_paths <= most))
                if len(chosen):
                    kind = {"band": band.name, "grade": grade, "paths": name, "links": len(chosen)}
                    rows.append({**kind, **_means(by_cue, chosen, cues)})
    return rows


def _means(
    by_cue: Float[np.ndarray, "link cue"], chosen: Int[np.ndarray, "row"], cues: list[str]
) -> dict[str, float]:
    return dict(zip(cues, by_cue[chosen].mean(axis=0).tolist(), strict=True))
