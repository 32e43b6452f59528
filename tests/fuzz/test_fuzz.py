"""Seeded damage to every kind of file: one sentence, or nothing that contradicts its parts.

`pytest -m fuzz` damages a file of each kind a thousand times, the slow lane a few times. A failure
names its kind and seed; `-k` and the kind run it again.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from fuzz.mutations import Rng, damage_bytes, damage_hdf5, damage_table, damaged_value

from raymark.benchmark.checkpoint import open_checkpoint
from raymark.benchmark.localizer import read_model_folder
from raymark.benchmark.scoring import score_rows, score_run
from raymark.benchmark.store import RunFolder
from raymark.benchmark.submission import read_submission
from raymark.benchmark.task import load_suite
from raymark.catalog import Catalog, Choice, Reference
from raymark.catalog.cache import DatasetCache
from raymark.catalog.transfer import Patience
from raymark.config import config_hash
from raymark.dataset import open_dataset
from raymark.dataset.campaign import read_campaign
from raymark.dataset.manifest import (
    MANIFEST_NAME,
    content_hash,
    read_manifest,
    site_hashes,
    write_manifest,
)
from raymark.dataset.shard import read_shard
from raymark.dataset.tables import index_rows
from raymark.dataset.verification import unknown_files, verify_dataset
from raymark.errors import RaymarkError
from raymark.interop import import_waird
from raymark.release import card_page, diff_releases, verify_release
from raymark.release.record import RELEASE_NAME
from raymark.scenes.importing.picture import PictureOptions
from raymark.scenes.importing.readers import read_map
from raymark.scenes.scene import Scene
from raymark.scenes.scene_meshes import read_meshes
from raymark.storage import as_place, file_sha256, within
from raymark.work.cluster import read_cluster

MUTATIONS, CHUNK, SAMPLE = 1000, 50, 4

Damage = Callable[[Rng, Path], None]
"""Damages something in a folder, and reads it as raymark does."""

PROVEN = (
    *("bs/position_m", "bs/orientation_rad", "ue/ue_index", "link/path_offset", "link/los"),
    *("path/delay_s", "path/zenith_bs_rad", "path/azimuth_bs_rad", "path/zenith_ue_rad"),
    *("path/azimuth_ue_rad", "path/interaction", "path/num_interactions", "path/vertex_m"),
)
"""Arrays that follow from others: no forger can change one alone."""
_CLAIMS = ("shards", "arrays", "content_hash", "index_sha256", "state", "schema_version")


@contextmanager
def refused() -> Iterator[None]:
    """Let an error of ours pass if it is one line that can be read; all others are defects."""
    caught: list[str] = []
    try:
        yield
    except RaymarkError as error:
        caught.append(str(error))
    assert all(0 < len(text) < 10_000 and "\n" not in text for text in caught)


def any_file(rng: Rng, folder: Path, pattern: str) -> Path:
    files = sorted(p for p in folder.glob(pattern) if p.is_file())
    return files[rng.integers(len(files))]


def damage_text(rng: Rng, path: Path) -> None:
    """Change a value of a file of YAML or JSON, or its bytes."""
    if rng.random() < 0.3:
        damage_bytes(rng, path)
        return
    data = damaged_value(rng, yaml.safe_load(path.read_text(encoding="utf-8")))
    dump = json.dumps if path.suffix == ".json" else yaml.safe_dump
    path.write_text(dump(data), encoding="utf-8")


def read_all(folder: Path) -> None:
    """Read a dataset as users do."""
    dataset = open_dataset(folder)
    assert len(dataset.index)
    for scene in dataset.scenes:
        dataset.buildings(scene)
        selection = dataset.select(scene=scene, band=dataset.bands[0])
        selection.path_table(0, len(selection))
        selection.detail_table(0, len(selection))
        selection.fingerprints(0, 3, kind="oracle")


def manifest_edited(rng: Rng, folder: Path) -> None:
    before = read_manifest(folder)
    damage_text(rng, folder / MANIFEST_NAME)
    faults = ["refused"]
    with refused():
        faults = verify_dataset(folder)
    if not faults:
        assert read_manifest(folder) == before
    with refused():
        read_all(folder)


def manifest_sealed(rng: Rng, folder: Path) -> None:
    path = folder / MANIFEST_NAME
    before = json.loads(path.read_text(encoding="utf-8"))
    data = damaged_value(rng, before)
    with suppress(ValueError, TypeError):  # what has no hash is not sealed
        data["seal"] = config_hash({key: value for key, value in data.items() if key != "seal"})
    path.write_text(json.dumps(data), encoding="utf-8")
    with refused():
        read_all(folder)
    with refused():
        unknown_files(folder)
        if not verify_dataset(folder) and not data.get("left_out"):
            assert {key: data[key] for key in _CLAIMS} == {key: before[key] for key in _CLAIMS}


def array_changed(rng: Rng, folder: Path) -> None:
    damage_hdf5(rng, any_file(rng, folder, "*/**/*.h5"))
    with refused():
        assert verify_dataset(folder)
    with refused():
        read_all(folder)


def array_sealed(rng: Rng, folder: Path) -> None:
    manifest = read_manifest(folder)
    path = any_file(rng, folder, "*/**/*.h5")
    before = {name: _raw(path, name) for name in PROVEN}
    name = damage_hdf5(rng, path)
    record = manifest.shards[0]
    hashes = {f"{kind}_sha256": file_sha256(folder / record.file(kind)) for kind in _SHARD_KINDS}
    update: dict[str, Any] = {"shards": (record.model_copy(update=hashes),)}
    update["buildings"] = {x: file_sha256(folder / f"buildings/{x}.h5") for x in manifest.buildings}
    # Of nonsense, there may be no index.
    with suppress(RaymarkError, ValueError, IndexError, TypeError):
        rows = index_rows(read_shard(folder / record.file("paths"), "paths"), record, ["6GHz"])
        rows.to_parquet(folder / "index.parquet", index=False)
        update["index_sha256"] = file_sha256(folder / "index.parquet")
    with suppress(RaymarkError):
        arrays = site_hashes(as_place(folder), manifest, [record])
        update |= {"arrays": arrays, "content_hash": content_hash(arrays)}
    write_manifest(folder, manifest.model_copy(update=update))
    with refused():
        read_all(folder)
    with refused():
        if not verify_dataset(folder) and name in PROVEN:
            assert before[name] == _raw(path, name)


_SHARD_KINDS = ("paths", "detail")


def _raw(path: Path, name: str) -> bytes | None:
    """Return what an array holds, if there is one of this name."""
    with h5py.File(path) as file:
        found = file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        return np.asarray(found[()]).tobytes() if isinstance(found, h5py.Dataset) else None


def index_changed(rng: Rng, folder: Path) -> None:
    path = folder / "index.parquet"
    before = pd.read_parquet(path)
    (damage_table if rng.random() < 0.5 else damage_bytes)(rng, path)
    found = {"index_sha256": file_sha256(path)}
    write_manifest(folder, read_manifest(folder).model_copy(update=found))
    with refused():
        read_all(folder)
    with refused():
        if not verify_dataset(folder):
            pd.testing.assert_frame_equal(pd.read_parquet(path), before)


def release_file(rng: Rng, folder: Path) -> None:
    path = any_file(rng, folder, "**/*")
    before = path.read_bytes()
    damage_bytes(rng, path)
    with refused():
        assert verify_release(folder, "hashes") or path.read_bytes() == before
    _read_release(folder)


def release_record(rng: Rng, folder: Path) -> None:
    path = folder / RELEASE_NAME
    data = damaged_value(rng, json.loads(path.read_text(encoding="utf-8")))
    with suppress(ValueError, TypeError):
        data["seal"] = config_hash({key: value for key, value in data.items() if key != "seal"})
    path.write_text(json.dumps(data), encoding="utf-8")
    _read_release(folder)


def _read_release(folder: Path) -> None:
    for read in (verify_release, card_page, lambda x: diff_releases(x, x)):
        with refused():
            read(folder)


def published(rng: Rng, folder: Path) -> None:
    """Damage an index, which its publisher may have sealed so, and get what it still lists."""
    path = folder / "index.json"
    damage_text(rng, path)
    if rng.random() < 0.7:
        _seal(path)
    _get_all(folder)


def published_record(rng: Rng, folder: Path) -> None:
    """Damage the record of a release, by whoever publishes it: seal and index fit it."""
    path, index = folder / "walls" / RELEASE_NAME, folder / "index.json"
    data = damaged_value(rng, json.loads(path.read_text(encoding="utf-8")))
    path.write_text(json.dumps(data), encoding="utf-8")
    _seal(path)
    listed = json.loads(index.read_text(encoding="utf-8"))
    head = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
    listed["entries"][0]["heads"][RELEASE_NAME] = head
    index.write_text(json.dumps(listed), encoding="utf-8")
    _seal(index)
    _get_all(folder)


def _seal(path: Path) -> None:
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        data = json.loads(path.read_text(encoding="utf-8"))
        data["seal"] = config_hash({key: value for key, value in data.items() if key != "seal"})
        path.write_text(json.dumps(data), encoding="utf-8")


def _get_all(folder: Path) -> None:
    catalog = Catalog(
        cache=DatasetCache(folder=folder / "cache"),
        address=str(folder / "index.json"),
        patience=Patience(num_tries=1, timeout_s=1.0),
    )
    with refused():
        for entry in catalog.entries():
            for choice in (Choice(), Choice(scenes=("yard",))):
                with refused():
                    held = catalog.get(Reference(name=entry.name, version=entry.version), choice)
                    held.let_go()
                    assert open_dataset(held.folder).scenes


def campaign(rng: Rng, folder: Path) -> None:
    path = folder / "campaign.yaml"
    damage_text(rng, path)
    with refused():
        value = read_campaign(path)
        assert type(value).model_validate(value.model_dump()) == value


def suite(rng: Rng, folder: Path) -> None:
    path = folder / "suite.yaml"
    damage_text(rng, path)
    with refused():
        for task in load_suite(str(path)).tasks():
            within(folder, task.slug)


def cluster(rng: Rng, folder: Path) -> None:
    path = any_file(rng, folder, "cluster-*.yaml")
    damage_text(rng, path)
    with refused():
        value = read_cluster(str(path))
        assert type(value).model_validate(value.model_dump()) == value


def scene(rng: Rng, folder: Path) -> None:
    damage_text(rng, any_file(rng, folder, "*.yaml"))
    with refused():
        assert Scene(folder).sites is not None


def scene_xml(rng: Rng, folder: Path) -> None:
    damage_bytes(rng, any_file(rng, folder, "**/*.[xp][ml][ly]"))
    with refused():
        read_meshes(folder / "scene.xml")


def run(rng: Rng, folder: Path) -> None:
    path = any_file(rng, folder, "**/*")
    if path.suffix == ".parquet" and rng.random() < 0.5:
        damage_table(rng, path)
    elif path.suffix == ".json":
        damage_text(rng, path)
    else:
        damage_bytes(rng, path)
    with refused():
        source = RunFolder(folder)
        source.models()
        rows = score_rows(score_run(source))
        if path.suffix == ".parquet":
            assert len(rows)


def submission(rng: Rng, folder: Path) -> None:
    path = any_file(rng, folder, "**/*")
    if path.suffix == ".parquet" and rng.random() < 0.7:
        damage_table(rng, path)
    elif path.suffix == ".yaml":
        damage_text(rng, path)
    else:
        damage_bytes(rng, path)
    source = RunFolder(folder.parent / "run")
    with refused():
        _, cells = read_submission(folder, source.info().suite, source.truth)
        for cell in cells:
            assert np.isfinite(cell.predictions[["x_m", "y_m"]].to_numpy()).all()


def checkpoint(rng: Rng, folder: Path) -> None:
    path = any_file(rng, folder, "*")
    damage_text(rng, path) if path.suffix == ".json" else damage_bytes(rng, path)
    with refused():
        open_checkpoint(folder, model=read_model_folder(folder.parent / "kept_centroid"))


def environment(rng: Rng, folder: Path) -> None:
    damage_bytes(rng, any_file(rng, folder / "00743", "*.npy"))
    with refused():
        import_waird(folder, "00743", folder / "made")
        assert verify_dataset(folder / "made") == []


def picture(rng: Rng, folder: Path) -> None:
    path = folder / "plan.png"
    damage_bytes(rng, path)
    with refused():
        read_map(path, picture=PictureOptions(metres_per_pixel=1.0))


KINDS: dict[str, tuple[Damage, str]] = {
    "manifest": (manifest_edited, "tiny_dataset"),
    "sealed manifest": (manifest_sealed, "tiny_dataset"),
    "arrays": (array_changed, "tiny_dataset"),
    "sealed arrays": (array_sealed, "tiny_dataset"),
    "index": (index_changed, "tiny_dataset"),
    "release": (release_file, "tiny_release"),
    "sealed release": (release_record, "tiny_release"),
    "catalog": (published, "tiny_site"),
    "catalog record": (published_record, "tiny_site"),
    "campaign": (campaign, "tiny_texts"),
    "suite": (suite, "tiny_texts"),
    "cluster": (cluster, "tiny_texts"),
    "scene": (scene, "tiny_scene"),
    "geometry": (scene_xml, "tiny_scene"),
    "run": (run, "tiny_run"),
    "submission": (submission, "tiny_submission"),
    "checkpoint": (checkpoint, "tiny_checkpoint"),
    "environment": (environment, "tiny_foreign"),
    "picture": (picture, "tiny_foreign"),
}
"""By name: what is done, and the fixture of the folder whose `data` it is done to."""


def try_seeds(kind: str, seeds: range, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    damage, fixture = KINDS[kind]
    whole: Path = request.getfixturevalue(fixture)
    for seed in seeds:
        root = tmp_path / "root"
        shutil.copytree(whole, root / "inner")
        (root / "victim").write_text("theirs", encoding="utf-8")
        beside = sorted(path.name for path in (root / "inner").iterdir())
        try:
            damage(np.random.default_rng([seed, *kind.encode()]), root / "inner" / "data")
        except Exception as error:
            error.add_note(f"kind {kind!r}, seed {seed}")
            raise
        assert (root / "victim").read_text(encoding="utf-8") == "theirs"
        assert sorted(path.name for path in root.iterdir()) == ["inner", "victim"]
        assert sorted(path.name for path in (root / "inner").iterdir()) == beside
        shutil.rmtree(root)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_file_gets_a_sentence_when_few_are_tried(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    try_seeds(kind, range(SAMPLE), request, tmp_path)


@pytest.mark.fuzz
@pytest.mark.parametrize("first", range(SAMPLE, MUTATIONS, CHUNK))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_file_gets_a_sentence_when_many_are_tried(
    kind: str, first: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    try_seeds(kind, range(first, min(first + CHUNK, MUTATIONS)), request, tmp_path)
