"""The localizer around the networks, on a small task with tiny networks."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from raymark.benchmark import Task
from raymark.benchmark.localizer import mean_error_m
from raymark.benchmark.task_data import TaskData
from raymark.errors import ConfigError
from raymark.models import get_model
from raymark.models.neural.inputs import Scaler
from raymark.models.scadf_moe.model import Model as ScadfMoe

CONFIGS: dict[str, dict[str, Any]] = {
    "deep_sets": {
        "modalities": ["paths"],
        "training": {"epochs": 4, "batch_size": 16},
        "network": {"width": 8, "num_layers": 1},
    },
    "scadf_moe": {
        "window_size": 4,
        "modalities": ["image", "profile", "distance", "gain"],
        "training": {"epochs": 4, "batch_size": 8},
        "network": {
            "width": 8,
            "image_widths": [4, 4],
            "num_heads": 2,
            "num_blocks": 1,
            "hidden": 8,
            "num_experts": 2,
            "modality_experts": 2,
        },
    },
}

ROUNDING_M = 0.01
"""Float32 and bfloat16 of a link alone or among others, at positions of some 100 m."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small networks lose by more."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def data(
    benchmark_task: Callable[..., Task], load_benchmark_task: Callable[[Task], TaskData]
) -> TaskData:
    """Two bands to learn from and a third to locate in."""
    return load_benchmark_task(benchmark_task("cross-band", "yard"))


def made(name: str, *, seed: int = 0, **changes: Any) -> Any:
    return get_model(name).with_config({**CONFIGS[name], **changes}).create(seed)


@pytest.fixture(scope="module")
def fitted(data: TaskData) -> dict[str, Any]:
    models = {name: made(name) for name in CONFIGS}
    for model in models.values():
        model.fit(data.train, data.validation)
    return models


