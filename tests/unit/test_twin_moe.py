"""What a mixture of experts on a map is made of, on worlds whose answers are known."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor

from raymark.benchmark import GivesMixture, Labelled, Measurements, Mixture
from raymark.benchmark.following import checked_mixture
from raymark.models import get_model
from raymark.models.twin.blocked import blocked_folds
from raymark.models.twin.calibration import Calibration
from raymark.models.twin.cues import REGRESSIONS, Cues, CueSource
from raymark.models.twin.densities import (
    blended,
    covariance_about,
    log_density,
    log_normal,
    normal,
    told,
    told_or_median,
)
from raymark.models.twin.experts import (
    Expert,
    Level,
    Spread,
    Surroundings,
    agreement,
    experts_of,
    parts_of,
)
from raymark.models.twin.features import NUM_KINDS
from raymark.models.twin.forest import Forest
from raymark.models.twin.knowledge import ANY_BAND, Knowledge
from raymark.models.twin.localizer import TwinLocalizer
from raymark.models.twin.matching import Modes
from raymark.models.twin.moe_files import MixtureState
from raymark.models.twin.posterior import Reading
from raymark.models.twin.router import Router
from raymark.models.twin.windows import Windows
from raymark.radio.levels import FLOOR_DB

SURE = (Level(temper=1.0, kernel_m=0.1), Level(temper=0.5, kernel_m=2.0))
ALONE = Windows(window=np.array([0]), step=np.array([0]))


def links_at(position_m: np.ndarray, window: np.ndarray, site_index: np.ndarray) -> Labelled:
    """Links that measured nothing; parting them asks for places, windows and sites alone."""
    count, zeros = len(position_m), np.zeros(len(position_m))
    measurements = Measurements(
        sites=(),
        bands=(),
        site_index=site_index,
        band_index=np.zeros(count, dtype="i8"),
        window=window,
        window_step=np.zeros(count, dtype="i8"),
        path_range_m=np.zeros((count, 8)),
        path_azimuth_rad=np.zeros((count, 8)),
        path_zenith_rad=np.zeros((count, 8)),
        path_power_db=np.full((count, 8), FLOOR_DB),
        path_mask=np.zeros((count, 8), dtype=bool),
        aoa_profile_db=np.zeros((count, 4)),
        distance_m=zeros,
        gain_db=zeros,
        has_signal=np.zeros(count, dtype=bool),
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )
    return Labelled(
        measurements=measurements, position_m=position_m, los=np.arange(count, dtype="i8") % 2
    )


def city_of_links() -> Labelled:
    """600 links in windows of three, 1 m apart, seen by two sites."""
    rng = np.random.default_rng(0)
    start_m = rng.uniform(0, 200, (200, 1, 2))
    position_m = (start_m + np.arange(3)[:, None] * np.array([1.0, 0.0])).reshape(-1, 2)
    return links_at(position_m, np.repeat(np.arange(200), 3), np.repeat(np.arange(200) % 2, 3))


def two_places(log_likelihood: tuple[float, float]) -> Cues:
    """One link that fits two places 40 m apart, and a regression that knows it is the second."""
    return Cues(
        modes=Modes(
            centre_m=np.array([[[0.0, 0.0], [40.0, 0.0]]]),
            covariance_m2=np.broadcast_to(0.25 * np.eye(2), (1, 2, 2, 2)),
            log_likelihood=np.array([log_likelihood]),
        ),
        fit=np.zeros(1),
        map_width_m=np.ones(1),
        mean_m=np.array([[[36.0, 0.0], [20.0, 0.0]]]),
        covariance_m2=np.broadcast_to(25.0 * np.eye(2), (1, 2, 2, 2)),
    )


def surroundings() -> Surroundings:
    spread = Spread(tail_share=0.05, scale=1.0, tail_scale=50.0)
    return Surroundings(
        spread=(spread, spread), step_m=1.0, mean_m=np.zeros(2), covariance_m2=1e4 * np.eye(2)
    )


def test_no_fitter_is_a_neighbour_when_links_are_held_out_by_blocks() -> None:
    links = city_of_links()
    counts, site = links.los == 1, links.measurements.site_index

    folds = blocked_folds(
        links,
        num_folds=4,
        block_m=20.0,
        buffer_m=10.0,
        rng=np.random.default_rng(1),
        is_asked=counts,
    )

    assert len(folds) == 4
    np.testing.assert_array_equal(
        np.sort(np.concatenate([asked for asked, _ in folds])), np.flatnonzero(counts)
    )
    for asked, fitters in folds:
        gap_m = np.linalg.norm(links.position_m[asked][:, None] - links.position_m[fitters], axis=2)
        is_same = site[asked][:, None] == site[fitters]
        assert gap_m[is_same].min() >= 10.0
        assert not np.isin(
            links.measurements.window[fitters], links.measurements.window[asked]
        ).any()
        assert len(fitters) > 200
    # Who is seen by the other site alone is no neighbour: its frame is another one.
    assert gap_m[~is_same].min() < 10.0


def test_no_fold_is_dealt_when_all_links_stand_together() -> None:
    zeros = np.zeros(6, dtype="i8")
    links = links_at(np.zeros((6, 2)), zeros, zeros)

    rng = np.random.default_rng(0)
    assert blocked_folds(links, num_folds=3, block_m=20.0, buffer_m=10.0, rng=rng) == []


def test_router_distrusts_an_expert_that_lies_when_there_are_few_paths() -> None:
    rng = np.random.default_rng(2)
    num_paths = rng.integers(0, 9, 400)
    lies = (num_paths < 4) & (rng.random(400) < 0.9)
    sharp = np.where(lies, -50.0, -1.0)
    notes = np.column_stack([num_paths >= 4, rng.standard_normal(400)]).astype("f8")
    density = np.column_stack([sharp, np.full(400, -8.0)])

    router = Router.of(notes, density, np.eye(2), penalty=1.0)
    few, many = router.shares(np.array([[0.0, 0.0], [1.0, 0.0]]))

    # The best share is that of links on which the expert is right: a tenth, and all.
    assert few[0] == pytest.approx(1 - lies[num_paths < 4].mean(), abs=0.05)
    assert many[0] > 0.95


def test_router_is_the_best_one_when_its_cost_is_asked_beside_it() -> None:
    rng = np.random.default_rng(3)
    notes, density = rng.standard_normal((60, 2)), rng.standard_normal((60, 3))
    parts, penalty = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]), 2.0

    def cost(matrix: np.ndarray) -> float:
        scaled = np.clip((notes - notes.mean(axis=0)) / notes.std(axis=0), -3, 3)
        logit = np.column_stack([scaled, np.ones(60)]) @ matrix @ parts
        share = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
        held = penalty * np.array([[1.0], [1.0], [0.1]])
        likelihood = np.log((share * np.exp(density)).sum(axis=1)).sum()
        return float(-likelihood + 0.5 * (held * matrix**2).sum())

    router = Router.of(notes, density, parts, penalty=penalty)
    matrix = np.linalg.lstsq(parts.T, np.vstack([router.slope, router.offset]).T, rcond=None)[0].T

    for change in rng.standard_normal((20, *matrix.shape)):
        assert cost(matrix + 0.05 * change) > cost(matrix)


def test_router_ignores_a_note_that_never_changed_when_it_learnt() -> None:
    rng = np.random.default_rng(4)
    notes = np.column_stack([np.full(50, 9.8), rng.standard_normal(50)])
    router = Router.of(notes, rng.standard_normal((50, 2)), np.eye(2), penalty=1.0)

    here, elsewhere = router.shares(np.array([[9.8, 0.3], [24.0, 0.3]]))

    np.testing.assert_array_equal(here, elsewhere)
    np.testing.assert_allclose(Router.even(2, 4).shares(notes), 0.25)


def test_blend_of_all_experts_integrates_to_one_when_summed_over_a_grid() -> None:
    experts = experts_of(two_places((0.0, -0.5)), ALONE, surroundings(), SURE)
    share = np.random.default_rng(5).dirichlet(np.ones(len(experts)))[None]
    same = [1 + i if e.level is None else 0 for i, e in enumerate(experts)]
    step_m = 0.25
    near, far = np.arange(-60, 100, step_m), np.arange(-600, 600, 5.0)

    mixture = blended([expert.density for expert in experts], share, same)

    def integral(axis_m: np.ndarray, chosen: np.ndarray) -> float:
        cell_m2 = (axis_m[1] - axis_m[0]) ** 2
        x, y = np.meshgrid(axis_m, axis_m)
        at_m = np.column_stack([x.ravel(), y.ravel()])
        of = range(len(mixture.weight[0]))
        parts = [i for i in of if chosen[i]]
        density = sum(
            mixture.weight[0, i]
            * np.exp(log_normal(at_m - mixture.mean_m[0, i], mixture.covariance_m2[0, i]))
            for i in parts
        )
        return float(np.sum(density) * cell_m2)

    is_wide = mixture.covariance_m2[0, :, 0, 0] > 100.0
    assert is_wide.any()
    assert not is_wide.all()
    assert mixture.weight.sum() == pytest.approx(1.0)
    assert integral(near, ~is_wide) + integral(far, is_wide) == pytest.approx(1.0, abs=1e-3)


def test_blend_keeps_density_and_moments_when_components_are_joined() -> None:
    rng = np.random.default_rng(6)
    mean_m, covariance_m2 = rng.uniform(0, 9, (2, 3, 2)), np.tile(np.eye(2), (2, 3, 1, 1))
    parts = [
        Mixture(
            weight=rng.dirichlet(np.ones(3), 2), mean_m=mean_m, covariance_m2=scale * covariance_m2
        )
        for scale in (1.0, 1.0, 4.0)
    ]
    share = rng.dirichlet(np.ones(3), 2)
    at_m = rng.uniform(0, 9, (2, 2))

    joined, apart = blended(parts, share, [0, 0, 0]), blended(parts, share, [0, 1, 2])
    alike = blended(parts[:2], share[:, :2], [0, 0])

    assert joined.weight.shape == (2, 3)
    assert apart.weight.shape == (2, 9)
    expected = np.log(sum(share[:, i] * np.exp(log_density(parts[i], at_m)) for i in range(3)))
    np.testing.assert_allclose(log_density(apart, at_m), expected)
    np.testing.assert_allclose(covariance_about(joined, at_m), covariance_about(apart, at_m))
    two = np.log(sum(share[:, i] * np.exp(log_density(parts[i], at_m)) for i in range(2)))
    np.testing.assert_allclose(log_density(alike, at_m), two)


def test_median_has_the_least_expected_distance_when_a_grid_is_searched() -> None:
    rng = np.random.default_rng(7)
    weight, mean_m = rng.dirichlet(np.ones(5), 1), rng.uniform(0, 30, (1, 5, 2))
    mixture = Mixture(
        weight=weight, mean_m=mean_m, covariance_m2=np.tile(1e-6 * np.eye(2), (1, 5, 1, 1))
    )
    axis_m = np.arange(0, 30, 0.25)
    x, y = np.meshgrid(axis_m, axis_m)
    at_m = np.column_stack([x.ravel(), y.ravel()])

    def expected_m(point_m: np.ndarray) -> np.ndarray:
        return np.linalg.norm(point_m[:, None] - mean_m[0], axis=2) @ weight[0]

    # Steps shrink slowly beside a component: within a centimetre of the best of the grid.
    assert expected_m(told(mixture, "median"))[0] < expected_m(at_m).min() + 0.01
    np.testing.assert_allclose(told(mixture, "mean"), (weight[..., None] * mean_m).sum(axis=1))


def test_mode_is_the_highest_peak_when_a_flat_component_weighs_more() -> None:
    mixture = Mixture(
        weight=np.array([[0.3, 0.7]]),
        mean_m=np.array([[[5.0, 0.0], [50.0, 0.0]]]),
        covariance_m2=np.array([[np.eye(2), 900.0 * np.eye(2)]]),
    )

    np.testing.assert_allclose(told(mixture, "mode"), [[5.0, 0.0]])
    # Of a link without a path the flat component, which holds more than half, draws the median.
    assert told_or_median(mixture, "mode", np.array([True]))[0, 0] > 25


def test_spread_is_that_of_the_errors_when_some_are_of_a_tail() -> None:
    rng = np.random.default_rng(8)
    covariance_m2 = np.tile(np.array([[4.0, 1.0], [1.0, 2.0]]), (4000, 1, 1))
    scale = np.where(rng.random(4000) < 0.1, 100.0, 2.0)
    error_m = np.sqrt(scale)[:, None] * rng.multivariate_normal(np.zeros(2), covariance_m2[0], 4000)

    found = Spread.of(error_m, covariance_m2)

    assert found.tail_share == pytest.approx(0.1, abs=0.02)
    assert found.scale == pytest.approx(2.0, rel=0.1)
    assert found.tail_scale == pytest.approx(100.0, rel=0.2)
    nothing = Spread.of(np.empty((0, 2)), np.empty((0, 2, 2)))
    assert nothing.scale < nothing.tail_scale


def test_regression_settles_between_places_when_the_map_cannot() -> None:
    experts = experts_of(two_places((0.0, 0.0)), ALONE, surroundings(), SURE)
    share = {e.cue: e.density.weight[0] for e in experts if e.level == 0}

    np.testing.assert_allclose(share["map"], [0.5, 0.5])
    np.testing.assert_allclose(share["map, window"], [0.5, 0.5])
    assert share["map, regression"][1] > 0.9
    assert share["map, window, regression"][1] > 0.9
    # Each power of the likelihood leaves the regression as it is.
    tempered = next(e for e in experts if (e.cue, e.level) == ("map, regression", 1))
    np.testing.assert_allclose(tempered.density.weight[0], share["map, regression"])


def test_agreement_is_the_log_of_the_sum_when_written_naively() -> None:
    cues, spread = two_places((0.0, 0.0)), surroundings().spread[0]
    regression = spread.mixture(cues.mean_m[:, 0], cues.covariance_m2[:, 0])

    for mode, at_m in enumerate(cues.modes.centre_m[0]):
        expected = 0.0
        for share, scale in ((0.95, 25.0), (0.05, 1250.0)):
            squared = ((at_m - cues.mean_m[0, 0]) ** 2).sum() / scale
            expected += share * np.exp(-squared / 2) / (2 * np.pi * scale)
        assert agreement(cues.modes, regression)[0, mode] == pytest.approx(np.log(expected))


def test_logit_of_an_expert_is_that_of_its_cue_and_its_level() -> None:
    density = normal(np.zeros((1, 2)), np.eye(2)[None])
    experts = [
        Expert(cue=cue, level=level, density=density)
        for cue, level in (("map", 0), ("map", 1), ("anywhere", None))
    ]

    np.testing.assert_array_equal(parts_of(experts), [[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])


def test_forest_tells_what_the_trees_of_scikit_learn_tell() -> None:
    rng = np.random.default_rng(9)
    inputs, position_m = rng.standard_normal((200, 5)), rng.uniform(0, 50, (200, 2))
    asked = rng.standard_normal((40, 5))
    grown = ExtraTreesRegressor(20, min_samples_leaf=2, random_state=3).fit(inputs, position_m)

    forest = Forest.of(inputs, position_m, num_trees=20, min_samples_leaf=2, seed=3)
    mean_m, covariance_m2 = forest.located(asked)

    np.testing.assert_allclose(mean_m, grown.predict(asked))
    told_m = np.stack([tree.predict(asked.astype("f4")) for tree in grown.estimators_])
    expected = [np.cov(told_m[:, i].T, bias=True) + 9.0 * np.eye(2) for i in range(40)]
    np.testing.assert_allclose(covariance_m2, expected)


def test_cues_stand_in_the_order_of_links_when_they_are_joined() -> None:
    def of(row: int) -> tuple[np.ndarray, Cues]:
        cues = two_places((0.0, 0.0))
        return np.array([row]), dataclasses.replace(cues, fit=np.array([float(row)]))

    np.testing.assert_array_equal(Cues.joined([of(2), of(0), of(1)]).fit, [0, 1, 2])


def test_mixture_of_the_map_has_the_moments_that_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    modes = Modes(
        centre_m=rng.uniform(0, 50, (4, 6, 2)),
        covariance_m2=np.tile(np.array([[0.5, 0.1], [0.1, 0.2]]), (4, 6, 1, 1)),
        log_likelihood=rng.standard_normal((4, 6)),
    )
    links = city_of_links().measurements.take(np.arange(4))
    model = get_model("twin_match").create(0)
    assert isinstance(model, TwinLocalizer)
    monkeypatch.setattr(model, "_modes", lambda _links, _is_corrected: modes)
    reading = Reading(is_corrected=False, temper=0.5, estimate="mean")
    monkeypatch.setattr(model, "_reading", reading, raising=False)

    mixture, prediction = model.mixture(links), model.predict(links)

    assert isinstance(model, GivesMixture)
    checked_mixture(mixture, 4)
    np.testing.assert_allclose(told(mixture, "mean"), prediction.position_m)
    np.testing.assert_allclose(
        covariance_about(mixture, prediction.position_m), prediction.covariance_m2
    )


def test_all_that_was_learnt_is_there_again_when_it_was_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    calibration = Calibration(
        width=np.full((NUM_KINDS, 4), 0.5),
        tail_share=0.1,
        bias_db=1.0,
        num_stray=0.2,
        seen_share=0.9,
        seen_at_db=-130.0,
        seen_within_db=2.0,
    )
    known = {"6GHz": calibration, ANY_BAND: calibration}
    inputs, position_m = rng.standard_normal((30, 4)), rng.uniform(0, 9, (30, 2))
    forest = Forest.of(inputs, position_m, num_trees=3, min_samples_leaf=1, seed=0)
    notes = rng.standard_normal((30, 3))
    state = MixtureState(
        source=CueSource(
            knowledge=Knowledge(plain=known, corrected=known, corrections={}, poses={}),
            forests=dict.fromkeys(REGRESSIONS, forest),
            is_corrected=True,
            num_modes=7,
        ),
        known=surroundings(),
        router=Router.of(notes, rng.standard_normal((30, 2)), np.eye(2), penalty=1.0),
        told="median",
        levels=SURE,
    )

    state.save(tmp_path)
    again = MixtureState.load(tmp_path)

    np.testing.assert_array_equal(again.router.shares(notes), state.router.shares(notes))
    for name in REGRESSIONS:
        np.testing.assert_array_equal(
            again.source.forests[name].by_tree(inputs), forest.by_tree(inputs)
        )
    assert again.source.knowledge.to_dict() == state.source.knowledge.to_dict()
    np.testing.assert_array_equal(again.known.covariance_m2, state.known.covariance_m2)
    told_again = (again.told, again.levels, again.known.spread, again.source.num_modes)
    assert told_again == ("median", SURE, state.known.spread, 7)
    assert again.source.is_corrected
    assert again.num_parameters == state.num_parameters
