"""A view as one HTML page: markup, style, script and data in one file that loads nothing."""

import json
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

from raymark.errors import ConfigError
from raymark.storage import require_file, write_text
from raymark.viewer.content import SceneView
from raymark.viewer.payload import page_data

_SCRIPTS = ("data.js", "mesh.js", "marks.js", "paths.js", "camera.js", "panel.js", "viewer.js")
"""Joined in this order into one function, so that nothing of theirs is global."""


def require_free(out: Path, *, overwrite: bool) -> None:
    """Check that a page may be written, before it costs anything.

    Raises:
        ConfigError: If the name does not end in `.html`.
        DatasetError: If there is such a file, unless `overwrite`.
    """
    if out.suffix != ".html":
        raise ConfigError(f"{out}: a page's name must end in .html")
    require_file(out, overwrite=overwrite)


def write_view(view: SceneView, out: Path, *, overwrite: bool = False) -> None:
    """Write the page of a view.

    Raises:
        ConfigError: If the name does not end in `.html`.
        DatasetError: If the file is there (unless `overwrite`), or cannot be written.
    """
    require_free(out, overwrite=overwrite)
    write_text(out, render_view(view))


def render_view(view: SceneView) -> str:
    """Return the page; the same bytes for the same view."""
    plain, block = page_data(view)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("template.html.j2")).render(
        view=view,
        num_links=sum(len(site.links) for site in view.sites),
        style=_verbatim("viewer.css"),
        library=_verbatim("three.min.js"),
        script=Markup("\n").join(_verbatim(name) for name in _SCRIPTS),
        plain=_script_json(plain),
        block=block,
    )


def _script_json(data: object) -> Markup:
    """Return compact JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no "<" is left


def _verbatim(name: str) -> Markup:
    return Markup(_resource(name))  # noqa: S704 - a file of this package


def _resource(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
