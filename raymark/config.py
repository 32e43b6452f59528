"""Strict configuration values: read from YAML, checked with their place named, hashed."""

import difflib
import hashlib
import json
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from raymark.errors import ConfigError, SchemaError

_ModelT = TypeVar("_ModelT", bound="Strict")


_NAME = re.compile(r"\w([\w.+ -]*[\w.+-])?")
_LONGEST_NAME = 100


def require_name(value: str) -> str:
    """Return a name that may become a part of a path.

    Raises:
        ValueError: If it may not.
    """
    if len(value) > _LONGEST_NAME or _NAME.fullmatch(value) is None:
        raise ValueError(
            f"a name has at most {_LONGEST_NAME} letters, digits, '_', '.', '+', '-' and inner "
            "spaces, and begins with a letter, a digit or '_'"
        )
    return value


Name = Annotated[str, AfterValidator(require_name)]
"""What may become a part of a path."""

_LARGEST_INT = 2**63 - 1


class Strict(BaseModel):
    """Base of all configuration values: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises:
        ConfigError: If the file is missing, unreadable, no valid YAML or no mapping.
    """
    text = read_text(path)
    try:
        data = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, *_DAMAGE) as error:
        raise ConfigError(f"{path} is no valid YAML: {_reason(error)}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a mapping of keys, got {type(data).__name__}")
    return data


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ConfigError: If the file is missing, unreadable, no valid JSON or no object.
    """
    return parse_json(read_text(path), where=str(path))


def parse_json(text: str, *, where: str) -> dict[str, Any]:
    """Return the JSON object that a text is.

    Args:
        text: The text.
        where: The file that it is from, for the message.

    Raises:
        ConfigError: If it is no valid JSON, repeats a key or is no object.
    """
    try:
        data = json.loads(text, object_pairs_hook=unique_keys, parse_int=_small_int)
    except _DAMAGE as error:
        raise ConfigError(f"{where} is no valid JSON: {_reason(error)}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{where} must hold an object with keys, got {type(data).__name__}")
    return data


def read_text(path: Path) -> str:
    """Read a small file of UTF-8 text.

    Raises:
        ConfigError: If it is missing, no regular file, unreadable or no UTF-8.
    """
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"cannot read {path}: it is no regular file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # of UTF-8, or a name that no file can have
        raise ConfigError(f"{path} is no text in UTF-8: {_reason(error)}") from error


def validate(model: type[_ModelT], data: dict[str, Any], *, where: str) -> _ModelT:
    """Build `model` from `data`.

    Raises:
        ConfigError: One line for every fault, each with its place below `where`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(_describe(e, data, where=where, model=model) for e in _faults(error))
        ) from error


def validate_options(
    model: type[_ModelT], data: dict[str, Any], *, names: Mapping[str, str]
) -> _ModelT:
    """Build `model` from the options of a command.

    Args:
        model: What is built.
        data: Its fields.
        names: The options that they are from, where these are not called like the field.

    Raises:
        ConfigError: One line for every fault, each with the option that holds it.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError("; ".join(_describe_option(e, names) for e in _faults(error))) from error


def _faults(error: ValidationError) -> list[dict[str, Any]]:
    """Return the faults of a value; a list is not too short for the sake of its wrong items."""
    faults: list[dict[str, Any]] = [dict(fault) for fault in error.errors()]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(_lies_within(other["loc"], fault["loc"]) for other in faults)
    ]


def _lies_within(place: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _describe_option(error: dict[str, Any], names: Mapping[str, str]) -> str:
    field = str(error["loc"][0])
    return f"--{names.get(field, field).replace('_', '-')}: {_sentence(error)}"


def canonical_json(value: Any) -> str:
    """Write `value` (a `Strict` or plain data) as JSON with sorted keys and no spaces."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def config_hash(value: Any) -> str:
    """Return the SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def seal_of(data: Mapping[str, Any]) -> str:
    """Return the hash over everything in a sealed file but its own `seal`."""
    return config_hash({key: value for key, value in data.items() if key != "seal"})


def sealed_json(record: Strict) -> str:
    """Return a record that has a `seal` as the text of its file, sealed."""
    data = record.model_dump(mode="json")
    return json.dumps({**data, "seal": seal_of(data)}, indent=1) + "\n"


def read_sealed(model: type[_ModelT], text: str, *, where: str) -> _ModelT:
    """Read what `sealed_json` wrote; the seal is that of the text, whatever `model` adds to it.

    Raises:
        ConfigError: If it is no valid JSON object, or holds a wrong key or value.
        SchemaError: If something in it was edited after it was sealed.
    """
    data = parse_json(text, where=where)
    record = validate(model, data, where=where)
    if data.get("seal") != seal_of(data):
        raise SchemaError(
            f"{where}: the file was edited after it was written, its seal does not fit; take it "
            "again from where it came from, or make anew what it describes"
        )
    return record


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object, for the `object_pairs_hook` of its reader.

    Raises:
        ValueError: If a key is given twice, of which only the last would count.
    """
    made = dict(pairs)
    if len(made) < len(pairs):
        _require_once([key for key, _ in pairs])
    return made


