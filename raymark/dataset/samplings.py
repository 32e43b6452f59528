"""The ways in which the UEs of a campaign come to be; each answers for itself.

Another way is one class here, named in `Sampling`, and one sampler in `raymark.generator.sampling`.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from raymark.config import Strict, nearest
from raymark.errors import ConfigError
from raymark.storage import file_sha256

_DRAWN_UES = (
    "None: no person or device was observed, all UEs are drawn by a random number generator."
)
_GIVEN_UES = (
    "None that raymark knows of: the channels are simulated. The UE positions were handed in; "
    "whether they come from real people, only the publisher knows."
)


class BaseSampling(Strict, ABC):
    """What is asked of every way to come by UEs."""

    has_tracks: ClassVar[bool] = False
    """Whether UEs follow each other in time."""
    is_same_at_all_sites: ClassVar[bool] = False
    """Whether all sites of a scene see the same UEs, whatever the campaign says."""
    is_self_contained: ClassVar[bool] = True
    """Whether its values decide the UEs alone; else files do that need not be at hand."""
    personal_information: ClassVar[str]
    """What the UEs can tell of persons; no way has it by default, since datasheets repeat it."""

    @property
    def sector(self) -> "SectorSampling | None":
        """The sector of a site that its UEs are drawn from, if there is one."""
        return None

    @property
    def imported_from(self) -> str | None:
        """Program that made the UEs and their paths; None if raymark traces them."""
        return None

    @property
    @abstractmethod
    def bias(self) -> str:
        """What a reader must know of where the UEs stand, in one sentence."""

    @abstractmethod
    def describe(self, seed: int) -> str:
        """Return how the UEs came to be, as a clause.

        Args:
            seed: Root seed of the campaign.
        """

    def identity(self) -> dict[str, Any]:
        """Return what decides the UEs, to be hashed: values, and files by their content."""
        return self.model_dump(mode="json")

    def with_files_in(self, folder: Path) -> "BaseSampling":  # noqa: ARG002 - for those that name files
        """Return the same with whole paths of files, which were relative to a folder."""
        return self

    def of_scene(self, scene: str) -> "BaseSampling":  # noqa: ARG002 - for those that tell scenes apart
        """Return the part that one scene needs."""
        return self

    def require_scenes(self, scenes: list[str]) -> None:
        """Check that there is what the scenes of a campaign need.

        Raises:
            ConfigError: If a file is missing, or belongs to no scene.
        """


class SectorSampling(BaseSampling):
    """What all ways of drawing UEs from a site's sector have in common."""

    personal_information: ClassVar[str] = _DRAWN_UES
    height_m: float = Field(default=1.5, gt=0, le=50, description="UE height above ground [m]")
    wall_margin_m: float = Field(
        default=1.0, ge=0, le=20, description="Least distance to a wall [m]"
    )
    min_range_m: float = Field(default=10.0, ge=1, description="Least ground distance to BS [m]")
    max_range_m: float = Field(default=200.0, le=5000, description="Largest ground distance [m]")
    sector_half_width_deg: float = Field(
        default=60.0, gt=0, lt=90, description="Half the sector around the panel's boresight [deg]"
    )

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "SectorSampling":
        if self.max_range_m <= self.min_range_m:
            raise ValueError(
                f"max_range_m ({self.max_range_m:g} m) must exceed "
                f"min_range_m ({self.min_range_m:g} m)"
            )
        return self

    @property
    def sector(self) -> "SectorSampling":
        """Itself."""
        return self

    @property
    def bias(self) -> str:
        """How high and how far from a site the UEs stand."""
        return (
            f"UEs stand outdoors, {self.height_m:g} m above ground, {self.min_range_m:g} to "
            f"{self.max_range_m:g} m from a base station and within "
            f"{self.sector_half_width_deg:g} degrees of its boresight; they do not follow where "
            "people are."
        )

    def describe(self, seed: int) -> str:
        """Return kind, settings and seed."""
        settings = self.model_dump()
        kind = settings.pop("kind")
        listed = ", ".join(f"{name} {value:g}" for name, value in settings.items())
        return f"UEs are drawn by the kind '{kind}' with {listed}, seed {seed}"


