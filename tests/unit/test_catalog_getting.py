"""Published datasets by their names: fetched, cut, kept, opened, removed."""

import gc
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import COMMAND, raymark
from published import Server, cut_after, other_release, serving, unavailable, wrong_bytes

from raymark import open_dataset
from raymark.catalog import (
    Catalog,
    Choice,
    Reference,
    make_choice,
    parse_reference,
    publish_release,
)
from raymark.catalog.cache import DatasetCache
from raymark.catalog.index import parse_index
from raymark.catalog.transfer import Patience
from raymark.config import sealed_json
from raymark.dataset.subset import Cut, cut_dataset
from raymark.dataset.verification import verify_dataset
from raymark.errors import ConfigError, DatasetError, SchemaError
from raymark.loaders import load_numpy
from raymark.release import read_release, verify_release
from raymark.storage import file_sha256

NAME, LABEL = "two-walls", "two-walls@1.0.0"
PLACE = "two-walls-1.0.0"


@pytest.fixture
def site(small_release: Path, tmp_path: Path) -> Iterator[Server]:
    """A server of an index and of the release beside it."""
    folder = tmp_path / "site"
    folder.mkdir()
    publish_release(small_release, str(folder / PLACE), str(folder / "index.json"))
    with serving(folder) as server:
        yield server


@pytest.fixture
def catalog(site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """The catalogue of that index, with an empty cache, also where the environment says so."""
    monkeypatch.setenv("RAYMARK_INDEX", f"{site.url}/index.json")
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "cache"))
    return Catalog(
        cache=DatasetCache.of_environment(),
        address=f"{site.url}/index.json",
        patience=Patience(num_tries=2, pause_s=0.01, timeout_s=5.0),
    )


def get(catalog: Catalog, text: str = NAME, choice: Choice | None = None) -> Path:
    """Get a dataset and let it go at once."""
    held = catalog.get(parse_reference(text), choice)
    held.let_go()
    return held.folder


def files_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def size_of(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in files_in(folder))


def asked_for(site: Server) -> set[str]:
    return {request.path.removeprefix(f"{PLACE}/") for request in site.requests}


