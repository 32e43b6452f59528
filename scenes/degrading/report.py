"""What the degrading of a scene did, `degraded.json` in its folder: sizes, not the draws.

How each building was moved is not there, but follows from the seed and the right scene.
"""

from pydantic import Field

from raymark.config import Strict
from raymark.scenes.degrading.grades import Grade
from raymark.scenes.importing.report import FrameRecord

RECORD = "degraded.json"


class DegradeReport(Strict):
    """The record of a degraded scene."""

    name: str
    source: str = Field(description="Name of the scene that it was made from")
    source_sha256: str = Field(description="Hash of that scene")
    grade: Grade
    seed: int
    frame: FrameRecord | None = Field(description="Where on earth it lies, if that is known")
    num_source_buildings: int = Field(description="Buildings of the scene that it was made from")
    num_missing: int = Field(description="Buildings that are missing")
    num_merged: int = Field(description="Buildings that became a part of a neighbour")
    num_moved: int = Field(description="Buildings whose footprint was shifted")
    num_new_heights: int = Field(description="Buildings whose height is another")
    num_unknown_heights: int = Field(description="Buildings whose height was drawn from others'")
    num_limited_heights: int = Field(description="Buildings that would have lost half their height")
    num_rebuilt: int = Field(description="Buildings that became prisms on their footprints")
    num_without_roof: int = Field(description="Of those: left out, as they are but walls")
    num_vanished: int = Field(description="Pieces of those that outlines of this detail lack")
    rms_shift_m: float = Field(description="Root mean square of the shifts [m]")
    rms_height_m: float = Field(description="Root mean square of the errors of known heights [m]")
    rms_unknown_height_m: float = Field(description="The same of heights that were drawn [m]")
    rms_position_m: float = Field(
        description="Root mean square of the errors of antennas' coordinates [m]"
    )
    rms_angle_deg: float = Field(
        description="Root mean square of the errors of antennas' angles [deg]"
    )
    num_sites: int
    num_freed_sites: int = Field(
        description="Antennas that had ended within something or too low above it, and were put out"
    )
    num_triangles: int
    materials: tuple[str, ...]

    @property
    def num_buildings(self) -> int:
        """Number of buildings that are left."""
        return (
            self.num_source_buildings - self.num_missing - self.num_merged - self.num_without_roof
        )
