"""A user's own scene folder: what is wrong with it is said in one sentence."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trimesh

from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.campaign import Campaign
from raymark.errors import ConfigError, SceneError
from raymark.generator.plan import make_plan

SITE = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}


def campaign(scene: Path, **choice: Any) -> dict[str, Any]:
    return {
        "name": "own",
        "scenes": [{"name": str(scene), **choice}],
        "bands": ["28GHz"],
        "sampling": {"kind": "uniform", "num_ues": 5, "max_range_m": 50.0},
        "tracer": {"max_depth": 1, "discovery": {"discovery_rays": 1000}},
    }


def plan(scene: Path, **choice: Any) -> None:
    make_plan(validate(Campaign, campaign(scene, **choice), where="own.yaml"))


@pytest.fixture
def folder(write_scene: Callable[..., Path]) -> Path:
    plate = trimesh.creation.box(bounds=[[-200, -200, -1], [200, 200, 0]])
    return write_scene("own", {"ground": (plate, "concrete")}, [SITE])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_dataset_is_made_when_the_folder_is_right(
    folder: Path, make_dataset: Callable[..., Dataset]
) -> None:
    data = make_dataset(campaign(folder))

    assert data.scenes == ("own",)
    assert data.manifest.sites[0].licence == "CC0-1.0"
    assert set(data.select(scene="own", band="28GHz").los) == {1}


LOWEST = """
import sys
from pathlib import Path
from raymark.generator.tracing.loaded_scene import LoadedScene
from raymark.radio import FrontEnd
print(LoadedScene(Path(sys.argv[1]), FrontEnd()).box_m[0][2])
"""


@pytest.mark.slow
@pytest.mark.parametrize("is_missing", [False, True])
def test_meshes_are_the_scenes_own_when_others_lie_in_the_working_folder(
    is_missing: bool, folder: Path, write_scene: Callable[..., Path]
) -> None:
    lower = trimesh.creation.box(bounds=[[-200, -200, -41], [200, 200, -40]])
    other = write_scene("other", {"ground": (lower, "concrete")}, [SITE])
    if is_missing:
        (folder / "meshes" / "ground.ply").unlink()

    # In a process of its own: Mitsuba remembers the working folder that it was loaded in.
    run = subprocess.run(
        [sys.executable, "-c", LOWEST, folder / "scene.xml"],
        cwd=other,
        check=False,
        capture_output=True,
        text=True,
    )

    if is_missing:
        assert "SceneError: cannot load the geometry" in run.stderr
    else:
        assert float(run.stdout) == -1.0


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("scene.xml", "</scene>", "", r"cannot load the geometry of .*scene\.xml: .*no element"),
        ("scene.xml", "ground.ply", "gone.ply", r"cannot load the geometry of .*gone\.ply"),
        ("meshes/ground.ply", "ply\n", "nonsense\n", r"cannot load the geometry of .*ground\.ply"),
        ("scene.xml", 'value="concrete"', 'value="cheese"', r"cannot load the geometry .*cheese"),
        (
            "scene.yaml",
            "- concrete",
            "- brick",
            r"scene 'own': its meshes are of concrete, which scene\.yaml does not list",
        ),
        ("scene.yaml", "position_m:\n  - 0.0", "position_m:\n  - 900.0", r"outside the scene"),
    ],
    ids=["xml", "no mesh", "bad mesh", "cheese", "unlisted", "outside"],
)
def test_plan_says_what_is_wrong_when_a_file_is_spoilt(
    folder: Path, file: str, old: str, new: str, message: str
) -> None:
    if file.endswith(".ply"):
        (folder / file).write_bytes(b"nonsense\n")
    else:
        edit(folder / file, old, new)

    with pytest.raises(SceneError, match=message):
        plan(folder)


def test_plan_says_so_when_a_material_is_the_users_own(folder: Path) -> None:
    path = folder / "scene.xml"
    edit(path, "mat-concrete", "mat-own")
    edit(path, 'type="itu-radio-material"', 'type="radio-material"')
    edit(path, '<string name="type" value="concrete" />', "")

    message = r"scene\.xml: mesh '.*' is of no ITU-R P\.2040 material; give its bsdf the type 'itu-"
    with pytest.raises(SceneError, match=message):
        plan(folder)


def test_plan_says_so_when_the_scene_is_empty(folder: Path) -> None:
    (folder / "scene.xml").write_text('<scene version="2.1.0"></scene>', encoding="utf-8")

    with pytest.raises(SceneError, match=r"scene\.xml holds no mesh"):
        plan(folder)


def test_plan_says_so_when_the_scene_has_no_site(write_scene: Callable[..., Path]) -> None:
    plate = trimesh.creation.box(bounds=[[-200, -200, -1], [200, 200, 0]])
    scene = write_scene("no_site", {"ground": (plate, "concrete")}, [])

    with pytest.raises(
        SceneError,
        match=r"scene .no_site. has no site; run `raymark scenes add-site .*no_site --write`",
    ):
        plan(scene)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("titel: x\n", r"unknown key at .*scene\.yaml: titel; did you mean 'title'\?"),
        ("geometry: magic\n", r"scene\.yaml: geometry"),
    ],
)
def test_plan_names_the_key_when_scene_yaml_is_wrong(
    folder: Path, change: str, message: str
) -> None:
    path, key = folder / "scene.yaml", change.partition(":")[0]
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(key)]
    path.write_text("".join(kept) + change, encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        plan(folder)


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        (["bs0", "bs0"], r"site 'bs0' is listed 2 times .*own\.yaml: scenes\[0\]\.sites"),
        ([], r"at least 1 item .*own\.yaml: scenes\[0\]\.sites"),
    ],
)
def test_campaign_raises_when_sites_are_twice_or_none(
    folder: Path, sites: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(folder, sites=sites)


def test_plan_offers_the_nearest_when_a_site_is_unknown(folder: Path) -> None:
    with pytest.raises(SceneError, match=r"scene 'own' has no site 'bs1'; did you mean 'bs0'\?"):
        plan(folder, sites=["bs1"])
