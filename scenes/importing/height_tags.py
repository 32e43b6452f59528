"""Heights from the tags of one feature; values that cannot be true are ignored, and noted."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from raymark.scenes.importing.buildings import HeightSource

LEVEL_HEIGHT_M = 3.0
"""Height of a level; OpenStreetMap's wiki pairs `building:levels=5` with `height=15`."""
MAX_HEIGHT_M = 1000.0
IMPLAUSIBLE = f"not within 0-{MAX_HEIGHT_M:g} m"

_FOOT_M = 0.3048
_UNITS_M = {
    **dict.fromkeys(("", "m", "meter", "meters", "metre", "metres"), 1.0),
    **dict.fromkeys(("ft", "foot", "feet"), _FOOT_M),
}
_NUMBER = r"([+-]?\d+(?:[.,]\d+)?)"
_WITH_UNIT = re.compile(rf"{_NUMBER}\s*([a-z]*)\.?")
_FEET_INCHES = re.compile(rf"{_NUMBER}\s*'\s*(?:{_NUMBER}\s*\")?")
_QUOTES = str.maketrans({"\u2019": "'", "\u2032": "'", "\u201d": '"', "\u2033": '"'})
_HEIGHT_TAGS = ("height", "building:height", "est_height")
_LEVEL_TAGS = ("building:levels", "num_floors")
_BELOW_TAG = "building:levels:underground"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What a map says of the height of one feature.

    Attributes:
        bottom_m: Where it begins above ground [m].
        top_m: Where it ends above ground [m]; None if that is not known, 0 if nothing is above.
        source: Where `top_m` comes from.
        faults: Values that were ignored, and why.
    """

    bottom_m: float
    top_m: float | None
    source: HeightSource
    faults: tuple[str, ...] = ()


def parse_length_m(text: str) -> float | None:
    """Read a length [m] as mappers write it; None if it is none.

    Example:
        >>> [parse_length_m(text) for text in ("12,5", "12 m", "10'", "tall")]
        [12.5, 12.0, 3.048, None]
    """
    text = text.strip().lower().translate(_QUOTES).replace("''", '"')
    if match := _FEET_INCHES.fullmatch(text):
        feet, inches = match.groups(default="0")
        return _FOOT_M * (_to_float(feet) + _to_float(inches) / 12)
    with_unit = _WITH_UNIT.fullmatch(text)
    if not with_unit or with_unit[2] not in _UNITS_M:
        return None
    return _UNITS_M[with_unit[2]] * _to_float(with_unit[1])


def parse_number(text: str) -> float | None:
    """Read a number without unit; None if it is none."""
    text = text.strip()
    return _to_float(text) if re.fullmatch(_NUMBER, text) else None


def read_extent(tags: Mapping[str, str], *, heights: bool = True) -> Extent:
    """Read the height of a feature: of the first tag that can be true.

    Heights come before levels. A roof stands on the levels, as high as `roof:height` or its own
    levels say (OpenStreetMap's wiki, Key:roof:levels). Zero is a height: nothing stands there if
    no other tag says more, as if there were levels under the ground alone.

    Args:
        tags: Its attributes.
        heights: Whether heights are read, or levels alone.
    """
    faults: list[str] = []
    if not heights:
        tags = {tag: value for tag, value in tags.items() if tag not in _HEIGHT_TAGS}
    top_m, source = _read_top(tags, faults)
    bottom_m = _read_bottom(tags, top_m, faults)
    return Extent(bottom_m=bottom_m, top_m=top_m, source=source, faults=tuple(faults))


def is_plausible(height_m: float) -> bool:
    """Whether a building can be so high."""
    return 0 < height_m <= MAX_HEIGHT_M


def _read_top(tags: Mapping[str, str], faults: list[str]) -> tuple[float | None, HeightSource]:
    zeros: dict[str, HeightSource] = {}
    for tag, top_m, source, no_value in _tops_m(tags, faults):
        if top_m is not None and is_plausible(top_m):
            faults += [f"{zero} ignored: 0 beside {tag}" for zero in zeros]
            return top_m, source
        if top_m == 0:
            zeros[tag] = source
        else:
            faults.append(f"{tag} ignored: {no_value if top_m is None else IMPLAUSIBLE}")
    if not zeros and (parse_number(tags.get(_BELOW_TAG, "")) or 0) > 0:
        return 0.0, "levels"
    return (0.0, next(iter(zeros.values()))) if zeros else (None, "assumed")


def _tops_m(
    tags: Mapping[str, str], faults: list[str]
) -> Iterator[tuple[str, float | None, HeightSource, str]]:
    """Yield what each tag says of the top [m], and what is wrong with it if that is nothing."""
    for tag in _HEIGHT_TAGS:
        if tag in tags:
            yield tag, parse_length_m(tags[tag]), "tag", "no length"
    for tag in _LEVEL_TAGS:
        if tag in tags:
            num_levels = parse_number(tags[tag])
            yield tag, _levels_m(num_levels, tags, faults), "levels", "no number"


def _levels_m(num_levels: float | None, tags: Mapping[str, str], faults: list[str]) -> float | None:
    """Return the height of levels and roof [m]; levels below zero lie under the ground."""
    if num_levels is None:
        return None
    return LEVEL_HEIGHT_M * max(num_levels, 0.0) + _roof_m(tags, faults)


def _roof_m(tags: Mapping[str, str], faults: list[str]) -> float:
    """Return the height of the roof on the levels [m]: of the first tag that can be true."""
    if "roof:height" in tags:
        height_m = parse_length_m(tags["roof:height"])
        if height_m is not None and 0 <= height_m <= MAX_HEIGHT_M:
            return height_m
        faults.append(f"roof:height ignored: {'no length' if height_m is None else IMPLAUSIBLE}")
    num_levels = parse_number(tags.get("roof:levels", "0"))
    if num_levels is not None and num_levels >= 0:
        return LEVEL_HEIGHT_M * num_levels
    faults.append("roof:levels ignored: no number of levels")
    return 0.0


def _read_bottom(tags: Mapping[str, str], top_m: float | None, faults: list[str]) -> float:
    limit_m = MAX_HEIGHT_M if top_m is None else top_m
    for tag, value_m in _bottoms_m(tags):
        if value_m is not None and 0 <= value_m < limit_m:
            return value_m
        if value_m is None:
            why = "no number"
        else:
            why = "below ground" if value_m < 0 else "not below the top"
        faults.append(f"{tag} ignored: {why}")
    return 0.0


def _bottoms_m(tags: Mapping[str, str]) -> Iterator[tuple[str, float | None]]:
    if "min_height" in tags:
        yield "min_height", parse_length_m(tags["min_height"])
    if "building:min_level" in tags:
        num_levels = parse_number(tags["building:min_level"])
        yield "building:min_level", None if num_levels is None else LEVEL_HEIGHT_M * num_levels


def _to_float(text: str) -> float:
    return float(text.replace(",", "."))
