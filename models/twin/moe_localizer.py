"""The localizer that weighs what map, window and regressions say: learn, choose, locate."""

import itertools
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from raymark.benchmark import Labelled, Localizer, Measurements, Mixture, Prediction, tune
from raymark.models.twin.blocked import blocked_folds
from raymark.models.twin.cues import CueSettings, CueSource
from raymark.models.twin.densities import covariance_about, told_or_median
from raymark.models.twin.experts import Level
from raymark.models.twin.features import heard_rows, is_blind
from raymark.models.twin.knowledge import Knowledge
from raymark.models.twin.moe import Found, HeldOut, surroundings_of, windows_of
from raymark.models.twin.moe_files import MixtureState
from raymark.models.twin.posterior import Reading, posterior
from raymark.models.twin.router import Router
from raymark.models.twin.trust import trust_table
from raymark.models.twin.windows import step_of, window_weights

_CUE_KEYS = ("num_modes", "num_trees", "min_samples_leaf")
_FOLD_KEYS = ("num_folds", "block_m", "buffer_m")


class MixtureLocalizer(Localizer):
    """A soft mixture of densities; the router learns from links whose neighbours are hidden.

    Everything is fitted again without whole blocks of training links and their surroundings, and
    asked for these: as at unseen places, an expert that is right only near its labels is found out.
    """

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Learn the cues, then whom to trust; validation links choose how, and what is told."""
        settings = CueSettings(seed=self.seed, **{name: self.config[name] for name in _CUE_KEYS})
        source, densities, map_errors_m = self._source(train, validation, settings)
        held_out = self._held_out(train, validation, source, settings)
        known = surroundings_of(train, held_out)
        levels = tuple(Level(**values) for values in self.config["levels"])
        links = validation.measurements
        found = Found.of(links, source.cues(links), known, levels)
        penalties = self.config["penalty"]
        if held_out is None:
            even = Router.even(found.notes.shape[1], len(found.experts))
            routers = dict.fromkeys(penalties, even)
        else:
            routers = held_out.routers(known, levels, penalties)
        (penalty, which), trials = self._choose(found, routers, validation)
        router = routers[penalty]
        self._state = MixtureState(
            source=source, known=known, router=router, told=which, levels=levels
        )
        self.num_parameters = self._state.num_parameters
        self.choices = {
            "is_posed": source.knowledge.is_posed,
            "is_corrected": source.is_corrected,
            "penalty": penalty,
            "told": which,
            "num_held_out": 0 if held_out is None else len(held_out.links),
            "validation_log_density": densities,
            "validation_error_m": {"map": map_errors_m, "mixture": trials},
        }
        self.diagnostics = {
            "trust": trust_table(links, found.experts, router.shares(found.notes)),
            "spread": [asdict(spread) for spread in known.spread],
        }

    def predict(self, test: Measurements) -> Prediction:
        """Return the chosen point of each mixture, and the covariance of all of it about it."""
        mixture = self.mixture(test)
        position_m = told_or_median(mixture, self._state.told, is_blind(test))
        covariance_m2 = covariance_about(mixture, position_m)
        return Prediction(position_m=position_m, covariance_m2=covariance_m2)

    def mixture(self, test: Measurements) -> Mixture:
        """Return where every link may be."""
        state = self._state
        found = Found.of(test, state.source.cues(test), state.known, state.levels)
        return found.mixture(state.router)

    def save(self, folder: Path) -> None:
        """Write what was learnt; the map is no part of it."""
        self._state.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        self._state = MixtureState.load(folder)

    def _source(
        self, train: Labelled, validation: Labelled, settings: CueSettings
    ) -> tuple[CueSource, dict[str, float], dict[str, float]]:
        """Learn the cues; what the map tells of validation windows chooses if it is corrected.

        Returns:
            The cues, and by what was tried the log density and the error of validation links [m].
        """
        links, heard = validation.measurements, heard_rows(validation.measurements)
        windows, step_m = (
            windows_of(links),
            step_of(train.position_m, windows_of(train.measurements)),
        )
        known, densities = Knowledge.chosen(train, validation, self.config["is_posed"])

        def predict(is_corrected: bool) -> Float[np.ndarray, "link 2"]:
            modes = known.modes(links, num_modes=settings.num_modes, is_corrected=is_corrected)
            share = window_weights(modes, windows, temper=1.0, step_m=step_m)
            reading = Reading(is_corrected=is_corrected, temper=1.0, estimate="mode")
            return posterior(modes, share, reading, is_blind(links)).position_m[heard]

        best, errors_m = tune(self.config["is_corrected"], predict, validation.take(heard))
        source = CueSource.of(train, knowledge=known, is_corrected=best, settings=settings)
        return source, densities, errors_m

    def _held_out(
        self, train: Labelled, validation: Labelled, source: CueSource, settings: CueSettings
    ) -> HeldOut | None:
        """Return training links, held out by blocks; None if none can be.

        As LOS links want another trust, only links with labels that the validation has are asked.
        """
        folds = blocked_folds(
            train,
            is_asked=np.isin(train.los, np.unique(validation.los)),
            rng=np.random.default_rng(self.seed),
            **{name: self.config[name] for name in _FOLD_KEYS},
        )
        if not folds:
            return None
        return HeldOut.of(train, folds, like=source, settings=settings)

    def _choose(
        self, found: Found, routers: Mapping[float, Router], validation: Labelled
    ) -> tuple[Any, dict[str, float]]:
        """Choose a penalty, and which point of the mixture is told."""
        links = validation.measurements
        heard, blind = heard_rows(links), is_blind(links)
        mixtures = {penalty: found.mixture(router) for penalty, router in routers.items()}
        return tune(
            itertools.product(routers, self.config["told"]),
            lambda trial: told_or_median(mixtures[trial[0]], trial[1], blind)[heard],
            validation.take(heard),
        )
