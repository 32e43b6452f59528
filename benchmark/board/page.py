"""The board as one HTML page that needs nothing but a browser."""

import json
from importlib import resources

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from raymark.benchmark.board.content import Board
from raymark.benchmark.board.headline import by_kind, headline, present_metrics
from raymark.benchmark.board.payload import page_data
from raymark.benchmark.labels import LABEL_TITLES
from raymark.benchmark.skill import SHOWN

_SCRIPTS = ("data.js", "table.js", "cdf.js", "budget.js", "map.js", "board.js")
"""Joined in this order into one function, so that nothing of theirs is global."""

_TOP_CARD_HEADING = 4
"""Level of a model card's first heading: the page's own are 1 to 3."""


def render_page(board: Board) -> str:
    """Return the page: markup, style, script and data in one file that loads nothing."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    start = headline(board)
    return environment.from_string(_resource("template.html.j2")).render(
        suite=board.suite,
        tracks=board.tracks,
        start_track=next((t for t in board.tracks if t.name == start.track), None),
        start_metric=SHOWN[start.metric].title,
        start_points=LABEL_TITLES[start.label],
        metrics=[SHOWN[name] for name in present_metrics(board)],
        models=[(model, render_card(model.card_markdown)) for model in by_kind(board.models)],
        style=Markup(_resource("board.css")),  # noqa: S704 - a file of this package
        script=Markup("\n".join(map(_resource, _SCRIPTS))),  # noqa: S704 - the same
        data=embedded_json(page_data(board)),
    )


def embedded_json(data: object) -> Markup:
    r"""Return compact JSON that cannot end the script element that it stands in.

    >>> embedded_json({"a": "</script>"})
    Markup('{"a":"\\u003c/script>"}')
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no "<" is left


def render_card(markdown: str) -> Markup:
    """Return a model card as HTML; its raw HTML is shown as text and its images are left out.

    An image would be fetched from somewhere, and the page promises to work without a network.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(6, int(token.tag[1]) + _TOP_CARD_HEADING - 1)}"
    html = parser.renderer.render(tokens, parser.options, {})
    return Markup(html)  # noqa: S704 - rendered with raw HTML turned off


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
