"""`raymark scenes degrade` as its user runs it: a scene with a wrong map, or one clear sentence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh
from command_line import raymark

from raymark.scenes import get_scene
from raymark.scenes.degrading import DegradeReport

WriteScene = Callable[..., Path]


def test_degrade_makes_a_scene_that_is_shown_and_degraded_again_when_asked(
    tmp_path: Path,
) -> None:
    out = tmp_path / "canyon-open"
    done = raymark("scenes", "degrade", "street_canyon", "--grade", "open", "--out", out)

    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^ *([a-z, ]+?) {2,}(\d+)$", done.stdout, flags=re.MULTILINE))
    record = DegradeReport.model_validate_json((out / "degraded.json").read_bytes())
    assert int(counts["in the scene"]) == record.num_source_buildings == 36
    assert int(counts["on the map"]) == record.num_buildings
    assert f"wrote {out}" in done.stdout
    again = raymark(
        *("scenes", "degrade", out, "--grade", "surveyed", "--seed", 3),
        *("--out", tmp_path / "twice"),
    )
    assert again.returncode == 0, again.stderr
    shown = raymark("scenes", "show", tmp_path / "twice").stdout
    assert "grade surveyed" in shown
    assert json.loads((tmp_path / "twice" / "degraded.json").read_text())["source"] == out.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["street_canyon", "--grade", "opn", "--out", "map"],
            "unknown grade 'opn'; did you mean 'open'? (there are: exact, surveyed, open, height, "
            "shift, outline, missing, material, pose)",
        ),
        (
            ["street_canion", "--grade", "open", "--out", "map"],
            "unknown scene 'street_canion'; did you mean 'street_canyon'?",
        ),
        (
            ["street_canyon", "--grade", "open", "--seed", "-1", "--out", "map"],
            "--seed must be from 0 to 4294967295, got -1",
        ),
        (["street_canyon", "--grade", "open", "--out", "there"], "there exists; choose another"),
        (["street_canyon", "--grade", "open", "--out", "munich"], "is that of a built-in scene"),
        (["street_canyon", "--grade", "open", "--out", "file/map"], "a part of the path is a file"),
    ],
    ids=["grade", "scene", "seed", "folder", "name", "path"],
)
def test_degrade_says_one_sentence_when_input_is_wrong(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()

    done = raymark("scenes", "degrade", *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("error:") == 1
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"there", "file"}


def test_degrade_says_one_sentence_when_a_map_has_no_building(
    write_scene: WriteScene, tmp_path: Path
) -> None:
    flat = [[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]]
    ground = trimesh.Trimesh(flat, [[0, 1, 2], [0, 2, 3]], process=False)
    field = write_scene("field", {"ground": (ground, "concrete")}, [])

    done = raymark("scenes", "degrade", field, "--grade", "exact", "--out", tmp_path / "map")

    assert done.returncode == 2
    assert "scene 'field' has no building, so that its map cannot be wrong" in done.stderr
    assert get_scene(str(field)).sites == ()
    assert not (tmp_path / "map").exists()
