"""Resealed nonsense: every hash fits, and the parts contradict each other."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from raymark.dataset import Dataset, open_dataset
from raymark.dataset.manifest import (
    Manifest,
    content_hash,
    read_manifest,
    site_hashes,
    write_manifest,
)
from raymark.dataset.shard import read_shard
from raymark.dataset.tables import index_rows
from raymark.dataset.verification import unknown_files, unproven_parts, verify_dataset
from raymark.errors import ConfigError, RaymarkError, SchemaError
from raymark.storage import as_place, file_sha256

PATHS = "paths/street_canyon/bs0/part-0001.h5"
DETAIL = "detail/street_canyon/bs0/part-0001.h5"
BANDS = ["2.6GHz", "6GHz", "28GHz"]

Forge = Callable[[h5py.File], object]


@pytest.fixture
def copy(small_dataset: Dataset, tmp_path: Path) -> Path:
    """A copy of the dataset that may be spoilt."""
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "copy"))


def reseal(folder: Path) -> None:
    """Make every hash of a dataset anew, and its index, as a careful forger would."""
    manifest = read_manifest(folder)
    shards = tuple(
        r.model_copy(
            update={
                f"{kind}_sha256": file_sha256(folder / r.file(kind)) for kind in ("paths", "detail")
            }
        )
        for r in manifest.shards
    )
    rows = [index_rows(read_shard(folder / r.file("paths"), "paths"), r, BANDS) for r in shards]
    pd.concat(rows).to_parquet(folder / "index.parquet", index=False)
    arrays = site_hashes(as_place(folder), manifest, list(shards))
    update = {
        "shards": shards,
        "arrays": arrays,
        "content_hash": content_hash(arrays),
        "index_sha256": file_sha256(folder / "index.parquet"),
    }
    write_manifest(folder, manifest.model_copy(update=update))


def test_index_is_refused_when_it_has_not_a_row_a_link(copy: Path) -> None:
    path = copy / "index.parquet"
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)
    update = {"index_sha256": file_sha256(path)}
    write_manifest(copy, read_manifest(copy).model_copy(update=update))

    with pytest.raises(SchemaError, match=r"index\.parquet has 49 rows, expected 50, one a link"):
        assert open_dataset(copy).index is not None


def forge(folder: Path, name: str, edit: Forge) -> None:
    with h5py.File(folder / name, "r+") as file:
        edit(file)
    reseal(folder)


def put(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Forge:
    def edit(file: h5py.File) -> None:
        file[name][...] = change(file[name][()])

    return edit


def strengthen_last(power: np.ndarray) -> np.ndarray:
    """Put the last path of the first link before all others."""
    return power * np.linspace(0.1, 1, power.shape[1])


def test_verify_finds_nothing_when_a_whole_dataset_is_sealed_anew(copy: Path) -> None:
    reseal(copy)

    assert verify_dataset(copy) == []


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        (DETAIL, put("path/vertex_m", lambda v: np.where(v != 0, 1, v)), "path/delay_s of path"),
        (PATHS, put("path/delay_s", lambda v: v * 1.2), "path/delay_s of path"),
        (PATHS, put("path/zenith_bs_rad", lambda v: v + 0.01), "direction from the bs of path"),
        (
            PATHS,
            put("path/azimuth_ue_rad", lambda v: v + 0.01),
            "direction from the ue of path",
        ),
        (PATHS, put("path/azimuth_ue_rad", lambda v: v + np.pi), "direction from the ue of path"),
        (
            PATHS,
            put("path/interaction", lambda v: np.where(v == 1, 3, v)),
            "has codes that are none",
        ),
        (PATHS, put("path/num_interactions", lambda v: v + (v == 1)), "path/num_interactions says"),
        (
            PATHS,
            put("path/num_interactions", lambda v: np.where(v == v.max(), 10, v)),
            "path/num_interactions says 10",
        ),
        (
            PATHS,
            put("path/interaction", lambda v: np.where(v == 1, 4, v)),
            "path/interaction has code 4, but the campaign's tracer has no refraction",
        ),
        (PATHS, put("path/interaction", lambda v: v[:, ::-1]), "has the interactions"),
        (PATHS, put("path/amplitude", strengthen_last), "is stronger than the one before it"),
        (PATHS, put("ue/ue_index", lambda v: np.full_like(v, v[0])), "must count from 10 to 19"),
        (PATHS, put("bs/position_m", lambda v: v + 1), "bs/position_m is"),
        (PATHS, put("bs/orientation_rad", lambda v: v + 1), "bs/orientation_rad is"),
        (DETAIL, put("path/object", lambda v: v + 1000), "path/object counts beyond"),
        (DETAIL, put("path/material", lambda v: v - 1000), "path/material counts beyond"),
        (DETAIL, put("path/vertex_m", lambda v: v + 1), "where there is no interaction"),
        (DETAIL, put("path/wedge", lambda v: v * 0), "path/wedge and path/interaction differ"),
        (PATHS, lambda f: f.attrs.update({"scene": "elsewhere"}), "scene is 'elsewhere'"),
        (PATHS, lambda f: f.attrs.update({"carrier_hz": [1e9, 2e9, 3e9]}), "it is of the bands"),
        (PATHS, lambda f: f.attrs.pop("bands"), "attribute 'bands' is missing"),
        (DETAIL, lambda f: f.attrs.update({"objects": ["one"]}), "path/object counts beyond the 1"),
    ],
)
def test_verify_finds_the_part_when_a_forger_seals_nonsense(
    copy: Path, name: str, edit: Forge, message: str
) -> None:
    forge(copy, name, edit)

    faults = verify_dataset(copy)

    assert any(message in fault and "part-0001" in fault for fault in faults), faults


def test_verify_finds_the_index_when_a_forger_edits_a_row(copy: Path) -> None:
    table = pd.read_parquet(copy / "index.parquet")
    table.loc[3, "x_m"] += 1
    table.to_parquet(copy / "index.parquet", index=False)
    found = {"index_sha256": file_sha256(copy / "index.parquet")}
    write_manifest(copy, read_manifest(copy).model_copy(update=found))

    assert verify_dataset(copy) == [f"{copy / 'index.parquet'}: column x_m differs from the shards"]


@pytest.mark.parametrize("name", ["CARD.md", "ATTRIBUTION"])
def test_verify_finds_a_document_when_it_is_edited(copy: Path, name: str) -> None:
    (copy / name).write_text("by me\n", encoding="utf-8")

    (fault,) = verify_dataset(copy)
    assert fault.startswith(f"{copy / name}: the file differs")


def change_shards(edit: Callable[[tuple], tuple]) -> Callable[[Manifest], dict]:
    return lambda manifest: {"shards": edit(manifest.shards)}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change_shards(lambda s: (*s, s[0])), "do not follow each other"),
        (change_shards(lambda s: s[1:]), "do not follow each other"),
        (change_shards(lambda s: s[:-1]), "hold 40 UEs, the site has 50"),
        (lambda m: {"sites": (*m.sites, m.sites[0])}, "lists a site twice"),
        (lambda _: {"buildings": {"../../victim": "0" * 64}}, "a name has at most"),
        (lambda _: {"buildings": {"elsewhere": "0" * 64}}, "none of its sites or scenes"),
        (lambda _: {"arrays": {"x/y": {}}}, "none of its sites or scenes"),
        (
            lambda m: {"sites": (m.sites[0].model_copy(update={"scene": "../../victim"}),)},
            "a name has at most",
        ),
        (
            change_shards(lambda s: (s[0].model_copy(update={"site": ".."}), *s[1:])),
            "a name has at most",
        ),
    ],
)
def test_every_reader_refuses_a_manifest_when_it_contradicts_itself(
    copy: Path, edit: Callable[[Manifest], dict], message: str
) -> None:
    manifest = read_manifest(copy)
    write_manifest(copy, manifest.model_copy(update=edit(manifest)))

    for read in (open_dataset, verify_dataset):
        with pytest.raises(ConfigError, match=message):
            read(copy)


def test_verify_finds_the_campaign_when_a_forger_seals_another_seed(copy: Path) -> None:
    manifest = read_manifest(copy)
    campaign = manifest.campaign.model_copy(update={"seed": 99})
    write_manifest(copy, manifest.model_copy(update={"campaign": campaign}))

    assert verify_dataset(copy) == [
        f"{copy / 'dataset.json'}: config_hash is not that of its campaign and scenes"
    ]


def test_every_reader_refuses_a_file_when_it_is_a_link_out_of_the_folder(
    copy: Path, small_dataset: Dataset
) -> None:
    (copy / PATHS).unlink()
    (copy / PATHS).symlink_to(small_dataset.folder / PATHS)

    (fault,) = verify_dataset(copy)
    assert "is a link that leads out of" in fault
    opened = open_dataset(copy)
    with pytest.raises(RaymarkError, match="is a link that leads out of"):
        opened.load_shard(opened.manifest.shards[1])


def test_every_reader_refuses_a_file_when_it_is_a_fifo(copy: Path) -> None:
    (copy / PATHS).unlink()
    os.mkfifo(copy / PATHS)

    (fault,) = verify_dataset(copy)
    assert "is no regular file" in fault
    opened = open_dataset(copy)
    with pytest.raises(RaymarkError, match="is no regular file"):
        opened.load_shard(opened.manifest.shards[1])


def test_every_reader_refuses_a_shard_when_its_arrays_are_of_other_sizes(copy: Path) -> None:
    with h5py.File(copy / PATHS, "r+") as file:
        values = file["path/delay_s"][()]
        del file["path/delay_s"]
        file["path/delay_s"] = values[:-2]
    found = file_sha256(copy / PATHS)
    manifest = read_manifest(copy)
    shards = tuple(
        r.model_copy(update={"paths_sha256": found}) if r.part == 1 else r for r in manifest.shards
    )
    write_manifest(copy, manifest.model_copy(update={"shards": shards}))
    opened = open_dataset(copy)

    with pytest.raises(RaymarkError, match=r"path/.* has .* along 'path', expected"):
        opened.select(scene="street_canyon", band="6GHz").path_table(0, 50)


def test_verify_names_strange_files_when_there_are_some(copy: Path, tmp_path: Path) -> None:
    (copy / "notes.txt").write_text("mine", encoding="utf-8")
    (copy / "away").symlink_to(tmp_path)
    os.mkfifo(copy / "fifo")

    faults = verify_dataset(copy)

    assert len(faults) == 2
    assert unknown_files(copy) == ["away", "fifo", "notes.txt"]


def test_unproven_parts_name_what_no_check_can_show(small_dataset: Dataset) -> None:
    whole = small_dataset.manifest

    assert [part.split(":")[0] for part in unproven_parts(whole)] == [
        "Amplitudes and which paths there are",
        "Who made it",
    ]
    public = whole.model_copy(update={"left_out": ("detail",), "documents": {}})
    assert [part.split(":")[0] for part in unproven_parts(public)][1:3] == [
        "Delays and angles",
        "CARD.md and ATTRIBUTION",
    ]
