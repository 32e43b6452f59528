"""A procedural scene of the user's own, that of the tutorial: its code runs only if trusted."""

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import raymark

from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.campaign import Campaign
from raymark.errors import ConfigError, SceneError
from raymark.generator.generate import generate_dataset
from raymark.generator.site_writing import require_writable
from raymark.scenes import Scene, call_trusting, get_scene, trust, trust_folder, trusted_folders
from raymark.work.cluster import LocalCluster, cluster_workers

PAGE = Path(__file__).parents[2] / "docs" / "new_scene.md"
BLOCK = re.compile(r"^```\w+\n# (yard/\S+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RAN = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_TRUSTED", set())


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "yard"


def edit(yard: Path, old: str, new: str) -> None:
    path = yard / "geometry.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def campaign(yard: Path, **params: float) -> dict[str, Any]:
    return {
        "name": "own",
        "scenes": [{"name": str(yard), "params": params}],
        "bands": ["28GHz"],
        "sampling": {"kind": "uniform", "num_ues": 5, "max_range_m": 50.0},
        "tracer": {"max_depth": 1, "discovery": {"discovery_rays": 1000}},
    }


def hash_of(yard: Path, workspace: Path) -> str:
    scene = get_scene(str(yard), trust_code=True)
    return scene.hash(scene.xml_path(workspace))


@pytest.mark.parametrize("load", [lambda yard: get_scene(str(yard)), Scene])
def test_code_does_not_run_when_nobody_trusts_it(yard: Path, load: Callable[[Path], Scene]) -> None:
    edit(yard, "import trimesh", RAN + "import trimesh")

    with pytest.raises(SceneError, match=r"runs only if you trust it: .* --trust-code .*yard"):
        load(yard)

    assert not (yard / "ran").exists()
    get_scene(str(yard), trust_code=True)
    assert (yard / "ran").exists()


