from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.bounds import position_error_bound
from raymark.benchmark.references import BOUND, MATES, NEAREST, REFERENCES, References
from raymark.benchmark.site_frames import site_frame_positions, world_frame_positions
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset
from raymark.dataset.schema import OUTAGE

FindTask = Callable[..., Task]
LoadTask = Callable[[Task], TaskData]

ROUNDING_M = 1e-9
"""Float64 of coordinates of some 100 m."""

each_case = pytest.mark.parametrize(
    ("track", "scene"),
    [("interpolation", "yard"), ("unseen-nlos", "street_canyon"), ("cross-scene", "yard")],
)


@dataclass(frozen=True)
class Case:
    """A task with its truth and what a model gets."""

    task: Task
    truth: pd.DataFrame
    data: TaskData


FindCase = Callable[[str, str], Case]


@pytest.fixture(scope="module")
def references(benchmark_dataset: Dataset, benchmark_splits: Splits) -> References:
    """The references of the whole suite."""
    return References(benchmark_dataset, benchmark_splits)


@pytest.fixture
def find_case(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    load_benchmark_task: LoadTask,
) -> FindCase:
    """Find a case by its track and scene."""

    def find(track: str, scene: str) -> Case:
        task = benchmark_task(track, scene)
        truth = truth_of(task, benchmark_dataset, benchmark_splits)
        return Case(task=task, truth=truth, data=load_benchmark_task(task))

    return find


@dataclass(frozen=True)
class Places:
    """Where links are compared: in the world, or as seen from their sites across scenes."""

    tested_m: np.ndarray
    trained_m: np.ndarray
    in_world: Callable[[np.ndarray], np.ndarray]


def places_of(case: Case, dataset: Dataset) -> Places:
    sites = dataset.select(scene=case.task.scene, band=case.task.band).sites
    index = np.array([[site.site for site in sites].index(name) for name in case.truth["site"]])
    tested_m, train = case.truth[["x_m", "y_m"]].to_numpy("f8"), case.data.train
    if len(case.task.scenes) > 1:
        return Places(
            tested_m=site_frame_positions(tested_m, index, sites),
            trained_m=train.position_m,
            in_world=lambda position_m: world_frame_positions(position_m, index, sites),
        )
    order = [[site.key for site in sites].index(site.name) for site in train.measurements.sites]
    trained_m = world_frame_positions(
        train.position_m, np.array(order)[train.measurements.site_index], sites
    )
    return Places(tested_m=tested_m, trained_m=trained_m, in_world=lambda position_m: position_m)


@each_case
def test_oracle_answers_with_the_nearest_training_position_when_searched_by_hand(
    benchmark_dataset: Dataset,
    find_case: FindCase,
    references: References,
    track: str,
    scene: str,
) -> None:
    case = find_case(track, scene)
    task, truth, data = case.task, case.truth, case.data
    predicted = references.predict(NEAREST, task, truth, data)
    places, nearest_m = places_of(case, benchmark_dataset), []
    for point in places.tested_m:
        gaps_m = [float(np.hypot(*(point - other))) for other in places.trained_m]
        nearest_m.append(places.trained_m[int(np.argmin(gaps_m))])

    expected_m = places.in_world(np.array(nearest_m))
    assert predicted[["site", "ue_index"]].equals(truth[["site", "ue_index"]])
    np.testing.assert_allclose(predicted[["x_m", "y_m"]], expected_m, atol=ROUNDING_M)


@each_case
def test_mates_answer_with_the_mean_of_the_others_when_summed_by_hand(
    benchmark_dataset: Dataset,
    find_case: FindCase,
    references: References,
    track: str,
    scene: str,
) -> None:
    case = find_case(track, scene)
    task, truth, data = case.task, case.truth, case.data
    predicted = references.predict(MATES, task, truth, data)
    places = places_of(case, benchmark_dataset)
    expected_m = places.in_world(np.tile(places.trained_m.mean(axis=0), (len(truth), 1)))
    num_alone = 0
    for i, window in enumerate(truth["window"]):
        mates = truth[(truth["window"] == window) & (truth.index != i)]
        num_alone += mates.empty
        if not mates.empty:
            expected_m[i] = mates[["x_m", "y_m"]].mean()

    assert 0 < num_alone < len(truth)  # both kinds of links are there
    assert predicted[["site", "ue_index"]].equals(truth[["site", "ue_index"]])
    np.testing.assert_allclose(predicted[["x_m", "y_m"]], expected_m, atol=ROUNDING_M)


@pytest.mark.parametrize("scene", ["street_canyon", "yard"])
def test_bound_stands_where_there_is_one_when_predicted(
    benchmark_dataset: Dataset,
    find_case: FindCase,
    references: References,
    scene: str,
) -> None:
    case = find_case("interpolation", scene)
    task, truth, data = case.task, case.truth, case.data
    predicted = references.predict(BOUND, task, truth, data)
    selection = benchmark_dataset.select(scene=scene, band="6GHz")
    bound = position_error_bound(selection)
    expected = {
        (selection.sites[selection.site_index[i]].site, int(selection.ue_index[i])): bound.peb_m[i]
        for i in np.flatnonzero(bound.is_bounded)
    }
    keys = [key for key in zip(truth["site"], truth["ue_index"], strict=True) if key in expected]

    assert list(zip(predicted["site"], predicted["ue_index"], strict=True)) == keys
    np.testing.assert_array_equal(predicted["error_m"], [expected[key] for key in keys])
    assert (predicted["error_m"] > 0).all()
    if (truth["los"] == OUTAGE).any():
        assert len(predicted) < len(truth)


def test_bound_leaves_links_in_outage_out_when_they_are_tested(
    benchmark_dataset: Dataset,
    find_case: FindCase,
    references: References,
) -> None:
    case = find_case("interpolation", "yard")
    links = benchmark_dataset.index
    outage = links[(links["scene"] == "yard") & (links["los"] == OUTAGE)]
    truth = pd.DataFrame({"site": outage["site"], "ue_index": outage["ue_index"]})
    assert len(truth) == 10

    assert references.predict(BOUND, case.task, truth, case.data).empty


def test_references_leave_the_bound_out_when_the_task_is_impaired(
    benchmark_task: FindTask, references: References
) -> None:
    assert references.names(benchmark_task("interpolation", "yard")) == [NEAREST, MATES, BOUND]
    assert references.names(benchmark_task("impaired", "yard")) == [NEAREST, MATES]


def test_references_are_told_apart_from_models_when_listed() -> None:
    assert set(REFERENCES) == {NEAREST, MATES, BOUND}
    assert [REFERENCES[name].kind for name in (NEAREST, MATES, BOUND)] == [
        "reference",
        "reference",
        "bound",
    ]
