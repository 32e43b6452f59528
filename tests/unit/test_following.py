"""Models that are followed along tracks: what they learn, what they choose, how they are named."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jaxtyping import Float
from walks import labelled, walks

from raymark.benchmark.following import (
    Follower,
    FollowingModel,
    Method,
    Mixture,
    split_name,
)
from raymark.benchmark.localizer import Localizer, Prediction
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.model_code import code_places, model_hash
from raymark.benchmark.run import _record_of
from raymark.errors import CheckpointError, ConfigError, ScoringError
from raymark.models import choose_models, get_model, shipped_references

WALKS_M = walks(num_tracks=12, num_steps=40)
TRAIN, VALIDATION, TEST = (labelled(WALKS_M[i : i + 4]) for i in (0, 4, 8))
WRONG_SHARE = 0.15
each_method = pytest.mark.parametrize("method", ["filter", "smoother"])


class Noisy(Localizer):
    """Knows the truth of all links by their number, and tells it with noise and outliers."""

    def __init__(self, *, tells_covariance: bool = True, overconfidence: float = 1.0) -> None:
        super().__init__({}, seed=0)
        self.tells_covariance, self.overconfidence = tells_covariance, overconfidence

    def fit(self, train: Labelled, validation: Labelled) -> None:  # noqa: ARG002 - it knows
        self.choices = {"own": 1}
        self.num_parameters = 7

    def predict(self, test: Measurements) -> Prediction:
        seen_m = self.seen_m(test)
        variance_m2 = 9.0 / self.overconfidence
        covariance_m2 = np.tile(variance_m2 * np.eye(2), (len(test), 1, 1))
        return Prediction(
            position_m=seen_m, covariance_m2=covariance_m2 if self.tells_covariance else None
        )

    def seen_m(self, test: Measurements) -> Float[np.ndarray, "link 2"]:
        part = next(x for x in (TRAIN, VALIDATION, TEST) if x.measurements is test)
        rng = np.random.default_rng(len(test) + int(part.position_m[0, 0]))
        noise_m = rng.normal(0, 3, (len(test), 2))
        is_wrong = rng.random(len(test)) < WRONG_SHARE
        return np.where(is_wrong[:, None], rng.normal(0, 30, noise_m.shape), noise_m) + np.where(
            is_wrong[:, None], 0.0, part.position_m
        )


@functools.cache
def usual(method: Method) -> Follower:
    """The model that most tests ask, fitted once."""
    return followed(method, Noisy(overconfidence=50.0))


def followed(method: Method, base: Localizer) -> Follower:
    model = Follower(base, method)
    model.fit(TRAIN, VALIDATION)
    return model


def errors_m(prediction: Prediction) -> Float[np.ndarray, "link"]:
    return np.linalg.norm(prediction.position_m - TEST.position_m, axis=1)


def test_tracks_take_the_outliers_out_when_a_model_is_followed() -> None:
    alone, online, whole = (
        errors_m(model.predict(TEST.measurements))
        for model in (Noisy(), usual("filter"), usual("smoother"))
    )

    mse = [float((x**2).mean() / 2) for x in (alone, online, whole)]
    assert mse[2] < mse[1] < mse[0] / 3
    assert np.median(whole) < np.median(alone)


def test_a_variance_is_found_when_a_model_tells_none() -> None:
    model = followed("filter", Noisy(tells_covariance=False))

    # The noise has 9 m^2, and 15 % of outliers move the median a little.
    assert model.choices["filter"]["variance_m2"] == pytest.approx(9.0, rel=0.7)
    assert np.median(errors_m(model.predict(TEST.measurements))) < 4.0


@each_method
def test_what_is_chosen_is_told_and_the_models_own_record_stays(method: Method) -> None:
    model = usual(method)

    assert model.num_parameters == 7
    assert model.choices["own"] == 1
    trials = model.choices[method]["validation_error_m"]
    assert len(trials) == 22
    assert min(trials.values()) < trials["alone"]


def test_scale_is_larger_when_a_model_is_overconfident() -> None:
    honest, sure = (
        followed("filter", Noisy(overconfidence=factor)).choices["filter"]["scale"]
        for factor in (1.0, 50.0)
    )

    assert honest <= 3.0
    assert sure >= 10.0


@each_method
def test_covariances_hold_nine_of_ten_when_calibrated(method: Method) -> None:
    found = usual(method).predict(TEST.measurements)

    assert found.covariance_m2 is not None
    offset_m = found.position_m - TEST.position_m
    squared = np.einsum("li,lij,lj->l", offset_m, np.linalg.inv(found.covariance_m2), offset_m)
    assert 0.75 < (squared < 4.605).mean() < 0.98  # 160 links, alike along tracks


def test_filter_gives_the_same_bits_when_later_links_are_left_out() -> None:
    model = usual("filter")
    whole = model.predict(TEST.measurements)
    early = TEST.measurements.window_step < 25

    class Early(Noisy):
        def predict(self, test: Measurements) -> Prediction:  # noqa: ARG002 - it knows
            seen = Noisy(overconfidence=50.0).predict(TEST.measurements)
            assert seen.covariance_m2 is not None
            return Prediction(
                position_m=seen.position_m[early], covariance_m2=seen.covariance_m2[early]
            )

    online = Follower(Early(), "filter")
    online._steps, online._state = model._steps, model._state
    cut = online.predict(TEST.measurements.take(np.flatnonzero(early)))

    assert cut.position_m.tobytes() == whole.position_m[early].tobytes()


class TwoModes(Noisy):
    """Tells two places of each link, of which one is right, and their middle as the mean."""

    def mixture(self, test: Measurements) -> Mixture:
        here_m = self.seen_m(test)
        ghost_m = np.random.default_rng(5).normal(0, 30, here_m.shape)
        return Mixture(
            weight=np.full((len(test), 2), 0.5),
            mean_m=np.stack([here_m, ghost_m], axis=1),
            covariance_m2=np.tile(9.0 * np.eye(2), (len(test), 2, 1, 1)),
        )

    def predict(self, test: Measurements) -> Prediction:
        return Prediction(position_m=self.mixture(test).mean_m.mean(axis=1))


def test_whole_posterior_is_used_when_a_model_gives_a_mixture() -> None:
    base = TwoModes()

    found = errors_m(followed("filter", base).predict(TEST.measurements))

    assert np.median(found) < 4.0
    assert np.median(errors_m(base.predict(TEST.measurements))) > 10.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": np.full((160, 2), 0.7)}, "shares that add up to 1"),
        (
            {
                "weight": np.full((159, 2), 0.5),
                "mean_m": np.zeros((159, 2, 2)),
                "covariance_m2": np.tile(np.eye(2), (159, 2, 1, 1)),
            },
            r"weight must have shape \(160, 2\)",
        ),
        ({"mean_m": np.full((160, 2, 2), np.nan)}, "mean_m of test link 0 is not finite"),
        ({"covariance_m2": np.tile(-np.eye(2), (160, 2, 1, 1))}, "negative eigenvalue"),
    ],
)
def test_mixture_is_refused_in_a_sentence_when_it_is_none(
    changes: dict[str, Any], message: str
) -> None:
    class Wrong(TwoModes):
        def mixture(self, test: Measurements) -> Mixture:
            return dataclasses.replace(super().mixture(test), **changes)

        def predict(self, test: Measurements) -> Prediction:
            return Prediction(position_m=self.seen_m(test))

    with pytest.raises(ScoringError, match=message):
        followed("filter", Wrong())


def test_follower_predicts_the_same_when_it_was_saved(tmp_path: Path) -> None:
    class Kept(Noisy):
        def save(self, folder: Path) -> None:
            (folder / "own.txt").write_text("kept", encoding="utf-8")

        def load(self, folder: Path) -> None:
            assert (folder / "own.txt").read_text(encoding="utf-8") == "kept"

    model = followed("filter", Kept())
    model.save(tmp_path)
    again = Follower(Kept(), "filter")
    again.load(tmp_path)

    assert model.keeps_checkpoints
    np.testing.assert_array_equal(
        again.predict(TEST.measurements).position_m, model.predict(TEST.measurements).position_m
    )
    (tmp_path / "following.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"following.json cannot be read"):
        again.load(tmp_path)


@each_method
def test_any_model_is_followed_when_its_name_ends_so(method: Method) -> None:
    model = get_model(f"wknn+{method}")

    assert isinstance(model, FollowingModel)
    assert split_name(model.name) == ("wknn", method)
    assert isinstance(model.create(0), Follower)
    assert model.info.is_trajectory
    assert not get_model("wknn").info.is_trajectory
    assert dataclasses.replace(model, name="x").method == method
    assert shipped_references("extra_trees+filter") == shipped_references("extra_trees")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wknm+filter", "unknown model 'wknm'.*wknn"),
        ("wknn+kalman", "'wknn' is followed by 'kalman', which is unknown .*: filter, smoother"),
        ("wknn+filtre", "did you mean 'filter'"),
        ("+filter", r"'\+filter' names no model before '\+'"),
        ("+sites", r"'\+sites' names no model before '\+'"),
    ],
)
def test_name_is_refused_when_there_is_no_such_model_or_method(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_models([name])


def test_filters_are_ranked_and_smoothers_are_not_when_recorded() -> None:
    alone, online, whole = (
        _record_of(get_model(name)) for name in ("wknn", "wknn+filter", "wknn+smoother")
    )

    assert [record.kind for record in (alone, online, whole)] == ["model", "model", "reference"]
    assert online.trust.inputs == (*alone.trust.inputs, "earlier links")  # type: ignore[misc]
    assert "later links" in (whole.trust.inputs or ())


@pytest.mark.parametrize("name", ["twin_trajectory+filter", "path_moe+filter"])
def test_filter_is_not_ranked_when_the_model_itself_looks_ahead_in_a_window(name: str) -> None:
    record = _record_of(get_model(name))

    assert record.kind == "reference"
    assert record.trust.inputs is not None
    assert {"earlier links", "later links"} <= set(record.trust.inputs)
    assert record.summary.endswith("and later ones of its window.")


def test_hash_holds_the_filters_code_when_a_model_is_followed() -> None:
    alone, online = get_model("wknn"), get_model("wknn+filter")

    assert model_hash(alone) != model_hash(online)
    places: list[Any] = [path.name for path in code_places(online)]
    assert {"following.py", "track_filter.py", "step_model.py"} <= set(places)
    assert "following.py" not in [path.name for path in code_places(alone)]
