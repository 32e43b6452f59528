"""What mkdocs calls: pages are made from sources, and links lead to places on the site."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from website.commands import commands_page
from website.links import ROOT, files_with_places, with_site_links
from website.notebooks import notebook_files, with_downloads
from website.public_names import package_folders, reference_pages
from website.registries import registry_pages

_sources = tempfile.TemporaryDirectory(prefix="raymark-site-")


@event_priority(100)  # before mkdocstrings reads its own
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the reference find the packages, whose folders lie beside each other."""
    _copy_packages(Path(_sources.name))
    handlers = config.plugins["mkdocstrings"].config.handlers
    handlers["python"]["paths"] = [_sources.name]
    config.nav = _with_made_pages(config.nav)
    return config


def _copy_packages(folder: Path) -> None:
    """Make the tree that an installation has, for griffe, which reads sources alone."""
    for package, source in package_folders().items():
        target = folder.joinpath(*package.split("."))
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, target, dirs_exist_ok=True, ignore=no_caches)


def _with_made_pages(nav: Any) -> Any:
    """Return the navigation with the pages of a folder in place of the folder's name."""
    if isinstance(nav, list):
        return [_with_made_pages(item) for item in nav]
    if isinstance(nav, dict):
        return {title: _with_made_pages(item) for title, item in nav.items()}
    if not nav.endswith("/"):
        return nav
    pages = [place for place in _made_pages() if place.startswith(nav)]
    return sorted(
        pages, key=lambda place: (not place.endswith("index.md"), place.removesuffix(".md"))
    )


def _made_pages() -> dict[str, str]:
    return {**reference_pages(), **registry_pages(), "cli.md": commands_page()}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the repository's files that have a place on the site."""
    for place, text in {**_made_pages(), **notebook_files()}.items():
        files.append(File.generated(config, place, content=text))
    for path, place in files_with_places().items():
        content = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            origin = path.relative_to(ROOT).as_posix()
            content = with_site_links(content, origin=origin, place=place)
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Let links of pages in docs lead to where things stand on the site."""
    if page.file.generated_by is not None:
        return markdown
    place = page.file.src_uri
    if place == "index.md":  # said here, since GitHub would print it at the head of the page
        page.meta["hide"] = ["navigation", "toc"]
    if place.startswith("tutorials/"):
        markdown = with_downloads(markdown, Path(place).stem)
    return with_site_links(markdown, origin=f"docs/{place}", place=place)
