"""The index of published releases: what each holds, where it lies, and the hash of its record."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from raymark.catalog.parts import ALWAYS, Choice, Part, make_choice
from raymark.config import Name, Strict, nearest, read_sealed
from raymark.errors import ConfigError
from raymark.radio import band_name
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Day, ReleasedFile, Version
from raymark.release.signature import SIGNATURE_NAME

HEAD_NAMES = frozenset({RELEASE_NAME, SUMS_NAME, SIGNATURE_NAME})
"""Files of a release that its record does not hash."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_REFERENCE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}@[^/\\]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_dataset_name(value: str) -> str:
    """Return the name of a published dataset, which is a part of paths and of commands.

    Raises:
        ValueError: If it is none.
    """
    if _NAME.fullmatch(value) is None:
        raise ValueError(
            "the name of a dataset has at most 64 lower-case letters, digits, '.', '_' and '-', "
            "and begins and ends with a letter or a digit"
        )
    return value


def _is_location(value: str) -> str:
    if not value.strip("/") or value != value.strip() or _CONTROL.search(value):
        raise ValueError("a mirror is a URL, a folder, or the name of a folder beside the index")
    return value


DatasetName = Annotated[str, AfterValidator(require_dataset_name)]
Location = Annotated[str, AfterValidator(_is_location)]


class Entry(Strict):
    """One published release."""

    name: DatasetName
    version: Version
    date: Day
    title: str = Field(min_length=1)
    description: str
    licence: str = Field(description="SPDX identifier of the licence of the radio data")
    attribution: str = Field(description="Whom to name for each scene, and its own licence")
    citation: str = Field(description="BibTeX of the dataset, its scenes and the programs")
    scenes: tuple[Name, ...] = Field(min_length=1)
    bands: tuple[Name, ...] = Field(min_length=1)
    num_links: int = Field(ge=0)
    part_bytes: dict[Part, Annotated[int, Field(ge=0)]] = Field(
        description="Size of each part that it has"
    )
    content_hash: str
    superseded_by: str | None = Field(default=None, description="Version that replaces this one")
    heads: dict[str, ReleasedFile] = Field(
        description="Size and hash of release.json, which has those of all other files, and of the "
        "few that it cannot name: the sums and their signature"
    )
    mirrors: tuple[Location, ...] = Field(
        min_length=1, description="Where the release lies: asked in this order"
    )

    @model_validator(mode="after")
    def _names_its_record(self) -> "Entry":
        if RELEASE_NAME not in self.heads or not set(self.heads) <= HEAD_NAMES:
            raise ValueError(f"'heads' holds {RELEASE_NAME}, and of {sorted(HEAD_NAMES)} no more")
        return self

    @property
    def label(self) -> str:
        """Name and version, as a user gives them."""
        return f"{self.name}@{self.version}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that it has."""
        return tuple(self.part_bytes)

    @property
    def size_bytes(self) -> int:
        """Size of all files [B]."""
        return sum(self.part_bytes.values())


