"""The dataset card as a page, as a host would show it."""

from pathlib import Path

import jinja2
import yaml
from markdown_it import MarkdownIt

from raymark.release.record import read_release

CARD_NAME = "README.md"


def card_page(folder: Path) -> str:
    """Return the card of a release as one HTML page that works offline.

    Raises:
        DatasetError: If the folder holds no release.
    """
    release = read_release(folder)
    front_matter, text = split_card((folder / CARD_NAME).read_text(encoding="utf-8"))
    # Raw HTML in a card would run in the reader's browser.
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("card_page.html.j2")
    return template.render(
        title=release.about.title, version=release.version, metadata=front_matter, body=body
    )


def split_card(card: str) -> tuple[dict[str, object], str]:
    """Return the front matter and the text of a card."""
    _, front_matter, text = card.split("---\n", maxsplit=2)
    return yaml.safe_load(front_matter), text
