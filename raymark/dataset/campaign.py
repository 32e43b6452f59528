"""A campaign: everything that decides the content of a dataset, as one strict, hashed value."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from raymark.config import Strict, nearest, read_yaml, validate
from raymark.dataset.samplings import Sampling
from raymark.errors import ConfigError
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, FrontEnd, Site, expand_band
from raymark.radio.p2040 import ITU_MATERIALS


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


def _plain_number(value: float) -> float | int:
    """Return a whole number as such: 1 and 1.0 are one setting, and have one hash."""
    return int(value) if value == int(value) else value


class Discovery(Strict):
    """How densely the rays are shot that find what a site can reach."""

    discovery_rays: int = Field(
        default=1_000_000, ge=1000, le=100_000_000, description="Rays from each site"
    )
    edge_points: Annotated[float, PlainSerializer(_plain_number)] = Field(
        default=1.0, gt=0, le=100, description="Points that are tried along an edge [1/m]"
    )
    cone_rays: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Diffracted rays from the visible parts of an edge [1/m]",
    )
    refinements: int | None = Field(
        default=6,
        ge=0,
        le=12,
        description="How often the rays beside those that find a chain first are shot at half the "
        "step before; null in datasets of a version whose search is no longer there",
    )
    dense_cone_rays: int | None = Field(
        default=1280,
        ge=1,
        le=100_000,
        description="Diffracted rays from edges that matter, in a second search [1/m]; null: "
        "there is none",
    )
    num_witnesses: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="Points in front of a site that tell which edges matter, beside each UE's own "
        "paths",
    )

    @model_validator(mode="before")
    @classmethod
    def _no_witness_is_asked_in_vain(cls, data: Any) -> Any:
        """Without a second search there are no witnesses, and one way to say so."""
        if isinstance(data, dict) and data.get("dense_cone_rays", 0) is None:
            return {"num_witnesses": 0, **data}
        return data

    @model_validator(mode="after")
    def _second_search_is_denser(self) -> "Discovery":
        if self.dense_cone_rays is None and self.num_witnesses:
            raise ValueError(
                f"num_witnesses ({self.num_witnesses}) tell where a second search is worth its "
                "time, and dense_cone_rays is null: there is none"
            )
        if self.dense_cone_rays is not None and self.dense_cone_rays <= self.cone_rays:
            raise ValueError(
                f"dense_cone_rays ({self.dense_cone_rays}) must exceed cone_rays "
                f"({self.cone_rays}), or be null"
            )
        return self

    @property
    def num_refinements(self) -> int:
        """Number of refinements.

        Raises:
            ConfigError: If the settings are those of a search that is no longer there.
        """
        if self.refinements is None:
            raise ConfigError(
                "tracer.discovery.refinements is null: these paths are of a search that this "
                "version no longer has; generate the dataset anew, without that key"
            )
        return self.refinements


DISCOVERY_PRESETS = {
    "quick": Discovery(
        discovery_rays=300_000,
        edge_points=0.25,
        cone_rays=32,
        refinements=2,
        dense_cone_rays=None,
        num_witnesses=0,
    ),
    "standard": Discovery(),
    "thorough": Discovery(
        discovery_rays=3_000_000,
        edge_points=4.0,
        cone_rays=1024,
        refinements=8,
        dense_cone_rays=5120,
    ),
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


class RoughMaterial(Strict):
    """How a material scatters, after Degli-Esposti et al. (2007)."""

    scattering_coefficient: float = Field(
        ge=0, le=1, description="S: the share S^2 of what would be reflected is scattered"
    )
    lobe_exponent: int = Field(
        default=0, ge=0, le=100, description="Of the lobe about the mirrored ray; 0 for Lambert's"
    )
    cross_polar_share: float = Field(
        default=0.0, ge=0, le=1, description="Of the scattered power, in the other polarization"
    )


class TracerSettings(Strict):
    """Which propagation is traced, how densely, and what is kept."""

    max_depth: int = Field(default=4, ge=0, le=8, description="Most interactions on a path")
    specular_reflection: bool = Field(default=True, description="Reflection at walls and ground")
    diffraction: bool = Field(default=False, description="First-order diffraction at edges")
    refraction: bool = Field(default=False, description="Transmission through walls")
    diffuse_reflection: bool = Field(
        default=False,
        description="Diffuse scattering at surfaces with a scattering coefficient: with fields "
        "raymark one bounce from tiles of them, else by the rays of Sionna's own search",
    )
    roughness: dict[str, RoughMaterial] = Field(
        default_factory=dict,
        exclude_if=lambda value: not value,
        description="By the name of a material: how it scatters, whatever the scene's file says",
    )
    weld_edges: bool = Field(
        default=False, description="Let edges that separate meshes have in common diffract"
    )
    fields: Literal["sionna", "raymark"] = Field(
        default="raymark",
        description="Whose fields the paths have: Sionna RT's, or those of docs/physics.md; with "
        "refraction, which needs them, or diffuse_reflection Sionna's if not told otherwise",
    )
    discovery: Annotated[Discovery, BeforeValidator(_expand_discovery)] = Field(
        default=Discovery(), description="A mapping, or one of quick, standard and thorough"
    )
    kept_power_share: float | None = Field(
        default=0.999,
        gt=0,
        lt=1,
        description="The strongest paths of a link are kept that hold this share of its power at "
        "each of 1, 3.5, 10, 28 and 60 GHz at which the materials of the scene are defined; null "
        "for a number of paths alone, by their power at the first band",
    )
    max_num_paths: int = Field(default=256, ge=1, le=1000, description="Paths kept per link")
    max_path_length_m: float | None = Field(
        default=None,
        gt=0,
        description="Longer paths are dropped and counted as truncated; null for no limit [m]",
    )
    solver_rays: int = Field(
        default=100_000,
        ge=1000,
        le=50_000_000,
        description="Rays of Sionna's own search, used with refraction, and with diffuse "
        "reflection if fields are sionna",
    )
    solver_block_size: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="UEs that share one call of that search; their paths depend on it",
    )

    @field_validator("roughness")
    @classmethod
    def _materials_are_known(cls, roughness: dict[str, RoughMaterial]) -> dict[str, RoughMaterial]:
        for name in roughness:
            if name not in ITU_MATERIALS:
                raise ValueError(
                    f"'{name}' is no ITU-R P.2040 material{nearest(name, list(ITU_MATERIALS))}"
                )
        return roughness

    @model_validator(mode="before")
    @classmethod
    def _fields_are_sionnas_with_its_search(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "fields" in data:
            return data
        needs_solver = data.get("refraction") is True or data.get("diffuse_reflection") is True
        return {**data, "fields": "sionna"} if needs_solver else data

    @model_validator(mode="after")
    def _fields_cover_the_interactions(self) -> "TracerSettings":
        if self.fields == "raymark" and self.refraction:
            raise ValueError(
                "fields 'raymark' know no transmission; use fields 'sionna' with refraction"
            )
        return self

    @property
    def needs_solver(self) -> bool:
        """Whether Sionna's own search is needed; the chain search has no such interactions."""
        return self.refraction or (self.diffuse_reflection and self.fields == "sionna")