def edit_index(site: Server, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the entry of the index, and seal it again."""
    path = site.folder / "index.json"
    entry = json.loads(path.read_text(encoding="utf-8"))["entries"][0]
    edit(entry)
    index = parse_index(path.read_text(encoding="utf-8"), where="test")
    changed = index.model_validate({"entries": [entry]})
    path.write_text(sealed_json(changed), encoding="utf-8")


def test_release_has_the_same_bytes_when_fetched(
    catalog: Catalog, site: Server, small_release: Path
) -> None:
    told: list[tuple[int, int]] = []

    held = catalog.get(Reference(name=NAME), progress=lambda *done: told.append(done))
    held.let_go()

    assert files_in(held.folder) == files_in(small_release)
    assert verify_release(held.folder, "hashes") == []
    assert told[-1][0] == told[-1][1] == size_of(small_release)
    assert not list(catalog.cache.folder.glob("*.unfinished"))


def test_nobody_is_asked_when_the_version_is_in_the_cache(catalog: Catalog, site: Server) -> None:
    first = get(catalog)
    num_asked = len(site.requests)

    assert get(catalog, LABEL) == first
    assert len(site.requests) == num_asked
    assert get(catalog) == first  # the latest may be another one today: the index is asked
    assert [request.path for request in site.requests[num_asked:]] == ["index.json"]


def test_dataset_opens_by_its_name_when_it_is_published(
    catalog: Catalog, small_release: Path
) -> None:
    links = open_dataset(LABEL).select(scene="yard", band="6GHz")
    arrays = load_numpy(LABEL, scene="yard", band="6GHz")

    expected = open_dataset(small_release).select(scene="yard", band="6GHz")
    np.testing.assert_array_equal(links.position_m, expected.position_m)
    np.testing.assert_array_equal(arrays["position_m"], expected.position_m)


def test_folder_goes_before_when_it_has_the_very_name(
    catalog: Catalog,
    site: Server,
    small_release: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "here").mkdir()
    shutil.copytree(small_release, tmp_path / "here" / LABEL)
    monkeypatch.chdir(tmp_path / "here")

    assert str(open_dataset(LABEL).folder) == LABEL
    assert site.requests == []


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("two-wells@1.0.0", ConfigError, r"no dataset 'two-wells'; did you mean 'two-walls'\?"),
        ("two-walls@2.0.0", ConfigError, r"no version 2\.0\.0 of 'two-walls' \(it has: 1\.0\.0\)"),
        ("two-walls@latest", ConfigError, "'two-walls@latest' names no dataset: expected NAME"),
        ("two-walls", DatasetError, "two-walls holds no dataset"),
        ("a/two-walls@1.0.0", DatasetError, r"a/two-walls@1\.0\.0 holds no dataset"),
    ],
)
def test_open_dataset_says_what_is_wrong_when_there_is_none_of_a_name(
    catalog: Catalog, text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_dataset(text)


def test_open_dataset_asks_for_an_index_when_none_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYMARK_INDEX", raising=False)
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="no index of datasets is set, and raymark has none"):
        open_dataset(LABEL)


def test_cut_has_the_content_of_a_subset_when_a_scene_and_a_band_are_chosen(
    catalog: Catalog, site: Server, small_release: Path, tmp_path: Path
) -> None:
    choice = make_choice(("yard",), ("2.6 GHz",))

    found = get(catalog, NAME, choice)

    whole = open_dataset(small_release)
    expected = cut_dataset(whole, tmp_path / "cut", Cut(scenes=("yard",), bands=("2.6GHz",)))
    assert verify_dataset(found) == []
    assert open_dataset(found).manifest.content_hash == expected.content_hash
    assert open_dataset(found).manifest.subset_of == whole.manifest.content_hash
    assert {"LICENSES.md", "CITATION.cff", "ATTRIBUTION"} <= files_in(found)
    assert asked_for(site) == {
        *("index.json", "release.json", "dataset.json", "LICENSES.md", "CITATION.cff"),
        *("paths/yard/bs0/part-0000.h5", "detail/yard/bs0/part-0000.h5"),
    }
    assert get(catalog, LABEL, choice) == found


def test_arrays_come_with_a_cut_when_they_are_of_its_scene_and_band(
    catalog: Catalog, small_release: Path
) -> None:
    choice = make_choice(("yard",), ("6GHz",), ("fingerprints",))
    name = "fingerprints/yard_6GHz.h5"

    found = get(catalog, NAME, choice)

    assert file_sha256(found / name) == file_sha256(small_release / name)
    assert not (found / "detail").exists()
    assert open_dataset(found).manifest.left_out == ("detail",)
    assert verify_dataset(found) == []


def test_part_is_made_of_the_whole_when_that_is_in_the_cache(
    catalog: Catalog, site: Server
) -> None:
    get(catalog)
    num_asked = len(site.requests)
    away = Catalog(cache=catalog.cache, address=catalog.address, offline=True)

    found = get(away, NAME, make_choice(("yard",)))

    assert verify_dataset(found) == []
    assert len(site.requests) == num_asked


def test_part_keeps_the_content_hash_when_kinds_of_files_are_left_out(
    catalog: Catalog, site: Server, small_release: Path
) -> None:
    found = get(catalog, NAME, make_choice((), (), ("paths",)))

    manifest = open_dataset(found).manifest
    assert manifest.content_hash == open_dataset(small_release).manifest.content_hash
    assert manifest.left_out == ("detail",)
    assert verify_dataset(found) == []
    assert not {name for name in asked_for(site) if name.startswith(("detail", "finger", "maps"))}


def test_parts_of_a_traced_release_open_when_buildings_and_splits_are_chosen(
    benchmark_release: Path, tmp_path: Path
) -> None:
    index = str(tmp_path / "index.json")
    publish_release(benchmark_release, str(tmp_path / "release"), index)
    catalog = Catalog(cache=DatasetCache(folder=tmp_path / "cache"), address=index)
    name = "canyon-and-yard"

    scored = get(catalog, name, make_choice((), (), ("benchmark",)))
    cut = get(catalog, name, make_choice(("yard",), (), ("buildings",)))

    assert {"splits/suite.json", "run/run.json", "board/board.md"} <= files_in(scored)
    assert not (scored / "buildings").exists()
    assert open_dataset(scored).buildings("yard") is None
    assert verify_dataset(scored) == []
    assert open_dataset(cut).scenes == ("yard",)
    assert open_dataset(cut).buildings("yard") is not None
    assert files_in(cut) & {"buildings/yard.h5", "buildings/street_canyon.h5"} == {
        "buildings/yard.h5"
    }
    assert verify_dataset(cut) == []


def test_get_goes_on_when_it_was_cut_off(catalog: Catalog, site: Server) -> None:
    name = f"{PLACE}/fingerprints/yard_6GHz.h5"
    size = (site.folder / name).stat().st_size
    site.faults[name] = [cut_after(size // 2), unavailable, unavailable]
    with pytest.raises(DatasetError, match=r"yard_6GHz.h5 cannot be fetched: .*503"):
        get(catalog)
    (unfinished,) = catalog.cache.listed()
    assert not unfinished.is_finished
    assert (unfinished.label, unfinished.size_bytes >= size // 2) == (LABEL, True)

    found = get(catalog)

    assert verify_release(found, "hashes") == []
    assert site.sent_bytes(name) == size


def test_release_comes_once_when_two_ask_at_the_same_time(catalog: Catalog, site: Server) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(get(catalog))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 3
    assert len(set(found)) == 1
    assert verify_release(found[0], "hashes") == []
    assert len(site.asked(f"{PLACE}/index.parquet")) == 1


@pytest.mark.slow
def test_release_comes_once_when_two_processes_ask_at_the_same_time(
    catalog: Catalog, site: Server
) -> None:
    commands = [
        subprocess.Popen(
            [*COMMAND, "datasets", "get", NAME], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]

    said = [command.communicate(timeout=120)[0].decode().strip() for command in commands]

    assert [command.returncode for command in commands] == [0, 0]
    assert said[0] == said[1]
    assert verify_release(Path(said[0]), "hashes") == []
    assert len(site.asked(f"{PLACE}/index.parquet")) == 1


def test_http_and_folders_serve_when_no_extra_is_installed(
    catalog: Catalog, site: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("fsspec", "s3fs", "huggingface_hub", "mlcroissant"):
        monkeypatch.setitem(sys.modules, package, None)
    local = Catalog(cache=catalog.cache, address=str(site.folder / "index.json"))

    for mirror, extra in (("s3://b/x", "storage"), ("hf://datasets/a/b", "huggingface")):
        edit_index(site, lambda entry, mirror=mirror: entry.update(mirrors=[mirror]))
        with pytest.raises(ConfigError, match=rf"is not installed; .*raymark\[{extra}\]"):
            get(catalog)
    edit_index(site, lambda entry: entry.update(mirrors=[PLACE]))
    assert verify_dataset(get(local, NAME, make_choice(("yard",)))) == []
    assert verify_dataset(get(catalog)) == []


def test_mirror_serves_when_the_first_place_is_gone(catalog: Catalog, site: Server) -> None:
    edit_index(site, lambda entry: entry.update(mirrors=["gone", PLACE]))

    assert verify_release(get(catalog), "hashes") == []


def test_nothing_is_asked_when_offline(catalog: Catalog, site: Server) -> None:
    away = Catalog(cache=catalog.cache, address=catalog.address, offline=True)
    with pytest.raises(ConfigError, match=r"there is no copy of .*index.json from before"):
        get(away)
    catalog.entries()
    num_asked = len(site.requests)

    assert [entry.label for entry in away.entries("walls")] == [LABEL]
    with pytest.raises(DatasetError, match=rf"{LABEL} is not in the cache .* this is offline"):
        get(away)
    assert len(site.requests) == num_asked
    get(catalog)
    num_asked = len(site.requests)
    assert get(away) == get(away, LABEL)
    assert len(site.requests) == num_asked


def test_copy_of_the_index_is_offered_when_the_server_is_gone(
    catalog: Catalog, site: Server
) -> None:
    catalog.entries()
    site.always["index.json"] = unavailable

    with pytest.raises(DatasetError, match=r"says 503 .*; --offline takes the copy of the last"):
        catalog.entries()


def test_newer_version_is_named_when_a_release_is_superseded(
    catalog: Catalog, site: Server
) -> None:
    edit_index(site, lambda entry: entry.update(superseded_by="1.1.0"))

    got = raymark("datasets", "get", NAME, "--scene", "yard", "--tier", "paths")
    shown = raymark("datasets", "show", NAME)

    assert f"{LABEL} is superseded by 1.1.0" in got.stderr
    assert "superseded by 1.1.0" in shown.stdout


def test_offline_is_set_by_the_environment_when_it_is_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not Catalog.of_environment().offline
    monkeypatch.setenv("RAYMARK_OFFLINE", "1")
    assert Catalog.of_environment().offline
    monkeypatch.setenv("RAYMARK_OFFLINE", "yes")
    with pytest.raises(ConfigError, match="RAYMARK_OFFLINE must be 0 or 1, got 'yes'"):
        Catalog.of_environment()


def test_index_is_refused_when_it_was_edited_on_its_way(catalog: Catalog, site: Server) -> None:
    path = site.folder / "index.json"
    path.write_text(path.read_text(encoding="utf-8").replace("Two walls", "Two halls"))

    with pytest.raises(SchemaError, match=r"index\.json: the file was edited"):
        get(catalog)


def hostile_record(site: Server, **update: object) -> None:
    """Put another record into the release, with an index that names it."""
    path = site.folder / PLACE / "release.json"
    other_release(path.parent, path.parent, **update)
    head = {"size_bytes": path.stat().st_size, "sha256": file_sha256(path)}
    edit_index(site, lambda entry: entry.update(heads={"release.json": head}))


def test_nothing_is_written_elsewhere_when_a_record_names_files_outside(
    catalog: Catalog, site: Server, tmp_path: Path
) -> None:
    files = read_release(site.folder / PLACE).files
    (site.folder / "evil").write_bytes((site.folder / PLACE / "README.md").read_bytes())
    hostile_record(site, files={**files, "../evil": files["README.md"]})

    with pytest.raises(DatasetError, match=r"'\.\./evil' is no name of a file in"):
        get(catalog)

    assert not list(tmp_path.joinpath("cache").rglob("evil"))
    assert "evil" not in asked_for(site)


@pytest.mark.parametrize("update", [{"version": "1.0.1"}, {"content_hash": "0" * 64}])
def test_record_is_refused_when_the_index_says_something_else(
    catalog: Catalog, site: Server, update: dict[str, object]
) -> None:
    hostile_record(site, **update)

    with pytest.raises(SchemaError, match=rf"the index says of {LABEL} what its release\.json"):
        get(catalog)


def test_record_is_refused_when_it_lacks_the_manifest(catalog: Catalog, site: Server) -> None:
    files = dict(read_release(site.folder / PLACE).files)
    del files["dataset.json"]
    hostile_record(site, files=files)

    with pytest.raises(SchemaError, match=r"lacks dataset\.json"):
        get(catalog)


def test_record_is_refused_when_it_is_not_the_one_of_the_index(
    catalog: Catalog, site: Server
) -> None:
    site.always[f"{PLACE}/release.json"] = wrong_bytes

    with pytest.raises(DatasetError, match=r"release\.json: the file differs from the release"):
        get(catalog)


def test_cache_removes_the_longest_unused_when_it_is_full(
    catalog: Catalog, small_release: Path
) -> None:
    size = size_of(small_release)
    wall, yard = (get(catalog, NAME, make_choice((scene,))) for scene in ("wall", "yard"))
    get(catalog, LABEL, make_choice(("wall",)))  # used again
    room = sum(item.size_bytes for item in catalog.cache.listed()) + size - 1000
    small = Catalog(
        cache=DatasetCache(folder=catalog.cache.folder, limit_bytes=room), address=catalog.address
    )

    get(small)

    assert [item.choice for item in catalog.cache.listed()] == ["all", "wall"]
    assert wall.is_dir()
    assert not yard.exists()


def test_dataset_stays_when_it_is_open(catalog: Catalog) -> None:
    dataset = open_dataset(LABEL)
    cache = catalog.cache

    assert cache.shrink_to(0) == []
    with pytest.raises(ConfigError, match=rf"{LABEL}: another process uses it; it stays"):
        cache.remove_named([NAME])
    assert len(dataset.index) == 160
    del dataset
    gc.collect()
    assert [item.label for item in cache.remove_named([LABEL])] == [LABEL]
    assert cache.listed() == []
    assert not list(cache.folder.glob("two-walls*/"))


def test_cache_follows_the_environment_when_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("RAYMARK_CACHE", raising=False)
    default = DatasetCache.of_environment()
    monkeypatch.setenv("RAYMARK_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("RAYMARK_DATASETS_BYTES", "12")

    assert default == DatasetCache(folder=tmp_path / "raymark" / "datasets")
    assert DatasetCache.of_environment() == DatasetCache(
        folder=tmp_path / "mine" / "datasets", limit_bytes=12
    )
    monkeypatch.setenv("RAYMARK_DATASETS_BYTES", "all")
    with pytest.raises(ConfigError, match="RAYMARK_DATASETS_BYTES must be a number of bytes"):
        DatasetCache.of_environment()


def test_get_refuses_when_a_release_is_larger_than_the_cache(catalog: Catalog) -> None:
    tiny = Catalog(
        cache=DatasetCache(folder=catalog.cache.folder, limit_bytes=1000), address=catalog.address
    )
    with pytest.raises(
        ConfigError, match=r"may hold 1000; choose a part of it, or raise RAYMARK_D"
    ):
        get(tiny)


def test_cache_tells_indexes_apart_when_both_have_the_name(
    catalog: Catalog, site: Server, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other_release(site.folder / PLACE, other / "made", date="2020-01-01")
    publish_release(other / "made", str(other / "walls"), str(other / "index.json"))
    with serving(other) as theirs:
        second = Catalog(cache=catalog.cache, address=f"{theirs.url}/index.json")
        first_folder, second_folder = get(catalog, LABEL), get(second, LABEL)

    assert first_folder != second_folder
    assert get(catalog, LABEL) == first_folder
    nowhere = Catalog(cache=catalog.cache)
    with pytest.raises(ConfigError, match=rf"several indexes have a {LABEL}; name one of them: "):
        nowhere.get(parse_reference(LABEL))


def test_commands_take_a_name_where_they_take_a_folder(catalog: Catalog) -> None:
    verified = raymark("verify", LABEL)
    wrong = raymark("verify", "two-wells@1.0.0")

    assert verified.returncode == 0, verified.stderr
    assert "hashes, schema and physics are right" in verified.stdout
    assert "is under CC-BY-4.0" in verified.stderr
    assert wrong.returncode == 2
    assert "no dataset 'two-wells'; did you mean 'two-walls'" in wrong.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "checkpoint", "--out", "found.csv", "--data"),
        ("bench", "score", "runs", "--data"),
        ("bench", "board", "runs", "--out", "board", "--data"),
        ("bench", "check", "mine", "--data", ".", "--pretraining"),
        ("scenes", "view", "etoile", "--out", "page.html", "--data"),
        ("train", "wknn", "--task", "a", "--out", "kept", "--data"),
    ],
)
def test_every_option_that_takes_a_dataset_takes_a_name(
    command: tuple[str, ...], catalog: Catalog
) -> None:
    assert catalog.address is not None
    wrong = raymark(*command, "two-wells@1.0.0")

    assert wrong.returncode == 2
    assert "no dataset 'two-wells'; did you mean 'two-walls'" in wrong.stderr


def test_commands_find_get_and_remove_when_an_index_is_set(
    catalog: Catalog, small_release: Path
) -> None:
    listed = raymark("datasets", "list")
    found = raymark("datasets", "search", "yard cc-by", "--json")
    none = raymark("datasets", "search", "nothing")
    shown = raymark("datasets", "show", NAME)
    first = raymark("datasets", "get", NAME, "--scene", "yard", "--tier", "paths")
    again = raymark("datasets", "get", LABEL, "--scene", "yard", "--tier", "paths", "--offline")
    kept = raymark("datasets", "cache", "--json")

    assert LABEL in listed.stdout
    assert json.loads(found.stdout)[0]["label"] == LABEL
    assert (none.returncode, none.stdout) == (0, "")
    assert "no release of the index has nothing" in none.stderr
    assert "those who built the yard" in shown.stdout
    assert read_release(small_release).content_hash in shown.stdout
    folder = Path(first.stdout.strip())
    assert verify_dataset(folder) == []
    assert "is under CC-BY-4.0; of its scenes:" in first.stderr
    assert "@misc{two-walls," in first.stderr
    assert again.stdout == first.stdout
    assert "CC-BY-4.0" not in again.stderr  # said before the first use
    (row,) = json.loads(kept.stdout)
    assert (row["dataset"], row["what"], row["folder"]) == (LABEL, "yard; paths", str(folder))
    removed = raymark("datasets", "cache", "--remove", NAME)
    assert removed.stdout.startswith("removed 1 dataset, ")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get", NAME, "--scene", "yart"], r"two-walls@1.0.0 has no scene 'yart'; did you mean"),
        (["get", NAME, "--scene", "a/b"], r"a name has at most 100 letters"),
        (["get", NAME, "--tier", "path"], r"no part 'path'; did you mean 'paths'"),
        (["get", "Two Walls"], r"'Two Walls' names no dataset"),
        (["show", "tow-walls"], r"no dataset 'tow-walls'; did you mean 'two-walls'"),
        (["list", "--index", "http://127.0.0.1:9/i.json"], r"127.0.0.1:9/i.json: no connection"),
        (["list", "--index", "nothing.json"], r"nothing.json: there is no such file"),
        (["cache", "--remove", "x"], r"the cache has no 'x'"),
        (["cache", "--remove", "x", "--keep", "1"], r"give one of them"),
    ],
)
def test_commands_say_one_sentence_when_something_is_wrong(
    catalog: Catalog, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raymark.catalog.transfer.time.sleep", lambda _seconds: None)

    done = raymark("datasets", *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
