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
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from raymark.config import read_json
from raymark.dataset import Dataset
from raymark.dataset.manifest import INDEX_NAME
from raymark.errors import RaymarkError
from raymark.extras import import_extra
from raymark.release import statements
from raymark.release.citation import bibtex, is_person
from raymark.release.croissant_terms import (
    CONTEXT,
    INDEX_KEY,
    RAI_URL,
    REQUIRED_TERMS,
    REVIEWED_TERMS,
    SPLIT_COLUMNS,
    SPLIT_KEY,
    VERSION_URL,
    index_columns,
)
from raymark.release.licences import licence_url
from raymark.release.part import SPLITS_FOLDER
from raymark.release.provenance import provenance, responsible_ai
from raymark.release.record import Author, Release, ReleasedFile
from raymark.storage import within

CROISSANT_NAME = "croissant.json"
_CHECKED_RECORDS = 100
_ROUNDING = 1e-6
"""Relative; records hold float32 values as Python numbers."""
_NO_SPACE = "\N{OPEN BOX}"
"""Stands for a space in an identifier."""

_ENCODINGS = {
    ".h5": "application/x-hdf5",
    ".json": "application/json",
    ".parquet": "application/x-parquet",
}


def croissant_text(release: Release, dataset: Dataset, files: Mapping[str, ReleasedFile]) -> str:
    """Return `croissant.json`."""
    about, names = release.about, _described(files)
    value = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [VERSION_URL, RAI_URL],
        "name": about.title,
        "description": statements.description(about, dataset.manifest),
        "version": release.version,
        "datePublished": release.date,
        "isLiveDataset": False,
        "license": licence_url(release.licence) or release.licence,
        "url": _url(release),
        "creator": [_creator(author) for author in about.authors],
        "citeAs": bibtex(release),
        "keywords": ["localization", "CSI", "ray tracing", "wireless", *dataset.scenes],
        **responsible_ai(dataset.manifest),
        **provenance(dataset.manifest),
        "distribution": [_file_object(name, files[name]) for name in names],
        "recordSet": list(_record_sets(dataset, names)),
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def validate_croissant(folder: Path) -> list[str]:
    """Return one sentence for every fault of a release's description.

    Faults are the errors and the warnings of mlcroissant, and what the specification requires or
    reviewers ask for and it does not know.

    Raises:
        ConfigError: If mlcroissant is not installed.
    """
    path = folder / CROISSANT_NAME
    with _quiet() as log:
        dataset, fault = _open(path)
    if dataset is None:
        return [f"{path}: {fault}"]
    issues = dataset.metadata.ctx.issues
    said = [*sorted(issues.errors), *sorted(issues.warnings)]
    # What is an issue is also logged, under a headline.
    logged = [line.strip(" -") for line in log.getvalue().splitlines()]
    said += [x for x in logged if x and x not in said and not x.startswith("Found the following")]
    value = read_json(path)
    terms = (*REQUIRED_TERMS, *REVIEWED_TERMS)
    said += [f"{term} is missing" for term in terms if value.get(term) in (None, "", [])]
    return [f"{path}: {_one_line(text)}" for text in said]


def check_records(folder: Path) -> list[str]:
    """Read the first records through mlcroissant and compare them with the Parquet files.

    Returns:
        One sentence for every Parquet file that has no records, or other ones.

    Raises:
        ConfigError: If mlcroissant is not installed.
    """
    path = folder / CROISSANT_NAME
    with _quiet():
        dataset, fault = _open(path)
        if dataset is None:
            return [f"{path}: no records can be read: {fault}"]
        record_sets = {_file_of(item): item.id for item in dataset.metadata.record_sets}
        tables = [INDEX_NAME, *sorted(f"{SPLITS_FOLDER}/{p.name}" for p in _splits(folder))]
        faults = [f"{path}: no records describe {x}" for x in tables if x not in record_sets]
        for file, name in record_sets.items():
            fault = _record_fault(within(folder, file), name, dataset)
            faults += [f"{path}: the records '{name}' {fault}"] if fault else []
    return faults


def _open(path: Path) -> tuple[Any, str]:
    """Return a description as mlcroissant reads it; else nothing, and why.

    One that names a file elsewhere is not opened: mlcroissant would fetch it.
    """
    mlcroissant = import_extra("mlcroissant")
    # Of what is no description at all, it asserts and asks for attributes that are not there.
    damage = (
        *(ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError),
        *(RecursionError, RaymarkError),
    )
    try:
        for key, place in _places_elsewhere(read_json(path)):
            return None, f"{key} is {place!r}, which is no file of the release: nothing is fetched"
        return mlcroissant.Dataset(jsonld=path), ""
    except (mlcroissant.ValidationError, *damage) as error:
        return None, _one_line(error)


def _places_elsewhere(value: Any) -> Iterator[tuple[str, str]]:
    """Yield what a description would have fetched: contexts and contents that do not lie here."""
    pairs = list(value.items()) if isinstance(value, dict) else []
    for key, named in pairs:
        if key in {"@context", "@import"} and not isinstance(named, dict):
            yield key, str(named)
        elif key == "@context" and "contentUrl" in str(named):
            yield key, "another name of contentUrl"
        elif key.endswith("contentUrl") and not (isinstance(named, str) and _is_within(named)):
            yield key, str(named)
    for part in value if isinstance(value, list) else [named for _, named in pairs]:
        yield from _places_elsewhere(part)


