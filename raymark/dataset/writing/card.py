"""The card of a dataset: what it holds, and how its paths were found."""

from pathlib import Path

import jinja2

from raymark.dataset.manifest import Manifest

CARD_NAME = "CARD.md"


def card_text(manifest: Manifest) -> str:
    """Return the card of a finished dataset."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return environment.get_template(f"{CARD_NAME}.j2").render(
        manifest=manifest, notes=[*manifest.notes, *_completeness_notes(manifest)]
    )


def _completeness_notes(manifest: Manifest) -> list[str]:
    return [
        f"{key}: about {value.missed_power_share:.2%} of a UE's power and "
        f"{value.missed_paths_share:.1%} of the paths are missed (estimated on "
        f"{value.num_ues} UEs by a second discovery)"
        for key, value in manifest.completeness.items()
    ]
