"""`release.json`: what a release holds, whose it is, and the size and hash of every file."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from raymark.config import Name, Strict, read_sealed, read_text, read_yaml, validate
from raymark.dataset.schema import FileKind
from raymark.errors import DatasetError
from raymark.radio import FingerprintKind
from raymark.storage import within

RELEASE_NAME = "release.json"
SUMS_NAME = "SHA256SUMS"

_SEMANTIC = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?")


def _is_semantic(value: str) -> str:
    if _SEMANTIC.fullmatch(value) is None:
        raise ValueError("a version has three numbers, such as 1.0.0 or 1.0.0-rc.1")
    return value


def _is_day(value: str) -> str:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        day = None
    if day is None or day.isoformat() != value:
        raise ValueError("a date is written YYYY-MM-DD")
    return value


Version = Annotated[
    str,
    AfterValidator(_is_semantic),
    Field(description="Semantic version of the data, apart from that of the code"),
]
Day = Annotated[str, AfterValidator(_is_day)]

TIERS_BYTES = {
    "mini": 50_000_000,
    "small": 500_000_000,
    "v1": 5_000_000_000,
    "multi-site": 500_000_000,
    "sequence": 1_000_000_000,
    "dense": 5_000_000_000,
}
"""The datasets that raymark publishes as its own, by the presets of its suites, and the most bytes
of each."""


class Author(Strict):
    """Somebody who made the dataset."""

    name: str = Field(min_length=1, description="Family name, given names; or an organisation")
    affiliation: str | None = None
    orcid: str | None = Field(default=None, pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")


class Change(Strict):
    """One entry of the changelog."""

    version: Version
    date: Day
    changes: tuple[str, ...] = Field(min_length=1)


class About(Strict):
    """What only the publisher knows; read from the YAML file of `--about`."""

    title: str = Field(min_length=1)
    authors: tuple[Author, ...] = Field(min_length=1)
    description: str = Field(default="", description="Added to the campaign's own")
    licence: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$",
        description="SPDX identifier for the radio data; CC-BY-4.0 for what raymark traced",
    )
    url: str | None = Field(default=None, pattern=r"^https?://", description="Page of the dataset")
    doi: str | None = Field(default=None, pattern=r"^10\.\d{4,9}/\S+$")
    contact: str | None = None
    superseded_by: str | None = Field(default=None, description="Version that replaces this one")
    changelog: tuple[Change, ...] = Field(default=(), description="Latest first")


class ReleasedFile(Strict):
    """One file of a release."""

    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Materialized(Strict):
    """One file of fingerprints as arrays, `fingerprints/<scene>_<band>.h5`."""

    scene: Name
    band: Name
    kind: FingerprintKind
    seed: int
    num_links: int

    @property
    def config_name(self) -> str:
        """Name of the configuration that a loader asks for."""
        return f"{self.scene}_{self.band}"

    @property
    def file(self) -> str:
        """Path in the release."""
        return f"fingerprints/{self.config_name}.h5"


class Benchmark(Strict):
    """The suite whose splits, predictions and board travel with the data."""

    suite: str
    suite_version: int
    suite_hash: str
    has_predictions: bool
    models: tuple[str, ...] = Field(default=(), description="Models on the board snapshot")


class Release(Strict):
    """The whole of `release.json`."""

    schema_version: Literal[1] = 1
    version: Version
    date: Day
    about: About
    tier: str | None = Field(description="One of `TIERS_BYTES`; none for another dataset")
    licence: str = Field(description="SPDX identifier of the licence of the radio data")
    dataset_id: str
    content_hash: str
    left_out: tuple[FileKind, ...]
    materialized: tuple[Materialized, ...]
    benchmark: Benchmark | None
    code_version: str
    files: dict[str, ReleasedFile] = Field(
        default_factory=dict, description="Every file but release.json and SHA256SUMS"
    )
    seal: str | None = Field(default=None, description="SHA-256 over all the rest of this file")


def sums_text(release: Release, release_sha256: str) -> str:
    """Return `SHA256SUMS`, as `sha256sum -c` reads it: every file, `release.json` included."""
    sums = {name: file.sha256 for name, file in release.files.items()}
    sums[RELEASE_NAME] = release_sha256
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def read_release(folder: Path) -> Release:
    """Read `release.json`.

    Raises:
        DatasetError: If the folder holds no release.
        ConfigError: If the file cannot be read or was edited into something invalid.
        SchemaError: If it was edited, whatever in it: its seal does not fit.
    """
    path = within(folder, RELEASE_NAME)
    if not path.is_file():
        raise DatasetError(
            f"{folder} holds no release ({RELEASE_NAME} is missing); `raymark release build` makes "
            "one from a dataset"
        )
    return read_sealed(Release, read_text(path), where=str(path))


def read_about(path: Path) -> About:
    """Read what the publisher says of a dataset from a YAML file.

    Raises:
        ConfigError: If it cannot be read or holds a wrong key or value (its place is named).
    """
    return validate(About, read_yaml(path), where=str(path))
