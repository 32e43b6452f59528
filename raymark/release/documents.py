"""The documents of a release, all made from its record and its data."""

import html
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from raymark.dataset import Dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import INDEX_NAME
from raymark.dataset.schema import FIELDS
from raymark.errors import counted
from raymark.markdown import markdown_templates
from raymark.release import statements
from raymark.release.citation import CITATION_NAME, ZENODO_NAME, bibtex, citation_text, zenodo_text
from raymark.release.croissant import CROISSANT_NAME, croissant_text
from raymark.release.croissant_terms import index_columns
from raymark.release.licences import attribution_text, hub_licence, licence_url
from raymark.release.part import BOARD_FOLDER, SPLITS_FOLDER
from raymark.release.record import Release, ReleasedFile

_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"))
_TEMPLATES = ("README.md", "DATASHEET.md", "LICENSES.md")
DOCUMENT_NAMES = (*_TEMPLATES, "ATTRIBUTION", CITATION_NAME, ZENODO_NAME, CROISSANT_NAME)
_PARTS = ("train", "validation", "test", "context", "unused")


def documents(
    release: Release, dataset: Dataset, files: Mapping[str, ReleasedFile]
) -> dict[str, str]:
    """Return the text of every document by its name.

    Args:
        release: What it holds; its `files` are not read.
        dataset: The dataset in the folder of the release.
        files: The files of data, which the documents describe.
    """
    environment = markdown_templates(Path(__file__).parent, trim_blocks=False)
    # The filter `text` makes what the publisher wrote harmless.
    environment.filters.update(
        cell=_cell,
        counted=counted,
        metres=_metres,
        number=_number,
        text=_text,
        licence=_licence,
    )
    values = _values(release, dataset, files)
    return {
        **{name: environment.get_template(f"{name}.j2").render(values) for name in _TEMPLATES},
        "ATTRIBUTION": attribution_text(dataset),
        CITATION_NAME: citation_text(release, dataset),
        ZENODO_NAME: zenodo_text(release, dataset),
        CROISSANT_NAME: croissant_text(release, dataset, files),
    }


def map_file(scene: str) -> str:
    """Return the name of the map of a scene, which the card shows."""
    return f"maps/{scene}.png"


def _values(
    release: Release, dataset: Dataset, files: Mapping[str, ReleasedFile]
) -> dict[str, Any]:
    manifest = dataset.manifest
    sampling, tracer = manifest.campaign.sampling, manifest.campaign.tracer
    scenes = {site.scene: site for site in manifest.sites}
    file_kinds = {"paths", "detail", "fingerprints"} - set(release.left_out)
    if not release.materialized:
        file_kinds.discard("fingerprints")
    if manifest.buildings:
        file_kinds.add("buildings")
    front_matter = _front_matter(release, dataset)
    return {
        "release": release,
        "about": release.about,
        "dataset": dataset,
        "manifest": manifest,
        "description": statements.description(release.about, manifest),
        "front_matter": yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=True),
        "config": front_matter["configs"][0]["config_name"],
        "num_links": sum(site.num_ues for site in manifest.sites),
        "scene": dataset.scenes[0],
        "band": dataset.bands[0],
        "bands": _band_rows(manifest.campaign),
        "shard": manifest.shards[0].file("paths"),
        "summary": list(dataset.summary().itertuples(index=False, name=None)),
        "splits": _split_rows(dataset, files),
        "fields": [field for field in FIELDS if field.file in file_kinds],
        "index_columns": index_columns(dataset.bands),
        "scenes": list(scenes.values()),
        "maps": {scene: map_file(scene) for scene in scenes},
        "odbl_scenes": [x.scene for x in scenes.values() if x.licence.startswith("ODbL")],
        "has_detail": "detail" not in release.left_out,
        "sampling": sampling.describe(manifest.campaign.seed),
        "source": sampling.imported_from,
        "max_num_paths": tracer.max_num_paths,
        "standings": _standings(release, dataset),
        "statements": statements,
        "limitations": statements.limitations(manifest),
        "biases": statements.biases(manifest),
        "personal": sampling.personal_information,
        "bibtex": bibtex(release),
    }


def _front_matter(release: Release, dataset: Dataset) -> dict[str, Any]:
    num_links = sum(site.num_ues for site in dataset.manifest.sites)
    # The hub reads all configurations of a dataset in one format: arrays, or else the index.
    arrays = [
        {"config_name": item.config_name, "data_files": item.file} for item in release.materialized
    ]
    index = {"config_name": "index", "data_files": INDEX_NAME}
    return {
        "pretty_name": release.about.title,
        **hub_licence(release.licence),
        "size_categories": [next((name for top, name in _SIZES if num_links < top), "n>1M")],
        "task_categories": ["other"],
        "tags": ["wireless", "localization", "CSI", "ray-tracing", "simulation"],
        "configs": arrays or [index],
    }


def _band_rows(campaign: Campaign) -> list[dict[str, Any]]:
    rows = []
    for band in campaign.bands:
        front_end = campaign.front_end_at(band)
        panel = front_end.panel
        rows.append(
            {
                "band": band.name,
                "carrier [GHz]": f"{band.carrier_hz / 1e9:g}",
                "bandwidth [MHz]": f"{band.bandwidth_hz / 1e6:g}",
                "tones": band.num_subcarriers,
                "BS panel": f"{panel.num_rows} x {panel.num_cols}, {panel.element_pattern}",
                "polarization": panel.polarization,
                "spacing [wavelengths]": f"{panel.spacing_wavelengths:g}",
                "UE power [dBm]": f"{front_end.ue.tx_power_dbm:g}",
                "noise figure [dB]": f"{band.noise_figure_db:g}",
            }
        )
    return rows


def _split_rows(dataset: Dataset, files: Mapping[str, ReleasedFile]) -> list[tuple[object, ...]]:
    """Return the file of every split and how many links each of its parts has."""
    rows = []
    for name in sorted(files):
        if name.startswith(f"{SPLITS_FOLDER}/") and name.endswith(".parquet"):
            with (dataset.folder / name).local_copy() as file:
                parts = pd.read_parquet(file, columns=["part"])["part"].value_counts()
            rows.append((name, *(int(parts.get(part, 0)) for part in _PARTS)))
    return rows


def _standings(release: Release, dataset: Dataset) -> str:
    """Return the first table of the board, if there is one."""
    if release.benchmark is None or not release.benchmark.has_predictions:
        return ""
    board = (dataset.folder / BOARD_FOLDER / "board.md").read_text()
    sections = board.split("\n## ")
    return f"### {sections[1].strip()}\n\nThe whole board: [{BOARD_FOLDER}](board/board.md).\n"


def _text(value: object) -> str:
    """Return text of the publisher on one line, which Markdown cannot take for HTML."""
    return html.escape(" ".join(str(value).split()), quote=False)


def _cell(value: Any) -> str:
    if pd.isna(value):
        return "-"
    return _number(value) if isinstance(value, float) else _text(value).replace("|", "\\|")


def _licence(name: str) -> str:
    url = licence_url(name)
    return f"[{_cell(name)}]({url})" if url else _cell(name)


def _number(value: float) -> str:
    """Return three or more significant digits, without an exponent."""
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value + 0.0:.{digits}f}"


def _metres(value: float) -> str:
    """Return a coordinate or an angle to two decimals, without trailing zeros or minus zero."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")
