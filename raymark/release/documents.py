"""The documents of a release, all made from its record and its data."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from raymark.campaign import ImportedSampling
from raymark.dataset import Dataset
from raymark.inspection import summarize
from raymark.manifest import INDEX_NAME
from raymark.release import statements
from raymark.release.benchmark_files import BOARD_FOLDER
from raymark.release.citation import CITATION_NAME, ZENODO_NAME, bibtex, citation_text, zenodo_text
from raymark.release.croissant import CROISSANT_NAME, croissant_text
from raymark.release.licences import attribution_text, licence_url
from raymark.release.record import Release, ReleasedFile
from raymark.schema import FIELDS

_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"))
_TEMPLATES = ("README.md", "DATASHEET.md", "LICENSES.md")


def documents(
    release: Release, dataset: Dataset, files: Mapping[str, ReleasedFile]
) -> dict[str, str]:
    """Return the text of every document by its name.

    Args:
        release: What it holds; its `files` are not read.
        dataset: The dataset in the folder of the release.
        files: The files of data, which the documents describe.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown; `card_page` renders it without raw HTML
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(cell=_cell, number=_number, url=licence_url)
    values = _values(release, dataset)
    return {
        **{name: environment.get_template(f"{name}.j2").render(values) for name in _TEMPLATES},
        "ATTRIBUTION": attribution_text(dataset),
        CITATION_NAME: citation_text(release),
        ZENODO_NAME: zenodo_text(release, dataset),
        CROISSANT_NAME: croissant_text(release, dataset, files),
    }


def _values(release: Release, dataset: Dataset) -> dict[str, Any]:
    manifest, about = dataset.manifest, release.about
    texts = filter(None, [manifest.campaign.description, about.description])
    scenes = {site.scene: site for site in manifest.sites}
    sampling = manifest.campaign.sampling
    file_kinds = {"paths", "detail", "fingerprints"} - set(release.left_out)
    if not release.materialized:
        file_kinds.discard("fingerprints")
    return {
        "release": release,
        "dataset": dataset,
        "generation": manifest.generation,
        "title": " ".join(about.title.split()),
        "description": " ".join(texts) or "A ray-traced radio dataset.",
        "front_matter": _front_matter(release, dataset),
        "num_links": sum(site.num_ues for site in manifest.sites),
        "scene": dataset.scenes[0],
        "band": dataset.bands[0],
        "shard": manifest.shards[0].file("paths"),
        "summary": list(summarize(dataset).itertuples(index=False, name=None)),
        "fields": [field for field in FIELDS if field.file in file_kinds],
        "scenes": list(scenes.values()),
        "has_odbl": any(site.licence.startswith("ODbL") for site in manifest.sites),
        "sampling": f"UEs are of the kind '{sampling.kind}', seed {manifest.campaign.seed}",
        "source": sampling.source if isinstance(sampling, ImportedSampling) else None,
        "standings": _standings(release, dataset),
        "limitations": statements.limitations(manifest),
        "biases": statements.BIASES,
        "use_cases": statements.USE_CASES,
        "social_impact": statements.SOCIAL_IMPACT,
        "personal": statements.PERSONAL_INFORMATION,
        "maintenance": statements.MAINTENANCE,
        "bibtex": bibtex(release),
    }


def _front_matter(release: Release, dataset: Dataset) -> str:
    num_links = sum(site.num_ues for site in dataset.manifest.sites)
    # The hub reads all configurations of a dataset in one format: arrays, or else the index.
    arrays = [
        {"config_name": item.config_name, "data_files": item.file} for item in release.materialized
    ]
    index = {"config_name": "index", "data_files": INDEX_NAME}
    value = {
        "pretty_name": release.about.title,
        "license": release.licence.lower(),
        "size_categories": [next((name for top, name in _SIZES if num_links < top), "n>1M")],
        "tags": ["wireless", "localization", "CSI", "ray-tracing", "simulation"],
        "configs": arrays or [index],
    }
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _standings(release: Release, dataset: Dataset) -> str:
    """Return the first table of the board, if there is one."""
    if release.benchmark is None or not release.benchmark.has_predictions:
        return ""
    board = (dataset.folder / BOARD_FOLDER / "board.md").read_text(encoding="utf-8")
    sections = board.split("\n## ")
    return f"### {sections[1].strip()}\n\nThe whole board: [{BOARD_FOLDER}](board/board.md).\n"


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "-"
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    """Return three or more significant digits, without an exponent."""
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"
