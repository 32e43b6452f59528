"""What a model's process receives holds no test position: searched value by value."""

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Int

from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.site_frames import site_frame_positions
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset

TOLERANCE_M = 3e-5
"""Positions of some 100 m in float32 are 4e-6 m off; the few thousand values of a task are so
sparse that both coordinates of a point are met by chance less than once in 10^4 points."""

LoadTask = Callable[[Task], TaskData]
FindTask = Callable[..., Task]


def numbers_in(thing: Any) -> Iterator[np.ndarray]:
    """Yield all floating-point numbers that can be reached from an object, as flat arrays."""
    if isinstance(thing, float | np.floating):
        yield np.array([thing], dtype="f8")
    elif isinstance(thing, np.ndarray) and thing.dtype != object:
        if thing.dtype.kind in "fc":
            yield np.concatenate([thing.real.ravel(), thing.imag.ravel()]).astype("f8")
    elif isinstance(thing, torch.Tensor):
        yield from numbers_in(thing.numpy())
    else:
        for part in parts_of(thing):
            yield from numbers_in(part)


def parts_of(thing: Any) -> list[Any]:
    """Return what an object holds; what it cannot look into fails."""
    if isinstance(thing, str | bytes | int | np.integer | np.bool_ | type(None) | Path):
        return []
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, np.ndarray | list | tuple | set | frozenset):
        return list(thing)
    if dataclasses.is_dataclass(thing):
        return [getattr(thing, field.name) for field in dataclasses.fields(thing)]
    return list(vars(thing).values())


def share_found(thing: Any, position_m: np.ndarray) -> float:
    """Return the share of points of which both coordinates stand somewhere in an object."""
    values = np.sort(np.concatenate([np.empty(0), *numbers_in(thing)]))
    low = np.searchsorted(values, position_m - TOLERANCE_M)
    high = np.searchsorted(values, position_m + TOLERANCE_M)
    return float((high > low).all(axis=1).mean())


def byte_share_found(pickled: bytes, position_m: np.ndarray) -> float:
    """Return the share of points whose x and y follow each other in a pickle, in any float."""
    rows = [[row.astype(t).tobytes() for t in ("<f4", "<f8")] for row in position_m]
    return float(np.mean([any(text in pickled for text in texts) for texts in rows]))


def true_positions(task: Task, dataset: Dataset, splits: Splits) -> dict[str, np.ndarray]:
    """Return the test positions in both frames [m]."""
    truth = truth_of(task, dataset, splits)
    sites = dataset.select(scene=task.scene, band=task.band).sites
    index = np.array([[site.site for site in sites].index(name) for name in truth["site"]])
    world_m = truth[["x_m", "y_m"]].to_numpy("f8")
    return {"world": world_m, "site": site_frame_positions(world_m, index, sites)}


@pytest.fixture(scope="module")
def task_data(benchmark_suite: Suite, load_benchmark_task: LoadTask) -> dict[str, TaskData]:
    """What models receive for every task at one band, as it arrives in their process."""
    return {
        task.id: pickle.loads(pickle.dumps(load_benchmark_task(task)))  # noqa: S301 - our own
        for task in benchmark_suite.tasks()
        if task.band == "6GHz"
    }


def test_model_receives_no_test_position_when_everything_it_gets_is_searched(
    benchmark_suite: Suite,
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    task_data: dict[str, TaskData],
) -> None:
    tasks = [task for task in benchmark_suite.tasks() if task.id in task_data]
    assert len(tasks) == 20  # two scenes, of ten tasks each
    for task in tasks:
        data = task_data[task.id]
        for frame, position_m in true_positions(task, benchmark_dataset, benchmark_splits).items():
            assert len(position_m) == len(data.test) > 0
            assert share_found(data, position_m) == 0, (task.id, frame)
            assert byte_share_found(pickle.dumps(data), position_m) == 0, (task.id, frame)


