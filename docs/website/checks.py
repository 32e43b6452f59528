"""Checks of a built site: it works from a folder, its links lead somewhere, no name is missing.

    python docs/website/checks.py SITE

Nothing is fetched. The exit code is 1 if there is a fault; each is printed.
"""

import sys
from collections.abc import Iterator
from functools import cached_property
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_ASSETS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """What one page links to, loads, and can be linked to at."""

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.assets: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Note where a tag leads and what it is called."""
        values = {name: value for name, value in attrs if value}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in _ASSETS and _ASSETS[tag] in values and values.get("rel") != "canonical":
            self.assets.append(values[_ASSETS[tag]])


class Site:
    """A folder of pages."""

    def __init__(self, folder: Path) -> None:
        """Remember where it is."""
        self.folder = folder.resolve()

    @cached_property
    def pages(self) -> dict[Path, Page]:
        """All pages by their path."""
        return {path: Page(path) for path in sorted(self.folder.rglob("*.html"))}

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with any page."""
        if not self.pages:
            yield f"{self.folder}: no page"
        for page in self.pages.values():
            yield from (f"{page.path}: loads {url}" for url in page.assets if _is_remote(url))
            local = [url for url in [*page.links, *page.assets] if not urlsplit(url).scheme]
            if page.path.name != "404.html":  # it is served from anywhere
                yield from (f"{page.path}: {url}" for url in local if not self._leads(page, url))

    def _leads(self, page: Page, url: str) -> bool:
        parts = urlsplit(url)
        target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
        if parts.netloc or not target.is_relative_to(self.folder) or not target.is_file():
            return False
        anchor = unquote(parts.fragment)
        return not anchor or target not in self.pages or anchor in self.pages[target].ids

    def missing_entries(self, names: dict[str, list[str]]) -> Iterator[str]:
        """Yield public names whose page has no entry of theirs.

        Args:
            names: Full names by module.
        """
        for module, wanted in names.items():
            page = self.pages.get(self.folder / "api" / f"{module}.html")
            found = page.ids if page else set()
            yield from (
                f"{name}: no entry in the reference" for name in wanted if name not in found
            )


def _is_remote(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def main(folder: str) -> int:
    """Print each fault of a site; return 1 if there is one."""
    from website.public_names import public_modules  # noqa: PLC0415 - needs the folder docs

    site = Site(Path(folder))
    names = {x.name: [f"{x.name}.{name}" for name in x.names] for x in public_modules()}
    faults = [*site.faults(), *site.missing_entries(names)]
    for fault in faults:
        print(fault)
    print(f"{len(site.pages)} pages, {sum(map(len, names.values()))} names, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    sys.exit(main(sys.argv[1]))
