"""Where files lie, here or in object storage, and how they appear there: whole, or not at all."""

from raymark.storage.atomic import file_sha256, require_file, write_text, writing
from raymark.storage.folders import new_folder
from raymark.storage.place import Place, PlaceLike
from raymark.storage.places import as_place
from raymark.storage.within import within

__all__ = [
    "Place",
    "PlaceLike",
    "as_place",
    "file_sha256",
    "new_folder",
    "require_file",
    "within",
    "write_text",
    "writing",
]
