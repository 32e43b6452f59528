"""Which test links show a path: what a run notes, and what scores make of it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.detections import count_paths, is_detected
from raymark.benchmark.measuring import Survey
from raymark.benchmark.publication import build_board
from raymark.benchmark.store import RunFolder
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.truths import Truths
from raymark.dataset import Dataset
from raymark.errors import ScoringError


@pytest.fixture
def without_notes(benchmark_run: RunFolder, tmp_path: Path) -> RunFolder:
    """The run as an earlier version would have left it."""
    folder = RunFolder(Path(shutil.copytree(benchmark_run.root, tmp_path / "runs")))
    shutil.rmtree(folder.root / "detections")
    return folder


def test_run_notes_the_paths_of_every_test_link_and_seed(
    benchmark_run: RunFolder, benchmark_dataset: Dataset
) -> None:
    selection = benchmark_dataset.select(scene="yard", band="6GHz")
    links = [
        (selection.sites[i].site, int(ue))
        for i, ue in zip(selection.site_index, selection.ue_index, strict=True)
    ]
    for seed in (0, 1):
        survey = Survey(scene="yard", band="6GHz", seed=seed)
        path = survey.file(benchmark_dataset, benchmark_run.measurements)
        num_paths = dict(zip(links, np.load(path)["path_mask"].sum(axis=1), strict=True))
        for task in benchmark_run.info().suite.tasks():
            noted = benchmark_run.detections(task, seed)
            assert noted is not None
            for row in noted.to_dict("records"):
                assert row["num_paths"] == num_paths[row["site"], row["ue_index"]]
            truth = benchmark_run.truth(task)
            found = Truths(benchmark_run).detected(task, seed)
            expected = [
                num_paths[row["site"], row["ue_index"]] > 0 for row in truth.to_dict("records")
            ]
            assert found is not None
            assert found.tolist() == expected


def test_paths_are_counted_anew_when_a_run_has_no_measurements(
    benchmark_run: RunFolder, benchmark_dataset: Dataset, benchmark_splits: Splits, tmp_path: Path
) -> None:
    task = benchmark_run.info().suite.tasks()[0]

    counted = count_paths(task, 0, benchmark_dataset, benchmark_splits, tmp_path / "none")

    noted = benchmark_run.detections(task, 0)
    assert noted is not None
    pd.testing.assert_frame_equal(counted, noted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_board_has_the_same_numbers_when_an_earlier_run_stands_beside_its_dataset(
    benchmark_run: RunFolder, without_notes: RunFolder, benchmark_dataset: Dataset
) -> None:
    noted, counted = (
        build_board(benchmark_run),
        build_board(without_notes, dataset=benchmark_dataset),
    )

    pd.testing.assert_frame_equal(counted.summary, noted.summary)
    pd.testing.assert_frame_equal(counted.rows, noted.rows)
    assert counted.suite.detections_are_known
    assert {"detectable", "blind"} & set(noted.summary["label"])


@pytest.mark.slow
def test_board_is_drawn_as_it_was_when_nobody_knows_which_links_show_a_path(
    benchmark_run: RunFolder, without_notes: RunFolder
) -> None:
    noted, earlier = build_board(benchmark_run), build_board(without_notes)

    assert set(earlier.summary["label"]) == set(noted.summary["label"]) - {"detectable", "blind"}
    keys = ["track", "scene", "band", "label", "model"]
    both = earlier.summary.merge(noted.summary, on=keys, suffixes=("", "_noted"))
    assert len(both) == len(earlier.summary)
    pd.testing.assert_series_equal(both["p90_m"], both["p90_m_noted"], check_names=False)
    assert earlier.summary["detectable_share"].isna().all()
    assert "not told apart" in earlier.suite.trust


def test_scores_are_refused_when_notes_were_changed_or_are_of_other_links(
    benchmark_run: RunFolder, without_notes: RunFolder
) -> None:
    task = benchmark_run.info().suite.tasks()[0]
    noted = benchmark_run.detections(task, 0)
    assert noted is not None
    without_notes.write_detections(task, 0, noted.iloc[1:])

    with pytest.raises(ScoringError, match="the counted paths are of other links than the truth"):
        Truths(without_notes).detected(task, 0)
    noted.to_parquet(next(without_notes.root.glob("detections/*/seed-0.parquet")))
    with pytest.raises(ScoringError, match=r"seed-0\.parquet: the file was changed"):
        Truths(without_notes).detected(task, 0)


def test_order_of_links_does_not_matter() -> None:
    truth = pd.DataFrame({"site": ["a", "b", "a"], "ue_index": [1, 1, 2]})
    counts = truth.assign(num_paths=[3, 0, 1])

    found = is_detected(counts.iloc[::-1], truth, where="here")

    assert found.tolist() == [True, False, True]
