"""YAML, JSON and names of anybody's: one sentence, whatever stands in them."""

from pathlib import Path

import pytest

from raymark.config import Name, Strict, read_json, read_text, read_yaml, validate
from raymark.errors import ConfigError


class Settings(Strict):
    """A number and a name."""

    count: int = 0
    share: float = 0.0
    name: Name = "x"


def read(path: Path, text: str | bytes) -> Settings:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    data = read_json(path) if path.suffix == ".json" else read_yaml(path)
    return validate(Settings, data, where=path.name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: " + "9" * 400, "a number has more than 18 digits"),
        ("share: " + "9" * 400, "a number has more than 18 digits"),
        ("count: " + "9" * 9000, "Exceeds the limit"),
        ("count: 0x" + "f" * 30, "a number has more than 18 digits"),
        ("[" * 1500, "is no valid YAML: it is nested too deeply"),
        ("count: " + "[" * 1500 + "]" * 1500, "is no valid YAML: it is nested too deeply"),
        ("count: 2024-13-45", "month must be in"),
        ("count: !!timestamp x", "is no valid YAML"),
        ("count: !!bool x", "is no valid YAML"),
        ("count: !!float x", "is no valid YAML"),
        ("count: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("? [count]\n: 1", "found unhashable key"),
        ("count: 1\ncount: 2", "key 'count' is given 2 times"),
        ("count: &a [*a]", "valid integer .*count"),
        ("share: .nan", "finite number"),
        ("share: 1e400", "finite number"),
        (b"count: 1 # \xff\xfe", "is no text in UTF-8"),
        ("", "must hold a mapping of keys, got NoneType"),
    ],
)
def test_yaml_gets_a_sentence_when_it_is_hostile(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path / "x.yaml", text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"count": ' + "9" * 400 + "}", "a number has more than 18 digits"),
        ('{"count": ' + "[" * 100_000, "is no valid JSON: it is nested too deeply"),
        ('{"count": 1, "count": 2}', "key 'count' is given 2 times"),
        ('{"share": NaN}', "finite number"),
        ('{"share": 1e999}', "finite number"),
        ('{"name": "\\ud800"}', "a name has"),
        ("[1]", "must hold an object with keys, got list"),
        (b'{"name": "\xff"}', "is no text in UTF-8"),
    ],
)
def test_json_gets_a_sentence_when_it_is_hostile(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path / "x.json", text)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["x", "München", "a b", "n78+", "_x", "2.6GHz", "a..b", "é" * 100])
def test_name_is_taken_when_it_is_one(name: str) -> None:
    assert validate(Settings, {"name": name}, where="test").name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "/x", "a ", " a", ".a", "-a", "a\n", "a\0", "a\\b", "~"),
        *("a:b", "a" * 101, "a\x1b[31m", "a\N{RIGHT-TO-LEFT OVERRIDE}b"),
    ],
)
def test_name_is_refused_when_it_could_lead_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match="a name has at most 100 letters"):
        validate(Settings, {"name": name}, where="test")


def test_text_is_refused_when_it_is_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it is no regular file"):
        read_text(tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="File name too long"):
        read_text(tmp_path / ("a" * 300))
