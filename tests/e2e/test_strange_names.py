"""Scenes that are named as people name folders."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trimesh
from command_line import raymark

from raymark.dataset import Dataset
from raymark.errors import SceneError
from raymark.release import About, BuildSettings, build_release, card_page, verify_release
from raymark.release.record import Author
from raymark.scenes.scene import get_scene

SITE = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}


def box() -> dict[str, tuple[trimesh.Trimesh, str]]:
    bounds = {
        "ground": [[-50, -50, -1], [50, 50, 0]],
        "box": [[20, -5, 0], [22, 5, 9]],
    }
    return {x: (trimesh.creation.box(bounds=b), "concrete") for x, b in bounds.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my yard", "Zürich+2"])
def test_release_is_sound_when_a_scene_is_named_as_people_do(
    write_scene: Callable[..., Path],
    trace_points: Callable[..., Dataset],
    tmp_path: Path,
    name: str,
) -> None:
    scene = write_scene(name, box(), [SITE])
    dataset = trace_points(scene, [[10, 5, 1.5], [30, 0, 1.5], [10, -9, 1.5]], bands=["6GHz"])
    about = About(title="Yard", authors=(Author(name="Doe, Jane"),))
    settings = BuildSettings(version="1.0.0", about=about, materialized=((name, "6GHz"),))

    build_release(dataset.folder, tmp_path / "release", settings)

    assert verify_release(tmp_path / "release", "full") == []
    assert name in card_page(tmp_path / "release")
    done = raymark("release", "subset", dataset.folder, "--out", tmp_path / "cut", "--ues", 2)
    assert done.returncode == 0, done.stderr
    assert raymark("verify", tmp_path / "cut").returncode == 0


@pytest.mark.parametrize("name", ["a(1)", "a\x1b[31m", "-a", "a" * 120])
def test_scene_is_refused_when_its_folder_is_named_as_no_path_should_be(
    write_scene: Callable[..., Path], name: str
) -> None:
    with pytest.raises(SceneError, match=r"a name has at most 100 letters.*; rename the folder"):
        get_scene(str(write_scene(name, box(), [SITE])))
