"""The card of an imported scene: what it was made from, how, and what it lacks."""

from pathlib import Path

from raymark.markdown import markdown_templates
from raymark.radio.p2040 import ranges_of
from raymark.scenes.importing.buildings import HeightSource
from raymark.scenes.importing.report import ImportReport
from raymark.scenes.importing.solids import SINK_M

_HEIGHT_MEANINGS: dict[HeightSource, str] = {
    "surveyed": "from the 3D geometry of the source",
    "tag": "from an attribute of the building",
    "levels": "from its number of levels",
    "given": "as high as --height-m says of those that the map does not know",
    "assumed": "assumed: drawn at random, with the seed",
}


def card_text(report: ImportReport) -> str:
    """Return the scene's card."""
    templates = markdown_templates(Path(__file__).parent)
    x0, y0, x1, y1 = report.extent_m
    is_map = report.frame is not None or report.options.metres_per_pixel is not None
    template = "card.md.j2" if is_map else "scene_card.md.j2"
    return templates.get_template(template).render(
        report=report,
        options=report.options,
        width_m=x1 - x0,
        depth_m=y1 - y0,
        height_meanings=_HEIGHT_MEANINGS,
        ranges_of=_ranges_of,
        sink_m=SINK_M,
    )


def _ranges_of(material: str) -> str:
    return ", ".join(ranges_of(material))
