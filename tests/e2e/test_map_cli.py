"""Models that know the city, from the maps to located links, as a user meets them."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from command_line import raymark

from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite
from raymark.dataset import Dataset, open_dataset

FINISHED, BAD_INPUT = 0, 2
SPLIT = {"kind": "nlos-blocks", "buffer_m": 4.0, "num_folds": 3}
TASK = "tests/map-exact/yard/6GHz/fold-1"


@pytest.fixture(scope="module")
def suite_file(
    benchmark_suite: Suite, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Write a suite of one fold on a track with maps."""

    def write(track: str) -> Path:
        path = tmp_path_factory.mktemp("suite") / "tests.yaml"
        data = benchmark_suite.model_dump(mode="json") | {
            "scenes": ["yard"],
            "bands": ["6GHz"],
            "tracks": [{"track": track, "split": SPLIT, "folds": [1]}],
        }
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return path

    return write


def said(*arguments: object) -> tuple[int, str, str]:
    """Run a command; what it printed comes as words with a space between."""
    done = raymark(*arguments)
    return done.returncode, " ".join(done.stdout.split()), " ".join(done.stderr.split())


@pytest.mark.slow
def test_run_scores_a_model_that_knows_the_city_beside_one_that_does_not(
    suite_file: Callable[[str], Path],
    benchmark_dataset: Dataset,
    benchmark_maps: Path,
    tmp_path: Path,
) -> None:
    runs, asked = tmp_path / "runs", ["--suite", suite_file("map-exact")]
    asked += ["--data", benchmark_dataset.folder, "--maps", benchmark_maps]

    code, out, err = said(
        *["bench", "run", *asked, "--models", "twin_match,train_centroid", "--out", runs]
    )

    assert code == FINISHED, err
    assert "2 cells run" in out
    cells = [cell for cell in RunFolder(runs).cells() if cell.result.model == "twin_match"]
    assert [cell.task.track for cell in cells] == ["map-exact"]
    again, out, _ = said("bench", "run", *asked, "--models", "twin_match", "--out", runs)
    assert (again, "0 cells run, 1 kept" in out) == (FINISHED, True)
    code, out, err = said("bench", "board", runs, "--out", tmp_path / "board", "--overwrite")
    assert code == FINISHED, err
    assert "Trace and match" in out


@pytest.mark.slow
def test_trained_model_locates_all_links_when_it_gets_its_map(
    suite_file: Callable[[str], Path],
    benchmark_dataset: Dataset,
    benchmark_maps: Path,
    tmp_path: Path,
) -> None:
    data, checkpoint, file = benchmark_dataset.folder, tmp_path / "twin", tmp_path / "found.csv"
    training = ["train", "twin_match", "--task", TASK, "--suite", suite_file("map-exact")]
    training += ["--data", data, "--out", checkpoint]

    code, _, err = said(*training)
    assert code == BAD_INPUT
    assert "needs a folder of maps (--maps DIR)" in err
    code, _, err = said(*training, "--maps", benchmark_maps)
    assert code == FINISHED, err
    code, _, err = said("predict", checkpoint, "--data", data, "--out", file)
    assert code == BAD_INPUT
    assert "needs a folder of maps (--maps DIR)" in err
    code, _, err = said(
        *["predict", checkpoint, "--data", data, "--maps", benchmark_maps, "--out", file]
    )
    assert code == FINISHED, err
    assert len(pd.read_csv(file)) == len(benchmark_dataset.select(scene="yard", band="6GHz"))


@pytest.mark.slow
def test_maps_are_made_and_kept_when_the_command_is_given_twice(
    suite_file: Callable[[str], Path], benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    asked = ["bench", "maps", "--suite", suite_file("map-pose"), "--data", benchmark_dataset.folder]
    asked += ["--spacing", 25, "--out", tmp_path / "maps"]

    code, out, err = said(*asked)
    assert code == FINISHED, err
    assert "1 map in" in out
    made = open_dataset(tmp_path / "maps" / "pose-0").manifest.content_hash
    code, _, err = said(*asked)
    assert code == FINISHED, err
    assert open_dataset(tmp_path / "maps" / "pose-0").manifest.content_hash == made


@pytest.mark.parametrize(
    ("track", "options", "sentence"),
    [
        ("map-exact", [], "a model that knows the city needs a folder of maps (--maps DIR)"),
        ("unseen-nlos", ["--maps", "."], "none of the tracks has maps (unseen-nlos)"),
        ("map-open", ["--maps", "."], "has no map 'open-0'; `raymark bench maps` makes it"),
    ],
)
def test_run_says_one_sentence_when_maps_are_missing(
    track: str,
    options: list[str],
    sentence: str,
    suite_file: Callable[[str], Path],
    benchmark_dataset: Dataset,
    tmp_path: Path,
) -> None:
    asked = ["bench", "run", "--suite", suite_file(track), "--models", "twin_match", *options]

    code, _, err = said(*asked, "--data", benchmark_dataset.folder, "--out", tmp_path / "runs")

    assert code == BAD_INPUT
    assert sentence in err


def test_maps_are_refused_when_the_suite_has_no_track_for_them(
    suite_file: Callable[[str], Path], benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    asked = ["bench", "maps", "--suite", suite_file("unseen-nlos"), "--out", tmp_path / "maps"]

    code, _, err = said(*asked, "--data", benchmark_dataset.folder)

    assert code == BAD_INPUT
    assert "suite 'tests' has no track with maps (map-...)" in err
    assert not (tmp_path / "maps").exists()
