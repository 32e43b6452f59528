"""`croissant.json`: the release as machines read it (Croissant 1.1 with responsible-AI fields).

Croissant has no reader of HDF5, so that the records are the rows of the Parquet files: the index of
all links, and the splits. Vocabulary: http://mlcommons.org/croissant/1.1,
http://mlcommons.org/croissant/RAI/1.0 and https://www.w3.org/TR/prov-o/.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from raymark.dataset import Dataset
from raymark.loaders.extras import import_extra
from raymark.manifest import INDEX_NAME
from raymark.release import statements
from raymark.release.benchmark_files import SPLITS_FOLDER
from raymark.release.citation import bibtex
from raymark.release.licences import licence_url
from raymark.release.record import Release, ReleasedFile

CROISSANT_NAME = "croissant.json"
_CHECKED_RECORDS = 100
_ENCODINGS = {
    ".h5": "application/x-hdf5",
    ".json": "application/json",
    ".parquet": "application/x-parquet",
}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
INDEX_COLUMNS = {
    "scene": "Name of the scene",
    "site": "Name of the base station's panel",
    "ue_index": "Number of the UE at its site",
    "x_m": "UE position, east [m]",
    "y_m": "UE position, north [m]",
    "z_m": "UE position, up [m]",
    "los": "1 LOS, 0 NLOS, -1 outage (no path)",
    "num_paths": "Number of stored paths",
    "track_id": "Track of the UE; -1 if not on a track",
    "track_step": "Time order on the track; -1 if none",
    "shard": "File that holds the paths",
    "row": "Row of the link in that file",
}
_SPLIT_COLUMNS = {
    "site": "Name of the base station's panel",
    "ue_index": "Number of the UE at its site",
    "part": "train, validation, test or unused",
    "block": "Number of the UE's square on the map",
    "window": "Number of the window; -1 where unused",
    "window_step": "Place in the window",
}


def croissant_text(release: Release, dataset: Dataset, files: Mapping[str, ReleasedFile]) -> str:
    """Return `croissant.json`."""
    about, manifest = release.about, dataset.manifest
    value = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": about.title,
        "description": " ".join(filter(None, [manifest.campaign.description, about.description]))
        or about.title,
        "version": release.version,
        "datePublished": release.date,
        "isLiveDataset": False,
        "license": licence_url(release.licence),
        "url": about.url or (f"https://doi.org/{about.doi}" if about.doi else None),
        "creator": [_creator(author.model_dump()) for author in about.authors],
        "citeAs": bibtex(release),
        "keywords": ["localization", "CSI", "ray tracing", "wireless", *dataset.scenes],
        **_responsible_ai(dataset),
        **_provenance(dataset),
        "distribution": [_file_object(name, files[name]) for name in _described(files)],
        "recordSet": list(_record_sets(dataset, files)),
    }
    kept = {key: item for key, item in value.items() if item is not None}
    return json.dumps(kept, indent=1, ensure_ascii=False) + "\n"


def validate_croissant(folder: Path) -> list[str]:
    """Return one sentence for every error that mlcroissant finds in a release's description.

    Raises:
        ConfigError: If mlcroissant is not installed.
    """
    path = folder / CROISSANT_NAME
    mlcroissant = import_extra("mlcroissant", name="mlcroissant", extra="release")
    log, logger = io.StringIO(), logging.getLogger("absl")
    handler = logging.StreamHandler(log)
    logger.addHandler(handler)
    try:
        with _quiet():
            metadata = mlcroissant.Dataset(jsonld=path).metadata
    except (mlcroissant.ValidationError, ValueError, KeyError, TypeError) as error:
        return [f"{path}: {' '.join(str(error).split())}"]
    finally:
        logger.removeHandler(handler)
    said = [*metadata.ctx.issues.errors, *metadata.ctx.issues.warnings, *log.getvalue().split("\n")]
    return [f"{path}: {' '.join(str(text).split())}" for text in said if text]


def check_records(folder: Path) -> list[str]:
    """Read the first records through mlcroissant and compare them with the Parquet files.

    Raises:
        ConfigError: If mlcroissant is not installed.
    """
    path = folder / CROISSANT_NAME
    mlcroissant = import_extra("mlcroissant", name="mlcroissant", extra="release")
    faults = []
    with _quiet():
        dataset = mlcroissant.Dataset(jsonld=path)
        for record_set in dataset.metadata.record_sets:
            place = f"{path}: the records '{record_set.id}'"
            try:
                if not _same_records(folder, record_set, dataset):
                    faults.append(f"{place} differ from their file")
            except mlcroissant.GenerationError as error:
                faults.append(f"{place} cannot be read: {' '.join(str(error.__cause__).split())}")
    return faults


def _same_records(folder: Path, record_set: Any, dataset: Any) -> bool:
    name, file = record_set.id, str(record_set.fields[0].source.file_object)
    records = list(islice(dataset.records(name), _CHECKED_RECORDS))
    expected = pd.read_parquet(folder / file).head(_CHECKED_RECORDS).to_dict("records")
    if len(records) != len(expected):
        return False
    for found, row in zip(records, expected, strict=True):
        for column, value in row.items():
            stored = found[f"{name}/{column}"]
            stored = stored.decode() if isinstance(stored, bytes) else stored
            if stored != value and not np.isclose(stored, value, rtol=1e-6):
                return False
    return True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide that mlcroissant uses functions that its libraries will drop one day."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _creator(author: dict[str, str | None]) -> dict[str, Any]:
    found: dict[str, Any] = {"@type": "sc:Person" if author["orcid"] else "sc:Organization"}
    found["name"] = author["name"]
    if author["orcid"]:
        found["url"] = f"https://orcid.org/{author['orcid']}"
    return found


def _responsible_ai(dataset: Dataset) -> dict[str, Any]:
    return {
        "rai:hasSyntheticData": True,
        "rai:dataCollection": "Simulated by ray tracing, see prov:wasGeneratedBy.",
        "rai:dataCollectionType": ["Simulations"],
        "rai:dataCollectionMissingData": "UEs without any path stay in, labelled -1 (outage).",
        "rai:dataLimitations": statements.limitations(dataset.manifest),
        "rai:dataBiases": list(statements.BIASES),
        "rai:dataUseCases": list(statements.USE_CASES),
        "rai:dataSocialImpact": statements.SOCIAL_IMPACT,
        "rai:personalSensitiveInformation": list(statements.PERSONAL_INFORMATION),
        "rai:dataReleaseMaintenancePlan": statements.MAINTENANCE,
    }


def _provenance(dataset: Dataset) -> dict[str, Any]:
    manifest = dataset.manifest
    scenes = {site.scene: site for site in manifest.sites}
    software = ", ".join(f"{name} {version}" for name, version in manifest.software.items())
    return {
        "prov:wasDerivedFrom": [
            {
                "@type": "prov:Entity",
                "prov:label": f"scene {name}: {site.attribution}",
                "sc:license": licence_url(site.licence),
            }
            for name, site in scenes.items()
        ],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": f"campaign {manifest.campaign.name}, config {manifest.config_hash}",
            "sc:description": software,
        },
    }


def _described(files: Mapping[str, ReleasedFile]) -> list[str]:
    """Return the files that hold data; the rest is documents and the record of a benchmark."""
    folders = ("paths/", "detail/", "fingerprints/", f"{SPLITS_FOLDER}/")
    return [name for name in files if name.startswith(folders) or "/" not in name]


def _file_object(name: str, file: ReleasedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{file.size_bytes} B",
        "encodingFormat": _ENCODINGS.get(Path(name).suffix, "text/plain"),
        "sha256": file.sha256,
    }


def _record_sets(dataset: Dataset, files: Mapping[str, ReleasedFile]) -> Iterator[dict[str, Any]]:
    index = dataset.index
    gains = {
        f"gain_db_{band}": f"Sum of the path powers at {band} [dB]; -200 in outage"
        for band in dataset.bands
    }
    yield _record_set(
        "links", "One record per link (UE and site)", INDEX_NAME, index, INDEX_COLUMNS | gains
    )
    for name in files:
        if name.startswith(SPLITS_FOLDER) and name.endswith(".parquet"):
            table = pd.read_parquet(dataset.folder / name)
            title = Path(name).stem
            text = f"Part of every link in the split {title.replace('__', '/')}"
            yield _record_set(f"split_{title}", text, name, table, _SPLIT_COLUMNS)


def _record_set(
    name: str, text: str, file: str, table: pd.DataFrame, columns: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": columns[column],
                "dataType": _data_type(table[column].dtype),
                "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
            }
            for column in table.columns
        ],
    }


def _data_type(dtype: Any) -> str:
    if pd.api.types.is_integer_dtype(dtype):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(dtype) else "sc:Text"
