"""Settings that datasets of earlier versions do not name: what they were made with.

A dataset keeps the hash of its campaign, which covers the settings there were when it was made. A
setting that has come since has a value here that means "as before", and at that value it is no part
of the hash.
"""

import copy
from typing import Any

_AS_BEFORE: tuple[tuple[tuple[str, ...], str, Any], ...] = (
    (("tracer", "discovery"), "refinements", None),
    (("tracer", "discovery"), "dense_cone_rays", None),
    (("tracer", "discovery"), "num_witnesses", 0),
    (("tracer",), "fields", "sionna"),
    (("tracer",), "kept_power_share", None),
)


def with_earlier(campaign: Any) -> Any:
    """Return the data of a dataset's campaign with the settings that it does not name."""
    if not isinstance(campaign, dict):
        return campaign  # a campaign already, or what its own check complains of
    result = copy.deepcopy(campaign)
    for place, key, value in _AS_BEFORE:
        part = _part(result, place)
        if part is not None:
            part.setdefault(key, value)
    return result


def without_earlier(campaign: dict[str, Any]) -> dict[str, Any]:
    """Return the same without the settings whose value means "as before"."""
    result = copy.deepcopy(campaign)
    for place, key, value in _AS_BEFORE:
        part = _part(result, place)
        if part is not None and key in part and part[key] == value:
            del part[key]
    return result


def _part(data: Any, place: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the mapping at a place; None if there is none, which others complain of."""
    for key in place:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else None
