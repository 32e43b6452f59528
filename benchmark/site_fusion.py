"""A model of single links where several sites hear a UE: `MODEL+sites`.

One is fitted for each site, on the UEs that this site hears; what they tell of a UE is turned into
the frame of the scene and fused by inverse covariance, as if their errors were independent.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from raymark.benchmark.localizer import Localizer, ModelFolder, Prediction
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.ue_links import UeLinks
from raymark.errors import ConfigError

SUFFIX = "+sites"
_LEAST_VARIANCE_M2 = 1e-6


def fused(
    position_m: Float[np.ndarray, "ue site 2"],
    covariance_m2: Float[np.ndarray, "ue site 2 2"],
    is_heard: Bool[np.ndarray, "ue site"],
) -> tuple[Float[np.ndarray, "ue 2"], Float[np.ndarray, "ue 2 2"]]:
    """Fuse independent normal estimates of places: precisions add up, means are weighted by them.

    Args:
        position_m: Means, in one frame [m].
        covariance_m2: Their covariances [m^2].
        is_heard: Which of them there are.

    Returns:
        Means and covariances; those of UEs that nobody hears are 0.
    """
    safe_m2 = np.where(is_heard[..., None, None], covariance_m2, np.eye(2))
    precision = np.where(is_heard[..., None, None], np.linalg.inv(safe_m2), 0.0)
    total = precision.sum(axis=1)
    moment = np.einsum("usij,usj->ui", precision, position_m)
    is_known = np.asarray(is_heard.any(axis=1))[:, None, None]
    found_m2 = np.where(is_known, np.linalg.inv(np.where(is_known, total, np.eye(2))), 0.0)
    return np.einsum("uij,uj->ui", found_m2, moment), found_m2


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Where UEs are of which nothing is known.

    Attributes:
        mean_m: Of the labelled UEs, in the common frame [m].
        covariance_m2: About that [m^2].
    """

    mean_m: Float[np.ndarray, "2"]
    covariance_m2: Float[np.ndarray, "2 2"]

    @classmethod
    def of(cls, train: Labelled) -> "Prior":
        """Take it from labelled links."""
        ues = UeLinks.of(train.measurements)
        position_m = ues.common_positions(train.position_m)[ues.first_row]
        spread_m2 = np.cov(position_m.T, bias=True) + _LEAST_VARIANCE_M2 * np.eye(2)
        return cls(mean_m=position_m.mean(axis=0), covariance_m2=spread_m2)

    def predict(self, ues: UeLinks) -> Prediction:
        """Return the same for all links, in the frames of their sites."""
        num = len(ues)
        return Prediction(
            position_m=ues.positions_of_links(np.tile(self.mean_m, (num, 1))),
            covariance_m2=ues.covariances_of_links(np.tile(self.covariance_m2, (num, 1, 1))),
        )


