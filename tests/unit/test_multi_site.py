"""Tracks of the benchmark whose unit is the UE, from the split to the board."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from raymark.benchmark import UeLinks
from raymark.benchmark.detections import count_paths
from raymark.benchmark.export import _write_measurements
from raymark.benchmark.localizer import Localizer
from raymark.benchmark.measuring import measure, num_paths_in
from raymark.benchmark.publication import build_board
from raymark.benchmark.references import NEAREST, References
from raymark.benchmark.run import Runner
from raymark.benchmark.run_cells import RunChoice, require_task_for
from raymark.benchmark.split_settings import RandomTracks
from raymark.benchmark.splits import (
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    check_split,
    links_of,
    make_split,
)
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import TaskData, load_task
from raymark.benchmark.task_links import handed_rows, survey_of_test, surveys_of, truth_of
from raymark.benchmark.ue_links import link_rows
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.schema import LOS, NLOS
from raymark.errors import ConfigError, SplitError
from raymark.models import get_model
from raymark.work.executor import ThisMachine

RANDOM = {"kind": "random-tracks", "unit": "ue"}
BLOCKS = {"kind": "nlos-blocks", "unit": "ue", "buffer_m": 4.0, "num_folds": 3}
TRACKS: list[dict[str, Any]] = [
    {"track": "multi-site", "split": RANDOM},
    {"track": "multi-site-1", "split": RANDOM},
    {"track": "multi-site-nlos", "split": BLOCKS, "folds": [0]},
]


@pytest.fixture(scope="module")
def suite(yard_suite: Suite, shared_dataset: Dataset) -> Suite:
    content_hash = shared_dataset.manifest.content_hash
    changes = {"content_hash": content_hash, "tracks": TRACKS, "seeds": [0], "split_hashes": {}}
    return validate(Suite, yard_suite.model_dump(mode="json") | changes, where="test")


@pytest.fixture(scope="module")
def splits(suite: Suite, shared_dataset: Dataset) -> Splits:
    return Splits(shared_dataset, suite.window_size)


@pytest.fixture(scope="module")
def kept(suite: Suite, shared_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    for survey in {survey for task in suite.tasks() for survey in surveys_of(task, 0)}:
        measure(survey, shared_dataset, folder, with_csi=False)
    return folder


@pytest.fixture(scope="module")
def load(shared_dataset: Dataset, splits: Splits, kept: Path) -> Callable[[Task], TaskData]:
    return lambda task: load_task(task, 0, shared_dataset, splits, kept, with_csi=False)


def task_of(suite: Suite, track: str) -> Task:
    return next(task for task in suite.tasks() if task.track == track)


@pytest.mark.parametrize("number", [0, 2])
def test_a_ue_is_in_one_part_for_all_sites_when_split(
    number: int, suite: Suite, splits: Splits, shared_dataset: Dataset
) -> None:
    task = suite.tasks()[number]
    split, links = splits.get(task, "yard"), links_of(shared_dataset, "yard")
    used = links[split.table["part"] != UNUSED]

    assert set(used["site"]) == {"west"}
    assert used["ue_index"].is_unique
    places = [
        set(map(tuple, links.loc[split.is_part(part), ["x_m", "y_m"]].to_numpy()))
        for part in (TRAIN, VALIDATION, TEST)
    ]
    assert all(places)
    assert sum(map(len, places)) == len(set.union(*places))
    if number == 2:
        assert set(links.loc[split.is_part(TEST), "los"]) == {NLOS}


def test_oracle_is_nearest_in_the_world_when_a_track_takes_links_of_both_sites_alone(
    suite: Suite, shared_dataset: Dataset, tmp_path: Path
) -> None:
    track = {"track": "interpolation", "split": {"kind": "random-tracks"}}
    changes = {"tracks": [track], "split_hashes": {}}
    plain = validate(Suite, suite.model_dump(mode="json") | changes, where="test")
    task, splits = plain.tasks()[0], Splits(shared_dataset, suite.window_size)
    for survey in surveys_of(task, 0):
        measure(survey, shared_dataset, tmp_path, with_csi=False)
    data = load_task(task, 0, shared_dataset, splits, tmp_path, with_csi=False)
    truth, links = truth_of(task, shared_dataset, splits), links_of(shared_dataset, "yard")
    trained_m = links.loc[splits.get(task, "yard").is_part(TRAIN), ["x_m", "y_m"]].to_numpy()
    assert set(truth["site"]) == {"west", "east"}

    found = References(shared_dataset, splits).predict(NEAREST, task, truth, data)

    gap_m = found[["x_m", "y_m"]].to_numpy() - truth[["x_m", "y_m"]].to_numpy()
    expected_m = [np.hypot(*(trained_m - x).T).min() for x in truth[["x_m", "y_m"]].to_numpy()]
    np.testing.assert_allclose(np.hypot(*gap_m.T), expected_m, atol=1e-4)


def test_every_ue_that_is_nlos_to_the_first_site_is_tested_once_over_all_folds(
    suite: Suite, shared_dataset: Dataset
) -> None:
    links = links_of(shared_dataset, "yard")
    nlos = links[(links["site"] == "west") & (links["los"] == NLOS)]
    task = task_of(suite, "multi-site-nlos")

    tested: list[int] = []
    for fold in range(3):
        settings = task.split.model_copy(update={"fold": fold})
        split = make_split(shared_dataset, "yard", settings, window_size=4)
        tested += split.table.loc[split.is_part(TEST), "ue_index"].to_list()

    assert sorted(tested) == sorted(nlos["ue_index"])


@pytest.mark.parametrize("settings", [RANDOM, BLOCKS])
def test_split_raises_when_another_site_puts_a_ue_into_a_part(
    settings: dict[str, Any], suite: Suite, splits: Splits, shared_dataset: Dataset
) -> None:
    task = next(t for t in suite.tasks() if t.split.kind == settings["kind"])
    split, links = splits.get(task, "yard"), links_of(shared_dataset, "yard")
    tested = split.table.loc[split.is_part(TEST), "ue_index"].iloc[0]
    twin = (split.table["ue_index"] == tested) & (split.table["site"] == "east")
    table = split.table.copy()
    table.loc[twin, "part"] = TRAIN

    with pytest.raises(SplitError, match=f"UE {tested} stands in a part by its link at site east"):
        check_split(dataclasses.replace(split, table=table), links)


def test_split_of_ues_raises_when_sites_see_ues_of_their_own(benchmark_dataset: Dataset) -> None:
    with pytest.raises(SplitError, match="generate the dataset with shared_ues: true"):
        make_split(benchmark_dataset, "yard", RandomTracks(unit="ue"), window_size=4)


def test_split_of_ues_raises_when_windows_are_not_consecutive() -> None:
    with pytest.raises(ConfigError, match="a split of UEs needs windows: consecutive"):
        validate(RandomTracks, {**RANDOM, "windows": "clusters"}, where="test")


@pytest.mark.parametrize(
    ("track", "split", "message"),
    [
        ("multi-site", {"kind": "random-tracks"}, "is of UEs: it needs unit: ue"),
        ("interpolation", RANDOM, "has no use for unit: ue"),
        ("multi-site", BLOCKS, "is split by any other kind, got 'nlos-blocks'"),
        ("multi-site-nlos", RANDOM, "is split by nlos-blocks, got 'random-tracks'"),
    ],
)
def test_suite_is_refused_when_track_and_unit_do_not_fit(
    track: str, split: dict[str, Any], message: str, suite: Suite
) -> None:
    tracks = [{"track": track, "split": split, "folds": [0] * ("num_folds" in split)}]
    with pytest.raises(ConfigError, match=message):
        validate(Suite, suite.model_dump(mode="json") | {"tracks": tracks}, where="test")


def test_model_gets_all_links_of_a_ue_and_is_asked_once(
    suite: Suite, splits: Splits, shared_dataset: Dataset, load: Callable[[Task], TaskData]
) -> None:
    task = task_of(suite, "multi-site")
    data, truth = load(task), truth_of(task, shared_dataset, splits)
    links = links_of(shared_dataset, "yard").iloc[handed_rows(task, splits.get(task, "yard"))]

    ues = UeLinks.of(data.test)
    assert ues.row.shape == (len(truth), 2)
    assert (ues.row >= 0).all()
    np.testing.assert_array_equal(ues.row[:, 0], data.asked)
    for site, name in enumerate(("west", "east")):
        here = links.iloc[ues.row[:, site]]
        assert set(here["site"]) == {name}
        np.testing.assert_array_equal(here["ue_index"], truth["ue_index"])
    assert set(truth["site"]) == {"west"}


def test_no_test_ue_trains_at_any_site_when_loaded(
    suite: Suite, splits: Splits, shared_dataset: Dataset, load: Callable[[Task], TaskData]
) -> None:
    for task in suite.tasks():
        data, truth = load(task), truth_of(task, shared_dataset, splits)
        tested_m = truth[["x_m", "y_m"]].to_numpy()
        for part in (data.train, data.validation):
            known_m = UeLinks.of(part.measurements).common_positions(part.position_m)
            gap_m = np.linalg.norm(known_m[:, None] - tested_m, axis=2).min()
            assert gap_m > max(1e-3, task.split.gap_m - 1e-3)


def test_positions_of_a_ue_agree_in_the_scene_when_sites_have_frames_of_their_own(
    suite: Suite, splits: Splits, shared_dataset: Dataset, load: Callable[[Task], TaskData]
) -> None:
    task = task_of(suite, "multi-site")
    train = load(task).train

    ues = UeLinks.of(train.measurements)
    found_m = ues.by_site(ues.common_positions(train.position_m))
    split, links = splits.get(task, "yard"), links_of(shared_dataset, "yard")
    expected_m = links.loc[split.is_part(TRAIN), ["x_m", "y_m"]].to_numpy()
    np.testing.assert_allclose(found_m, np.stack([expected_m] * 2, axis=1), atol=1e-4)
    assert not np.allclose(train.position_m[ues.row[:, 0]], train.position_m[ues.row[:, 1]])


def test_height_of_a_site_is_not_taken_from_test_ues_when_another_site_hears_them(
    suite: Suite, splits: Splits
) -> None:
    split = splits.get(task_of(suite, "multi-site"), "yard")

    tested = set(split.table.loc[split.is_part(TEST), "ue_index"])
    hidden = split.table[split.is_hidden]
    assert set(hidden["ue_index"]) == tested
    assert len(hidden) == 2 * len(tested)


def test_first_site_alone_is_there_when_a_track_says_so(
    suite: Suite, splits: Splits, load: Callable[[Task], TaskData]
) -> None:
    one, all_ = (task_of(suite, track) for track in ("multi-site-1", "multi-site"))
    alone, whole = load(one), load(all_)

    assert splits.get(one, "yard").hash == splits.get(all_, "yard").hash
    assert [site.name for site in alone.test.sites] == ["yard/west"]
    np.testing.assert_array_equal(
        alone.test.path_range_m, whole.test.path_range_m[: len(alone.test)]
    )
    np.testing.assert_array_equal(alone.asked, whole.asked)


def test_more_sites_are_refused_than_a_scene_has(
    suite: Suite, splits: Splits, load: Callable[[Task], TaskData]
) -> None:
    split = splits.get(task_of(suite, "multi-site"), "yard")
    with pytest.raises(SplitError, match="UEs heard by 3 sites were asked for, and yard has 2"):
        link_rows(3, split, split.rows(TEST))


def test_links_of_absent_ues_are_left_out_when_a_site_lacks_them(
    suite: Suite, splits: Splits
) -> None:
    split = splits.get(task_of(suite, "multi-site"), "yard")
    rows = split.rows(TEST)[:3]
    gone = split.table["ue_index"].iloc[rows[1]]
    kept = ~((split.table["site"] == "east") & (split.table["ue_index"] == gone))
    table = split.table[kept].reset_index(drop=True)

    links, ue = link_rows("all", dataclasses.replace(split, table=table), rows)

    assert ue.tolist() == [0, 1, 2, 0, 2]
    assert table["ue_index"].iloc[links].tolist() == [
        *table["ue_index"].iloc[rows],
        *table["ue_index"].iloc[rows[[0, 2]]],
    ]


def test_a_ue_is_detected_when_any_of_its_sites_shows_a_path(
    suite: Suite, splits: Splits, shared_dataset: Dataset, kept: Path
) -> None:
    task = task_of(suite, "multi-site")

    counts = count_paths(task, 0, shared_dataset, splits, kept)

    num_paths = num_paths_in(measure(survey_of_test(task, 0), shared_dataset, kept, with_csi=False))
    links = links_of(shared_dataset, "yard").assign(num_paths=num_paths)
    total = links.groupby("ue_index")["num_paths"].sum()
    np.testing.assert_array_equal(counts["num_paths"], total[counts["ue_index"]])
    first = links[links["site"] == "west"].set_index("ue_index")["num_paths"]
    assert (counts["num_paths"].to_numpy() > first[counts["ue_index"]].to_numpy()).any()


def test_suite_of_sites_runs_to_the_board_when_models_take_them(
    suite: Suite, shared_dataset: Dataset, kept: Path, tmp_path: Path
) -> None:
    runner = Runner(suite, shared_dataset, tmp_path / "runs")
    runner.folder.measurements.symlink_to(kept)
    choice = RunChoice(
        models=tuple(map(get_model, ("aoa_toa", "aoa_toa+sites"))),
        tracks=("multi-site", "multi-site-1"),
    )

    report = runner.run(choice, executor=ThisMachine(1))

    # A model of single links is asked where one site hears alone.
    assert (report.num_run, report.failures) == (1 + 2, ())
    summary = build_board(runner.folder).summary
    assert set(summary.loc[summary["model"] == "error_bound", "track"]) == {"multi-site-1"}
    table = summary[summary["label"] == "all"].groupby(["track", "model"])["median_m"].first()
    oracle_m = table.xs("oracle_nearest", level="model")
    assert oracle_m["multi-site"] == oracle_m["multi-site-1"]
    # One site alone is the model itself, if it errs alike with and without links that show nothing.
    alone_m = table["multi-site-1"]
    assert alone_m["aoa_toa+sites"] == pytest.approx(alone_m["aoa_toa"], rel=0.05)


def few_trees(name: str) -> Localizer:
    folder = get_model(name)
    config = copy.deepcopy(folder.info.config)
    for part in (config, config.get("trees", {})):
        part["num_trees"] = 25
    return folder.with_config(config).create(0)


def test_switch_takes_geometry_where_a_site_is_in_sight_and_trees_elsewhere(
    suite: Suite, splits: Splits, shared_dataset: Dataset, load: Callable[[Task], TaskData]
) -> None:
    task = task_of(suite, "multi-site")
    data, truth = load(task), truth_of(task, shared_dataset, splits)
    links = links_of(shared_dataset, "yard").iloc[handed_rows(task, splits.get(task, "yard"))]
    is_los = UeLinks.of(data.test).by_site(links["los"].to_numpy() == LOS).any(axis=1)
    assert is_los.any()
    assert not is_los.all()

    error_m = {}
    for name in ("site_trees", "los_switch"):
        model = few_trees(name)
        model.fit(data.train, data.validation)
        told = model.predict(data.test)
        at_m = UeLinks.of(data.test).common_positions(told.position_m)[data.asked]
        error_m[name] = np.linalg.norm(at_m - truth[["x_m", "y_m"]], axis=1)

    assert np.median(error_m["los_switch"][is_los]) < 0.2
    assert np.median(error_m["site_trees"][is_los]) > 0.4
    same = np.isclose(error_m["los_switch"], error_m["site_trees"])
    assert same[~is_los].mean() > 0.8
    assert same[is_los].mean() < 0.2


def test_switch_answers_when_paths_end_at_the_foot_of_a_site(
    suite: Suite, load: Callable[[Task], TaskData]
) -> None:
    data = load(task_of(suite, "multi-site"))
    model = few_trees("los_switch")
    model.fit(data.train, data.validation)

    short = dataclasses.replace(data.test, path_range_m=np.ones_like(data.test.path_range_m))
    told = model.predict(short)

    assert np.isfinite(told.position_m).all()
    assert (np.linalg.eigvalsh(told.covariance_m2) > 0).all()


def test_models_are_refused_when_no_track_is_theirs(suite: Suite, yard_suite: Suite) -> None:
    with pytest.raises(ConfigError, match="'los_switch' takes several sites, and none of the"):
        require_task_for(get_model("los_switch"), yard_suite.tasks())
    with pytest.raises(ConfigError, match=r"name it wknn\+sites, which fuses one for each site"):
        require_task_for(get_model("wknn"), [task_of(suite, "multi-site")])


def test_export_says_which_links_are_of_one_ue(
    suite: Suite, load: Callable[[Task], TaskData], tmp_path: Path
) -> None:
    links = load(task_of(suite, "multi-site")).test

    with h5py.File(tmp_path / "task.h5", "w") as file:
        _write_measurements(file.create_group("test"), links)
        np.testing.assert_array_equal(file["test/ue"][()], links.ue)