class Index(Strict):
    """The whole of an index; its seal is the hash over all the rest of it."""

    schema_version: Literal[1] = 1
    entries: tuple[Entry, ...] = ()
    seal: str | None = Field(default=None, description="SHA-256 over all the rest of this file")

    @model_validator(mode="after")
    def _names_each_once(self) -> "Index":
        labels = [entry.label for entry in self.entries]
        if len(set(labels)) < len(labels):
            raise ValueError(f"it lists {next(x for x in labels if labels.count(x) > 1)} twice")
        return self

    def find(self, reference: "Reference") -> Entry:
        """Return a release; the latest that is no pre-release, if no version is named.

        Raises:
            ConfigError: If there is none (the nearest is offered).
        """
        versions = [entry for entry in self.entries if entry.name == reference.name]
        names = sorted({entry.name for entry in self.entries})
        if not versions:
            raise ConfigError(
                f"the index has no dataset '{reference.name}'{nearest(reference.name, names)} "
                f"(it has: {', '.join(names) or 'nothing yet'})"
            )
        if reference.version is None:
            return max(versions, key=lambda entry: _precedence(entry.version))
        for entry in versions:
            if entry.version == reference.version:
                return entry
        known = ", ".join(entry.version for entry in _latest_first(versions))
        raise ConfigError(
            f"the index has no version {reference.version} of '{reference.name}' (it has: {known})"
        )

    def listed(self, text: str = "") -> list[Entry]:
        """Return the releases in which all words of a text stand, by name, latest first."""
        words = text.casefold().split()
        found = [entry for entry in self.entries if all(w in _words_of(entry) for w in words)]
        return sorted(_latest_first(found), key=lambda entry: entry.name)

    def with_entry(self, entry: Entry) -> "Index":
        """Return the index with one more release as its last, or with more mirrors of one.

        Raises:
            ConfigError: If it has another release of this name and version.
        """
        others = tuple(other for other in self.entries if other.label != entry.label)
        for old in self.entries:
            if old.label == entry.label:
                if old.heads[RELEASE_NAME] != entry.heads[RELEASE_NAME]:
                    raise ConfigError(
                        f"the index has another release {entry.label}, and what was published "
                        "never changes; give this one a new version"
                    )
                mirrors = dict.fromkeys((*old.mirrors, *entry.mirrors))
                entry = entry.model_copy(update={"mirrors": tuple(mirrors)})
        return Index(entries=(*others, entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a user calls a published dataset: `NAME` or `NAME@VERSION`.

    Attributes:
        name: Name in an index.
        version: Its version; the latest if None.
    """

    name: str
    version: str | None = None

    def __str__(self) -> str:
        """Return it as a user gives it."""
        return self.name if self.version is None else f"{self.name}@{self.version}"


class _Called(Strict):
    """A name and a version, checked."""

    name: DatasetName
    version: Version | None


def parse_reference(text: str) -> Reference:
    """Read `NAME` or `NAME@VERSION`.

    Raises:
        ConfigError: If it is neither.

    Example:
        >>> print(parse_reference("small@1.0.0").version)
        1.0.0
    """
    name, at, version = text.partition("@")
    try:
        called = _Called(name=name, version=version if at else None)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' names no dataset: expected NAME or NAME@VERSION, such as small@1.0.0, of "
            "lower-case letters, digits, '.', '_' and '-', and three numbers"
        ) from error
    return Reference(name=called.name, version=called.version)


def is_reference(text: str) -> bool:
    """Return whether a text looks like `NAME@VERSION`, and not like a path or a URL.

    Example:
        >>> is_reference("small@1.0.0"), is_reference("data/small@1.0.0"), is_reference("small")
        (True, False, False)
    """
    return _REFERENCE.fullmatch(text) is not None


def fitted(choice: Choice, entry: Entry) -> Choice:
    """Return a choice in the names and in the order of a release; what is all of it is not named.

    Args:
        choice: What somebody wants.
        entry: The release.

    Raises:
        ConfigError: If it has no such scene, band or part (the nearest is offered), or splits and
            scores are wanted of a part of the links.
    """
    bands = [name if name in entry.bands else band_name(name) for name in choice.bands]
    found = make_choice(
        _known("scene", choice.scenes, entry.scenes, entry.label),
        _known("band", bands, entry.bands, entry.label),
        _known("part", choice.parts, entry.parts, entry.label),
    )
    if found.parts and set(entry.parts) <= {*ALWAYS, *found.parts}:
        found = found.model_copy(update={"parts": ()})
    if found.is_cut and "benchmark" in found.parts:
        raise ConfigError(
            f"splits and scores of {entry.label} are for all of its links; leave scene and band "
            "out, or the part 'benchmark'"
        )
    return found


def parse_index(text: str, *, where: str) -> Index:
    """Read an index.

    Raises:
        ConfigError: If it is no valid JSON object, or holds a wrong key or value.
        SchemaError: If it was edited after it was written: its seal does not fit.
    """
    return read_sealed(Index, text, where=where)


def _latest_first(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: _precedence(entry.version), reverse=True)


def _precedence(version: str) -> tuple[bool, tuple[int, ...], tuple[tuple[bool, int, str], ...]]:
    """Return what orders versions: releases behind all pre-releases, of which none is the default.

    Among pre-releases, numbers come before words (Semantic Versioning 2.0.0, clause 11).
    """
    numbers, dash, early = version.partition("-")
    words = tuple(
        (not word.isdecimal(), int(word) if word.isdecimal() else 0, word)
        for word in early.split(".")
    )
    return not dash, tuple(map(int, numbers.split("."))), words


def _words_of(entry: Entry) -> str:
    facts = (entry.label, entry.title, entry.description, entry.licence, entry.attribution)
    return " ".join([*facts, *entry.scenes, *entry.bands, *entry.parts]).casefold()


def _known(noun: str, wanted: Sequence[str], there: Sequence[str], where: str) -> tuple[str, ...]:
    """Return what is wanted in the order in which it is there, and nothing if that is all."""
    for name in wanted:
        if name not in there:
            raise ConfigError(
                f"{where} has no {noun} '{name}'{nearest(name, list(there))} "
                f"(it has: {', '.join(there)})"
            )
    found = tuple(name for name in there if name in wanted)
    return () if len(found) == len(there) else found
