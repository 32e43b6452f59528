"""What a release consists of, and which of it somebody wants."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from raymark.config import Name, Strict, nearest, validate
from raymark.dataset.manifest import INDEX_NAME, MANIFEST_NAME
from raymark.errors import ConfigError
from raymark.release.part import AUDIT_FOLDER, BOARD_FOLDER, RUN_FOLDER, SPLITS_FOLDER
from raymark.release.record import ReleasedFile

Part = Literal["paths", "detail", "buildings", "fingerprints", "benchmark", "documents"]
"""Paths with their index and manifest; interaction points; heights; arrays; splits and board."""

PARTS: tuple[Part, ...] = get_args(Part)
ALWAYS: tuple[Part, ...] = ("paths", "documents")
"""Parts that nobody can do without: the dataset itself, and under which licence it is."""

_FOLDERS: dict[str, Part] = {
    "paths": "paths",
    MANIFEST_NAME: "paths",
    INDEX_NAME: "paths",
    "detail": "detail",
    "buildings": "buildings",
    "fingerprints": "fingerprints",
    **dict.fromkeys((SPLITS_FOLDER, AUDIT_FOLDER, RUN_FOLDER, BOARD_FOLDER), "benchmark"),
}


def part_of(name: str) -> Part:
    """Return the part of a release that a file of it belongs to."""
    return _FOLDERS.get(name.partition("/")[0], "documents")


def part_bytes(files: Mapping[str, ReleasedFile]) -> dict[Part, int]:
    """Return the size [B] of each part that a release has, in their usual order."""
    sizes: dict[Part, int] = {}
    for name, file in files.items():
        sizes[part_of(name)] = sizes.get(part_of(name), 0) + file.size_bytes
    return {part: sizes[part] for part in PARTS if part in sizes}


class Choice(Strict):
    """Which of a release somebody wants; all of it where nothing is named."""

    scenes: tuple[Name, ...] = ()
    bands: tuple[Name, ...] = ()
    parts: tuple[Part, ...] = Field(default=(), description="Beside those that are always there")

    @property
    def is_whole(self) -> bool:
        """Whether it is the release as it was published."""
        return self == Choice()

    @property
    def is_cut(self) -> bool:
        """Whether links or carriers are left out, and not only kinds of files."""
        return bool(self.scenes or self.bands)

    def takes(self, part: Part) -> bool:
        """Return whether it has a part of the release."""
        return not self.parts or part in (*ALWAYS, *self.parts)

    def __str__(self) -> str:
        """Return it in a few words."""
        return "; ".join([*self.scenes, *self.bands, *self.parts]) or "all"


def make_choice(
    scenes: tuple[str, ...] = (), bands: tuple[str, ...] = (), parts: tuple[str, ...] = ()
) -> Choice:
    """Return a choice of what is named, whether a release has it or not.

    Raises:
        ConfigError: If there is no such part, or something can be no name.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(
                f"a release has no part '{part}'{nearest(part, list(PARTS))} "
                f"(parts are: {', '.join(PARTS)})"
            )
    return validate(Choice, {"scenes": scenes, "bands": bands, "parts": parts}, where="choice")
