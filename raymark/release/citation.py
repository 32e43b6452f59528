"""How a release is cited: BibTeX, `CITATION.cff` and `.zenodo.json`."""

import html
import json
import re
from typing import Any

import yaml

from raymark.dataset import Dataset
from raymark.release.licences import licence_url
from raymark.release.record import Author, Release
from raymark.release.statements import description, is_traced

CITATION_NAME, ZENODO_NAME = "CITATION.cff", ".zenodo.json"
SIONNA_RT_URL = "https://github.com/NVlabs/sionna-rt"
_KEYWORDS = ["localization", "CSI", "ray tracing", "wireless", "dataset", "benchmark"]
_ZENODO_DOI = "10.5281/"
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        # BibTeX counts braces even behind a backslash, so that a single one ends the field.
        "{": "(",
        "}": ")",
        **{char: f"\\{char}" for char in "#$%&_"},
    }
)


def bibtex(release: Release) -> str:
    """Return a BibTeX entry."""
    about = release.about
    key = re.sub(r"[^a-z0-9]+", "-", about.title.lower()).strip("-") or release.dataset_id
    fields = {
        "title": f"{{{latex(about.title)}}}",
        "author": " and ".join(_bibtex_name(author) for author in about.authors),
        "year": release.date[:4],
        "version": release.version,
        "doi": about.doi,
        "url": about.url,
        "note": f"Content hash {release.content_hash[:12]}",
    }
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return f"@misc{{{key},\n" + ",\n".join(lines) + "\n}"


def is_person(author: Author) -> bool:
    """Return whether an author is a person rather than an organisation."""
    return ", " in author.name or author.orcid is not None


def citation_text(release: Release, dataset: Dataset) -> str:
    """Return `CITATION.cff` (Citation File Format 1.2.0, type `dataset`)."""
    about = release.about
    software: list[dict[str, Any]] = [
        {
            "type": "software",
            "title": "raymark",
            "version": release.code_version,
            "authors": [{"name": "The raymark authors"}],
        }
    ]
    if is_traced(dataset.manifest):
        software.append(
            {
                "type": "software",
                "title": "Sionna RT",
                "version": dataset.manifest.software["sionna-rt"],
                "repository-code": SIONNA_RT_URL,
                "authors": [{"name": "NVIDIA Corporation"}],
            }
        )
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
        "references": software,
    }
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def zenodo_text(release: Release, dataset: Dataset) -> str:
    """Return `.zenodo.json`, the metadata of a deposit; its descriptions are HTML."""
    about = release.about
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
        "description": f"<p>{_html(description(about, dataset.manifest))}</p>",
        "creators": creators,
        "access_right": "open",
        "license": release.licence.lower(),
        "keywords": _KEYWORDS,
        "notes": f"<p>Scenes: {_html(_scene_notes(dataset))}</p>",
        "related_identifiers": _related(release, dataset),
    }
    # One of Zenodo's own is given by the deposit itself, and refused here.
    if about.doi and not about.doi.startswith(_ZENODO_DOI):
        value["doi"] = about.doi
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _related(release: Release, dataset: Dataset) -> list[dict[str, str]]:
    found = []
    if release.about.url:
        found.append({"identifier": release.about.url, "relation": "isIdenticalTo"})
    if is_traced(dataset.manifest):
        found.append(
            {
                "identifier": SIONNA_RT_URL,
                "relation": "isCompiledBy",
                "resource_type": "software",
            }
        )
    return found


def _scene_notes(dataset: Dataset) -> str:
    scenes = {site.scene: site for site in dataset.manifest.sites}
    return "; ".join(
        f"{name}, {site.attribution}, {licence_url(site.licence) or site.licence}"
        for name, site in scenes.items()
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
    name = latex(author.name)
    return name if is_person(author) else f"{{{name}}}"


def latex(text: str) -> str:
    """Return a text on one line as BibTeX takes it, whatever it holds."""
    return " ".join(text.split()).translate(_LATEX)


def _html(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False)
