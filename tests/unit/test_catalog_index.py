import json
from typing import Any

import pytest

from raymark.catalog import Choice, Index, Reference, make_choice, parse_reference
from raymark.catalog.address import require_address
from raymark.catalog.index import Entry, fitted, is_reference, parse_index
from raymark.catalog.parts import part_of
from raymark.catalog.streams import resolved
from raymark.config import sealed_json, validate
from raymark.errors import ConfigError, DatasetError, SchemaError

HASH = "0" * 64
ENTRY: dict[str, Any] = {
    "name": "small",
    "version": "1.0.0",
    "date": "2026-01-01",
    "title": "Small",
    "description": "Streets of two towns",
    "licence": "CC-BY-4.0",
    "attribution": "a: somebody",
    "citation": "@misc{small}",
    "scenes": ("a", "b"),
    "bands": ("6GHz", "28GHz"),
    "num_links": 3,
    "part_bytes": {"paths": 10, "detail": 5, "fingerprints": 7, "benchmark": 1, "documents": 2},
    "content_hash": HASH,
    "heads": {"release.json": {"size_bytes": 1, "sha256": HASH}},
    "mirrors": ("small-1.0.0",),
}


def entry(**fields: Any) -> Entry:
    return validate(Entry, {**ENTRY, **fields}, where="test")


def index_of(*versions: str) -> Index:
    return Index(entries=tuple(entry(version=version) for version in versions))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("small@1.0.0", True),
        ("small@", True),
        ("small@latest", True),
        ("small", False),
        ("data/small@1.0.0", False),
        ("s3://bucket/small@1.0.0", False),
        ("Small@1.0.0", False),
    ],
)
def test_text_is_a_reference_when_it_has_a_name_and_a_version(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


@pytest.mark.parametrize("text", ["", "@1.0.0", "small@", "small@1", "../small", "a b", "x" * 65])
def test_reference_is_refused_when_it_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="names no dataset: expected NAME or NAME@VERSION"):
        parse_reference(text)


def test_latest_version_is_found_when_none_is_named() -> None:
    index = index_of("1.9.0", "1.10.0", "2.0.0-rc.2", "2.0.0-rc.10", "1.2.0")
    early = index_of("2.0.0-rc.2", "2.0.0-rc.x", "2.0.0-rc.10")

    assert index.find(Reference(name="small")).version == "1.10.0"
    assert [found.version for found in index.listed()] == [
        *("1.10.0", "1.9.0", "1.2.0", "2.0.0-rc.10", "2.0.0-rc.2")
    ]
    assert early.find(Reference(name="small")).version == "2.0.0-rc.x"  # words follow numbers


def test_index_names_the_nearest_when_there_is_no_such_dataset() -> None:
    with pytest.raises(ConfigError, match=r"no dataset 'smal'; did you mean 'small'\?"):
        index_of("1.0.0").find(Reference(name="smal"))
    with pytest.raises(ConfigError, match=r"no version 2\.0\.0 of 'small' \(it has: 1\.0\.0\)"):
        index_of("1.0.0").find(Reference(name="small", version="2.0.0"))
    with pytest.raises(ConfigError, match="it has: nothing yet"):
        Index().find(Reference(name="small"))


def test_search_finds_releases_when_all_words_stand_in_them() -> None:
    index = Index(entries=(entry(), entry(name="other", description="One Village")))

    assert [found.name for found in index.listed("TOWNS cc-by")] == ["small"]
    assert [found.name for found in index.listed("28ghz")] == ["other", "small"]
    assert index.listed("towns village") == []


def test_index_is_read_when_it_is_as_it_was_written() -> None:
    index = index_of("1.0.0", "1.1.0")

    assert parse_index(sealed_json(index), where="i").entries == index.entries


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "../small"}, r"the name of a dataset has .* at i: entries\[0\]\.name"),
        ({"version": "1"}, "a version has three numbers"),
        ({"mirrors": ["a\x1b"]}, "a mirror is a URL"),
        ({"mirrors": []}, r"entries\[0\]\.mirrors"),
        ({"scenes": ["../a"]}, "a name has at most 100 letters"),
        ({"part_bytes": {"everything": 1}}, "part_bytes"),
        ({"heads": {}}, "'heads' holds release.json"),
        (
            {"heads": {**ENTRY["heads"], "../x": {"size_bytes": 1, "sha256": HASH}}},
            "'heads' holds release.json, and of .* no more",
        ),
    ],
)
def test_index_is_refused_when_an_entry_is_hostile(fields: dict[str, Any], message: str) -> None:
    text = sealed_json(index_of("1.0.0"))
    data = json.loads(text)
    data["entries"][0] |= fields

    with pytest.raises(ConfigError, match=message):
        parse_index(json.dumps(data), where="i")


