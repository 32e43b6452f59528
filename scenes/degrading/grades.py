"""How wrong a map is: grades by name, each a value with the size of every kind of error.

All draws are normal, so that a size of errors is a standard deviation. A draw is named by scene and
building and not by grade: an error alone is the very one that the whole grade has.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from raymark.config import Name, Strict, nearest
from raymark.errors import ConfigError
from raymark.radio.p2040 import ITU_MATERIALS


def _known_material(material: str | None) -> str | None:
    if material is not None and material not in ITU_MATERIALS:
        raise ValueError(
            f"unknown material '{material}'{nearest(material, list(ITU_MATERIALS))} "
            f"(there are: {', '.join(ITU_MATERIALS)})"
        )
    return material


class Grade(Strict):
    """The sizes of all errors of a map; what is not given is right."""

    name: Name = Field(description="What it is called")
    about: str = Field(description="What such a map is, in a few words")
    height_m: float = Field(
        default=0.0, ge=0, le=100, description="Standard deviation of heights of buildings [m]"
    )
    level_height_m: float | None = Field(
        default=None, gt=0, le=100, description="Heights are whole numbers of levels so high [m]"
    )
    unknown_height_share: float = Field(
        default=0.0, ge=0, le=1, description="Buildings whose height is drawn from the others'"
    )
    shift_m: float = Field(
        default=0.0, ge=0, le=100, description="Root mean square of the shifts of footprints [m]"
    )
    outline_m: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Corners go whose triangle is smaller than the square of this [m]",
    )
    missing_share: float = Field(default=0.0, ge=0, lt=1, description="Buildings that are missing")
    merged_share: float = Field(
        default=0.0, ge=0, le=1, description="Buildings that are one with a neighbour, if they can"
    )
    material: Annotated[str | None, AfterValidator(_known_material)] = Field(
        default=None, description="P.2040 name of all walls and roofs; None for those of the scene"
    )
    position_m: float = Field(
        default=0.0,
        ge=0,
        le=100,
        description="Standard deviation of each coordinate of an antenna [m]",
    )
    angle_deg: float = Field(
        default=0.0,
        ge=0,
        le=90,
        description="Standard deviation of an antenna's azimuth and of its downtilt [deg]",
    )

    @model_validator(mode="after")
    def _has_no_more_faults_than_buildings(self) -> "Grade":
        if self.missing_share + self.merged_share > 1:
            raise ValueError(
                "missing_share and merged_share are shares of all buildings, and make "
                f"{self.missing_share + self.merged_share:g} together; 1 is the most"
            )
        return self

    @property
    def sizes(self) -> dict[str, float | str]:
        """All errors that it has, by the name of their setting."""
        values = self.model_dump(exclude={"name", "about"})
        return {name: value for name, value in values.items() if value}


_SURVEYED = {
    "height_m": 1.0,
    "shift_m": 0.5,
    "outline_m": 0.3,
    "position_m": 0.3,
    "angle_deg": 0.5,
}
_OPEN = {
    "height_m": 3.0,
    "level_height_m": 3.0,
    "unknown_height_share": 0.3,
    "shift_m": 1.0,
    "outline_m": 1.0,
    "missing_share": 0.025,
    "merged_share": 0.025,
    "material": "concrete",
    "position_m": 1.0,
    "angle_deg": 2.0,
}


def _alone(name: str, about: str, *errors: str) -> Grade:
    """Return a grade with errors as large as `surveyed` has them, or else as `open` has."""
    sizes = {**_OPEN, **_SURVEYED}
    return Grade.model_validate({"name": name, "about": about, **{e: sizes[e] for e in errors}})


_ALL = (
    Grade(name="exact", about="the scene itself: a bound that no real map reaches"),
    Grade.model_validate({"name": "surveyed", "about": "a city's own survey", **_SURVEYED}),
    Grade.model_validate({"name": "open", "about": "volunteers', as OpenStreetMap", **_OPEN}),
    _alone("height", "heights alone", "height_m"),
    _alone("shift", "positions of footprints alone", "shift_m"),
    _alone("outline", "shapes of footprints alone", "outline_m"),
    _alone("missing", "missing and merged buildings alone", "missing_share", "merged_share"),
    _alone("material", "one material for all, alone", "material"),
    _alone("pose", "positions and angles of antennas alone", "position_m", "angle_deg"),
)

GRADES: Mapping[str, Grade] = MappingProxyType({grade.name: grade for grade in _ALL})
"""Every grade by its name."""

_OURS = "our decision"

SIZE_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "height_m": "our decision, within the 0.5 m (LOD3) to 2 m (LOD2) that CityGML proposes for "
        "surveyed models (citygml2012, Table 3); for `open` one level",
        "level_height_m": f"{_OURS}: what `scenes import` takes for a level",
        "unknown_height_share": f"{_OURS}; that heights are missing in OpenStreetMap, and what "
        "their estimates are worth, is in bernard2022",
        "shift_m": f"{_OURS}. OpenStreetMap lies within 3 m of official maps (brovelli2018) or 4 m "
        "off (fan2014, Munich), which includes offsets that all buildings share and that are not "
        "drawn here",
        "outline_m": f"{_OURS}; that details are left out in OpenStreetMap is in fan2014. Which "
        "corners go is decided as in visvalingam1993",
        "missing_share": f"{_OURS}; OpenStreetMap is near complete in Munich (fan2014) and lacks "
        "more than half of the buildings of Lombardy (brovelli2018)",
        "merged_share": _OURS,
        "material": f"{_OURS}: maps rarely say what walls are made of",
        "position_m": f"{_OURS}; that antennas' positions and directions decide more than settings "
        "of the ray tracer is in manukyan2025",
        "angle_deg": f"{_OURS}; see `position_m`",
    }
)
"""Where the size of each error comes from; keys of docs/references.bib."""


def get_grade(name: str) -> Grade:
    """Return a grade by its name.

    Raises:
        ConfigError: If there is none of that name (the nearest is offered).

    Example:
        >>> get_grade("surveyed").shift_m
        0.5
    """
    if name not in GRADES:
        known = list(GRADES)
        raise ConfigError(
            f"unknown grade '{name}'{nearest(name, known)} (there are: {', '.join(known)})"
        )
    return GRADES[name]
