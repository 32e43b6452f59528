"""Datasets by name: an index of published releases, and how they get there and from there."""

from raymark.catalog.getting import Catalog
from raymark.catalog.index import Entry, Index, Reference, parse_reference
from raymark.catalog.parts import Choice, make_choice
from raymark.catalog.publishing import publish_release

__all__ = [
    "Catalog",
    "Choice",
    "Entry",
    "Index",
    "Reference",
    "make_choice",
    "parse_reference",
    "publish_release",
]