def test_search_finds_every_training_position_when_it_looks_for_them(
    task_data: dict[str, TaskData],
) -> None:
    """A canary: the search above can find what is there."""
    for data in task_data.values():
        assert share_found(data, data.train.position_m) == 1
        assert share_found(data, data.validation.position_m) == 1
        assert byte_share_found(pickle.dumps(data), data.train.position_m) == 1
        assert share_found(data.test, data.train.position_m) == 0


@pytest.mark.parametrize("frame", ["world", "site"])
@pytest.mark.parametrize("place", ["gain_db", "csi_files", "columns", "tensor"])
def test_search_finds_the_test_positions_when_they_are_smuggled_in(
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
    benchmark_task: FindTask,
    task_data: dict[str, TaskData],
    frame: str,
    place: str,
) -> None:
    """Another: in an array of the test, deep in a tuple, or in two columns of a plain dict."""
    task = benchmark_task("interpolation", "yard")
    data = task_data[task.id]
    position_m = true_positions(task, benchmark_dataset, benchmark_splits)[frame]
    hidden: Any = {
        "gain_db": position_m.astype("f4").T.ravel(),
        "csi_files": ((Path("x"), [position_m.tolist()]),),
        "columns": {"x": position_m[:, 0], "y": np.asfortranarray(position_m[:, 1:])},
        "tensor": [torch.from_numpy(position_m.copy())],
    }[place]
    thing = (data, hidden)

    assert share_found(thing, position_m) == 1
    assert share_found((data,), position_m) == 0


def test_test_has_no_position_when_a_model_asks_for_one(task_data: dict[str, TaskData]) -> None:
    data = next(iter(task_data.values()))

    with pytest.raises(AttributeError, match="position_m"):
        data.test.position_m  # type: ignore[attr-defined]  # noqa: B018 - the access is the test
    with pytest.raises(AttributeError, match="los"):
        data.test.los  # type: ignore[attr-defined]  # noqa: B018
    assert type(data.test) is Measurements


def test_measurements_hold_no_label_and_no_oracle_when_their_fields_are_listed() -> None:
    """Positions and labels stand in `Labelled` only, which a test never is."""
    of_measurements = {field.name for field in dataclasses.fields(Measurements)}
    of_labelled = {field.name for field in dataclasses.fields(Labelled)}

    assert of_labelled == {"measurements", "position_m", "los", "channels"}
    assert not of_measurements & {"position_m", "los", "ue_index", "track_id", "block", "part"}
    types = {f.name: f.type for f in dataclasses.fields(TaskData)}
    rows = types.pop("asked")
    assert types == {"train": Labelled, "validation": Labelled, "test": Measurements}
    assert str(rows) == str(Int[np.ndarray, "link"])


def test_no_honest_task_hands_out_the_oracles_angle(task_data: dict[str, TaskData]) -> None:
    """It is a field for the paper's protocol alone."""
    for data in task_data.values():
        parts = (data.train.measurements, data.validation.measurements, data.test)
        assert all(links.ue_azimuth_rad is None for links in parts)


def test_estimates_differ_from_the_true_paths_when_noise_is_added(
    benchmark_dataset: Dataset, benchmark_task: FindTask, task_data: dict[str, TaskData]
) -> None:
    """No modality of the test is the ray tracer's own value."""
    data = task_data[benchmark_task("interpolation", "street_canyon").id]
    selection = benchmark_dataset.select(scene="street_canyon", band="6GHz")
    true = selection.fingerprints(0, len(selection), kind="oracle")
    delays_m = selection.path_table(0, len(selection)).delay_s.astype("f8") * 299_792_458.0
    found = {
        "distance_m": (data.test.distance_m, true.distance_m.numpy()),
        "gain_db": (data.test.gain_db, true.gain_db.numpy()),
        "path_range_m": (data.test.path_range_m[data.test.path_mask], delays_m.astype("f4")),
    }

    for name, (measured, oracle) in found.items():
        assert len(measured), name
        assert np.isin(measured, oracle).mean() < 0.02, name  # of float32, some agree by chance
