"""From a real run to a board: every number is recomputed by hand from the stored predictions."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import image

from raymark.benchmark.audit import audit_table
from raymark.benchmark.board import Board, terminal_table, write_board
from raymark.benchmark.publication import (
    PublishedBoard,
    _track_infos,
    build_board,
    layout_of,
    publish_board,
    successor_of,
)
from raymark.benchmark.scoring import score_rows, score_run
from raymark.benchmark.split_settings import CrossingTracks
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite, load_suite
from raymark.dataset import Dataset
from raymark.dataset.buildings import HeightMap
from raymark.errors import ConfigError, DatasetError

EXACT = {"rtol": 1e-12}
"""Both sides work in float64; only the order of sums differs."""


@pytest.fixture(scope="module")
def board(benchmark_run: RunFolder) -> Board:
    return build_board(benchmark_run)


def errors_of(folder: RunFolder, task_slug: str, model: str, seed: int) -> pd.DataFrame:
    """Read error and label of every test link from the two files, with a plain merge."""
    truth = pd.read_parquet(folder.root / "truth" / f"{task_slug}.parquet")
    path = folder.root / "cells" / task_slug / model / f"seed-{seed}" / "predictions.parquet"
    both = truth.merge(pd.read_parquet(path), on=["site", "ue_index"], suffixes=("", "_given"))
    error_m = np.hypot(both["x_m_given"] - both["x_m"], both["y_m_given"] - both["y_m"])
    return pd.DataFrame({"error_m": error_m, "los": both["los"]})


def test_rows_are_those_of_the_stored_predictions(board: Board, benchmark_run: RunFolder) -> None:
    pd.testing.assert_frame_equal(board.rows, score_rows(score_run(benchmark_run)))
    models = board.rows[board.rows["model"].isin(["train_centroid", "wknn"])]
    rows = models[models["label"] == "nlos"].to_dict("records")

    assert len(rows) == 2 * 4 * 2
    for row in rows:
        slug = row["task"].split("@")[0].replace("/", "__")
        found = errors_of(benchmark_run, slug, row["model"], row["seed"])
        error_m = found["error_m"][found["los"] == 0]
        np.testing.assert_allclose(row["mse_m2"], np.mean(error_m**2) / 2, **EXACT)
        np.testing.assert_allclose(row["p90_m"], np.percentile(error_m, 90), **EXACT)
        assert row["num_points"] == len(error_m)


def test_summary_pools_the_folds_of_the_stored_predictions(
    board: Board, benchmark_run: RunFolder
) -> None:
    table = board.summary
    (row,) = table[
        (table["track"] == "unseen-nlos")
        & (table["model"] == "wknn")
        & (table["label"] == "nlos")
        & (table["scene"] == "yard")
        & (table["band"] == "6GHz")
    ].to_dict("records")

    by_seed = []
    for seed in (0, 1):
        folds = [
            errors_of(benchmark_run, f"tests__unseen-nlos__yard__6GHz__fold-{fold}", "wknn", seed)
            for fold in range(3)
        ]
        pooled = pd.concat(folds)
        by_seed.append(np.percentile(pooled["error_m"][pooled["los"] == 0], 90))
    np.testing.assert_allclose(row["p90_m"], np.mean(by_seed), **EXACT)
    np.testing.assert_allclose(row["p90_m_std"], np.std(by_seed, ddof=1), **EXACT)


def test_board_says_who_is_a_model_a_reference_and_a_bound(board: Board) -> None:
    assert {model.name: model.kind for model in board.models} == {
        "train_centroid": "model",
        "wknn": "model",
        "oracle_nearest": "reference",
        "mates_mean": "reference",
        "error_bound": "bound",
    }
    wknn = next(model for model in board.models if model.name == "wknn")
    assert wknn.verified
    assert wknn.fit_s is not None
    assert wknn.fit_s > 0
    assert wknn.peak_memory_mb is not None
    assert "Tuning: " in wknn.card_markdown
    assert not {"oracle_nearest", "mates_mean", "error_bound"} & set(board.comparisons["model"])


def test_board_names_its_suite_and_tracks(board: Board, benchmark_run: RunFolder) -> None:
    suite = benchmark_run.info().suite

    assert (board.suite.hash, board.suite.content_hash) == (suite.hash, suite.content_hash)
    assert [(t.name, t.title, t.is_ranked) for t in board.tracks] == [
        ("interpolation", "Interpolation", False),
        ("unseen-nlos", "Unseen NLOS", True),
    ]
    assert board.audits.empty


def test_oracle_is_the_distance_to_the_nearest_training_point_when_audited(
    board: Board, benchmark_run: RunFolder, benchmark_dataset: Dataset
) -> None:
    suite = benchmark_run.info().suite
    audited = audit_table(suite, benchmark_dataset).fillna({"fold": -1})
    audited = audited.set_index(["track", "scene", "fold"]).sort_index()
    rows = board.rows[board.rows["label"] == "all"].set_index(["task", "model", "seed"])
    within = [task for task in suite.tasks() if len(task.scenes) == 1]

    for task in within:
        fold = -1 if task.fold is None else task.fold
        expected = audited.loc[(task.track, task.scene, fold)]
        found = rows.loc[(task.id, "oracle_nearest", 0)]
        for name in ("median_m", "p90_m"):
            assert found[name] == pytest.approx(expected[f"oracle_nn_{name}"], abs=1e-3)
    assert within


def test_board_is_the_same_when_built_twice(board: Board, benchmark_run: RunFolder) -> None:
    again = build_board(benchmark_run)

    pd.testing.assert_frame_equal(again.summary, board.summary)
    pd.testing.assert_frame_equal(again.comparisons, board.comparisons)


def test_numbers_change_with_the_predictions_when_these_are_written_anew(
    board: Board, benchmark_run: RunFolder, tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(benchmark_run.root, tmp_path / "runs")))
    task = folder.info().suite.tasks()[0]
    table = pd.read_parquet(folder.cell(task, "wknn", 0) / "predictions.parquet")
    folder.write_cell(
        task, table.assign(x_m=table["x_m"] + 500), model="wknn", seed=0, cell_hash=""
    )

    rows = build_board(folder).rows

    keys = ["task", "model", "seed", "label"]
    both = rows.merge(board.rows, on=keys)
    changed = both[both["mse_m2_x"] != both["mse_m2_y"]]
    assert set(changed["task"]) == {task.id}
    assert set(changed["model"]) == {"wknn"}
    assert set(changed["seed"]) == {0}


def test_progress_reaches_the_number_of_groups(benchmark_run: RunFolder) -> None:
    calls: list[tuple[str, int, int]] = []

    build_board(benchmark_run, progress=lambda *call: calls.append(call))

    assert calls == [
        ("score", 0, 1),
        ("score", 1, 1),
        ("intervals", 1, 2),
        ("intervals", 2, 2),
    ]


def test_files_hold_the_rows_when_written(board: Board, tmp_path: Path) -> None:
    paths = {path.name: path for path in write_board(board, tmp_path / "board")}

    rows = json.loads(paths["board.json"].read_text(encoding="utf-8"))
    assert len(rows) == len(board.rows)
    csv = pd.read_csv(paths["board.csv"])
    np.testing.assert_allclose(csv["p90_m"], board.rows["p90_m"].astype("f8"), **EXACT)
    page = paths["index.html"].read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    for model in board.models:
        assert model.title in page
    assert "WKNN" in paths["board.md"].read_text(encoding="utf-8")
    assert terminal_table(board).row_count == len(board.models)


def test_board_shows_itself_with_its_standings(board: Board) -> None:
    published = PublishedBoard(board=board, files=(Path("board/index.html"),))
    html = published._repr_html_()

    assert repr(published).startswith("<PublishedBoard: suite tests@1; dataset ")
    assert "models train_centroid, wknn; tracks interpolation, unseen-nlos" in repr(published)
    assert [model.title for model in board.models if f"<td>{model.title}</td>" not in html] == []
    assert "<p>Unseen NLOS" in html


def test_layout_shows_buildings_grey_and_streets_clear_north_up() -> None:
    height_m = np.zeros((3, 4))
    height_m[0, 1] = 20.0  # the southern row

    layout = layout_of(
        HeightMap(x_m=np.arange(0.0, 5.0), y_m=np.arange(10.0, 14.0), height_m=height_m)
    )

    pixels = image.imread(io.BytesIO(layout.png), format="png")
    assert layout.extent_m == (0.0, 10.0, 4.0, 13.0)
    assert pixels.shape == (3, 4, 4)
    assert np.argwhere(pixels[..., 3] > 0).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("lacking", "title"),
    [("*", "WKNN (seed 0)"), ("*unseen-nlos*", "WKNN (seed 0; on interpolation 0, 1)")],
)
def test_board_names_the_seeds_of_a_model_when_some_of_the_suite_lack(
    benchmark_run: RunFolder, tmp_path: Path, lacking: str, title: str
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(benchmark_run.root, folder)
    for path in folder.glob(f"cells/{lacking}/wknn/seed-1"):
        shutil.rmtree(path)

    titles = {model.name: model.title for model in build_board(RunFolder(folder)).models}

    assert titles["wknn"] == title
    assert titles["train_centroid"] == "Train centroid"
    assert titles["oracle_nearest"] == "Oracle nearest neighbour"


@pytest.mark.parametrize(
    ("track", "tested"), [("cross-band", "bands"), ("cross-scene", "scenes"), ("impaired", "hard")]
)
def test_track_says_that_it_tests_no_places_when_its_links_stand_among_training_ones(
    benchmark_suite: Suite, track: str, tested: str
) -> None:
    (info,) = _track_infos(benchmark_suite, {track})
    settings = [
        x.model_copy(update={"split": CrossingTracks(buffer_m=3.0)})
        for x in benchmark_suite.tracks
        if x.track == track
    ]
    (buffered,) = _track_infos(
        benchmark_suite.model_copy(update={"tracks": tuple(settings)}), {track}
    )

    assert f"It tests {tested}" in info.description
    assert "not places: its links stand among training ones" in info.description
    assert "not places: its links stand 3 m or more from any training one" in buffered.description
    (other,) = _track_infos(benchmark_suite, {"unseen-nlos"})
    assert "not places" not in other.description


def test_suite_is_superseded_by_the_shipped_one_of_its_name_with_a_later_version() -> None:
    shipped = load_suite("small")

    assert successor_of(shipped) is None
    earlier = shipped.model_copy(update={"version": shipped.version - 1})
    assert successor_of(earlier) == f"small@{shipped.version}"
    assert successor_of(earlier.model_copy(update={"name": "somebody's"})) is None
    told = shipped.model_copy(update={"superseded_by": "large@1"})
    assert successor_of(told) == "large@1"


def test_board_leaves_no_folder_when_the_dataset_is_another(
    benchmark_run: RunFolder, small_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="suite 'tests' is for the dataset"):
        publish_board(benchmark_run.root, tmp_path / "board", dataset=small_dataset)
    assert not (tmp_path / "board").exists()

    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="file is a file; give the name of a folder"):
        publish_board(benchmark_run.root, tmp_path / "file")
