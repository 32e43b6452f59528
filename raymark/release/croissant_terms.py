"""Vocabulary of `croissant.json`, and what the columns of the Parquet files mean."""

from typing import Any

VERSION_URL = "http://mlcommons.org/croissant/1.1"
RAI_URL = "http://mlcommons.org/croissant/RAI/1.0"
REQUIRED_TERMS = (
    "@context",
    "@type",
    "conformsTo",
    "creator",
    "datePublished",
    "description",
    "distribution",
    "license",
    "name",
    "url",
)
"""What Croissant 1.1 requires of every dataset; mlcroissant asks for less."""
REVIEWED_TERMS = (
    "rai:dataLimitations",
    "rai:dataBiases",
    "rai:personalSensitiveInformation",
    "rai:dataUseCases",
    "rai:dataSocialImpact",
    "rai:hasSyntheticData",
    "prov:wasDerivedFrom",
    "prov:wasGeneratedBy",
)
"""What the NeurIPS 2026 track on evaluations and datasets asks for beyond the core terms."""

CONTEXT: dict[str, Any] = {
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
"""The context of the specification of Croissant 1.1, with RAI and W3C PROV-O."""

_INDEX_COLUMNS = {
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
SPLIT_COLUMNS = {
    "site": "Name of the base station's panel",
    "ue_index": "Number of the UE at its site",
    "part": "train, validation, test, unused or context, which is handed out and not scored",
    "block": "Number of the UE's square on the map",
    "window": "Number of the window; -1 where unused",
    "window_step": "Place in the window",
}
INDEX_KEY, SPLIT_KEY = ("scene", "site", "ue_index"), ("site", "ue_index")


def index_columns(bands: tuple[str, ...]) -> dict[str, str]:
    """Return every column of the index with its meaning and unit."""
    gains = {
        f"gain_db_{band}": f"Sum of the path powers at {band} [dB]; -200 in outage"
        for band in bands
    }
    return _INDEX_COLUMNS | gains
