"""An environment of WAIR-D becomes a dataset; see `waird_files` for what it holds."""

import math
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import Manifest
from raymark.dataset.schema import NO_INTERACTION, UNKNOWN
from raymark.dataset.writing.assembly import merge_duplicates
from raymark.dataset.writing.imported import ImportedSite, write_imported
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.errors import DatasetError, SchemaError, counted
from raymark.interop.given_paths import lifted, num_too_far, through_elements
from raymark.interop.import_options import PathImport
from raymark.interop.waird_files import Environment, LinkPaths, read_environment
from raymark.radio import SPEED_OF_LIGHT_M_S, FrontEnd, Panel, Site, UserEquipment
from raymark.radio.levels import free_space_amplitude

ULA64 = FrontEnd(
    panel=Panel(num_rows=1, num_cols=64, element_pattern="iso", mirrors_back=True),
    ue=UserEquipment(element_pattern="iso"),
)
"""What WAIR-D's users make channels for: a line of 64 isotropic elements, one at the UE."""

_SHORTER_M = 0.02
_ATTRIBUTION = "WAIR-D, arXiv 2212.02159"


class WairdImport(PathImport):
    """How an environment becomes a dataset; the defaults take all of it."""

    carriers_ghz: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(), description="Bands to take; all that are there if none [GHz]"
    )
    bs_height_m: float = Field(
        default=6.0, gt=0, le=500, description="Of the BSs, which the files do not say [m]"
    )
    ue_height_m: float = Field(default=1.5, gt=0, le=500, description="The same of the UEs [m]")
    azimuth_deg: float = Field(
        default=0.0,
        ge=-180,
        le=180,
        description="Where the panels look; at 0 they stand along y, as in WAIR-D's scripts [deg]",
    )
    front_end: FrontEnd = ULA64


def import_waird(
    folder: Path, environment: str, out: Path, options: WairdImport | None = None
) -> Manifest:
    """Make a dataset of an environment: BSs become sites, UEs points that all of them share.

    The UEs are on no track. Lines of sight are told by their length and directions; the
    interactions of all other paths are not known. Paths beyond the limits of the campaign are cut
    off and counted as those of traced ones are.

    Args:
        folder: A scenario, such as "scenario_2".
        environment: Its environment, such as "00743".
        out: The new dataset; it appears whole or not at all.
        options: What to take, and what the files do not say; see `WairdImport`.

    Raises:
        DatasetError: If there is no such environment, or `out` exists or cannot be written.
        SchemaError: If a file is damaged, or not as `raymark.interop.waird_files` says.
        ConfigError: If an option cannot be used.
        PhysicsError: If a path breaks a physical law.
    """
    options = WairdImport() if options is None else options
    if out.exists():
        raise DatasetError(f"{out} exists; choose another folder")
    found = read_environment(folder, environment, options.carriers_ghz)
    ue_m = _raised(found.ue_xy_m, options.ue_height_m)
    rows = options.draw(np.ones(len(ue_m), dtype=bool), kind="waird")
    campaign = _campaign(found, environment, options)
    alone = np.full(len(rows), -1, dtype="i4")
    ues = SampledUEs(position_m=ue_m[rows].astype("f4"), track_id=alone, track_step=alone)
    sites, notes = [], []
    for bs, (xy_m, links) in enumerate(zip(found.bs_xy_m, found.links, strict=True)):
        site = _site(bs, xy_m, options)
        paths, said = _paths(found, links, site, ue_m, rows)
        notes += [f"{site.name}: {each}" for each in said]
        sites.append(
            ImportedSite(
                scene=campaign.scenes[0].name,
                site=site,
                ues=ues,
                paths=through_elements(paths, site, options.front_end),
                licence=options.licence or "unknown",
                attribution=options.attribution or _ATTRIBUTION,
            )
        )
    notes = [*_notes(found, len(rows), options), *notes, *_limits(sites, campaign)]
    return write_imported(out, campaign, sites, notes=tuple(notes))


def _raised(xy_m: Float[np.ndarray, "*n 2"], height_m: float) -> Float[np.ndarray, "*n 3"]:
    return np.concatenate([xy_m, np.full((*xy_m.shape[:-1], 1), height_m)], axis=-1)


def _site(bs: int, xy_m: Float[np.ndarray, "2"], options: WairdImport) -> Site:
    x_m, y_m = map(float, xy_m)
    return Site(
        name=f"bs{bs}",
        position_m=(x_m, y_m, options.bs_height_m),
        azimuth_deg=options.azimuth_deg,
    )


def _paths(
    found: Environment,
    links: LinkPaths,
    site: Site,
    ue_m: Float[np.ndarray, "ue 3"],
    rows: Int[np.ndarray, "row"],
) -> tuple[TracedPaths, list[str]]:
    """Return the paths of a BS to the chosen UEs, and what was found in them and done to them."""
    bs_m = np.array(site.position_m)
    is_direct = links.is_direct(bs_m, ue_m)
    straight_m = np.linalg.norm(ue_m[links.ue_index] - bs_m, axis=1)
    _require_no_shortcut(found, links, straight_m, site)
    place = np.full(len(ue_m), -1)
    place[rows] = np.arange(len(rows))
    kept = np.flatnonzero(place[links.ue_index] >= 0)
    delay_s, num_lifted = lifted(links.length_m[kept] / SPEED_OF_LIGHT_M_S, straight_m[kept])
    count = len(kept)
    paths = TracedPaths(
        ue_index=place[links.ue_index[kept]],
        delay_s=delay_s,
        direction_bs=links.direction_bs[kept],
        direction_ue=links.direction_ue[kept],
        interaction=np.where(is_direct[kept], NO_INTERACTION, UNKNOWN).astype("u1")[:, None],
        vertex_m=np.zeros((count, 1, 3), dtype="f4"),
        object_index=np.full((count, 1), -1, dtype="i2"),
        primitive=np.full((count, 1), -1, dtype="i4"),
        wedge=np.zeros((count, 13), dtype="f4"),
        amplitude=links.amplitude[:, kept].astype("c8"),
    )
    said = [f"{counted(count, 'path')} were read, {is_direct[kept].sum():,} of them lines of sight"]
    said += _levels(found, paths, is_direct[kept])
    if num_lifted:
        said.append(f"rounded below the straight line, and lifted to it: {num_lifted:,}")
    num_same = count - len(merge_duplicates(paths))
    if num_same:
        said.append(f"paths that nothing tells from a stronger one, and left out: {num_same:,}")
    num_silent = len(rows) - len(np.unique(paths.ue_index))
    if num_silent:
        said.append(f"UEs without any path, in outage: {num_silent:,}")
    return paths, said


