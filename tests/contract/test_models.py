"""What every model folder must do; a new folder is tested without a new test."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction, Task
from raymark.benchmark.city_map import read_city_map
from raymark.benchmark.localizer import ModelInfo, mean_error_m
from raymark.benchmark.predictions import checked_prediction
from raymark.benchmark.task_data import TaskData
from raymark.config import read_yaml, validate
from raymark.dataset import Dataset
from raymark.models import get_model, model_names
from raymark.radio.levels import FLOOR_DB

FEW_LINKS = 20
SAME_POSITION_M = 1e-3
"""Float32 products of fewer rows round otherwise, by micrometres; a leak moves by metres."""

FEW_EPOCHS = {"epochs": 4, "steps": None, "batch_size": 16, "ema_decay": 0.9, "learning_rate": 3e-3}
"""What networks are trained for here: enough to beat the centroid on a few hundred links."""

NOT_LEARNT = {"train_centroid"}
"""Models that use no measurement."""

Fit = Callable[[str], Localizer]
LoadTask = Callable[[Task], TaskData]

pytestmark = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * get_model(name).info.is_expensive)
        for name in model_names()
    ],
)


@pytest.fixture(scope="module")
def data(
    benchmark_task: Callable[..., Task],
    load_benchmark_task: LoadTask,
    benchmark_dataset: Dataset,
    benchmark_maps: Path,
) -> TaskData:
    """Two sites, trained on two bands and tested on the third, with CSI and maps."""
    sites = [site for site in benchmark_dataset.manifest.sites if site.scene == "yard"]
    folder = benchmark_dataset.folder
    cities = {s.key: read_city_map(benchmark_maps, folder, s, "exact", 0) for s in sites}
    return load_benchmark_task(benchmark_task("cross-band", "yard")).with_cities(cities)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small matrices lose by more."""
    with threadpool_limits(1):
        yield


def make(name: str, seed: int) -> Localizer:
    """Make a model; one that learns by epochs gets a few, as its links are few."""
    folder = get_model(name)
    config = copy.deepcopy(folder.info.config)
    if "training" in config:
        config["training"] |= FEW_EPOCHS
    return folder.with_config(config).create(seed)


def create(name: str, data: TaskData, *, seed: int = 0) -> Localizer:
    model = make(name, seed)
    model.fit(data.train, data.validation)
    return model


@pytest.fixture(scope="module")
def fitted(data: TaskData) -> Fit:
    return functools.cache(lambda name: create(name, data))


def without_signal(links: Measurements, rows: np.ndarray) -> Measurements:
    """Take every path and the first-path detection away from some links."""
    changes: dict[str, np.ndarray] = {}
    for field, value in {
        "path_range_m": 0.0,
        "path_azimuth_rad": 0.0,
        "path_zenith_rad": 0.0,
        "path_power_db": FLOOR_DB,
        "path_mask": False,
        "distance_m": 0.0,
        "has_signal": False,
        "delay_spread_s": 0.0,
        "azimuth_spread_rad": 0.0,
    }.items():
        array = getattr(links, field).copy()
        array[rows] = value
        changes[field] = array
    return dataclasses.replace(links, **changes)


def labelled_without_signal(labelled: Labelled, rows: np.ndarray) -> Labelled:
    links = without_signal(labelled.measurements, rows)
    return dataclasses.replace(labelled, measurements=links)


def assert_same_bits(one: Prediction, other: Prediction) -> None:
    np.testing.assert_array_equal(one.position_m, other.position_m)
    assert (one.covariance_m2 is None) == (other.covariance_m2 is None)
    if one.covariance_m2 is not None and other.covariance_m2 is not None:
        np.testing.assert_array_equal(one.covariance_m2, other.covariance_m2)


