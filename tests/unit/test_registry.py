from pathlib import Path

import pytest

from raymark.errors import ConfigError
from raymark.registry import Registry


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("beta", "alpha", "gamma"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thing.yaml").write_text(name, encoding="utf-8")
    (tmp_path / "no_thing").mkdir()
    (tmp_path / "thing.yaml").write_text("not in a folder", encoding="utf-8")
    return tmp_path


def read(folder: Path) -> str:
    return (folder / "thing.yaml").read_text(encoding="utf-8").upper()


def test_registry_lists_the_folders_with_the_marker_when_asked(root: Path) -> None:
    assert Registry("thing", root, "thing.yaml", read).names() == ["alpha", "beta", "gamma"]


def test_registry_loads_each_thing_once_when_asked_twice(root: Path) -> None:
    calls: list[str] = []

    def load(folder: Path) -> object:
        calls.append(folder.name)
        return object()

    registry = Registry("thing", root, "thing.yaml", load)

    assert registry.get("beta") is registry.get("beta")
    assert calls == ["beta"]


def test_registry_finds_a_new_folder_when_it_is_added(root: Path) -> None:
    registry = Registry("thing", root, "thing.yaml", read)
    registry.names()
    (root / "delta").mkdir()
    (root / "delta" / "thing.yaml").write_text("delta", encoding="utf-8")

    assert registry.get("delta") == "DELTA"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("alhpa", r"unknown thing 'alhpa'; did you mean 'alpha'\? \(there are: alpha, beta, gamma"),
        ("zzzzz", r"unknown thing 'zzzzz' \(there are: alpha, beta, gamma\)"),
        ("no_thing", r"unknown thing 'no_thing'"),
        ("../alpha", r"unknown thing '\.\./alpha'"),
    ],
)
def test_registry_offers_the_nearest_when_name_is_unknown(
    root: Path, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Registry("thing", root, "thing.yaml", read).get(name)