def _require_no_shortcut(
    found: Environment, links: LinkPaths, straight_m: Float[np.ndarray, "path"], site: Site
) -> None:
    missing_m = straight_m - links.length_m
    if missing_m.max(initial=0) > _SHORTER_M:
        worst = int(np.argmax(missing_m))
        raise SchemaError(
            f"{found.folder}: a path from {site.name} to UE {links.ue_index[worst]} is "
            f"{links.length_m[worst]:.2f} m long, and the straight line {straight_m[worst]:.2f} m; "
            "expected delays in ns, positions in half metres, and the heights of options "
            "bs_height_m and ue_height_m"
        )


def _levels(
    found: Environment, paths: TracedPaths, is_direct: Bool[np.ndarray, "path"]
) -> list[str]:
    """Say how strong lines of sight are beside free space, which shows the unit of responses."""
    if not is_direct.any():
        return ["no line of sight shows whether units and heights are right"]
    length_m = paths.delay_s[is_direct].astype("f8") * SPEED_OF_LIGHT_M_S
    said = []
    for ghz, amplitude in zip(found.carriers_ghz, paths.amplitude, strict=True):
        free = free_space_amplitude(length_m, ghz * 1e9)
        level = np.maximum(np.abs(amplitude[is_direct]), np.finfo("f4").tiny) / free
        level_db = round(20 * float(np.log10(np.median(level))), 1) + 0.0  # no -0.0
        said.append(f"{level_db:+.1f} dB at {ghz:g} GHz")
    return [f"lines of sight beside free space of isotropic antennas (median): {', '.join(said)}"]


def _campaign(found: Environment, environment: str, options: WairdImport) -> Campaign:
    """Describe the dataset as a campaign that cannot be traced again."""
    where = f"import of {found.folder}"
    name = "waird-" + re.sub(r"[^A-Za-z0-9_.-]", "_", environment)
    bands = [options.band(ghz * 1e9, where=where) for ghz in found.carriers_ghz]
    sites = [_site(bs, xy_m, options) for bs, xy_m in enumerate(found.bs_xy_m)]
    data: dict[str, Any] = {
        "name": options.name or name,
        "description": f"Imported: environment {environment} of WAIR-D.",
        "seed": options.seed,
        "scenes": [{"name": options.scene or name, "sites": [site.model_dump() for site in sites]}],
        "bands": [band.model_dump() for band in bands],
        "front_end": options.front_end.model_dump(),
        "sampling": {"kind": "imported", "source": f"WAIR-D, environment {environment}"},
        "shared_ues": True,
        "tracer": {
            "max_depth": 1,
            "specular_reflection": False,
            "kept_power_share": None,
            "max_num_paths": options.max_num_paths,
            "max_path_length_m": options.path_limit_m(bands[0]),
        },
    }
    return validate(Campaign, data, where=where)


def _notes(found: Environment, num_ues: int, options: WairdImport) -> list[str]:
    """Say what the data are, and what had to be decided."""
    width_m, depth_m = found.size_m
    said = [
        f"Paths are those of WAIR-D (arXiv 2212.02159), {found.folder.name}; its licence is not "
        "known to raymark.",
        f"{num_ues:,} of its {len(found.ue_xy_m):,} UEs were taken; their environment is "
        f"{width_m:.1f} x {depth_m:.1f} m.",
        f"BSs were put at {options.bs_height_m:g} m, UEs at {options.ue_height_m:g} m: its files "
        "hold no heights.",
        "Delays are lengths over the speed of light; its own nanosecond is 0.3 m.",
        "Interactions are not known but for lines of sight: code 15 stands for all of a path. "
        "Points, objects, materials and edges are not known.",
        "Element patterns were multiplied with the front-end; its antennas are isotropic.",
    ]
    if found.ignored:
        said.append(f"Arrays of its links that were not read: {', '.join(found.ignored)[:300]}.")
    return said


def _limits(sites: list[ImportedSite], campaign: Campaign) -> list[str]:
    """Count what the limits of the campaign cut off."""
    limit_m = campaign.tracer.max_path_length_m or math.inf
    length_m = [site.paths.delay_s.astype("f8") * SPEED_OF_LIGHT_M_S for site in sites]
    num_long = sum(int((each > limit_m).sum()) for each in length_m)
    num_links = sum(num_too_far(site.paths, limit_m) for site in sites)
    if not num_long:
        return []
    return [
        f"Paths that are longer than {limit_m:.0f} m, and cut off: {num_long:,}; "
        f"{counted(num_links, 'link')} in outage by that."
    ]