def test_index_is_refused_when_it_was_edited() -> None:
    text = sealed_json(index_of("1.0.0")).replace("Streets", "Squares")

    with pytest.raises(SchemaError, match="i: the file was edited after it was written"):
        parse_index(text, where="i")


def test_index_is_refused_when_it_lists_a_release_twice() -> None:
    with pytest.raises(ValueError, match=r"it lists small@1\.0\.0 twice"):
        index_of("1.0.0", "1.0.0")


def test_index_gets_a_mirror_when_a_release_is_published_again() -> None:
    index = index_of("1.0.0").with_entry(entry(mirrors=("s3://b/small",)))

    assert index.find(Reference(name="small")).mirrors == ("small-1.0.0", "s3://b/small")
    assert index.with_entry(entry(mirrors=("s3://b/small",))) == index


def test_index_refuses_when_a_published_release_would_change() -> None:
    other = entry(heads={"release.json": {"size_bytes": 1, "sha256": "1" * 64}})

    with pytest.raises(ConfigError, match=r"another release small@1\.0\.0, and what was published"):
        index_of("1.0.0").with_entry(other)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("paths/a/bs0/part-0000.h5", "paths"),
        ("dataset.json", "paths"),
        ("index.parquet", "paths"),
        ("detail/a/bs0/part-0000.h5", "detail"),
        ("buildings/a.h5", "buildings"),
        ("fingerprints/a_6GHz.h5", "fingerprints"),
        ("splits/suite.json", "benchmark"),
        ("board/board.md", "benchmark"),
        ("LICENSES.md", "documents"),
        ("maps/a.png", "documents"),
    ],
)
def test_file_belongs_to_a_part_when_it_lies_in_its_folder(name: str, part: str) -> None:
    assert part_of(name) == part


def test_choice_is_the_whole_when_all_is_named() -> None:
    everything = make_choice(("b", "a"), ("28 GHz", "6e9"), ("detail", "fingerprints", "benchmark"))

    assert fitted(everything, entry()) == Choice()
    assert fitted(make_choice(("b",)), entry()) == Choice(scenes=("b",))
    assert fitted(make_choice((), ("28 ghz",)), entry()) == Choice(bands=("28GHz",))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (make_choice(("c",)), r"small@1\.0\.0 has no scene 'c' \(it has: a, b\)"),
        (make_choice((), ("39GHz",)), "has no band '39GHz'"),
        (make_choice((), (), ("buildings",)), "has no part 'buildings'"),
        (make_choice(("a",), (), ("benchmark",)), "splits and scores of .* are for all of its"),
    ],
)
def test_choice_is_refused_when_the_release_lacks_it(choice: Choice, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(choice, entry())


def test_choice_names_the_nearest_when_there_is_no_such_part() -> None:
    with pytest.raises(ConfigError, match=r"no part 'fingerprint'; did you mean 'fingerprints'\?"):
        make_choice((), (), ("fingerprint",))


@pytest.mark.parametrize(
    ("mirror", "index", "expected"),
    [
        ("small-1.0.0", "https://host/a/index.json?key=1", "https://host/a/small-1.0.0"),
        ("small-1.0.0/", "s3://bucket/index.json", "s3://bucket/small-1.0.0"),
        ("small-1.0.0", "/data/index.json", "/data/small-1.0.0"),
        ("small-1.0.0", "index.json", "./small-1.0.0"),
        ("https://host/x", "/data/index.json", "https://host/x"),
        ("/elsewhere", "/data/index.json", "/elsewhere"),
    ],
)
def test_mirror_lies_beside_the_index_when_it_is_a_name(
    mirror: str, index: str, expected: str
) -> None:
    assert resolved(mirror, index) == expected


@pytest.mark.parametrize(
    ("mirror", "index", "message"),
    [
        ("../x", "https://host/a/index.json", r"'\.\./x' is no name of a file"),
        ("/etc", "https://host/a/index.json", "names /etc, a folder of this machine"),
        ("file:///etc", "s3://bucket/index.json", "a folder of this machine"),
    ],
)
def test_mirror_is_refused_when_an_index_may_not_name_it(
    mirror: str, index: str, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        resolved(mirror, index)


def test_address_is_asked_for_when_none_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYMARK_INDEX", raising=False)
    with pytest.raises(
        ConfigError, match=r"no index of datasets is set, .*: set RAYMARK_INDEX to the p"
    ):
        require_address()
    monkeypatch.setenv("RAYMARK_INDEX", "theirs.json")

    assert require_address() == "theirs.json"
    assert require_address("mine.json") == "mine.json"
