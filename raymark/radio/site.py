"""A base station: where its panels stand and where they look."""

import math
from typing import Any

from pydantic import Field, model_validator

from raymark.config import Strict
from raymark.radio.frames import wrap_deg


class Site(Strict):
    """One panel of a base station.

    A file may give its `bearing_deg`, from north clockwise as planners count, for `azimuth_deg`.
    """

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Name within its scene, in file names"
    )
    position_m: tuple[float, float, float] = Field(
        description="Centre of the panel: east x, north y, up z [m]"
    )
    azimuth_deg: float = Field(
        ge=-180,
        le=180,
        description="Boresight from east (+x), anticlockwise: 90 looks north; or give bearing_deg, "
        "from north and clockwise [deg]",
    )
    downtilt_deg: float = Field(default=0.0, ge=-90, le=90, description="Positive looks down [deg]")
    note: str = Field(default="", description="Where it stands, in words")

    @model_validator(mode="before")
    @classmethod
    def _bearing_is_an_azimuth(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "bearing_deg" not in data:
            return data
        if "azimuth_deg" in data:
            raise ValueError("a site has azimuth_deg or bearing_deg, not both")
        rest = {key: value for key, value in data.items() if key != "bearing_deg"}
        return {**rest, "azimuth_deg": _azimuth_deg(data["bearing_deg"])}

    @property
    def orientation_rad(self) -> tuple[float, float, float]:
        """Yaw, pitch (positive looks down) and roll [rad]."""
        return math.radians(self.azimuth_deg), math.radians(self.downtilt_deg), 0.0


def _azimuth_deg(bearing_deg: Any) -> float:
    """Return the azimuth from east [deg] of a bearing from north.

    Raises:
        ValueError: If it is no number from -180 to 360.
    """
    is_number = isinstance(bearing_deg, int | float) and not isinstance(bearing_deg, bool)
    if not is_number or not -180 <= bearing_deg <= 360:
        raise ValueError(f"bearing_deg must be a number from -180 to 360, got {bearing_deg!r}")
    return wrap_deg(90.0 - bearing_deg)


def panels_of(site: Site, num_panels: int) -> tuple[Site, ...]:
    """Return a site's panels, turned evenly about it; several are named `<site>-p0`, `-p1`, ...

    The first looks where the site does.
    """
    if num_panels == 1:
        return (site,)
    panels = []
    for i in range(num_panels):
        azimuth_deg = wrap_deg(site.azimuth_deg + 360 * i / num_panels)
        changed = {"name": f"{site.name}-p{i}", "azimuth_deg": azimuth_deg}
        panels.append(site.model_copy(update=changed))
    return tuple(panels)
