"""Where the repository's files stand on the site, and links between them."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_PLACES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
    "CITATION.cff": "CITATION.cff",
    "raymark": "api/index.md",
    "raymark/cli": "cli.md",
    "models": "models/index.md",
    "scenes": "scenes/index.md",
    "generator/presets": "presets.md",
    "benchmark/costs.csv": "numbers/costs.csv",
    "benchmark/suites": "suites.md",
    "benchmark/results": "numbers/README.md",
    "benchmark/results/small-v1": "numbers/small-v1/board.md",
    "benchmark/results/small-v4": "numbers/small-v4/board.md",
    "benchmark/results/multi-site-v1": "numbers/multi-site-v1/board.md",
    "benchmark/results/small-map-v1": "numbers/small-map-v1/board.md",
}
_FOLDERS = (("docs/", ""), ("benchmark/results/", "numbers/"))
_CARD = re.compile(r"((?:models|scenes)/\w+)/card\.md")
_IN_REPOSITORY_ONLY = ("perf", "tests/physics")
"""What pages name that has no page: the link goes, its text stays."""

_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def place_of(path: str) -> str | None:
    """Return where a file or folder of the repository stands on the site; None if nowhere.

    Args:
        path: Relative to the repository, with slashes.
    """
    card = _CARD.fullmatch(path)
    if path in _PLACES or card:
        return f"{card[1]}.md" if card else _PLACES[path]
    moved = (to + path.removeprefix(at) for at, to in _FOLDERS if path.startswith(at))
    return next(moved, None)


def files_with_places() -> dict[Path, str]:
    """Return the files outside of docs, and not made into pages, that stand on the site."""
    results = (ROOT / "benchmark" / "results").rglob("*")
    files = [path for path in [*(ROOT / name for name in _PLACES), *results] if path.is_file()]
    places = {path: place_of(path.relative_to(ROOT).as_posix()) for path in files}
    return {path: place for path, place in places.items() if place}


def with_site_links(text: str, *, origin: str, place: str) -> str:
    """Return a page whose links lead to where things stand on the site.

    A link to what has no place there stays as it is, so that a strict build fails on it.

    Args:
        text: Markdown of the repository.
        origin: The file that it is, relative to the repository.
        place: Where that file stands on the site.
    """

    def moved(match: re.Match[str]) -> str:
        named, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        found = place_of(path)
        if path in _IN_REPOSITORY_ONLY:
            return named
        if found is None:
            return match[0]
        return f"[{named}]({posixpath.relpath(found, posixpath.dirname(place) or '.')}{anchor})"

    return outside_fences(lambda part: _LINK.sub(moved, part), text)


def outside_fences(change: Callable[[str], str], text: str) -> str:
    """Return Markdown with its text changed and its blocks of code as they are."""
    parts = _FENCED.split(text)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))
