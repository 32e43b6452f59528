"""The card of a degraded scene: what it was made from, what is wrong with it, who says so."""

from pathlib import Path

from raymark.markdown import markdown_templates
from raymark.scenes.degrading.grades import SIZE_SOURCES, Grade
from raymark.scenes.degrading.report import DegradeReport
from raymark.scenes.scene import Scene


def card_text(scene: Scene, report: DegradeReport) -> str:
    """Return the card of a scene that was made from another."""
    templates = markdown_templates(Path(__file__).parent)
    return templates.get_template("card.md.j2").render(
        report=report,
        settings=scene.settings,
        sizes=report.grade.sizes,
        meanings={name: field.description for name, field in Grade.model_fields.items()},
        sources=SIZE_SOURCES,
    )
