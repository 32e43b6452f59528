"""Models of single links, fused over sites: closed forms, masks, and names."""

from typing import Any

import numpy as np
import pytest
from jaxtyping import Float
from two_sites import UE_M, in_frames_of, links_at_sites

from raymark.benchmark.localizer import Localizer, Prediction
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.model_code import code_places, model_hash
from raymark.benchmark.site_fusion import SiteFusion
from raymark.benchmark.site_trust import directness_db
from raymark.errors import ConfigError
from raymark.models import choose_models, default_model_names, get_model, shipped_references

TRAIN_M, VALIDATION_M = (
    np.random.default_rng(seed).uniform(0, 60, (num, 2)) for seed, num in ((0, 40), (1, 30))
)
OFF_M = (np.array([2.0, 0.0]), np.array([0.0, 3.0]))
"""How far the model of each site is wrong, in the site's own frame [m]."""


def labelled(ue_m: Float[np.ndarray, "ue 2"], **options: Any) -> Labelled:
    links = links_at_sites(ue_m, **options)
    return Labelled(
        measurements=links,
        position_m=in_frames_of(links, ue_m),
        los=np.ones(len(links), dtype="i8"),
    )


class Wrong(Localizer):
    """Walks the direct path and errs by `OFF_M`; it knows its covariance, if it tells one."""

    covariance_m2: tuple[Float[np.ndarray, "2 2"], Float[np.ndarray, "2 2"]] | None = None

    def fit(self, train: Labelled, validation: Labelled) -> None:
        sites = {*train.measurements.site_index, *validation.measurements.site_index}
        assert len(sites) == 1
        assert train.measurements.path_mask.any(axis=1).all()
        self.num_parameters, self.choices = 5, {"links": len(train)}

    def predict(self, test: Measurements) -> Prediction:
        site = int(test.site_index[0])
        ground_m = np.sqrt(test.path_range_m[:, 0] ** 2 - test.height_m**2)
        azimuth_rad = test.path_azimuth_rad[:, 0]
        position_m = ground_m[:, None] * np.stack([np.cos(azimuth_rad), np.sin(azimuth_rad)], -1)
        told = self.covariance_m2 and np.tile(self.covariance_m2[site], (len(test), 1, 1))
        return Prediction(position_m=position_m + OFF_M[site], covariance_m2=told)


def sure_of(*diagonals: tuple[float, float]) -> type[Wrong]:
    covariance_m2 = tuple(np.diag(diagonal) for diagonal in diagonals)
    return type("Sure", (Wrong,), {"covariance_m2": covariance_m2})


def fusion(kind: type[Wrong] = Wrong, **options: Any) -> SiteFusion:
    model = SiteFusion(lambda: kind({}, seed=0))
    model.fit(labelled(TRAIN_M, **options), labelled(VALIDATION_M, **options))
    return model


WEST_M, EAST_M = np.array([0.0, 2.0]), np.array([0.0, -3.0])
"""How far both err in the scene: the west looks north, the east looks west."""
PRIOR_M2 = np.cov(TRAIN_M.T, bias=True)


def weighted(
    *told: tuple[Float[np.ndarray, "ue 2"], Float[np.ndarray, "2 2"]],
) -> Float[np.ndarray, "ue 2"]:
    """Weight what sites tell by its precision."""
    precisions = [np.linalg.inv(covariance_m2) for _, covariance_m2 in told]
    moments = [mean_m @ inverse for (mean_m, _), inverse in zip(told, precisions, strict=True)]
    return np.linalg.solve(np.sum(precisions, axis=0), np.sum(moments, axis=0).T).T


def test_fusion_is_the_closed_form_when_two_sites_err_on_flat_ground() -> None:
    links = links_at_sites()

    told = fusion().predict(links)

    # Their variances are half of 4 and of 9.
    west, east = (UE_M + WEST_M, 2.0 * np.eye(2)), (UE_M + EAST_M, 4.5 * np.eye(2))
    expected_m = weighted(west, east)
    np.testing.assert_allclose(told.position_m, in_frames_of(links, expected_m), atol=1e-4)
    variance_m2 = 1 / (1 / 2 + 1 / 4.5)
    assert told.covariance_m2 is not None
    # Outliers are improbable here, and widen it by less than this.
    np.testing.assert_allclose(
        told.covariance_m2, np.tile(variance_m2 * np.eye(2), (6, 1, 1)), rtol=0.03, atol=0.03
    )


