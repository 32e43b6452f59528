"""A soft mixture of densities whose experts follow the map, the window and two regressions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Measurements, Mixture
from raymark.models.twin.blocked import Fold
from raymark.models.twin.cues import REGRESSIONS, Cues, CueSettings, CueSource
from raymark.models.twin.densities import blended
from raymark.models.twin.experts import (
    Expert,
    Level,
    Spread,
    Surroundings,
    experts_of,
    log_densities,
    parts_of,
)
from raymark.models.twin.knowledge import Knowledge
from raymark.models.twin.notes import notes_of
from raymark.models.twin.router import Router
from raymark.models.twin.windows import Windows, step_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is known of links before they are weighed.

    Attributes:
        experts: A density each for every link.
        notes: What the router is told.
    """

    experts: list[Expert]
    notes: Float[np.ndarray, "link note"]

    @classmethod
    def of(
        cls, links: Measurements, cues: Cues, known: Surroundings, levels: Sequence[Level]
    ) -> "Found":
        """Ask all experts, and note what speaks for each."""
        experts = experts_of(cues, windows_of(links), known, levels)
        return cls(experts=experts, notes=notes_of(links, cues, experts))

    def mixture(self, router: Router) -> Mixture:
        """Return the mixture of all experts."""
        same = [1 + i if e.level is None else 0 for i, e in enumerate(self.experts)]
        densities = [expert.density for expert in self.experts]
        return blended(densities, router.shares(self.notes), same)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Links, and what was found of them by who has learnt from none of their neighbours.

    Attributes:
        links: With their places.
        cues: Of these.
    """

    links: Labelled
    cues: Cues

    @classmethod
    def of(
        cls, train: Labelled, folds: Sequence[Fold], *, like: CueSource, settings: CueSettings
    ) -> "HeldOut":
        """Learn the cues anew for each fold, and ask them.

        Args:
            train: Training links.
            folds: Of them, at least one, as `blocked_folds` deals them.
            like: Who has learnt from all of them; maps are read as there.
            settings: How cues are learnt.
        """
        parts = []
        for asked, fitters in folds:
            rest = train.take(fitters)
            known = Knowledge.of(rest, is_posed=like.knowledge.is_posed)
            source = CueSource.of(
                rest, knowledge=known, is_corrected=like.is_corrected, settings=settings
            )
            parts.append((asked, source.cues(train.measurements.take(asked))))
        rows = np.sort(np.concatenate([asked for asked, _ in parts]))
        return cls(links=train.take(rows), cues=Cues.joined(parts))

    def routers(
        self, known: Surroundings, levels: Sequence[Level], penalties: Sequence[float]
    ) -> dict[float, Router]:
        """Learn whom to trust, with each of some penalties."""
        found = Found.of(self.links.measurements, self.cues, known, levels)
        density = log_densities(found.experts, self.links.position_m)
        parts = parts_of(found.experts)
        return {x: Router.of(found.notes, density, parts, penalty=x) for x in penalties}


def surroundings_of(train: Labelled, held_out: HeldOut | None) -> Surroundings:
    """Learn what experts know beside cues.

    Args:
        train: Training links.
        held_out: Those of them whose regressions tell how far they are off; None if there are none.
    """
    count = len(REGRESSIONS)
    error_m, covariance_m2 = np.empty((0, count, 2)), np.empty((0, count, 2, 2))
    if held_out is not None:
        error_m = held_out.cues.mean_m - held_out.links.position_m[:, None]
        covariance_m2 = held_out.cues.covariance_m2
    return Surroundings(
        spread=tuple(Spread.of(error_m[:, i], covariance_m2[:, i]) for i in range(count)),
        step_m=step_of(train.position_m, windows_of(train.measurements)),
        mean_m=train.position_m.mean(axis=0),
        covariance_m2=np.cov(train.position_m.T) + np.eye(2),
    )


def windows_of(links: Measurements) -> Windows:
    """Return which links were measured one after the other."""
    return Windows(window=links.window, step=links.window_step)
