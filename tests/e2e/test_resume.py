"""Generation survives kill -9 anywhere, and its content does not depend on how it came about."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.journal import read_journal
from raymark.dataset.manifest import Manifest, read_manifest, write_manifest
from raymark.dataset.verification import verify_dataset
from raymark.errors import DatasetError, SceneError
from raymark.generator.generate import generate
from raymark.generator.plan import Plan, make_plan

pytestmark = pytest.mark.slow

SHARD_SIZE = 10

CHILD = """
import json, os, signal, sys
from pathlib import Path

place, how, campaign, folder, shard_size = sys.argv[1:]
real = os.fsync

def fsync(descriptor):
    # By now the file is written, but neither synchronised nor renamed.
    if place in os.readlink(f"/proc/self/fd/{descriptor}"):
        print("reached", flush=True)
        os.kill(os.getpid(), getattr(signal, how))
    real(descriptor)

if place:
    os.fsync = fsync

from raymark.dataset.campaign import Campaign
from raymark.config import validate
from raymark.generator.generate import generate
from raymark.generator.plan import make_plan

plan = make_plan(validate(Campaign, json.loads(campaign), where="child"))
generate(plan, Path(folder), shard_size=int(shard_size))
"""
"""Generates, and sends itself a signal when it is about to synchronise a certain file."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="names of open files: /proc")


def start_child(
    campaign: dict[str, Any],
    folder: Path,
    *,
    place: str = "",
    how: str = "SIGKILL",
    shard_size: int = SHARD_SIZE,
) -> subprocess.Popen[str]:
    arguments = (place, how, json.dumps(campaign), str(folder), str(shard_size))
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def plan(small_campaign: dict[str, Any]) -> Plan:
    return make_plan(validate(Campaign, small_campaign, where="test"))


class Stop(Exception):  # noqa: N818 - not an error: how these tests end a run
    """Ends a run after some shards, as Ctrl-C would."""


def run_until(plan: Plan, folder: Path, num_shards: int) -> None:
    """Generate until some more shards are finished."""
    calls = iter(range(num_shards - 1))

    def progress(_stage: str, done: int, _total: int) -> None:
        if done and next(calls, None) is None:
            raise Stop

    with pytest.raises(Stop):
        generate(plan, folder, shard_size=SHARD_SIZE, progress=progress)


def shard(folder: Path, part: int, kind: str = "paths") -> Path:
    return folder / kind / "street_canyon" / "bs0" / f"part-{part:04d}.h5"