def test_fusion_turns_and_scales_covariances_when_models_tell_them() -> None:
    links = links_at_sites()
    # Each is sure across its line of sight alone, and errs along it and across it.
    model = fusion(sure_of((100.0, 1.0), (100.0, 1.0)))

    told = model.predict(links)

    # Squared errors over covariances are 4 / 100 and 9 / 1: half of that is the scale.
    west = UE_M + WEST_M, np.diag([1.0, 100.0]) * 0.02
    east = UE_M + EAST_M, np.diag([100.0, 1.0]) * 4.5
    expected_m = weighted(west, east)
    np.testing.assert_allclose(told.position_m, in_frames_of(links, expected_m), atol=1e-4)


def test_one_site_alone_answers_when_the_other_hears_nothing() -> None:
    links = links_at_sites(deaf=((0, 0), (1, 1)))

    told = fusion().predict(links)

    expected_m = UE_M.copy()
    expected_m[0] += EAST_M
    expected_m[1] += WEST_M
    keep = [0, 1, 3, 4]
    np.testing.assert_allclose(
        told.position_m[keep], in_frames_of(links, expected_m)[keep], atol=1e-4
    )


def test_ue_that_nobody_hears_gets_mean_and_spread_of_training() -> None:
    links = links_at_sites(deaf=((2, 0), (2, 1)))

    told = fusion().predict(links)

    expected_m = np.tile(TRAIN_M.mean(axis=0), (3, 1))
    np.testing.assert_allclose(told.position_m[[2, 5]], in_frames_of(links, expected_m)[[2, 5]])
    assert told.covariance_m2 is not None
    # The east looks west: both axes are reversed, and the spread is the same.
    np.testing.assert_allclose(told.covariance_m2[5], PRIOR_M2, rtol=1e-5)
    assert np.linalg.det(told.covariance_m2[0]) < np.linalg.det(PRIOR_M2)


class Reflected(Wrong):
    """Right where the first path is as strong as in free space, and across the town elsewhere."""

    def predict(self, test: Measurements) -> Prediction:
        told = super().predict(test)
        is_weak = directness_db(test) < directness_db(test).max() - 10
        away_m = np.where(is_weak[:, None], np.random.default_rng(len(test)).normal(0, 60, 2), 0.0)
        return Prediction(position_m=told.position_m + away_m)


def test_direct_site_is_believed_when_the_other_shows_a_reflection() -> None:
    def weak_at_west(ue_m: Float[np.ndarray, "ue 2"]) -> Labelled:
        known = labelled(ue_m)
        is_weak = (known.measurements.site_index == 0) & (np.arange(2 * len(ue_m)) % 2 == 0)
        known.measurements.path_power_db[is_weak, 0] -= 30.0
        return known

    model = SiteFusion(lambda: Reflected({}, seed=0))
    model.fit(weak_at_west(TRAIN_M), weak_at_west(VALIDATION_M))

    told = model.predict(weak_at_west(UE_M).measurements)

    # UEs 0 and 2 are weak at the west, which is off by tens of metres there; the east is not.
    expected_m = weighted((UE_M + EAST_M, 4.5 * np.eye(2)))
    found_m = told.position_m[3:]
    assert (
        np.linalg.norm(found_m - in_frames_of(links_at_sites(), expected_m)[3:], axis=1)[
            [0, 2]
        ].max()
        < 1.0
    )


def test_site_is_left_out_and_counted_when_it_heard_nobody_in_training() -> None:
    everywhere = tuple((number, 1) for number in range(40))
    links = links_at_sites()
    model = fusion(deaf=everywhere)

    told = model.predict(links)

    np.testing.assert_allclose(told.position_m, in_frames_of(links, UE_M + WEST_M), atol=1e-9)
    assert model.diagnostics["num_train of a/east"] == 0
    assert model.num_parameters == 5
    assert fusion().num_parameters == 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("site_trees+sites", r"'site_trees\+sites' is no model: \+sites fuses a model of single"),
        ("wknn+filter+sites", r"takes one suffix alone"),
        ("wknn+sites+filter", r"takes one suffix alone"),
        ("wknm+sites", "unknown model 'wknm'.*wknn"),
    ],
)
def test_name_is_refused_when_nothing_can_be_fused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_models([name])


def test_model_is_fused_when_its_name_ends_so() -> None:
    alone, whole = get_model("extra_trees"), get_model("extra_trees+sites")

    assert isinstance(whole.create(0), SiteFusion)
    assert (alone.hears_sites, whole.hears_sites) == (False, True)
    assert model_hash(alone) != model_hash(whole)
    assert {"site_fusion.py", "ue_links.py"} <= {path.name for path in code_places(whole)}
    assert shipped_references(whole.name) == shipped_references("extra_trees")


def test_models_of_several_sites_run_unasked_where_there_are_some_alone() -> None:
    assert not {"site_trees", "los_switch"} & set(default_model_names())
    assert {"site_trees", "los_switch"} <= set(default_model_names(with_sites=True))