def nearest(name: str, known: list[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest known name, or nothing."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


_DAMAGE = (ValueError, RecursionError, AttributeError, LookupError, TypeError)
"""What the readers of YAML and JSON raise beside their own errors."""


class _Loader(yaml.SafeLoader):
    """Refuses what YAML's safe loader lets pass: a key that is given twice, a gigantic number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        _require_once([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return _require_small(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _require_once(keys: list[str]) -> None:
    if len(set(keys)) < len(keys):
        key = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key '{key}' is given {keys.count(key)} times")


def _small_int(text: str) -> int:
    return _require_small(int(text))


def _require_small(value: int) -> int:
    if abs(value) > _LARGEST_INT:
        raise ValueError("a number has more than 18 digits")
    return value


def _reason(error: Exception) -> str:
    """Return why a text cannot be read, on one line of bearable length."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]} ..."


_LONGEST_QUOTE = 300


def _describe(
    error: dict[str, Any], data: dict[str, Any], *, where: str, model: type[BaseModel]
) -> str:
    place = f"{where}: {_location(error['loc'], data)}"
    if error["type"] == "extra_forbidden":
        return f"unknown key at {place}{_meant_key(error['loc'], data, model)}"
    if error["type"] == "missing":
        return f"missing key at {place}"
    if error["type"] == "union_tag_not_found":
        return f"missing key {error['ctx']['discriminator']} at {place}"
    if error["type"] == "union_tag_invalid":
        return _unknown_tag(error["ctx"], place)
    return f"{_sentence(error)} at {place}"


def _unknown_tag(context: dict[str, str], place: str) -> str:
    known, tag = re.findall(r"'([^']+)'", context["expected_tags"]), context["tag"]
    return (
        f"unknown {context['discriminator']}, got '{tag}' at {place}{nearest(tag, known)} "
        f"(there are: {', '.join(known)})"
    )


def _sentence(error: dict[str, Any]) -> str:
    """Return what is wrong with a value, and the value."""
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    for name, meant in _NAMES_IN_YAML:
        message = name.sub(meant, message)
    shown = f", got {_quoted(error['input'])}" if isinstance(error["input"], _PLAIN) else ""
    return f"{message}{shown}"


_PLAIN = (str, int, float)
_NAMES_IN_YAML = (
    (re.compile(r"\btuple\b"), "list"),
    (re.compile(r"\bdictionary( or instance of \w+)?"), "mapping"),
)
"""What pydantic calls by Python's names."""


def _quoted(value: object) -> str:
    """Return a value as it was given, cut off where it is too long to be read."""
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]} ..."


def _location(parts: tuple[int | str, ...], data: Any) -> str:
    """Write a place as in the file; the name of a union's member, which is no key, is left out."""
    text = ""
    for part in _parts_in(parts, data):
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "top level"


def _parts_in(parts: tuple[int | str, ...], data: Any) -> Iterator[int | str]:
    """Yield those parts of a place that are keys and indices of the data, and the last."""
    for i, part in enumerate(parts):
        if isinstance(data, dict) and part not in data and i < len(parts) - 1:
            continue
        yield part
        data = _below(data, part)


def _below(data: Any, part: int | str) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def _meant_key(parts: tuple[int | str, ...], data: Any, model: type[BaseModel]) -> str:
    """Return what an unknown key may have been meant for, as the end of a sentence.

    That is the level where the very key belongs, or the nearest key of its own level, first of all
    among those that are not given there.
    """
    *above, key = parts
    for part in list(_parts_in(parts, data))[:-1]:
        data = _below(data, part)
    known = {name for kind in _models_at(model, above) for name in kind.model_fields}
    level = _level_of(str(key), model)
    if level is not None:
        return f"; it is a key of {level}"
    return nearest(str(key), sorted(known - set(data))) or nearest(str(key), sorted(known))


def _models_at(model: type[BaseModel], parts: Sequence[int | str]) -> list[type[BaseModel]]:
    """Return the models that may stand at a place; of a union, the member that the place names."""
    models = [model]
    for part in parts:
        fields = [kind.model_fields[part] for kind in models if part in kind.model_fields]
        if fields:
            models = [kind for field in fields for kind in _models_in(field.annotation)]
        else:
            models = [kind for kind in models if _is_member(kind, part)] or models
    return models


def _is_member(model: type[BaseModel], tag: int | str) -> bool:
    """Return whether a tag of pydantic's means a model: it is its name, or its `kind`."""
    kinds = (get_args(field.annotation) for field in model.model_fields.values())
    return tag == model.__name__ or any(tag in kind for kind in kinds)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, not those of their fields."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _level_of(key: str, model: type[BaseModel]) -> str | None:
    """Return where a key stands in a model or, level by level, in what its fields hold."""
    levels: list[tuple[type[BaseModel], str]] = [(model, "")]
    for kind, path in levels:  # which grows
        if key in kind.model_fields:
            return f"'{path}'" if path else "the top level"
        seen = {known for known, _ in levels}
        levels += [
            (inner, f"{path}.{name}".lstrip("."))
            for name, field in kind.model_fields.items()
            for inner in _models_in(field.annotation)
            if inner not in seen
        ]
    return None
