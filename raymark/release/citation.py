"""How a release is cited: BibTeX, `CITATION.cff` and `.zenodo.json`."""

import json
import re
from typing import Any

import yaml

from raymark.dataset import Dataset
from raymark.release.licences import licence_url
from raymark.release.record import Author, Release

CITATION_NAME, ZENODO_NAME = "CITATION.cff", ".zenodo.json"
_KEYWORDS = ["localization", "CSI", "ray tracing", "wireless", "dataset", "benchmark"]


def bibtex(release: Release) -> str:
    """Return a BibTeX entry."""
    key = re.sub(r"[^a-z0-9]+", "-", release.about.title.lower()).strip("-")
    fields = {
        "title": f"{{{release.about.title}}}",
        "author": " and ".join(_bibtex_name(author) for author in release.about.authors),
        "year": release.date[:4],
        "version": release.version,
        "doi": release.about.doi,
        "url": release.about.url,
        "note": f"Content hash {release.content_hash[:12]}",
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def citation_text(release: Release) -> str:
    """Return `CITATION.cff` (Citation File Format 1.2.0, type `dataset`)."""
    about = release.about
    value: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "If you use this dataset, please cite it, and what it builds on.",
        "type": "dataset",
        "title": about.title,
        "version": release.version,
        "date-released": release.date,
        "license": release.licence,
        "authors": [_cff_author(author) for author in about.authors],
        "keywords": _KEYWORDS,
        **({"doi": about.doi} if about.doi else {}),
        **({"url": about.url} if about.url else {}),
        "references": [
            {
                "type": "software",
                "title": "raymark",
                "version": release.code_version,
                "authors": [{"name": "The raymark authors"}],
            },
            {
                "type": "software",
                "title": "Sionna RT",
                "authors": [{"name": "NVIDIA Corporation"}],
            },
        ],
    }
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def zenodo_text(release: Release, dataset: Dataset) -> str:
    """Return `.zenodo.json`, the metadata of a deposit."""
    about, campaign = release.about, dataset.manifest.campaign
    creators = [
        {
            key: value
            for key, value in author.model_dump().items()
            if value is not None and key in ("name", "affiliation", "orcid")
        }
        for author in about.authors
    ]
    value: dict[str, Any] = {
        "upload_type": "dataset",
        "title": about.title,
        "version": release.version,
        "publication_date": release.date,
        "description": about.description or campaign.description or about.title,
        "creators": creators,
        "access_right": "open",
        "license": release.licence.lower(),
        "keywords": _KEYWORDS,
        "notes": f"Scenes: {_scene_notes(dataset)}",
    }
    if about.url:
        value["related_identifiers"] = [{"identifier": about.url, "relation": "isIdenticalTo"}]
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _scene_notes(dataset: Dataset) -> str:
    scenes = {site.scene: site for site in dataset.manifest.sites}
    return "; ".join(
        f"{name}, {site.attribution}, {licence_url(site.licence)}" for name, site in scenes.items()
    )


def _cff_author(author: Author) -> dict[str, str]:
    family, comma, given = author.name.partition(", ")
    found = {"family-names": family, "given-names": given} if comma else {"name": author.name}
    if author.affiliation and comma:
        found["affiliation"] = author.affiliation
    if author.orcid:
        found["orcid"] = f"https://orcid.org/{author.orcid}"
    return found


def _bibtex_name(author: Author) -> str:
    return author.name if ", " in author.name else f"{{{author.name}}}"
