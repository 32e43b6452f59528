"""A campaign: everything that decides the content of a dataset, as one strict, hashed value."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from raymark.config import Strict, nearest, read_yaml, validate
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, FrontEnd, Site, expand_band


class SceneChoice(Strict):
    """A scene of the campaign, and which of its sites to use."""

    name: str = Field(description="Name of a built-in scene, or path of a scene folder")
    sites: tuple[str | Site, ...] | None = Field(
        default=None,
        min_length=1,
        description="Names of its sites, or sites of one's own; all of its if not given",
    )
    num_panels: int = Field(
        default=1,
        ge=1,
        le=6,
        exclude_if=lambda value: value == 1,
        description="Panels of each site, turned evenly about it; each is a site of the dataset",
    )
    params: dict[str, float | int | str] = Field(
        default_factory=dict, description="Parameters of a procedural scene"
    )

    @field_validator("sites")
    @classmethod
    def _sites_are_unique(
        cls, sites: tuple[str | Site, ...] | None
    ) -> tuple[str | Site, ...] | None:
        _require_unique([x if isinstance(x, str) else x.name for x in sites or ()], "site")
        return sites


class SectorSampling(Strict):
    """What all ways of drawing UEs from a site's sector have in common."""

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


class TrackSampling(SectorSampling):
    """Pedestrian walks: smooth heading, time order kept."""

    kind: Literal["tracks"] = "tracks"
    num_ues: int = Field(ge=1, le=10_000_000, description="UEs per site")
    steps_per_track: int = Field(default=25, ge=2, le=100_000)
    min_step_m: float = Field(default=0.5, gt=0)
    max_step_m: float = Field(default=1.5, gt=0)
    turn_std_deg: float = Field(
        default=10.0, ge=0, le=90, description="Deviation of the heading from step to step [deg]"
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
    num_ues: int = Field(ge=1, le=10_000_000, description="UEs per site")


class PositionsSampling(Strict):
    """A user's own points from CSV (columns x_m, y_m and optionally z_m) or NPY ([n, 2 or 3])."""

    kind: Literal["positions"] = "positions"
    files: dict[str, str] = Field(min_length=1, description="File of positions for each scene")
    height_m: float = Field(
        default=1.5, gt=0, le=50, description="UE height above ground where z is not given [m]"
    )


class ImportedSampling(Strict):
    """The UEs, and their paths, were made by another program; nothing can be traced again."""

    kind: Literal["imported"] = "imported"
    source: str = Field(min_length=1, description="Program, file or scenario, with its version")


Sampling = Annotated[
    TrackSampling | GridSampling | UniformSampling | PositionsSampling | ImportedSampling,
    Field(discriminator="kind"),
]


class Discovery(Strict):
    """How densely the rays are shot that find what a site can reach."""

    discovery_rays: int = Field(
        default=1_000_000, ge=1000, le=100_000_000, description="Rays from each site"
    )
    edge_points: int = Field(default=8, ge=1, le=100, description="Points tried on each edge")
    cone_rays: int = Field(
        default=128, ge=4, le=10_000, description="Diffracted rays from each visible point"
    )


DISCOVERY_PRESETS = {
    "quick": Discovery(discovery_rays=300_000, edge_points=4, cone_rays=32),
    "standard": Discovery(),
    "thorough": Discovery(discovery_rays=3_000_000, edge_points=16, cone_rays=256),
}


def _expand_discovery(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in DISCOVERY_PRESETS:
        known = list(DISCOVERY_PRESETS)
        raise ValueError(
            f"unknown discovery '{value}'{nearest(value, known)} (there are: {', '.join(known)})"
        )
    return DISCOVERY_PRESETS[value]


class TracerSettings(Strict):
    """Which propagation is traced, how densely, and what is kept."""

    max_depth: int = Field(default=4, ge=0, le=8, description="Most interactions on a path")
    specular_reflection: bool = True
    diffraction: bool = Field(default=False, description="First-order diffraction at edges")
    refraction: bool = Field(default=False, description="Transmission through walls")
    diffuse_reflection: bool = Field(default=False, description="Diffuse scattering")
    weld_edges: bool = Field(
        default=False, description="Let edges that separate meshes have in common diffract"
    )
    discovery: Annotated[Discovery, BeforeValidator(_expand_discovery)] = Discovery()
    max_num_paths: int = Field(default=25, ge=1, le=1000, description="Paths kept per link")
    max_path_length_m: float = Field(
        default=380.0, gt=0, description="Longer paths are dropped and counted as truncated [m]"
    )
    solver_rays: int = Field(
        default=100_000,
        ge=1000,
        le=50_000_000,
        description="Rays of Sionna's own search, used with refraction or diffuse reflection",
    )
    solver_block_size: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="UEs that share one call of that search; their paths depend on it",
    )

    @property
    def needs_solver(self) -> bool:
        """Whether Sionna's own search is needed; the chain search has no such interactions."""
        return self.refraction or self.diffuse_reflection


class Campaign(Strict):
    """Scenes x sites x bands x UE sampling x tracer x front-end, and the root seed."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0, lt=2**32)
    scenes: tuple[SceneChoice, ...] = Field(min_length=1)
    bands: tuple[Annotated[Band, BeforeValidator(expand_band)], ...] = Field(min_length=1)
    front_end: FrontEnd = FrontEnd()
    sampling: Sampling
    shared_ues: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Every site of a scene sees the UEs drawn around each of them",
    )
    tracer: TracerSettings = TracerSettings()

    @field_validator("scenes", mode="before")
    @classmethod
    def _accept_plain_names(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]

    @field_validator("scenes")
    @classmethod
    def _scenes_are_unique(cls, scenes: tuple[SceneChoice, ...]) -> tuple[SceneChoice, ...]:
        _require_unique([Path(scene.name).name for scene in scenes], "scene")
        return scenes

    @field_validator("bands")
    @classmethod
    def _bands_are_unique(cls, bands: tuple[Band, ...]) -> tuple[Band, ...]:
        _require_unique([band.name for band in bands], "band")
        return bands

    @property
    def sites_share_ues(self) -> bool:
        """Whether the sites of a scene see the same UEs, numbered alike."""
        return self.shared_ues or isinstance(self.sampling, PositionsSampling)

    def front_end_at(self, band: Band) -> FrontEnd:
        """Return the front-end of a band: its own, else the campaign's."""
        return band.front_end or self.front_end

    @model_validator(mode="after")
    def _delays_do_not_alias(self) -> "Campaign":
        longest_m = self.tracer.max_path_length_m
        for i, band in enumerate(self.bands):
            if longest_m >= band.unambiguous_range_m:
                needed = int(longest_m * band.bandwidth_hz / SPEED_OF_LIGHT_M_S) + 1
                raise ValueError(
                    f"delay aliasing at bands[{i}]: '{band.name}' spaces {band.num_subcarriers} "
                    f"tones over {band.bandwidth_hz / 1e6:g} MHz, which is unambiguous up to "
                    f"{band.unambiguous_range_m:.0f} m, but paths up to tracer.max_path_length_m "
                    f"= {longest_m:g} m are kept; use at least {needed} subcarriers, a narrower "
                    f"band or a shorter limit"
                )
        return self

    @model_validator(mode="after")
    def _sector_is_within_reach(self) -> "Campaign":
        if isinstance(self.sampling, SectorSampling):
            reach_m, limit_m = self.sampling.max_range_m, self.tracer.max_path_length_m
            if reach_m >= limit_m:
                raise ValueError(
                    f"sampling.max_range_m ({reach_m:g} m) must be below "
                    f"tracer.max_path_length_m ({limit_m:g} m)"
                )
        return self


def read_campaign(path: Path) -> Campaign:
    """Read a campaign from a YAML file; paths of position files are relative to it.

    Raises:
        ConfigError: If the file cannot be read or holds a wrong key or value (its place is named).
    """
    data = read_yaml(path)
    sampling = data.get("sampling")
    if isinstance(sampling, dict) and isinstance(sampling.get("files"), dict):
        sampling["files"] = {
            scene: str(path.parent.joinpath(str(file)).resolve())
            for scene, file in sampling["files"].items()
        }
    return validate(Campaign, data, where=str(path))


def _require_unique(names: list[str], noun: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{noun} '{name}' is listed {names.count(name)} times")
