"""A base station: where its panels stand and where they look."""

import math

from pydantic import Field

from raymark.config import Strict
from raymark.radio.frames import wrap_deg


class Site(Strict):
    """One panel of a base station."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    position_m: tuple[float, float, float] = Field(description="Centre of the panel [m]")
    azimuth_deg: float = Field(ge=-180, le=180, description="Boresight from +x towards +y [deg]")
    downtilt_deg: float = Field(default=0.0, ge=-90, le=90, description="Positive looks down [deg]")
    note: str = ""

    @property
    def orientation_rad(self) -> tuple[float, float, float]:
        """Yaw, pitch (positive looks down) and roll [rad]."""
        return math.radians(self.azimuth_deg), math.radians(self.downtilt_deg), 0.0


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
