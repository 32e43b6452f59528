"""The card of a dataset: what it holds, and how its paths were found."""

from pathlib import Path

from raymark.dataset.manifest import Manifest
from raymark.markdown import markdown_templates

CARD_NAME = "CARD.md"


def card_text(manifest: Manifest) -> str:
    """Return the card of a finished dataset."""
    templates = markdown_templates(Path(__file__).parent)
    return templates.get_template(f"{CARD_NAME}.j2").render(
        manifest=manifest, notes=[*manifest.notes, *_completeness_notes(manifest)]
    )


def _completeness_notes(manifest: Manifest) -> list[str]:
    return [
        f"{key}: {value.share_in_words} and {value.missed_paths_share:.1%} of the paths are missed "
        f"(estimated on {value.num_ues} UEs by {value.search_in_words})"
        for key, value in manifest.completeness.items()
    ]