class TrackSampling(SectorSampling):
    """Pedestrian walks: smooth heading, time order kept."""

    has_tracks: ClassVar[bool] = True
    kind: Literal["tracks"] = "tracks"
    num_ues: int = Field(ge=1, le=10_000_000, description="UEs drawn around each site")
    steps_per_track: int = Field(default=25, ge=2, le=100_000, description="UEs of one walk")
    min_step_m: float = Field(default=0.5, gt=0, description="Shortest step [m]")
    max_step_m: float = Field(default=1.5, gt=0, description="Longest step [m]")
    turn_std_deg: float = Field(
        default=10.0, ge=0, le=90, description="Deviation of the heading from step to step [deg]"
    )
    step_s: float | None = Field(
        default=None,
        gt=0,
        exclude_if=lambda value: value is None,
        description="Time from one UE of a walk to the next; without it UEs have an order, and "
        "neither times nor speeds [s]",
    )

    @model_validator(mode="after")
    def _step_is_not_empty(self) -> "TrackSampling":
        if self.max_step_m < self.min_step_m:
            raise ValueError(
                f"max_step_m ({self.max_step_m:g} m) must not be below "
                f"min_step_m ({self.min_step_m:g} m)"
            )
        return self


class GridSampling(SectorSampling):
    """A square grid over the sector, each point moved by a random jitter."""

    kind: Literal["grid"] = "grid"
    spacing_m: float = Field(gt=0.05, description="Grid spacing [m]")
    jitter_m: float = Field(default=0.0, ge=0, description="Largest shift along x and along y [m]")


class UniformSampling(SectorSampling):
    """Independent points, uniform over the outdoor area of the sector."""

    kind: Literal["uniform"] = "uniform"
    num_ues: int = Field(ge=1, le=10_000_000, description="UEs drawn around each site")


class PositionsSampling(BaseSampling):
    """A user's own points from CSV (columns x_m, y_m and optionally z_m) or NPY ([n, 2 or 3])."""

    is_same_at_all_sites: ClassVar[bool] = True
    is_self_contained: ClassVar[bool] = False
    personal_information: ClassVar[str] = _GIVEN_UES
    kind: Literal["positions"] = "positions"
    files: dict[str, str] = Field(min_length=1, description="File of positions for each scene")
    height_m: float = Field(
        default=1.5, gt=0, le=50, description="UE height above ground where z is not given [m]"
    )

    @property
    def bias(self) -> str:
        """Who chose the positions."""
        return "UE positions were chosen by the publisher, not drawn from where people are."

    def describe(self, seed: int) -> str:  # noqa: ARG002 - nothing is drawn
        """Return that they were given."""
        return "UEs stand at positions that the publisher gave"

    def identity(self) -> dict[str, Any]:
        """Return files by their hash: where they lie decides nothing."""
        hashes = {scene: file_sha256(Path(file)) for scene, file in self.files.items()}
        return super().identity() | {"files": hashes}

    def with_files_in(self, folder: Path) -> "PositionsSampling":
        """Return the same with whole paths of the files."""
        whole = {scene: str(folder.joinpath(file).resolve()) for scene, file in self.files.items()}
        return self.model_copy(update={"files": whole})

    def of_scene(self, scene: str) -> "PositionsSampling":
        """Return the same with the file of one scene."""
        return self.model_copy(update={"files": {scene: self.files[scene]}})

    def require_scenes(self, scenes: list[str]) -> None:
        """Check that every scene has its file, and every file its scene.

        Raises:
            ConfigError: If one is missing.
        """
        for name in self.files:
            if name not in scenes:
                raise ConfigError(
                    f"sampling.files: the campaign has no scene '{name}'{nearest(name, scenes)}"
                )
        for scene in scenes:
            if scene not in self.files:
                raise ConfigError(f"sampling.files names no file for scene '{scene}'")
            if not Path(self.files[scene]).is_file():
                raise ConfigError(f"sampling.files: {self.files[scene]} does not exist")


class ImportedSampling(BaseSampling):
    """The UEs, and their paths, were made by another program; nothing can be traced again."""

    personal_information: ClassVar[str] = _GIVEN_UES
    kind: Literal["imported"] = "imported"
    source: str = Field(min_length=1, description="Program, file or scenario, with its version")

    @property
    def imported_from(self) -> str:
        """The program, file or scenario."""
        return self.source

    @property
    def bias(self) -> str:
        """Where the positions come from."""
        return "UE positions are those of the imported simulation."

    def describe(self, seed: int) -> str:  # noqa: ARG002 - nothing is drawn
        """Return that they were imported."""
        return "UEs are those of the imported simulation"


Sampling = Annotated[
    TrackSampling | GridSampling | UniformSampling | PositionsSampling | ImportedSampling,
    Field(discriminator="kind"),
]
"""Every way, told apart by its `kind`."""
