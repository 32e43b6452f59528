"""The card of a degraded scene: what it was made from, what is wrong with it, who says so."""

from pathlib import Path

import jinja2

from raymark.scenes.degrading.grades import SIZE_SOURCES, Grade
from raymark.scenes.degrading.report import DegradeReport
from raymark.scenes.scene import Scene


def card_text(scene: Scene, report: DegradeReport) -> str:
    """Return the card of a scene that was made from another."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return environment.get_template("card.md.j2").render(
        report=report,
        settings=scene.settings,
        sizes=report.grade.sizes,
        meanings={name: field.description for name, field in Grade.model_fields.items()},
        sources=SIZE_SOURCES,
    )
