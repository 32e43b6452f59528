"""Budget curves: a track that is asked again with more and less processing gain."""

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.budget import budget_curves
from raymark.benchmark.metrics import PointErrors
from raymark.benchmark.scoring import ScoredCell, score_rows
from raymark.benchmark.store import CellResult
from raymark.benchmark.task import Suite, Task, TrackSettings

NUM_LINKS = 12


@pytest.fixture(scope="module")
def suite(benchmark_suite: Suite) -> Suite:
    tracks = tuple(
        TrackSettings.model_validate({**track.model_dump(), "gains_db": (-10.0, 20.0)})
        if track.track == "unseen-nlos"
        else track
        for track in benchmark_suite.tracks[:2]
    )
    return benchmark_suite.model_copy(update={"tracks": tracks})


def cell_of(task: Task, model: str) -> ScoredCell:
    """Errors that halve, and twice as many links that show a path, with every 10 dB."""
    gain_db = task.gain_db or 0.0
    scale = 2.0 ** (-gain_db / 10) * {"near": 1.0, "far": 3.0}[model]
    number = np.arange(NUM_LINKS)
    truth = pd.DataFrame(
        {"site": "a", "ue_index": number, "block": number % 3, "los": number % 4 // 3}
    )
    result = CellResult(
        task=task.id, model=model, seed=0, cell_hash="", predictions_sha256="", num_points=NUM_LINKS
    )
    return ScoredCell(
        task=task,
        result=result,
        errors=PointErrors(error_m=scale * (1.0 + number)),
        present=np.ones(NUM_LINKS, dtype=bool),
        truth=truth,
        is_detected=number < 2.0 ** (1 + (gain_db + 10) / 10),
    )


def test_task_stands_beside_the_plain_one_for_every_gain(suite: Suite) -> None:
    tasks = [
        task
        for task in suite.tasks()
        if (task.track, task.scene, task.band, task.fold) == ("unseen-nlos", "yard", "6GHz", 1)
    ]

    assert [task.gain_db for task in tasks] == [None, -10.0, 20.0]
    assert [task.id.partition("@")[0].rpartition("/")[2] for task in tasks] == [
        "fold-1", "gain-10dB", "gain+20dB"
    ]  # fmt: skip
    assert tasks[0].conditions is None
    assert [task.conditions.power_change_db for task in tasks[1:] if task.conditions] == [-10, 20]
    assert all(task.training_conditions == task.conditions for task in tasks)
    assert len({task.slug for task in suite.tasks()}) == len(suite.tasks())


def test_curve_has_a_point_for_every_gain_and_the_plain_task_at_0_db(suite: Suite) -> None:
    cells = [cell_of(task, model) for task in suite.tasks() for model in ("near", "far")]

    table = budget_curves(cells)

    assert set(table["track"]) == {"unseen-nlos"}  # interpolation was asked once
    chosen = table[(table["scene"] == "yard") & (table["band"] == "6GHz")]
    nlos = chosen[(chosen["label"] == "nlos") & (chosen["model"] == "near")]
    is_nlos = np.arange(NUM_LINKS) % 4 != 3
    median_m = np.median((1.0 + np.arange(NUM_LINKS))[is_nlos])
    assert nlos["gain_db"].tolist() == [-10.0, 0.0, 20.0]
    assert nlos["median_m"].tolist() == [2 * median_m, median_m, median_m / 4]
    shares = [np.mean(np.flatnonzero(is_nlos) < limit) for limit in (2, 4, 16)]
    assert nlos["detectable_share"].tolist() == pytest.approx(shares)


def test_curve_over_cells_is_of_models_that_have_all_of_them(suite: Suite) -> None:
    tasks = [task for task in suite.tasks() if task.track == "unseen-nlos"]
    cells = [cell_of(task, "near") for task in tasks]
    cells += [cell_of(task, "far") for task in tasks if task.scene == "yard"]

    table = budget_curves(cells)

    every = table[(table["scene"] == "all") & (table["band"] == "all") & (table["label"] == "all")]
    assert set(every["model"]) == {"near"}
    yard = table[(table["scene"] == "yard") & (table["band"] == "all") & (table["label"] == "all")]
    assert set(yard["model"]) == {"near", "far"}
    first = table[(table["model"] == "near") & (table["label"] == "all")].iloc[0]
    assert every["p90_m"].iloc[0] == pytest.approx(first["p90_m"])


def test_there_is_no_curve_when_no_track_has_gains(benchmark_suite: Suite) -> None:
    cells = [cell_of(task, "near") for task in benchmark_suite.tasks()[:3]]

    assert budget_curves(cells).empty


def test_rows_name_the_gain_of_their_task(suite: Suite) -> None:
    tasks = [task for task in suite.tasks() if task.track == "unseen-nlos"][:3]

    rows = score_rows([cell_of(task, "near") for task in tasks])

    gains = rows[rows["label"] == "all"]["gain_db"]
    assert gains.isna().tolist() == [True, False, False]
    assert gains.tolist()[1:] == [-10.0, 20.0]


def test_impaired_has_no_gains() -> None:
    settings = {
        "track": "impaired",
        "split": {"kind": "random-tracks"},
        "conditions": {"power_change_db": -10.0},
        "gains_db": [10.0],
    }
    with pytest.raises(ValueError, match="track 'impaired' has no use for 'gains_db'"):
        TrackSettings.model_validate(settings)
