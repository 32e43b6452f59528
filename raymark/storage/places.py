"""The place that a path or a URL names."""

import re
from pathlib import Path

from raymark.storage.local import LocalPlace
from raymark.storage.objects import ObjectPlace
from raymark.storage.place import Place, PlaceLike
from raymark.storage.stored_object import StoredObject

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<name>.+)")


def as_place(place: PlaceLike) -> Place:
    """Return a place: of object storage if it is a URL, else of this machine.

    Example:
        >>> print(as_place("s3://bucket/small") / "dataset.json")
        s3://bucket/small/dataset.json
    """
    if isinstance(place, Place):
        return place
    url = None if isinstance(place, Path) else _URL.fullmatch(place)
    if url is None:
        return LocalPlace(local_path=Path(place))
    if url["scheme"] in {"file", "local"}:
        return LocalPlace(local_path=Path(url["name"]))
    return ObjectPlace(stored=StoredObject(url=f"{url['scheme']}:/").below(url["name"]))
