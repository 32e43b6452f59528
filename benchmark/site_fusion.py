"""A model of single links where several sites hear a UE: `MODEL+sites`.

One is fitted for each site, on the UEs that this site hears; what they tell of a UE is turned into
the frame of the scene and fused, as if their errors were independent. Each of them may be an
outlier, as an estimate from a reflection is: how often, validation links of its site tell.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from raymark.benchmark.fusing import Prior, Told, fused_with_outliers, outlier_log_density
from raymark.benchmark.localizer import Localizer, ModelFolder, Prediction
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.site_trust import LEAST_VARIANCE_M2, Errors, SiteTrust, directness_db
from raymark.benchmark.ue_links import UeLinks
from raymark.errors import ConfigError

SUFFIX = "+sites"


def prior_of(train: Labelled) -> Prior:
    """Return mean and spread of the labelled UEs, in the common frame."""
    ues = UeLinks.of(train.measurements)
    position_m = ues.common_positions(train.position_m)[ues.first_row]
    spread_m2 = np.cov(position_m.T, bias=True) + LEAST_VARIANCE_M2 * np.eye(2)
    return Prior(mean_m=position_m.mean(axis=0), covariance_m2=spread_m2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SiteModel:
    """A fitted model of one site, and how far its estimates can be relied on."""

    model: Localizer
    trust: SiteTrust

    @classmethod
    def fit(
        cls, model: Localizer, train: Labelled, validation: Labelled, prior: Prior
    ) -> "_SiteModel":
        model.fit(train, validation)
        links = validation.measurements
        position_m, covariance_m2 = _told(model, links)
        offset_m = position_m - validation.position_m
        inverse = np.linalg.inv(covariance_m2)
        errors = Errors(
            squared=np.einsum("li,lij,lj->l", offset_m, inverse, offset_m) / 2,
            log_inlier=-0.5 * np.linalg.slogdet(2 * np.pi * covariance_m2)[1],
            log_outlier=outlier_log_density(UeLinks.of(links).common_positions(position_m), prior),
            directness_db=directness_db(links),
        )
        return cls(model=model, trust=SiteTrust.of(errors))


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
        self._prior = prior_of(train)
        self._sites: dict[int, _SiteModel] = {}
        self.num_parameters = 0
        for i, site in enumerate(train.measurements.sites):
            known = train.take(_heard_at(train.measurements, i))
            chosen = validation.take(_heard_at(validation.measurements, i))
            self.diagnostics[f"num_train of {site.name}"] = len(known)
            if len(known) and len(chosen):
                model = self._make()
                model.on_progress = self.on_progress
                self._sites[i] = _SiteModel.fit(model, known, chosen, self._prior)
                self._note(site.name, self._sites[i])

    def predict(self, test: Measurements) -> Prediction:
        """Return the fused place of each link's UE; of one that nobody hears, the prior."""
        position_m = np.zeros((len(test), 2))
        covariance_m2 = np.tile(np.eye(2), (len(test), 1, 1))
        share = np.full(len(test), 0.5)
        is_told = np.zeros(len(test), dtype=bool)
        for i, site in self._sites.items():
            rows = _heard_at(test, i)
            if len(rows):
                links = test.take(rows)
                variance_m2, share[rows] = site.trust.at(links)
                position_m[rows], shape = _told(site.model, links)
                covariance_m2[rows] = shape * variance_m2[:, None, None]
                is_told[rows] = True
        ues = UeLinks.of(test)
        is_heard = ues.by_site(is_told)
        told = Told(
            position_m=ues.by_site(ues.common_positions(position_m)),
            covariance_m2=ues.by_site(ues.common_covariances(covariance_m2)),
            share=np.where(is_heard, ues.by_site(share), 0.5),
            is_heard=is_heard,
        )
        found_m, found_m2 = fused_with_outliers(told, self._prior)
        return Prediction(
            position_m=ues.positions_of_links(found_m),
            covariance_m2=ues.covariances_of_links(found_m2),
        )

    def _note(self, name: str, site: _SiteModel) -> None:
        numbers = (self.num_parameters, site.model.num_parameters)
        self.num_parameters = None if None in numbers else sum(filter(None, numbers))
        self.choices[name] = {**site.model.choices, **asdict(site.trust)}
        self.history |= {f"{name}: {key}": values for key, values in site.model.history.items()}
        self.diagnostics[name] = site.model.diagnostics


def _told(
    model: Localizer, links: Measurements
) -> tuple[Float[np.ndarray, "link 2"], Float[np.ndarray, "link 2 2"]]:
    """Return means and covariances in the frame of the site, 1 m^2 of a model that has none."""
    told = checked_prediction(model.predict(links), len(links))
    if told.covariance_m2 is None:
        return told.position_m, np.tile(np.eye(2), (len(links), 1, 1))
    return told.position_m, told.covariance_m2 + LEAST_VARIANCE_M2 * np.eye(2)


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
                "summary": f"{model.info.summary.rstrip('.')}; one a site, fused by covariance, "
                "each perhaps an outlier.",
                "inputs": (*model.info.inputs, "other_sites"),
                "tuning": f"{model.info.tuning}, for each site; two scales of its covariances "
                "and two shares of outliers",
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