def _is_within(place: str) -> bool:
    path = PurePosixPath(place)
    return ":" not in place and not path.is_absolute() and ".." not in path.parts


def _file_of(record_set: Any) -> str:
    sources = [field.source for field in record_set.fields]
    named = str(sources[0].file_object) if sources and sources[0] else ""
    return named.replace(_NO_SPACE, " ")


def _id_of(name: str) -> str:
    """Return the identifier of what is called so: mlcroissant takes none that holds spaces."""
    return name.replace(" ", _NO_SPACE)


def _splits(folder: Path) -> Iterator[Path]:
    return (folder / SPLITS_FOLDER).glob("*.parquet")


def _record_fault(path: Path, name: str, dataset: Any) -> str:
    """Return how the first records differ from the rows of their file; nothing if they agree."""
    mlcroissant = import_extra("mlcroissant")
    try:
        records = pd.DataFrame(list(islice(dataset.records(name), _CHECKED_RECORDS)))
        table = pd.read_parquet(path).head(_CHECKED_RECORDS)
    except (mlcroissant.GenerationError, OSError, ValueError) as error:
        while error.__cause__ is not None:
            error = error.__cause__
        return f"cannot be read: {_one_line(error)}"
    found = {str(column).removeprefix(f"{name}/"): records[column] for column in records}
    if set(found) != set(table.columns):
        differing = ", ".join(sorted(set(found) ^ set(table.columns)))
        return f"differ from {path.name} in which columns they have: {differing}"
    for column in table.columns:
        if len(records) != len(table) or not _same(found[column], table[column]):
            return f"differ from {path.name} in column {column}"
    return ""


def _same(found: pd.Series, expected: pd.Series) -> bool:
    if pd.api.types.is_numeric_dtype(expected):
        values = pd.to_numeric(found, errors="coerce")
        return bool(np.allclose(values, expected, rtol=_ROUNDING, atol=0))
    return [x.decode() if isinstance(x, bytes) else x for x in found] == expected.tolist()


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Collect what mlcroissant logs; hide that it uses functions that will be dropped one day."""
    log, logger = io.StringIO(), logging.getLogger("absl")
    handler, propagate = logging.StreamHandler(log), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield log
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _one_line(text: object) -> str:
    return " ".join(str(text).split())


def _url(release: Release) -> str:
    """Return the page of the dataset; one that has none yet is named by its content."""
    about = release.about
    page = about.url or (f"https://doi.org/{about.doi}" if about.doi else "")
    return page or f"urn:sha256:{release.content_hash}"


def _creator(author: Author) -> dict[str, Any]:
    found: dict[str, Any] = {"@type": "sc:Person" if is_person(author) else "sc:Organization"}
    found["name"] = author.name
    if author.orcid:
        found["url"] = f"https://orcid.org/{author.orcid}"
    if author.affiliation and is_person(author):
        found["affiliation"] = {"@type": "sc:Organization", "name": author.affiliation}
    return found


def _described(files: Mapping[str, ReleasedFile]) -> list[str]:
    """Return the files that hold data; the rest is documents and the record of a benchmark."""
    folders = ("paths/", "detail/", "buildings/", "fingerprints/", f"{SPLITS_FOLDER}/")
    return sorted(name for name in files if name.startswith(folders) or "/" not in name)


def _file_object(name: str, file: ReleasedFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _id_of(name),
        "name": name,
        "contentUrl": name,
        "contentSize": f"{file.size_bytes} B",
        "encodingFormat": _ENCODINGS.get(Path(name).suffix, "text/plain"),
        "sha256": file.sha256,
    }


def _record_sets(dataset: Dataset, names: list[str]) -> Iterator[dict[str, Any]]:
    links = _record_set(
        "links", INDEX_NAME, dataset.index, columns=index_columns(dataset.bands), key=INDEX_KEY
    )
    yield links | {"description": "One record per link (UE and site)"}
    for file in names:
        if file.startswith(SPLITS_FOLDER) and file.endswith(".parquet"):
            with (dataset.folder / file).local_copy() as copy:
                table = pd.read_parquet(copy)
            title = Path(file).stem
            text = f"Part of every link in the split {title.replace('__', '/')}"
            split = _record_set(f"split_{title}", file, table, columns=SPLIT_COLUMNS, key=SPLIT_KEY)
            yield split | {"description": text}


def _record_set(
    name: str, file: str, table: pd.DataFrame, *, columns: Mapping[str, str], key: tuple[str, ...]
) -> dict[str, Any]:
    own_id = _id_of(name)
    return {
        "@type": "cr:RecordSet",
        "@id": own_id,
        "name": name,
        "key": [{"@id": f"{own_id}/{column}"} for column in key],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{own_id}/{column}",
                "name": column,
                "description": columns[column],
                "dataType": _data_type(table[column].dtype),
                "source": {"fileObject": {"@id": _id_of(file)}, "extract": {"column": column}},
            }
            for column in table.columns
        ],
    }


def _data_type(dtype: Any) -> str:
    if pd.api.types.is_integer_dtype(dtype):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(dtype) else "sc:Text"