@pytest.mark.parametrize("name", CONFIGS)
def test_model_locates_every_link_and_reports_its_training(
    name: str, fitted: dict[str, Any], data: TaskData
) -> None:
    model = fitted[name]

    position_m = model.predict(data.test).position_m

    assert position_m.shape == (len(data.test), 2)
    assert np.isfinite(position_m).all()
    assert len(np.unique(position_m, axis=0)) > len(data.test) // 2
    assert {len(curve) for curve in model.history.values()} == {model.choices["epochs"]}
    best_error_m = model.history["validation_error_m"][model.choices["best_epoch"]]
    assert model.choices["validation_error_m"] == best_error_m
    assert model.num_parameters == sum(p.numel() for p in model.network.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_fitted_model_is_the_one_that_was_best_on_validation(
    name: str, fitted: dict[str, Any], data: TaskData
) -> None:
    """Diagnostics come after training, and must leave the network as it is."""
    model = fitted[name]

    error_m = mean_error_m(model.predict(data.validation.measurements).position_m, data.validation)

    assert error_m == pytest.approx(model.choices["validation_error_m"], abs=ROUNDING_M)


@pytest.mark.slow
def test_diagnostics_change_nothing_when_they_are_taken(
    fitted: dict[str, Any], data: TaskData
) -> None:
    class Silent(ScadfMoe):
        def diagnose(self, *_: Any) -> dict[str, Any]:
            return {}

    silent = Silent(CONFIGS["scadf_moe"], seed=0)
    silent.fit(data.train, data.validation)

    found, expected = fitted["scadf_moe"].network.state_dict(), silent.network.state_dict()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_diagnostics_are_those_of_the_network_without_dropout(
    fitted: dict[str, Any], data: TaskData
) -> None:
    """Taken once more from the fitted network in the mode in which it predicts."""
    model = fitted["scadf_moe"]
    model.network.eval()
    source, links = model._source(data.validation.measurements), data.validation.measurements

    again = model._modality_share(source, links)

    for band, shares in model.diagnostics["modality_share"].items():
        assert shares == pytest.approx(again[band], abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_model_is_the_same_when_its_seed_is_and_another_when_not(
    name: str, fitted: dict[str, Any], data: TaskData
) -> None:
    again, other = made(name), made(name, seed=1)
    torch.rand(11)
    for model in (again, other):
        model.fit(data.train, data.validation)

    expected = fitted[name].predict(data.test).position_m
    np.testing.assert_array_equal(again.predict(data.test).position_m, expected)
    assert again.history == fitted[name].history
    assert not np.allclose(other.predict(data.test).position_m, expected, atol=ROUNDING_M)


@pytest.mark.parametrize("name", CONFIGS)
def test_predictions_are_identical_when_the_model_was_saved_and_loaded(
    name: str, fitted: dict[str, Any], data: TaskData, tmp_path: Path
) -> None:
    fitted[name].save(tmp_path)
    loaded = made(name, seed=7)
    loaded.load(tmp_path)

    np.testing.assert_array_equal(
        loaded.predict(data.test).position_m, fitted[name].predict(data.test).position_m
    )
    assert loaded.scaler == fitted[name].scaler
    assert loaded.keeps_checkpoints


@pytest.mark.parametrize("name", CONFIGS)
def test_predictions_follow_their_links_when_the_order_changes(
    name: str, fitted: dict[str, Any], data: TaskData
) -> None:
    order = np.random.default_rng(0).permutation(len(data.test))

    found_m = fitted[name].predict(data.test.take(order)).position_m

    expected_m = fitted[name].predict(data.test).position_m[order]
    np.testing.assert_allclose(found_m, expected_m, rtol=0, atol=ROUNDING_M)


@pytest.mark.parametrize("name", CONFIGS)
def test_predictions_of_a_window_do_not_depend_on_other_windows(
    name: str, fitted: dict[str, Any], data: TaskData
) -> None:
    window = data.test.window
    some = np.flatnonzero(np.isin(window, np.unique(window)[[0, 3, 4]]))

    found_m = fitted[name].predict(data.test.take(some)).position_m

    expected_m = fitted[name].predict(data.test).position_m[some]
    np.testing.assert_allclose(found_m, expected_m, rtol=0, atol=ROUNDING_M)


def test_predictions_depend_on_the_window_only_when_the_model_has_trajectories(
    fitted: dict[str, Any], data: TaskData
) -> None:
    """The canary of the test above: links of a cut window are seen, or not, as they should be."""
    first = np.flatnonzero(data.test.window_step == 0)
    change_m = {
        name: np.abs(
            model.predict(data.test.take(first)).position_m
            - model.predict(data.test).position_m[first]
        ).max()
        for name, model in fitted.items()
    }

    assert change_m["deep_sets"] < ROUNDING_M < change_m["scadf_moe"]


def test_scaler_does_not_depend_on_validation(fitted: dict[str, Any], data: TaskData) -> None:
    for name, model in fitted.items():
        assert model.scaler == Scaler.fit(data.train, has_image=name == "scadf_moe")


def test_validation_is_not_learned_from(fitted: dict[str, Any], data: TaskData) -> None:
    """Other labels there change which epoch is kept, and never what is learned in it."""
    moved = dataclasses.replace(data.validation, position_m=data.validation.position_m + 500.0)
    other = made("deep_sets")
    other.fit(data.train, moved)

    assert other.history["train_loss"] == fitted["deep_sets"].history["train_loss"]


@pytest.mark.parametrize("name", CONFIGS)
def test_loading_share_is_a_share(name: str, fitted: dict[str, Any]) -> None:
    assert 0 <= fitted[name].diagnostics["loading_share"] <= 1


def test_modality_shares_sum_to_one_for_every_band_of_validation(
    fitted: dict[str, Any], data: TaskData
) -> None:
    shares = fitted["scadf_moe"].diagnostics["modality_share"]
    links = data.validation.measurements

    assert set(shares) == {links.bands[i].name for i in np.unique(links.band_index)}
    assert len(shares) == 2
    for of_band in shares.values():
        assert list(of_band) == CONFIGS["scadf_moe"]["modalities"]
        assert all(0 < share < 1 for share in of_band.values())
        assert sum(of_band.values()) == pytest.approx(1.0, abs=1e-5)


def test_diagnostics_are_plain_numbers_in_their_ranges(fitted: dict[str, Any]) -> None:
    diagnostics = fitted["scadf_moe"].diagnostics

    assert 0 <= diagnostics["slot_similarity"] <= 1
    assert -1 <= diagnostics["task_gradient_cosine"] <= 1


def test_no_modality_share_is_reported_when_there_is_no_router(data: TaskData) -> None:
    network = {**CONFIGS["scadf_moe"]["network"], "fusion": "dense"}
    model = made("scadf_moe", modalities=["gain", "distance"], network=network)

    model.fit(data.train, data.validation)

    assert model.diagnostics["modality_share"] == {}
    assert model.diagnostics["slot_similarity"] is None


class StoppedError(Exception):
    """Stands for a process that ends."""


def test_fit_goes_on_where_it_was_stopped(
    fitted: dict[str, Any], data: TaskData, tmp_path: Path
) -> None:
    def stop(done: int, _total: int, _text: str) -> None:
        if done == 2:
            raise StoppedError

    stopped, resumed = made("deep_sets"), made("deep_sets")
    stopped.resume_folder = resumed.resume_folder = tmp_path
    stopped.on_progress = stop
    with pytest.raises(StoppedError):
        stopped.fit(data.train, data.validation)
    resumed.fit(data.train, data.validation)

    assert resumed.history == fitted["deep_sets"].history
    np.testing.assert_array_equal(
        resumed.predict(data.test).position_m, fitted["deep_sets"].predict(data.test).position_m
    )


@pytest.mark.parametrize("other", ["seed", "config", "links", "band"])
def test_fit_is_refused_when_the_folder_holds_another_training(
    other: str, data: TaskData, tmp_path: Path
) -> None:
    first = made("deep_sets")
    first.resume_folder = tmp_path
    first.fit(data.train, data.validation)
    train = data.train
    if other == "links":
        train = train.take(np.arange(len(train) - 1))
    if other == "band":
        # The same positions, as all bands of a scene have, with other measurements.
        links = dataclasses.replace(
            train.measurements, distance_m=train.measurements.distance_m + 1.0
        )
        train = dataclasses.replace(train, measurements=links)
    recipe = {"epochs": 4, "batch_size": 8 if other == "config" else 16}
    second = made("deep_sets", seed=int(other == "seed"), training=recipe)
    second.resume_folder = tmp_path

    with pytest.raises(ConfigError, match="is the unfinished training of another"):
        second.fit(train, data.validation)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": 5}, "unknown key at config of the model: windows"),
        ({"window_size": 0}, "config of the model: window_size"),
        ({"window_size": "five"}, "config of the model: window_size"),
        ({"modalities": []}, "config of the model: modalities"),
        ({"modalities": ["sound"]}, "config of the model: modalities"),
        ({"training": {"epochs": 2}}, "missing key at config of the model: training.batch_size"),
        (
            {"training": {"epochs": "many", "batch_size": 2}},
            "config of the model: training.epochs",
        ),
        (
            {"training": {"epochs": 2, "batch_size": 2, "epoch": 3}},
            "unknown key at config of the model: training.epoch",
        ),
        ({"network": [8]}, "config of the model: network"),
    ],
)
def test_model_is_refused_when_its_configuration_is_wrong(
    name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        made(name, **changes)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("network", [{"widths": 8}, {"width": "wide"}])
def test_network_is_refused_when_its_configuration_is_wrong(
    name: str, network: dict[str, Any]
) -> None:
    model = made(name, network={**CONFIGS[name]["network"], **network})

    with pytest.raises(ConfigError, match="config: network: width"):
        model.make_network()