def test_model_folder_says_what_it_is_when_read(name: str) -> None:
    model = get_model(name)
    files = {p.name for p in model.folder.iterdir() if p.name != "__pycache__"}
    info = validate(ModelInfo, read_yaml(model.folder / "model.yaml"), where=name)

    assert {"model.py", "model.yaml", "card.md"} <= files
    assert {p.rsplit(".", maxsplit=1)[-1] for p in files} <= {"py", "yaml", "md", "bib"}
    assert model.name == name
    assert model.info == info
    assert model.card.startswith("# ")
    assert name in NOT_LEARNT or "validation" in model.card + info.tuning


@pytest.mark.slow
def test_model_predicts_finite_positions_when_bands_and_sites_are_mixed(
    name: str, data: TaskData, fitted: Fit
) -> None:
    model = fitted(name)

    prediction = model.predict(data.test)

    checked_prediction(prediction, len(data.test))
    assert model.num_parameters is None or model.num_parameters > 0
    if prediction.covariance_m2 is not None:
        assert (np.linalg.eigvalsh(prediction.covariance_m2) > 0).all()


@pytest.mark.slow
def test_model_gives_the_same_bits_when_made_twice_with_one_seed(name: str, data: TaskData) -> None:
    parts = (data.train, data.validation)
    train, validation = (part.take(np.arange(len(part) // 4)) for part in parts)
    fewer = dataclasses.replace(data, train=train, validation=validation)

    one, again = create(name, fewer), create(name, fewer)

    assert_same_bits(again.predict(data.test), one.predict(data.test))
    assert again.choices == one.choices


def test_model_answers_each_window_alone_when_others_are_taken_away(
    name: str, data: TaskData, fitted: Fit
) -> None:
    windows = np.unique(data.test.window)[::-2]
    rows = np.concatenate([np.flatnonzero(data.test.window == window) for window in windows])

    whole = fitted(name).predict(data.test).position_m
    part = fitted(name).predict(data.test.take(rows)).position_m

    assert len(rows) < len(data.test)
    np.testing.assert_allclose(part, whole[rows], rtol=0, atol=SAME_POSITION_M)


def test_model_answers_each_link_alone_when_it_is_no_trajectory_model(
    name: str, data: TaskData, fitted: Fit
) -> None:
    if get_model(name).info.is_trajectory:
        pytest.skip("it uses the other links of a window")
    whole = fitted(name).predict(data.test).position_m

    for row in (0, len(data.test) - 1):
        alone = fitted(name).predict(data.test.take(np.array([row]))).position_m
        np.testing.assert_allclose(alone[0], whole[row], rtol=0, atol=SAME_POSITION_M)


def test_model_leaves_the_test_as_it_is_when_it_predicts(
    name: str, data: TaskData, fitted: Fit
) -> None:
    test = copy.deepcopy(data.test)

    first = fitted(name).predict(test)
    second = fitted(name).predict(test)

    assert_same_bits(first, second)
    for field in dataclasses.fields(Measurements):
        before, after = getattr(data.test, field.name), getattr(test, field.name)
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(after, before, err_msg=field.name)


def test_model_beats_the_centroid_when_it_sees_its_training_links_again(
    name: str, data: TaskData, fitted: Fit
) -> None:
    if name in NOT_LEARNT:
        pytest.skip("it is the centroid")
    position_m = fitted(name).predict(data.train.measurements).position_m
    centroid_m = np.tile(data.train.position_m.mean(axis=0), (len(data.train), 1))

    assert mean_error_m(position_m, data.train) < mean_error_m(centroid_m, data.train)


def test_model_predicts_finite_positions_when_links_have_no_signal_and_training_is_short(
    name: str, data: TaskData
) -> None:
    few = data.train.take(np.arange(FEW_LINKS))
    model = make(name, 1)

    model.fit(
        labelled_without_signal(few, np.arange(0, FEW_LINKS, 2)),
        labelled_without_signal(data.validation, np.arange(0, len(data.validation), 2)),
    )
    prediction = model.predict(without_signal(data.test, np.arange(len(data.test))))

    checked_prediction(prediction, len(data.test))
