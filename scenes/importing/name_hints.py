"""Attributes that look like heights but for how their names are written, which is told."""

from collections.abc import Iterator, Sequence

from raymark.scenes.importing.buildings import ImportFinding, MapFeature

_NAMES = (
    *("height", "building:height", "est_height", "min_height", "roof:height"),
    *("building:levels", "building:min_level", "roof:levels", "num_floors"),
)
_HEIGHTS = ("measuredheight", "buildingh", "bldgheight", "heightm", "heightroof", "hoehe")
"""Heights as CityGML, Mapzen and cities' open data call them, by their letters."""
_BY_LETTERS = {
    **{"".join(filter(str.isalpha, name)): name for name in _NAMES},
    **dict.fromkeys(_HEIGHTS, "height"),
}


def hint_at_names(features: Sequence[MapFeature]) -> Iterator[ImportFinding]:
    """Yield a finding for each attribute that would be read if it were called otherwise.

    Case and separators alone differ (HEIGHT, or building_levels, as GDAL and shapefiles write
    them), or it is what others call a height.
    """
    for feature in features:
        for tag in feature.tags:
            name = _BY_LETTERS.get("".join(filter(str.isalpha, tag.lower())), tag)
            if name not in feature.tags:
                reason = f"attribute '{tag}' is not read; call it '{name}' if it is that"
                yield ImportFinding(action="assumed", reason=reason, building=feature.id)
