"""AMDNLoc whose regions are not predicted: each link has that of the template which it matches."""

from typing import ClassVar

from raymark.models.amdnloc.model import Model as Amdnloc


class Model(Amdnloc):
    """AMDNLoc as its authors test it: the region of a link is an input ([wang2024])."""

    is_matched: ClassVar[bool] = True
