"""The dataset card as a page, as a host would show it."""

import base64
from pathlib import Path
from urllib.parse import unquote

import jinja2
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from raymark.config import read_text
from raymark.errors import ConfigError
from raymark.release.record import read_release
from raymark.storage import within

CARD_NAME = "README.md"


def card_page(folder: Path) -> str:
    """Return the card of a release as one HTML page that works offline.

    Raises:
        DatasetError: If the folder holds no release.
        ConfigError: If its card is no text, or has no front matter.
    """
    release = read_release(folder)
    card = folder / CARD_NAME
    try:
        front_matter, text = split_card(read_text(card))
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{card} does not begin with lines of YAML between two ---") from error
    # Raw HTML in a card would run in the reader's browser.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    _embed_maps(folder, tokens)
    body = markdown.renderer.render(tokens, markdown.options, {})
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    template = jinja2.Environment(loader=loader, autoescape=True).get_template("card_page.html.j2")
    return template.render(
        title=release.about.title, version=release.version, metadata=front_matter, body=body
    )


def _embed_maps(folder: Path, tokens: list[Token]) -> None:
    """Put the maps themselves where a card names them; what else it names stays a name."""
    images = (child for token in tokens for child in token.children or () if child.type == "image")
    for image in images:
        name = unquote(str(image.attrs["src"]))
        if name.startswith("maps/") and within(folder, name).is_file():
            data = base64.b64encode(within(folder, name).read_bytes()).decode()
            image.attrs["src"] = f"data:image/png;base64,{data}"


def split_card(card: str) -> tuple[dict[str, object], str]:
    """Return the front matter and the text of a card."""
    _, front_matter, text = card.split("---\n", maxsplit=2)
    return yaml.safe_load(front_matter), text
