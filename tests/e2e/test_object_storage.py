"""Datasets in object storage: a real S3 server on this machine, reached over HTTP."""

import hashlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
import yaml
from command_line import raymark

from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache
from raymark.catalog.transfer import Patience, Transfer
from raymark.config import validate
from raymark.dataset import Dataset, open_dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.journal import dataset_status, read_journal
from raymark.dataset.manifest import read_manifest
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError
from raymark.generator.extension import extend_dataset, plan_extension
from raymark.generator.generate import generate
from raymark.generator.plan import Plan, make_plan
from raymark.loaders import load_index, open_index
from raymark.radio import parse_bands
from raymark.release import read_release, verify_release
from raymark.storage import as_place
from raymark.storage.cache import ObjectCache

pytestmark = [pytest.mark.slow, pytest.mark.needs("moto", "flask", "s3fs")]

SHARD_SIZE = 10
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Start an S3 server in a process of its own and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the S3 server did not start")


@pytest.fixture
def bucket(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> str:
    """The URL of an empty bucket, and a cache of this test's own."""
    for name, value in {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": server,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RAYMARK_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    # Clients remember the environment that they were made in.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    name = "b" + format(abs(hash(request.node.nodeid)), "x")
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"


@pytest.fixture(scope="module")
def plan(small_campaign: dict[str, Any]) -> Plan:
    return make_plan(validate(Campaign, small_campaign, where="test"))


@pytest.fixture
def remote(bucket: str, small_dataset: Dataset) -> str:
    """The URL of a copy of `small_dataset`."""
    url = f"{bucket}/small"
    fsspec.filesystem("s3").put(f"{small_dataset.folder}/", f"{url}/", recursive=True)
    return url


def keys(url: str) -> list[str]:
    """The names of all objects below a URL."""
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    root = url.removeprefix("s3://") + "/"
    return sorted(name.removeprefix(root) for name in store.find(url))


def local_names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def cache_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.name != "lock")


def test_dataset_is_the_local_one_when_generated_into_a_bucket(
    plan: Plan, bucket: str, small_dataset: Dataset, tmp_path: Path
) -> None:
    url = f"{bucket}/deep/canyon"

    manifest = generate(plan, as_place(url), shard_size=SHARD_SIZE)

    local = small_dataset.manifest
    assert manifest.content_hash == local.content_hash
    assert manifest.arrays == local.arrays
    assert manifest.shards == local.shards  # the hashes of the files too
    assert manifest.buildings == local.buildings
    assert manifest.index_sha256 == local.index_sha256
    assert keys(url) == local_names(
        Path(small_dataset.folder)
    )  # no lock, no journal, nothing partial
    assert not list((tmp_path / "cache").glob("*.partial"))
    assert verify_dataset(as_place(url)) == []


@pytest.mark.slow
def test_commands_take_urls_when_the_dataset_is_in_a_bucket(
    small_campaign: dict[str, Any], bucket: str, small_dataset: Dataset, tmp_path: Path
) -> None:
    campaign, url = tmp_path / "campaign.yaml", f"{bucket}/canyon"
    campaign.write_text(yaml.safe_dump(small_campaign), encoding="utf-8")

    made = raymark("generate", str(campaign), "--out", url, "--shard-size", "10")
    again = raymark("generate", str(campaign), "--out", url, "--shard-size", "10")
    status = raymark("status", url)
    verified = raymark("verify", url)
    fingerprints = raymark(
        *("fingerprints", url, "--scene", "street_canyon", "--band", "28GHz"),
        *("--out", str(tmp_path / "f.h5")),
    )

    assert made.returncode == 0, made.stderr
    assert f"content hash {small_dataset.manifest.content_hash}" in made.stdout
    assert again.returncode == 0, again.stderr
    assert "50 of 50" in status.stdout
    assert "complete" in status.stdout
    assert f"{url}: 14 files checked" in verified.stdout, verified.stderr
    assert fingerprints.returncode == 0, fingerprints.stderr
    assert (tmp_path / "f.h5").is_file()
    assert not list(tmp_path.glob("s3:*"))


CHILD = """
import json, os, signal, sys
from raymark.storage.stored_object import StoredObject

place, campaign, url = sys.argv[1:]
real = StoredObject.upload

def upload(stored, file):
    if place and place in stored.url:
        print("reached", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    real(stored, file)

StoredObject.upload = upload

from raymark.dataset.campaign import Campaign
from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache
from raymark.catalog.transfer import Patience, Transfer
from raymark.config import validate
from raymark.generator.generate import generate
from raymark.generator.plan import make_plan
from raymark.storage import as_place

plan = make_plan(validate(Campaign, json.loads(campaign), where="child"))
generate(plan, as_place(url), shard_size=10)
"""
"""Generates, and dies when it is about to upload a certain object."""


@pytest.mark.parametrize(
    ("place", "num_noted"),
    [("detail/street_canyon/bs0/part-0002.h5", 2), ("index.parquet", 5)],
)
def test_content_is_the_same_when_killed_and_resumed_in_a_bucket(
    plan: Plan,
    bucket: str,
    small_dataset: Dataset,
    tmp_path: Path,
    place: str,
    num_noted: int,
) -> None:
    url, campaign = f"{bucket}/killed", plan.campaign.model_dump_json()
    child = subprocess.run(
        [sys.executable, "-c", CHILD, place, campaign, url],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert child.stdout == "reached\n"
    assert len(read_journal(as_place(url))) == num_noted
    assert dataset_status(as_place(url)).num_shards_done == num_noted
    with pytest.raises(DatasetError, match=rf"{url} is not finished"):
        open_dataset(url)
    with pytest.raises(DatasetError, match=rf"{url} is being generated by process \d+ on .* since"):
        generate(plan, as_place(url), shard_size=SHARD_SIZE)
    first = fsspec.filesystem("s3").info(f"{url}/paths/street_canyon/bs0/part-0000.h5")

    unlocked = raymark("unlock", url)
    manifest = generate(plan, as_place(url), shard_size=SHARD_SIZE)

    assert "removed the lock of process" in unlocked.stdout, unlocked.stderr
    assert fsspec.filesystem("s3").info(first["name"])["LastModified"] == first["LastModified"]
    assert manifest.content_hash == small_dataset.manifest.content_hash
    assert keys(url) == local_names(Path(small_dataset.folder))
    assert not list((tmp_path / "cache").glob("*.partial"))  # what the dead process left is gone


def test_lock_is_given_once_when_processes_ask_at_once(bucket: str) -> None:
    url = f"{bucket}/locked"
    ask = (
        "import sys\n"
        "from raymark.storage import as_place\n"
        "lock = as_place(sys.argv[1]).stored\n"
        "lock.type()\n"  # all are connected
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print('mine' if lock.create(b'x') else 'taken')\n"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", ask, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()

    answers = sorted(child.communicate(timeout=60)[0] for child in children)

    assert answers == ["mine\n", "taken\n", "taken\n", "taken\n"]


def test_generation_is_refused_when_the_bucket_holds_something_else(
    plan: Plan, bucket: str
) -> None:
    fsspec.filesystem("s3").pipe_file(f"{bucket}/mine/notes.txt", b"keep me")

    with pytest.raises(DatasetError, match=rf"{bucket}/mine is not empty and holds no dataset"):
        generate(plan, as_place(f"{bucket}/mine"), shard_size=SHARD_SIZE)
    assert keys(f"{bucket}/mine") == ["notes.txt"]


def test_other_campaign_is_replaced_when_overwrite_is_set(
    plan: Plan, remote: str, small_campaign: dict[str, Any], small_dataset: Dataset
) -> None:
    other = make_plan(validate(Campaign, {**small_campaign, "seed": 8}, where="test"))
    folder = as_place(remote)

    with pytest.raises(DatasetError, match=rf"{remote} holds another campaign"):
        generate(other, folder, shard_size=25)
    manifest = generate(other, folder, shard_size=25, overwrite=True)

    assert manifest.content_hash != small_dataset.manifest.content_hash
    assert len(keys(remote)) == 2 * 2 + 5
    assert verify_dataset(folder) == []


def test_reading_gives_the_local_values_when_the_dataset_is_remote(
    remote: str, small_dataset: Dataset
) -> None:
    theirs = small_dataset.select(scene="street_canyon", band="28GHz")

    dataset = open_dataset(remote)
    ours = dataset.select(scene="street_canyon", band="28GHz")

    np.testing.assert_array_equal(ours.position_m, theirs.position_m)
    np.testing.assert_array_equal(
        ours.path_table(3, 44).amplitude, theirs.path_table(3, 44).amplitude
    )
    np.testing.assert_array_equal(
        ours.detail_table(3, 44).vertex_m, theirs.detail_table(3, 44).vertex_m
    )
    pd.testing.assert_frame_equal(load_index(remote), small_dataset.index)
    los = open_index(remote).to_table(filter=pyarrow.dataset.field("los") == 1)
    assert los.num_rows == int((small_dataset.index["los"] == 1).sum())


def test_cache_stays_bounded_when_the_dataset_is_larger(
    remote: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {name: as_place(remote).total_size_bytes([name]) for name in keys(remote)}
    shards = [size for name, size in sizes.items() if name.endswith(".h5")]
    limit_bytes = 2 * max(shards)
    assert sum(shards) > 2 * limit_bytes
    monkeypatch.setenv("RAYMARK_CACHE_BYTES", str(limit_bytes))
    dataset, seen = open_dataset(remote), []

    for kind in ("paths", "detail"):
        for record in dataset.manifest.shards:
            dataset.load_shard(record, kind)
            seen.append(cache_bytes(tmp_path / "cache"))

    assert 0 < max(seen) <= limit_bytes
    assert verify_dataset(as_place(remote)) == []
    assert cache_bytes(tmp_path / "cache") <= limit_bytes


def test_reading_refuses_when_one_file_is_larger_than_the_cache(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYMARK_CACHE_BYTES", "1000")
    dataset = open_dataset(remote)

    with pytest.raises(ConfigError, match=r"part-0000\.h5 has \d+ bytes, and the cache in .* 1000"):
        dataset.load_shard(dataset.manifest.shards[0])


def test_files_are_fetched_once_when_read_again(remote: str, tmp_path: Path) -> None:
    path = as_place(remote) / "paths" / "street_canyon" / "bs0" / "part-0000.h5"
    with path.local_copy() as copy:
        first = copy.stat()

    with path.local_copy() as copy:
        assert (copy.stat().st_ino, copy.stat().st_size) == (first.st_ino, first.st_size)
    fsspec.filesystem("s3").pipe_file(str(path), b"another content")
    with path.local_copy() as copy:
        assert copy.read_bytes() == b"another content"
    assert ObjectCache.of_environment().folder == tmp_path / "cache"


def test_verify_names_the_object_when_it_is_damaged_or_missing(remote: str) -> None:
    store, folder = fsspec.filesystem("s3"), as_place(remote)
    damaged = f"{remote}/detail/street_canyon/bs0/part-0001.h5"
    missing = f"{remote}/paths/street_canyon/bs0/part-0003.h5"
    content = bytearray(store.cat_file(damaged))
    content[len(content) // 2] ^= 1
    store.pipe_file(damaged, bytes(content))
    store.rm_file(missing)

    faults = verify_dataset(folder)
    said = raymark("verify", remote)

    assert faults == [
        f"{damaged}: the file differs from the manifest (SHA-256)",
        f"{missing}: the file is missing",
    ]
    assert said.returncode == 2
    assert damaged in said.stderr
    dataset = open_dataset(remote)
    with pytest.raises(DatasetError, match=rf"{re.escape(damaged)}: the file differs"):
        dataset.load_shard(dataset.manifest.shards[1], "detail")


def test_verify_sees_the_store_when_the_cached_copy_is_damaged(remote: str) -> None:
    path = as_place(remote) / "paths" / "street_canyon" / "bs0" / "part-0000.h5"
    with path.local_copy() as copy:
        copy.write_bytes(b"\0" * copy.stat().st_size)

    assert verify_dataset(as_place(remote)) == []


@pytest.mark.slow
def test_commands_say_one_sentence_when_the_store_refuses(
    small_campaign: dict[str, Any],
    bucket: str,
    remote: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    campaign = tmp_path / "campaign.yaml"
    campaign.write_text(yaml.safe_dump(small_campaign), encoding="utf-8")
    generated = raymark("generate", str(campaign), "--out", "s3://no-such-bucket/x")
    read = raymark("status", "s3://no-such-bucket/x")
    empty = raymark("status", f"{bucket}/nothing")
    figures = raymark("inspect", remote, "--out", f"{bucket}/figures")
    extended = raymark("generate", "--extend", remote, "--bands", "39GHz")
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    unknown = raymark("status", remote)

    for run, message in [
        (generated, r"s3://no-such-bucket/x\S*: the bucket does not exist"),
        (read, r"s3://no-such-bucket/x\S*: the bucket does not exist"),
        (empty, rf"{bucket}/nothing holds no dataset"),
        (figures, rf"{bucket}/figures\S* is no local folder"),
        (extended, rf"adding bands in place needs a local folder, got {remote}"),
        (unknown, rf"{remote}\S*: no credentials were found"),
    ]:
        assert run.returncode == 2, run.stderr
        assert re.search(message, run.stderr), run.stderr
        assert "Traceback" not in run.stderr
    assert not list(Path.cwd().glob("s3:*"))


@pytest.mark.slow
def test_reading_says_one_sentence_when_there_is_no_connection(
    remote: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    said = raymark("status", remote)

    assert said.returncode == 2
    assert re.search(rf"{remote}\S*: no connection to the store", said.stderr), said.stderr
    assert "Traceback" not in said.stderr


def test_bands_are_added_when_dataset_and_result_are_in_a_bucket(remote: str, bucket: str) -> None:
    dataset = open_dataset(remote)

    extended = extend_dataset(
        dataset, plan_extension(dataset, parse_bands("39GHz")), as_place(f"{bucket}/extended")
    )

    assert [band.name for band in extended.campaign.bands][-1] == "39GHz"
    assert read_manifest(as_place(remote)) == dataset.manifest
    assert verify_dataset(as_place(f"{bucket}/extended")) == []


@pytest.mark.slow
def test_content_is_that_of_a_folder_when_workers_write_to_a_bucket(
    bucket: str, small_campaign: dict[str, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    campaign, url = tmp_path / "campaign.yaml", f"{bucket}/made"
    campaign.write_text(yaml.safe_dump(small_campaign), encoding="utf-8")
    arguments = [campaign, "--out", url, "--shard-size", "10", "--cluster", "local:2"]

    done = raymark("generate", *arguments)

    assert done.returncode == 0, done.stderr
    assert verify_dataset(as_place(url)) == []
    assert open_dataset(as_place(url)).manifest.content_hash == small_dataset.manifest.content_hash
    logs = [name for name in keys(url) if name.startswith("logs/")]
    assert len(logs) == 7  # five shards, the completeness and the buildings
    assert not [name for name in keys(url) if name.startswith("journal/")]


@pytest.fixture
def published(bucket: str, small_release: Path) -> str:
    """The URL of an index in a bucket, with a release beside it."""
    index = f"{bucket}/site/index.json"
    publish_release(small_release, f"{bucket}/site/walls", index)
    return index


def catalog_of(index: str, folder: Path) -> Catalog:
    patience = Patience(num_tries=2, pause_s=0.01, timeout_s=5.0)
    return Catalog(cache=DatasetCache(folder=folder), address=index, patience=patience)


def test_release_has_the_same_bytes_when_published_to_a_bucket_and_fetched(
    published: str, bucket: str, small_release: Path, tmp_path: Path
) -> None:
    held = catalog_of(published, tmp_path / "datasets").get(Reference(name="two-walls"))
    held.let_go()

    assert keys(f"{bucket}/site") == sorted(
        ["index.json", *(f"walls/{name}" for name in local_names(small_release))]
    )
    assert local_names(held.folder) == local_names(small_release)
    assert verify_release(held.folder, "hashes") == []
    assert not list((tmp_path / "cache").glob("*yard*"))  # objects were not cached besides


def test_dataset_opens_by_name_when_the_index_is_in_a_bucket(
    published: str, small_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYMARK_INDEX", published)

    found = open_dataset("two-walls@1.0.0")

    assert found.manifest == open_dataset(small_release).manifest


def test_file_goes_on_from_a_bucket_when_a_part_has_come(
    published: str, small_release: Path, tmp_path: Path
) -> None:
    name = "fingerprints/yard_6GHz.h5"
    file = read_release(small_release).files[name]
    content = (small_release / name).read_bytes()
    partial = tmp_path / "partials" / hashlib.sha256(name.encode()).hexdigest()
    partial.parent.mkdir()
    partial.write_bytes(content[: len(content) // 2])
    seen: list[int] = []
    transfer = Transfer(
        mirrors=[published.replace("index.json", "walls")],
        folder=tmp_path / "files",
        partials=tmp_path / "partials",
        patience=Patience(num_tries=1),
    )

    transfer.fetch({name: file}, progress=seen.append)

    assert (tmp_path / "files" / name).read_bytes() == content
    assert seen[0] == len(content) // 2  # taken up from the disk


def test_release_is_published_when_an_upload_was_cut_off(
    bucket: str, small_release: Path, tmp_path: Path
) -> None:
    store, target = fsspec.filesystem("s3"), f"{bucket}/walls"
    store.pipe_file(f"{target}/README.md", b"a part of")
    store.pipe_file(f"{bucket}/mine/notes.txt", b"keep me")

    made = publish_release(small_release, target, f"{bucket}/index.json")
    again = publish_release(small_release, target, f"{bucket}/index.json")
    with pytest.raises(DatasetError, match=r"mine holds notes\.txt, which is no part of the rele"):
        publish_release(small_release, f"{bucket}/mine", f"{bucket}/other.json")

    assert (made.was_there, again.was_there) == (False, True)
    assert store.cat_file(f"{target}/README.md") == (small_release / "README.md").read_bytes()
    assert keys(f"{bucket}/mine") == ["notes.txt"]
    assert "other.json" not in keys(bucket)


def test_mirror_is_named_when_an_object_is_missing_or_damaged(
    published: str, bucket: str, small_release: Path, tmp_path: Path
) -> None:
    store = fsspec.filesystem("s3")
    damaged, missing = f"{bucket}/site/walls/index.parquet", f"{bucket}/site/walls/README.md"
    store.pipe_file(damaged, b"x" * store.info(damaged)["size"])
    with pytest.raises(DatasetError, match=rf"{damaged}: the file differs from the release"):
        catalog_of(published, tmp_path / "one").get(Reference(name="two-walls"))
    store.pipe_file(damaged, (small_release / "index.parquet").read_bytes())
    store.rm_file(missing)
    with pytest.raises(DatasetError, match=rf"README\.md cannot .*{missing}: there is no such obj"):
        catalog_of(published, tmp_path / "two").get(Reference(name="two-walls"))