def fused_links(
    ues: UeLinks, told: Prediction, is_told: Bool[np.ndarray, "link"], rest: Prediction
) -> Prediction:
    """Fuse what is told of the links of each UE; all its links get the same place.

    Args:
        ues: The links.
        told: Of each link, with covariances.
        is_told: Which of that counts.
        rest: Of the links of UEs of which nothing is told, with covariances.
    """
    if told.covariance_m2 is None or rest.covariance_m2 is None:
        raise ValueError("estimates are fused by their covariances, which are missing")
    counts = ues.by_site(is_told)
    position_m, covariance_m2 = fused(
        ues.by_site(ues.common_positions(told.position_m)),
        ues.by_site(ues.common_covariances(told.covariance_m2)),
        counts,
    )
    is_known = ues.by_link(np.asarray(counts.any(axis=1)))
    known_m, known_m2 = ues.positions_of_links(position_m), ues.covariances_of_links(covariance_m2)
    return Prediction(
        position_m=np.where(is_known[:, None], known_m, rest.position_m),
        covariance_m2=np.where(is_known[:, None, None], known_m2, rest.covariance_m2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _SiteModel:
    """A fitted model of one site, and how far its estimates can be relied on."""

    model: Localizer
    variance_m2: float
    """Factor of the model's covariances; where it has none, the variance of all its estimates."""

    @classmethod
    def fit(cls, model: Localizer, train: Labelled, validation: Labelled) -> "_SiteModel":
        model.fit(train, validation)
        # A mean, not a median: nothing else in the fusion knows of outliers. Validation may hold
        # none by chance, and what has learnt all of training errs there only.
        errors = [_mean_squared_error(model, part) for part in (train, validation)]
        return cls(model=model, variance_m2=max(*errors, _LEAST_VARIANCE_M2))

    def locate(
        self, links: Measurements
    ) -> tuple[Float[np.ndarray, "link 2"], Float[np.ndarray, "link 2 2"]]:
        """Return means and covariances in the frame of the site."""
        told = checked_prediction(self.model.predict(links), len(links))
        shape = np.eye(2)
        if told.covariance_m2 is not None:
            shape = told.covariance_m2 + _LEAST_VARIANCE_M2 * np.eye(2)
        covariance_m2 = np.broadcast_to(shape, (len(links), 2, 2)) * self.variance_m2
        return told.position_m, covariance_m2


class SiteFusion(Localizer):
    """One model for each site, and the fusion of what they tell."""

    def __init__(self, make: Callable[[], Localizer]) -> None:
        """Fuse the estimates of models.

        Args:
            make: Makes a fresh model; called once a site.
        """
        self._make = make
        base = make()
        super().__init__(base.config, seed=base.seed)

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Fit a model for each site, on the links of UEs that it hears, and learn to trust it."""
        self._prior = Prior.of(train)
        self._sites: dict[int, _SiteModel] = {}
        self.num_parameters = 0
        for i, site in enumerate(train.measurements.sites):
            known = train.take(_heard_at(train.measurements, i))
            chosen = validation.take(_heard_at(validation.measurements, i))
            self.diagnostics[f"num_train of {site.name}"] = len(known)
            if len(known) and len(chosen):
                model = self._make()
                model.on_progress = self.on_progress
                self._sites[i] = _SiteModel.fit(model, known, chosen)
                self._note(site.name, self._sites[i])

    def predict(self, test: Measurements) -> Prediction:
        """Return the fused place of each link's UE; of one that nobody hears, the prior."""
        position_m = np.zeros((len(test), 2))
        covariance_m2 = np.zeros((len(test), 2, 2))
        is_told = np.zeros(len(test), dtype=bool)
        for i, site in self._sites.items():
            rows = _heard_at(test, i)
            if len(rows):
                position_m[rows], covariance_m2[rows] = site.locate(test.take(rows))
                is_told[rows] = True
        ues = UeLinks.of(test)
        told = Prediction(position_m=position_m, covariance_m2=covariance_m2)
        return fused_links(ues, told, is_told, self._prior.predict(ues))

    def _note(self, name: str, site: _SiteModel) -> None:
        numbers = (self.num_parameters, site.model.num_parameters)
        self.num_parameters = None if None in numbers else sum(filter(None, numbers))
        self.choices[name] = {**site.model.choices, "variance_m2": site.variance_m2}
        self.history |= {f"{name}: {key}": values for key, values in site.model.history.items()}
        self.diagnostics[name] = site.model.diagnostics


def _mean_squared_error(model: Localizer, part: Labelled) -> float:
    """Return that of a coordinate [m^2]; in units of the model's covariances, if it has any."""
    told = checked_prediction(model.predict(part.measurements), len(part))
    offset_m = told.position_m - part.position_m
    if told.covariance_m2 is None:
        return float((offset_m**2).mean())
    inverse = np.linalg.inv(told.covariance_m2 + _LEAST_VARIANCE_M2 * np.eye(2))
    return float(np.einsum("li,lij,lj->l", offset_m, inverse, offset_m).mean()) / 2


def _heard_at(links: Measurements, site: int) -> np.ndarray:
    """Return the rows of a site's links that show a path."""
    return np.flatnonzero((links.site_index == site) & links.path_mask.any(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedModel(ModelFolder):
    """A model's folder, fitted for each site and fused; its name is `MODEL+sites`."""

    @classmethod
    def of(cls, model: ModelFolder) -> "FusedModel":
        """Return a model that is fused over sites.

        Raises:
            ConfigError: If it hears several sites itself.
        """
        if model.hears_sites:
            raise ConfigError(
                f"'{model.name}{SUFFIX}' is no model: +sites fuses a model of single links, such "
                f"as extra_trees{SUFFIX}"
            )
        info = model.info.model_copy(
            update={
                "title": f"{model.info.title} + sites",
                "summary": f"{model.info.summary.rstrip('.')}; one a site, fused by covariance.",
                "inputs": (*model.info.inputs, "other_sites"),
                "tuning": f"{model.info.tuning}, for each site; one scale of its covariances",
            }
        )
        return cls(
            name=f"{model.name}{SUFFIX}",
            folder=model.folder,
            module=model.module,
            info=info,
            card=model.card,
        )

    def create(self, seed: int) -> Localizer:
        """Return a fresh model for each site, to be fused.

        Raises:
            ConfigError: If its `model.py` cannot be imported or holds no `Model` of the right kind.
        """
        return SiteFusion(lambda: ModelFolder.create(self, seed))