class Campaign(Strict):
    """Scenes x sites x bands x UE sampling x tracer x front-end, and the root seed."""

    schema_version: Literal[1] = Field(default=1, description="Version of this form")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Begins the name of the dataset"
    )
    description: str = Field(default="", description="One sentence for its card")
    version: int = Field(
        default=1,
        ge=1,
        exclude_if=lambda value: value == 1,
        description="Version of the data, which may change with the code that traces them",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Root of every random draw: UEs, noise, calibration"
    )
    scenes: tuple[SceneChoice, ...] = Field(
        min_length=1, description="Names of scenes, or mappings"
    )
    bands: tuple[Annotated[Band, BeforeValidator(expand_band)], ...] = Field(
        min_length=1,
        description="Names such as n78, carriers such as 39GHz, or mappings; the first one ranks "
        "the paths",
    )
    front_end: FrontEnd = FrontEnd()
    sampling: Sampling = Field(description="How the UEs come to be; its `kind` decides the keys")
    shared_ues: bool = Field(
        default=False,
        exclude_if=lambda value: not value,
        description="Every site of a scene sees the UEs drawn around each of them: of S sites "
        "each sees S x num_ues UEs, S x S x num_ues links in all",
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
        return self.shared_ues or self.sampling.is_same_at_all_sites

    def front_end_at(self, band: Band) -> FrontEnd:
        """Return the front-end of a band: its own, else the campaign's."""
        return band.front_end or self.front_end

    @model_validator(mode="after")
    def _delays_do_not_alias(self) -> "Campaign":
        what, longest_m = self._longest()
        for i, band in enumerate(self.bands):
            if longest_m >= band.unambiguous_range_m:
                needed = int(longest_m * band.bandwidth_hz / SPEED_OF_LIGHT_M_S) + 1
                raise ValueError(
                    f"delay aliasing at bands[{i}]: '{band.name}' spaces {band.num_subcarriers} "
                    f"tones over {band.bandwidth_hz / 1e6:g} MHz, which is unambiguous up to "
                    f"{band.unambiguous_range_m:.0f} m, but {what} = {longest_m:g} m are kept; use "
                    f"at least {needed} subcarriers, a narrower band or a shorter limit"
                )
        return self

    def _longest(self) -> tuple[str, float]:
        """Return what must not alias: longer paths are kept, but are left out of CSI."""
        limit_m, sector = self.tracer.max_path_length_m, self.sampling.sector
        if limit_m is not None:
            return "paths up to tracer.max_path_length_m", limit_m
        return "UEs up to sampling.max_range_m", 0.0 if sector is None else sector.max_range_m

    @model_validator(mode="after")
    def _sector_is_within_reach(self) -> "Campaign":
        sector, limit_m = self.sampling.sector, self.tracer.max_path_length_m
        if sector is not None and limit_m is not None and sector.max_range_m >= limit_m:
            raise ValueError(
                f"sampling.max_range_m ({sector.max_range_m:g} m) must be below "
                f"tracer.max_path_length_m ({limit_m:g} m)"
            )
        return self


def read_campaign(path: Path) -> Campaign:
    """Read a campaign from a YAML file; paths of position files are relative to it.

    Raises:
        ConfigError: If the file cannot be read or holds a wrong key or value (its place is named).
    """
    campaign = validate(Campaign, read_yaml(path), where=str(path))
    sampling = campaign.sampling.with_files_in(path.parent)
    return campaign.model_copy(update={"sampling": sampling})


def _require_unique(names: list[str], noun: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{noun} '{name}' is listed {names.count(name)} times")
