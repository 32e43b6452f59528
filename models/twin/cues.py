"""What each cue says of links before anything is weighed: the map, the window, two regressions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.features import feature_matrix
from raymark.models.twin.forest import Forest
from raymark.models.twin.knowledge import ANY_BAND, Knowledge, places_of
from raymark.models.twin.matching import Modes

REGRESSIONS = ("paths", "profile")
"""Trees on the estimated paths, and on what SCADF-MoE fuses beside CSI: angles, distance, gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CueSettings:
    """How cues are learnt.

    Attributes:
        num_modes: Candidates that are kept of each link.
        num_trees: Trees of each regression.
        min_samples_leaf: Fewest links of a leaf.
        seed: Of the trees.
    """

    num_modes: int
    num_trees: int
    min_samples_leaf: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """What was found of links.

    Attributes:
        modes: Where the map has what was measured.
        fit: How much better the best candidate explains a path than chance does [nat].
        map_width_m: Width that paths were learnt to be off by on such a map [m].
        mean_m: What each regression tells [m].
        covariance_m2: Of its trees [m^2].
    """

    modes: Modes
    fit: Float[np.ndarray, "link"]
    map_width_m: Float[np.ndarray, "link"]
    mean_m: Float[np.ndarray, "link regression 2"]
    covariance_m2: Float[np.ndarray, "link regression 2 2"]

    @classmethod
    def joined(cls, parts: Sequence[tuple[Int[np.ndarray, "row"], "Cues"]]) -> "Cues":
        """Return the cues of all links from those of some; each names its links."""
        order = np.argsort(np.concatenate([rows for rows, _ in parts]))
        columns = {
            name: np.concatenate([getattr(cues, name) for _, cues in parts])[order]
            for name in ("fit", "map_width_m", "mean_m", "covariance_m2")
        }
        modes = Modes.joined([(rows, cues.modes) for rows, cues in parts])
        return cls(modes=modes, **columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class CueSource:
    """What was learnt from labelled links, and tells of others.

    Attributes:
        knowledge: What maps are wrong by.
        forests: The regressions.
        is_corrected: Whether maps' paths are corrected.
        num_modes: Candidates that are kept of each link.
    """

    knowledge: Knowledge
    forests: Mapping[str, Forest]
    is_corrected: bool
    num_modes: int

    @classmethod
    def of(
        cls, links: Labelled, *, knowledge: Knowledge, is_corrected: bool, settings: CueSettings
    ) -> "CueSource":
        """Learn from labelled links, of which it is known already what they tell of maps."""
        inputs = regression_inputs(links.measurements)
        forests = {
            name: Forest.of(
                inputs[name],
                links.position_m,
                num_trees=settings.num_trees,
                min_samples_leaf=settings.min_samples_leaf,
                seed=settings.seed,
            )
            for name in REGRESSIONS
        }
        return cls(
            knowledge=knowledge,
            forests=forests,
            is_corrected=is_corrected,
            num_modes=settings.num_modes,
        )

    def cues(self, links: Measurements) -> Cues:
        """Return what all cues say of links.

        Raises:
            ValueError: If a site comes without a map.
        """
        inputs = regression_inputs(links)
        told = [self.forests[name].located(inputs[name]) for name in REGRESSIONS]
        modes = self.knowledge.modes(
            links, num_modes=self.num_modes, is_corrected=self.is_corrected
        )
        width_m, chance = self._of_maps(links)
        num_paths = links.path_mask.sum(axis=1)
        above = modes.log_likelihood.max(axis=1) - num_paths * chance
        return Cues(
            modes=modes,
            fit=above / np.maximum(num_paths, 1),
            map_width_m=width_m,
            mean_m=np.stack([mean_m for mean_m, _ in told], axis=1),
            covariance_m2=np.stack([covariance_m2 for _, covariance_m2 in told], axis=1),
        )

    def _of_maps(
        self, links: Measurements
    ) -> tuple[Float[np.ndarray, "link"], Float[np.ndarray, "link"]]:
        """Return the width of ranges on each link's map, and the log density of stray paths."""
        width_m, chance = np.empty(len(links)), np.empty(len(links))
        known = self.knowledge.corrected if self.is_corrected else self.knowledge.plain
        for (_, band), rows, _ in places_of(links):
            calibration = known.get(band, known[ANY_BAND])
            width_m[rows] = calibration.width[:, 0].mean()
            chance[rows] = np.log(calibration.stray_density)
        return width_m, chance


def regression_inputs(links: Measurements) -> dict[str, Float[np.ndarray, "link feature"]]:
    """Return what each regression is given of links, by the name of the regression."""
    scalars = [links.distance_m, links.gain_db, links.delay_spread_s * 1e9, links.carrier_hz / 1e9]
    profile = np.column_stack([links.aoa_profile_db, *scalars, links.azimuth_spread_rad])
    return {"paths": feature_matrix(links), "profile": profile.astype("f8")}
