"""Trace and match: the place in the city at which the map has the paths that were measured."""

from raymark.models.twin.localizer import TwinLocalizer


class Model(TwinLocalizer):
    """Every link by itself."""