def identity(path: Path) -> tuple[int, int]:
    """Changes when the file is written anew."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


KILLS = [
    ("dataset.json.", 0),
    ("paths/street_canyon/bs0/part-0000.h5.", 0),
    ("detail/street_canyon/bs0/part-0001.h5.", 1),
    ("journal.jsonl", 2),
    ("index.parquet.", 5),
    ("dataset.json.", 5),
]
"""Where a process dies, and how many shards are noted then."""


@linux_only
def test_content_is_the_same_when_killed_at_every_stage_and_resumed(
    plan: Plan, small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    first_shard = None
    for place, num_noted in KILLS:
        child = start_child(small_campaign, folder, place=place)
        out, err = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, err
        assert out == "reached\n"
        assert len(read_journal(folder)) == num_noted, place
        if place == "journal.jsonl":
            # Not synchronised: a power cut may take half of the note as well.
            truncate(folder / "journal.jsonl", less=40)
        with pytest.raises(DatasetError, match=r"is not finished|holds no dataset"):
            open_dataset(folder)
        if num_noted:
            first_shard = first_shard or identity(shard(folder, 0))
            assert identity(shard(folder, 0)) == first_shard  # never made again

    generate(plan, folder, shard_size=SHARD_SIZE)

    assert identity(shard(folder, 0)) == first_shard
    assert read_manifest(folder).content_hash == small_dataset.manifest.content_hash
    assert read_manifest(folder).arrays == small_dataset.manifest.arrays
    assert verify_dataset(folder) == []
    assert not list(folder.rglob("*.partial"))
    assert not (folder / "journal.jsonl").exists()


@linux_only
@pytest.mark.slow
def test_content_is_the_same_when_killed_at_any_moment_and_resumed(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    folder, rng = tmp_path / "data", np.random.default_rng(1)
    kills = 0
    for _ in range(40):
        noted = len(read_journal(folder)) if folder.exists() else 0
        child = start_child(small_campaign, folder, shard_size=25)
        # Wait for the next shard or the end, then for a moment that no test chooses.
        while child.poll() is None and len(read_journal(folder)) <= noted:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        child.kill()
        _, err = child.communicate(timeout=120)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, err
        kills += 1

    assert kills >= 1
    assert read_manifest(folder).content_hash == small_dataset.manifest.content_hash
    assert verify_dataset(folder) == []


@linux_only
def test_generation_is_refused_when_another_process_holds_the_folder(
    plan: Plan, small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    child = start_child(small_campaign, folder, place="part-0001.h5.", how="SIGSTOP")
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "reached\n"
        with pytest.raises(DatasetError, match=f"another process is generating into {folder}"):
            generate(plan, folder, shard_size=SHARD_SIZE)
    finally:
        child.kill()
        child.communicate(timeout=60)

    # The dead process holds nothing: the folder is free again, and what it made counts.
    before = identity(shard(folder, 0))
    manifest = generate(plan, folder, shard_size=SHARD_SIZE)
    assert manifest.content_hash == small_dataset.manifest.content_hash
    assert identity(shard(folder, 0)) == before


@pytest.mark.parametrize("shard_size", [50, 17, 1000])
def test_content_is_the_same_when_shards_have_another_size(
    plan: Plan, small_dataset: Dataset, tmp_path: Path, shard_size: int
) -> None:
    manifest = generate(plan, tmp_path, shard_size=shard_size)

    assert len(manifest.shards) == -(-50 // shard_size)
    assert manifest.arrays == small_dataset.manifest.arrays
    assert manifest.content_hash == small_dataset.manifest.content_hash
    ours = open_dataset(tmp_path).select(scene="street_canyon", band="28GHz")
    theirs = small_dataset.select(scene="street_canyon", band="28GHz")
    for name in ("amplitude", "delay_s", "interaction", "path_offset"):
        np.testing.assert_array_equal(
            getattr(ours.path_table(3, 44), name), getattr(theirs.path_table(3, 44), name)
        )


def test_content_is_the_same_when_shards_come_in_another_order(
    plan: Plan, small_dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    run_until(plan, folder, 4)
    for part in (0, 2):  # made last, after 1, 3
        shard(folder, part).unlink()
    kept = identity(shard(folder, 1)), identity(shard(folder, 3))

    manifest = generate(plan, folder, shard_size=SHARD_SIZE)

    assert (identity(shard(folder, 1)), identity(shard(folder, 3))) == kept
    assert identity(shard(folder, 0))[1] > kept[1][1]
    assert manifest.content_hash == small_dataset.manifest.content_hash
    assert [record.part for record in manifest.shards] == [0, 1, 2, 3, 4]


def test_content_is_the_same_when_the_scene_is_loaded_again(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    """The numbers that the ray tracer gives to meshes grow from load to load."""
    again = make_plan(validate(Campaign, small_campaign, where="test"))

    assert generate(again, tmp_path).content_hash == small_dataset.manifest.content_hash


def test_content_is_the_same_when_only_the_name_is_another(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    data = {**small_campaign, "name": "other", "description": "the same in other words"}

    manifest = generate(make_plan(validate(Campaign, data, where="test")), tmp_path)

    assert manifest.config_hash == small_dataset.manifest.config_hash
    assert manifest.content_hash == small_dataset.manifest.content_hash


def test_content_is_another_when_the_seed_is_another(
    small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    data = {**small_campaign, "seed": 8}

    manifest = generate(make_plan(validate(Campaign, data, where="test")), tmp_path)

    assert manifest.config_hash != small_dataset.manifest.config_hash
    assert manifest.content_hash != small_dataset.manifest.content_hash


def test_paths_of_a_ue_are_the_same_when_it_has_other_company(
    make_dataset: Callable[..., Dataset],
    small_campaign: dict[str, Any],
    small_dataset: Dataset,
    tmp_path: Path,
) -> None:
    whole = small_dataset.select(scene="street_canyon", band="28GHz")
    chosen = [41, 3, 17, 18]
    np.save(tmp_path / "ue.npy", whole.position_m[chosen].astype("f8"))
    files = {"street_canyon": str(tmp_path / "ue.npy")}

    few = make_dataset({**small_campaign, "sampling": {"kind": "positions", "files": files}})

    alone = few.select(scene="street_canyon", band="28GHz")
    for i, link in enumerate(chosen):
        ours, theirs = alone.path_table(i, i + 1), whole.path_table(link, link + 1)
        for name in ("amplitude", "delay_s", "azimuth_ue_rad", "interaction"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path, *, less: int = 1000) -> None:
    os.truncate(path, path.stat().st_size - less)


@pytest.mark.parametrize(
    ("kind", "spoil"), [("paths", damage), ("detail", truncate), ("detail", Path.unlink)]
)
def test_shard_is_made_again_when_it_was_spoilt_before_the_resume(
    plan: Plan,
    small_dataset: Dataset,
    tmp_path: Path,
    kind: str,
    spoil: Callable[[Path], None],
) -> None:
    folder = tmp_path / "data"
    run_until(plan, folder, 3)
    kept = identity(shard(folder, 2))
    spoil(shard(folder, 1, kind))

    manifest = generate(plan, folder, shard_size=SHARD_SIZE)

    assert manifest.content_hash == small_dataset.manifest.content_hash
    assert identity(shard(folder, 2)) == kept
    assert verify_dataset(folder) == []


@pytest.mark.parametrize("num_synced", [0, 1, 9])
def test_generation_goes_on_when_the_disk_was_full(
    plan: Plan,
    small_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_synced: int,
) -> None:
    folder, real, calls = tmp_path / "data", os.fsync, iter(range(num_synced))

    def fsync(descriptor: int) -> None:
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(DatasetError, match="the disk is full; free some space and run"):
            generate(plan, folder, shard_size=SHARD_SIZE)
    manifest = generate(plan, folder, shard_size=SHARD_SIZE)

    assert manifest.content_hash == small_dataset.manifest.content_hash


def test_nothing_is_lost_when_interrupted_by_the_user(
    plan: Plan, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, calls = tmp_path / "data", os.fsync, iter(range(5))

    def fsync(descriptor: int) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(KeyboardInterrupt):
            generate(plan, folder, shard_size=SHARD_SIZE)
    noted = len(read_journal(folder))

    assert noted == 1
    manifest = generate(plan, folder, shard_size=SHARD_SIZE)
    assert manifest.content_hash == small_dataset.manifest.content_hash


def test_generation_returns_at_once_when_dataset_is_complete(plan: Plan, tmp_path: Path) -> None:
    first = generate(plan, tmp_path, shard_size=SHARD_SIZE)
    before = {path: identity(path) for path in tmp_path.rglob("*") if path.is_file()}

    again = generate(plan, tmp_path, shard_size=SHARD_SIZE)

    assert again.content_hash == first.content_hash
    assert {p: identity(p) for p in tmp_path.rglob("*") if p.is_file()} == before


def test_progress_goes_on_from_what_is_done_when_resumed(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    run_until(plan, folder, 2)
    told: list[tuple[str, int, int]] = []

    generate(plan, folder, shard_size=SHARD_SIZE, progress=lambda *call: told.append(call))

    assert told == [("tracing", done, 50) for done in (20, 30, 40, 50)]


@pytest.fixture
def other_plan(small_campaign: dict[str, Any]) -> Plan:
    data = {**small_campaign, "name": "other", "tracer": {"max_depth": 0}}
    return make_plan(validate(Campaign, data, where="test"))


@pytest.fixture
def begun(plan: Plan, tmp_path: Path) -> Iterator[Path]:
    """A folder with two finished shards of the campaign."""
    folder = tmp_path / "begun"
    run_until(plan, folder, 2)
    before = sorted(path.name for path in folder.rglob("*"))
    yield folder
    assert set(before) <= {path.name for path in folder.rglob("*")}


def test_generation_is_refused_when_folder_holds_another_campaign(
    begun: Path, other_plan: Plan
) -> None:
    before = read_manifest(begun)

    message = (
        rf"begun holds another campaign \('small-canyon', config {before.config_hash[:12]}, 10 UEs "
        rf"per shard; this is 'other', {other_plan.config_hash[:12]}, 10\); choose another folder "
        "or add --overwrite"
    )
    with pytest.raises(DatasetError, match=message):
        generate(other_plan, begun, shard_size=SHARD_SIZE)
    assert read_manifest(begun) == before


def test_generation_is_refused_when_shard_size_is_another(begun: Path, plan: Plan) -> None:
    with pytest.raises(DatasetError, match=r"10 UEs per shard; this is .*, 25\)"):
        generate(plan, begun, shard_size=25)


def test_generation_is_refused_when_begun_with_other_software(begun: Path, plan: Plan) -> None:
    manifest = read_manifest(begun)
    software = {**manifest.software, "drjit": "0.9.9"}
    write_manifest(begun, manifest.model_copy(update={"software": software}))

    message = r"was begun with drjit 0\.9\.9 \(now .*\); go on with those versions or add"
    with pytest.raises(DatasetError, match=message):
        generate(plan, begun, shard_size=SHARD_SIZE)


def test_generation_is_refused_when_folder_holds_something_else(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious", encoding="utf-8")

    with pytest.raises(DatasetError, match="is not empty and holds no dataset"):
        generate(plan, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "precious"


def test_generation_replaces_only_its_own_files_when_overwriting(
    plan: Plan, other_plan: Plan, small_dataset: Dataset, tmp_path: Path
) -> None:
    generate(plan, tmp_path, shard_size=SHARD_SIZE)
    (tmp_path / "paths" / "note.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "logs").mkdir(exist_ok=True)
    (tmp_path / "logs" / "note.txt").write_text("mine", encoding="utf-8")

    manifest: Manifest = generate(other_plan, tmp_path, shard_size=50, overwrite=True)

    assert manifest.campaign.name == "other"
    assert manifest.content_hash != small_dataset.manifest.content_hash
    assert verify_dataset(tmp_path) == []
    assert [path.name for path in shard(tmp_path, 0).parent.iterdir()] == ["part-0000.h5"]
    assert (tmp_path / "paths" / "note.txt").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "logs" / "note.txt").read_text(encoding="utf-8") == "mine"


def test_generation_raises_when_the_folder_lies_below_a_file(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(DatasetError, match=r"cannot write .*data: a part of the path is a file"):
        generate(plan, tmp_path / "file" / "data")


def test_plan_raises_when_the_bs_stands_in_a_building(write_scene: Callable[..., Path]) -> None:
    house = trimesh.creation.box(bounds=[[-20, -20, 0], [20, 20, 15]])
    plate = trimesh.creation.box(bounds=[[-200, -200, -1], [200, 200, 0]])
    site = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}
    meshes = {"house": (house, "brick"), "ground": (plate, "concrete")}
    scene = write_scene("in_a_house", meshes, [site])
    campaign = {
        "name": "x",
        "scenes": [{"name": str(scene)}],
        "bands": ["6GHz"],
        "sampling": {"kind": "uniform", "num_ues": 5},
    }

    message = (
        r"scene 'in_a_house', site 'bs0' at \(0\.0, 0\.0, 10\.0\) m: inside a building, a surface "
        r"lies 5\.0 m above it; raise it above 15\.0 m or move it"
    )
    with pytest.raises(SceneError, match=message):
        make_plan(validate(Campaign, campaign, where="x"))


def test_dataset_says_where_it_comes_from_when_finished(small_dataset: Dataset) -> None:
    manifest, folder = small_dataset.manifest, Path(small_dataset.folder)

    assert {"raymark", "sionna-rt", "mitsuba", "drjit", "numpy", "h5py", "python"} <= set(
        manifest.software
    )
    assert manifest.campaign.seed == 7
    assert "street_canyon: raymark; no third-party geometry (licence: CC0-1.0)" in (
        folder / "ATTRIBUTION"
    ).read_text(encoding="utf-8")
    card = (folder / "CARD.md").read_text(encoding="utf-8")
    assert manifest.content_hash is not None
    assert manifest.content_hash in card
    assert "| street_canyon | bs0 | 50 | CC0-1.0 |" in card
    assert sorted(path.name for path in folder.iterdir()) == [
        "ATTRIBUTION",
        "CARD.md",
        "buildings",
        "dataset.json",
        "detail",
        "index.parquet",
        "paths",
    ]
