"""Tracks of the benchmark that hand out whole walks, from the split to the board."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from raymark.benchmark.publication import build_board
from raymark.benchmark.run import Runner
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.splits import CONTEXT, TEST, links_of
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData
from raymark.benchmark.task_links import handed_rows, truth_of
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.models import get_model
from raymark.work.executor import ThisMachine

SHARES = {"validation_share": 0.35, "test_share": 0.3}
TRACKS = [
    {"track": "sequence", "split": {"kind": "crossing-tracks", "windows": "tracks", **SHARES}},
    {
        "track": "sequence-unseen",
        "split": {
            "kind": "track-blocks",
            "windows": "tracks",
            "buffer_m": 2.0,
            "num_folds": 3,
            **SHARES,
        },
        "folds": [0],
    },
]


@pytest.fixture(scope="module")
def suite(yard_suite: Suite) -> Suite:
    data = yard_suite.model_dump(mode="json")
    return validate(Suite, {**data, "tracks": TRACKS, "split_hashes": {}}, where="test")


@pytest.mark.parametrize("number", [0, 1])
def test_model_gets_whole_tracks_in_order_of_time_and_answers_for_some(
    suite: Suite,
    number: int,
    benchmark_dataset: Dataset,
    load_benchmark_task: Callable[[Task], TaskData],
) -> None:
    task = suite.tasks()[number]
    splits = Splits(benchmark_dataset, suite.window_size)
    data = load_benchmark_task(task)

    split, links = splits.get(task, "yard"), links_of(benchmark_dataset, "yard")
    rows = handed_rows(task, split)
    walk, step = links["walk"].to_numpy()[rows], links["track_step"].to_numpy()[rows]
    tested = set(links["walk"][split.rows(TEST)])
    assert set(walk) == tested
    for window in np.unique(data.test.window):
        here = data.test.window == window
        assert len(set(walk[here])) == 1
        assert step[here].tolist() == data.test.window_step[here].tolist() == list(range(5))
    asked = np.zeros(len(rows), dtype=bool)
    asked[data.asked] = True
    np.testing.assert_array_equal(asked, split.is_part(TEST)[rows])
    np.testing.assert_array_equal(~asked, split.is_part(CONTEXT)[rows])
    assert len(truth_of(task, benchmark_dataset, splits)) == asked.sum()
    assert (~asked).any() == (number == 1)


def test_filter_is_ranked_and_smoother_is_shown_when_a_suite_of_sequences_runs(
    suite: Suite, measured_run: Callable[[Suite, Path], Runner], tmp_path: Path
) -> None:
    names = ["aoa_toa", "aoa_toa+filter", "aoa_toa+smoother"]
    choice = RunChoice(models=tuple(map(get_model, names)), seeds=(0,))
    runner = measured_run(suite, tmp_path / "runs")

    report = runner.run(choice, executor=ThisMachine(1))

    assert (report.num_run, report.failures) == (6, ())
    board = build_board(runner.folder)
    kinds = {model.name: model.kind for model in board.models}
    assert [kinds[name] for name in names] == ["model", "model", "reference"]
    # A bound of single links is none for tracks.
    assert set(kinds) == {*names, "oracle_nearest", "mates_mean"}
    found = {cell.result.model: cell.result for cell in runner.folder.cells()}
    assert found["aoa_toa+filter"].choices["filter"]["outlier_share"] in {0.01, 0.1, 0.3}