def test_code_does_not_run_when_a_folder_has_the_name_of_a_shipped_scene(
    yard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = yard.with_name("street_canyon")
    yard.rename(folder)
    monkeypatch.chdir(folder.parent)

    with pytest.raises(SceneError, match="--trust-code street_canyon"):
        get_scene("street_canyon")


def test_trust_is_for_one_folder_when_another_lies_beside_it(yard: Path) -> None:
    other = yard.with_name("other")
    other.mkdir()
    for name in ("scene.yaml", "geometry.py"):
        (other / name).write_bytes((yard / name).read_bytes())
    trust_folder(yard)

    get_scene(str(yard))
    with pytest.raises(SceneError, match=r"--trust-code .*other"):
        get_scene(str(other))


def test_trust_is_refused_when_there_is_no_code(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"holds no geometry\.py"):
        trust_folder(tmp_path)


def test_dataset_is_made_when_the_code_is_trusted(
    yard: Path, make_dataset: Callable[..., Dataset]
) -> None:
    trust_folder(yard)
    data = make_dataset(campaign(yard, height_m=20))

    (record,) = data.manifest.sites
    assert (record.scene, record.site, record.num_ues) == ("yard", "bs0", 5)
    scene = get_scene(str(yard), {"height_m": 20})
    assert scene.params == {"side_m": 120.0, "height_m": 20}
    assert scene.extent_m == (-60.0, -60.0, 60.0, 60.0)
    assert [site.name for site in scene.sites] == ["bs0"]


@pytest.mark.slow
@pytest.mark.needs("distributed")
def test_workers_run_the_code_when_the_driver_trusts_it(
    yard: Path, tmp_path: Path, make_dataset: Callable[..., Dataset]
) -> None:
    trust_folder(yard)
    expected = make_dataset(campaign(yard))
    checked = validate(Campaign, campaign(yard), where="own")

    workers = cluster_workers(LocalCluster(num_workers=1))
    report = generate_dataset(checked, tmp_path / "data", workers=workers)

    assert report.failures == ()
    assert report.manifest.content_hash == expected.manifest.content_hash


def test_command_runs_the_code_when_its_option_names_the_folder(yard: Path) -> None:
    (yard / "card.md").write_text("# yard\n", encoding="utf-8")

    refused = raymark("scenes", "show", yard)
    shown = raymark("scenes", "show", yard, "--trust-code", yard)

    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"--trust-code {yard}" in refused.stderr
    assert shown.returncode == 0, shown.stderr
    assert "parameter    side_m = 120.0" in shown.stdout


def test_generate_takes_a_campaign_when_the_code_is_trusted(yard: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(campaign(yard)), encoding="utf-8")
    command = ("generate", path, "--out", tmp_path / "data", "--dry-run")

    refused = raymark(*command)
    planned = raymark(*command, "--trust-code", yard)

    assert refused.returncode == 2
    assert f"--trust-code {yard}" in refused.stderr
    assert planned.returncode == 0, planned.stderr
    assert "would trace 5 links" in planned.stdout


def test_scene_is_another_when_its_code_was_edited(yard: Path, tmp_path: Path) -> None:
    first, again = (hash_of(yard, tmp_path / name) for name in "ab")
    edit(yard, "import trimesh", "import trimesh  # as before")
    commented = hash_of(yard, tmp_path / "c")
    edit(yard, "12.0", "13.0")
    higher = get_scene(str(yard))

    assert first == again
    assert len({first, commented, hash_of(yard, tmp_path / "d")}) == 3
    assert higher.params["height_m"] == 13.0  # what runs is what the file says now


def test_code_leaves_no_trace_when_it_ran(yard: Path) -> None:
    before = list(sys.path)
    get_scene(str(yard), trust_code=True)

    assert sys.path == before
    assert sorted(path.name for path in yard.iterdir()) == ["geometry.py", "scene.yaml"]
    assert "geometry" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def build(", "def built(", r"geometry\.py must define default_params, build, sites and"),
        (
            "import trimesh",
            "import trimash",
            r"geometry\.py failed: ModuleNotFoundError: .*trimash",
        ),
        ("import trimesh", "import trimesh (", r"geometry\.py failed: SyntaxError"),
        ("def sites(params):", "def sites(params):\n    1 / 0", r"failed: ZeroDivisionError"),
    ],
)
def test_scene_says_whose_code_failed_when_it_is_wrong(
    yard: Path, old: str, new: str, message: str
) -> None:
    edit(yard, old, new)

    with pytest.raises(SceneError, match=message):
        get_scene(str(yard), trust_code=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(-half, -half, half, half)", "(-half, half)", r"geometry\.py: extent_m"),
        ('(Site(name="bs0",', '(dict(nome="bs0",', r"unknown key at .*geometry\.py: sites\[0\]"),
        ("12.0", "None", r"geometry\.py: params"),
    ],
)
def test_scene_names_the_place_when_its_code_answers_nonsense(
    yard: Path, old: str, new: str, message: str
) -> None:
    edit(yard, old, new)

    with pytest.raises(ConfigError, match=message):
        get_scene(str(yard), trust_code=True)


def test_build_is_blamed_when_it_fails_or_writes_nothing(yard: Path, tmp_path: Path) -> None:
    edit(yard, "    write_geometry(", "    dict(folder=folder, meshes=meshes) and print(")
    edit(yard, "print(folder, meshes, thickness_m=0.3)", "None")
    with pytest.raises(SceneError, match=r"scene 'yard': its geometry .*scene\.xml is missing"):
        get_scene(str(yard), trust_code=True).xml_path(tmp_path)

    edit(yard, "half = params", "half = params['none'] + params")
    with pytest.raises(SceneError, match=r"geometry\.py failed: KeyError: 'none'"):
        get_scene(str(yard))


def test_parameter_is_refused_when_the_code_has_none_of_its_name(yard: Path) -> None:
    with pytest.raises(SceneError, match="no parameter 'hight_m'; did you mean 'height_m'"):
        get_scene(str(yard), {"hight_m": 3}, trust_code=True)


def test_sites_are_not_written_when_the_code_gives_them(yard: Path) -> None:
    with pytest.raises(SceneError, match="scene 'yard' is procedural, so that its sites follow"):
        require_writable(get_scene(str(yard), trust_code=True))


def test_trust_is_taken_back_when_a_worker_is_done(yard: Path) -> None:
    trust_folder(yard)
    driver = partial(call_trusting, trusted_folders(), get_scene)
    trust._TRUSTED.clear()  # as in the process of a worker

    assert driver(str(yard)).name == "yard"
    with pytest.raises(SceneError, match="--trust-code"):
        get_scene(str(yard))
