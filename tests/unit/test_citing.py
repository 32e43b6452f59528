import json
import re
import shutil
from pathlib import Path

import pytest
from command_line import raymark

from raymark.benchmark.citing import board_works
from raymark.benchmark.store import ModelRecord, RunFolder
from raymark.catalog import publish_release
from raymark.dataset import open_dataset
from raymark.errors import ConfigError
from raymark.models import model_names, shipped_references
from raymark.release.citing import dataset_works

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(r"@\w+\{([^,]+),")


def keys(text: str) -> list[str]:
    return ENTRY.findall(text)


def entries(text: str) -> dict[str, str]:
    """Entries of one line each, by key."""
    return {found[1]: line for line in text.splitlines() if (found := ENTRY.match(line))}


def assert_balanced(text: str) -> None:
    """Braces of BibTeX close where they were opened."""
    depth = 0
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    assert depth == 0


def test_dataset_is_cited_with_scenes_and_programs_when_released(small_release: Path) -> None:
    done = raymark("cite", small_release)

    assert done.returncode == 0, done.stderr
    assert keys(done.stdout) == [
        *("two-walls", "scene-wall", "scene-yard", "raymark", "closed-forms")
    ]
    assert "those who built the yard" in done.stdout
    assert_balanced(done.stdout)


def test_ray_tracer_is_cited_when_it_found_the_paths(small_dataset: object) -> None:
    from raymark.dataset import Dataset

    assert isinstance(small_dataset, Dataset)
    works = "\n".join(dataset_works(small_dataset, None))

    assert keys(works)[-1] == "sionna-rt"
    version = small_dataset.manifest.software["sionna-rt"]
    assert f"version = {{{version}}}" in works
    assert "Dataset, not published" in works


def test_release_is_cited_by_name_when_it_is_in_an_index(
    small_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYMARK_INDEX", str(tmp_path / "index.json"))
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "cache"))
    publish_release(small_release, str(tmp_path / "to"), str(tmp_path / "index.json"))

    by_name, by_folder = raymark("cite", "two-walls"), raymark("cite", small_release)

    assert by_name.stdout == by_folder.stdout
    assert not list(tmp_path.glob("cache/datasets/two*"))  # nothing had to be fetched


def test_hostile_names_stay_within_their_fields_when_cited(small_release: Path) -> None:
    dataset = open_dataset(small_release)
    sites = tuple(
        site.model_copy(update={"attribution": "}, author = {me}\n@misc{x, \\input{y} 100 % & # $"})
        for site in dataset.manifest.sites
    )
    dataset.manifest = dataset.manifest.model_copy(update={"sites": sites})

    works = "\n".join(dataset_works(dataset, None))

    assert_balanced(works)
    assert len(re.findall(r"^@", works, flags=re.MULTILINE)) == 5


@pytest.mark.parametrize("name", model_names())
def test_works_beside_a_model_are_those_of_our_bibliography_when_named(name: str) -> None:
    ours = entries((ROOT / "docs" / "references.bib").read_text(encoding="utf-8"))

    text = shipped_references(name)

    assert len(entries(text)) == len(text.splitlines())  # an entry a line
    for key, entry in entries(text).items():
        assert ours.get(key, entry) == entry


def run_of(folder: Path, benchmark_run: RunFolder, **cards: str) -> Path:
    """A run's record with models of other names and cards."""
    folder.mkdir()
    shutil.copyfile(benchmark_run.root / "run.json", folder / "run.json")
    for name, card in cards.items():
        record = ModelRecord(
            name=name,
            title=name,
            kind="model",
            is_trajectory=False,
            summary="-",
            card=card,
            tuning="-",
        )
        RunFolder(folder).write_model(record)
    return folder


BLOCK = "# Mine\n\n```bibtex\n@misc{mine2026,\n  title = {Mine}\n}\n```\n"


def test_models_are_cited_when_they_are_on_a_board(
    benchmark_run: RunFolder, tmp_path: Path
) -> None:
    cards = {"scadf_moe": "# x", "mmoe": "# x", "wknn": "# x", "mine": BLOCK}
    folder = run_of(tmp_path / "runs", benchmark_run, **cards)

    works, unnamed = board_works(folder, shipped_references)
    done = raymark("cite", folder)

    assert keys("\n".join(works)) == [
        *("suite-tests-1", "raymark", "mine2026", "scadfmoe2025", "ma2018")
    ]
    assert unnamed == ["wknn"]
    assert "@misc{mine2026," in done.stdout
    assert done.stdout.rstrip().endswith("% no work is named for: wknn")
    assert benchmark_run.info().content_hash[:12] in done.stdout


def test_models_are_cited_when_a_release_has_predictions(benchmark_release: Path) -> None:
    done = raymark("cite", benchmark_release)

    assert done.returncode == 0, done.stderr
    assert keys(done.stdout) == [
        *("canyon-and-yard", "scene-street-canyon", "scene-yard", "raymark", "sionna-rt"),
        "suite-tests-1",
    ]
    assert "% no work is named for: train_centroid, wknn" in done.stdout


def test_models_are_cited_when_only_the_board_is_there(tmp_path: Path) -> None:
    rows = [{"model": name} for name in ("deep_sets", "deep_sets", "oracle_nearest", "theirs")]
    (tmp_path / "board.json").write_text(json.dumps(rows), encoding="utf-8")

    works, unnamed = board_works(tmp_path, shipped_references)

    assert keys("\n".join(works)) == ["raymark", "zaheer2017"]
    assert unnamed == ["theirs"]
    (tmp_path / "board.json").write_text('{"rows": 1}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"board\.json is no board: each of its rows has a 'mod"):
        board_works(tmp_path, shipped_references)


def test_cite_says_one_sentence_when_there_is_nothing_to_cite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYMARK_INDEX", raising=False)
    folder, name = raymark("cite", tmp_path), raymark("cite", "two-walls")

    assert (folder.returncode, name.returncode) == (2, 2)
    assert "holds no dataset" in folder.stderr
    assert "no index of datasets is set" in name.stderr


def test_part_of_a_dataset_says_of_which_when_cited(small_release: Path, tmp_path: Path) -> None:
    from raymark.dataset.subset import Cut, cut_dataset

    cut_dataset(open_dataset(small_release), tmp_path / "cut", Cut(scenes=("yard",)))

    done = raymark("cite", tmp_path / "cut")

    whole = open_dataset(small_release).manifest.content_hash
    assert f"a part of the one with content hash {str(whole)[:12]}" in done.stdout
