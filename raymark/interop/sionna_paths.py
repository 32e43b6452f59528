"""Save paths that were traced with Sionna RT, outside raymark, as a dataset."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from raymark.config import Strict, validate
from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import Manifest
from raymark.dataset.schema import DIFFRACTION, DIFFUSE, REFRACTION, SPECULAR
from raymark.dataset.writing.assembly import path_groups
from raymark.dataset.writing.imported import ImportedSite, write_imported
from raymark.dataset.writing.traced_paths import TracedPaths, join_paths
from raymark.errors import ConfigError
from raymark.interop.sionna_arrays import (
    SceneObjects,
    num_interactions,
    read_objects,
    read_transmitter,
    require_carrier,
    require_readable,
)
from raymark.interop.sionna_devices import read_sites, read_ues, require_same_devices
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, FrontEnd, Site, parse_bands

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"

_PACKAGES = ("sionna-rt", "mitsuba", "drjit")


class PathsSource(Strict):
    """What a dataset must tell and a `Paths` object does not."""

    name: str = Field(pattern=_NAME, description="Name of the dataset")
    scene: str = Field(pattern=_NAME, description="Name of the scene in the dataset")
    licence: str = Field(min_length=1, description="SPDX identifier of the data's licence")
    attribution: str = Field(min_length=1, description="Whom a user of the data has to name")
    description: str = Field(
        default="", description="How it was traced: solver settings, materials"
    )
    max_num_paths: int = Field(default=1000, ge=1, le=1000, description="Paths kept per link")
    max_path_length_m: float | None = Field(
        default=None,
        gt=0,
        description="Longer paths are dropped and counted as truncated; just under what the bands "
        "can tell apart if not given [m]",
    )


def save_paths(
    paths: Mapping[str | Band, Any],
    out: str | Path,
    *,
    scene: Any,
    front_end: FrontEnd,
    about: PathsSource,
    allow_missing: bool = False,
) -> Manifest:
    """Write a dataset of the paths that a `sionna.rt.PathSolver` has found.

    Transmitters become sites, which share their UEs, and receivers become UEs, in Sionna's order.
    Responses are those of the panel's centre: what a synthetic array has put in is taken out.
    Paths are ranked, cut off and labelled as traced ones are, and those that nothing tells apart
    (0.1 ns, 1 mrad) count once.

    Args:
        paths: By band (a `Band` or its name): the `Paths` object at its carrier, or a list of them,
            one for each group of receivers. All bands have the same devices.
        out: The dataset's folder; it must not exist.
        scene: The `sionna.rt.Scene` as it was traced: its transmitters give the sites' names and
            orientations, its objects the names of what the paths meet.
        front_end: Patterns and polarizations that were traced with, and the panel that CSI is to
            have; it is recorded, and cannot be checked. A `Band` may carry its own.
        about: Names, licence and limits.
        allow_missing: Whether a path may be absent at some bands, as behind walls that a high
            carrier does not penetrate; its response is 0 there.

    Raises:
        ConfigError: If the paths are none of Sionna's, cannot be reduced to one port, belong to
            another scene or carrier, or differ from band to band; or if `about` does not fit.
        DatasetError: If the folder exists or cannot be written.
        PhysicsError: If a path breaks a physical law.
    """
    groups = _by_band(paths)
    bands = tuple(groups)
    ues, objects = read_ues(groups[bands[0]]), read_objects(scene)
    imported, notes = [], []
    for index, site in enumerate(
        read_sites(scene, [p for parts in groups.values() for p in parts])
    ):
        traced = _trace_of(groups, index, site, objects)
        merged, found = merge_bands(traced)
        _require_found(found, bands, site, allow_missing=allow_missing)
        notes.append(_merge_note(site, traced, found))
        imported.append(
            ImportedSite(
                scene=about.scene,
                site=site,
                ues=ues,
                paths=merged,
                licence=about.licence,
                attribution=about.attribution,
                objects=objects.names,
                materials=objects.materials,
            )
        )
    campaign = _campaign(bands, front_end, about, [site.paths for site in imported])
    notes += _limit_notes([site.paths for site in imported], campaign)
    return write_imported(Path(out), campaign, imported, notes=tuple(notes), packages=_PACKAGES)


def merge_bands(
    per_band: Sequence[TracedPaths],
) -> tuple[TracedPaths, Bool[np.ndarray, "band path"]]:
    """Put the paths of one site, each band's in an order of its own, into one list.

    Returns:
        Each distinct path once, with a response at every band (of indistinguishable ones the
        strongest, 0 where there is none), and at which bands it was found.
    """
    every = join_paths(list(per_band), [0] * len(per_band))
    band = np.repeat(np.arange(len(per_band)), [len(part.delay_s) for part in per_band])
    _, group = np.unique(path_groups(every), return_inverse=True)
    order = np.lexsort((-np.abs(every.amplitude[0]), band, group))
    is_strongest = np.diff(group[order] * len(per_band) + band[order], prepend=-1) > 0
    rows = order[is_strongest]
    _, first = np.unique(group[rows], return_index=True)
    found = np.zeros((len(per_band), len(first)), dtype=bool)
    found[band[rows], group[rows]] = True
    amplitude = np.zeros(found.shape, dtype="c8")
    amplitude[band[rows], group[rows]] = every.amplitude[0, rows]
    return replace(every.take(rows[first]), amplitude=amplitude), found


def _by_band(paths: Mapping[str | Band, Any]) -> dict[Band, list[Any]]:
    """Return the `Paths` objects of each band, checked one by one and against each other."""
    if not isinstance(paths, Mapping):
        raise ConfigError(
            "save_paths needs the Paths objects by band, such as {'6GHz': paths}, not "
            f"{type(paths).__name__}"
        )
    groups: dict[Band, list[Any]] = {}
    for key, value in paths.items():
        band = key if isinstance(key, Band) else parse_bands(key)[0]
        groups[band] = list(value) if isinstance(value, list | tuple) else [value]
        for part in groups[band]:
            require_readable(part, where=f"band '{band.name}'")
            require_carrier(part, band.carrier_hz, where=f"band '{band.name}'")
        require_same_devices(next(iter(groups.values())), groups[band], where=f"band '{band.name}'")
    if not any(part.valid.numpy().any() for parts in groups.values() for part in parts):
        raise ConfigError(
            "there is no valid path at all; expected Paths objects by band, such as "
            "{'6GHz': paths}, of devices that reach each other"
        )
    return groups


def _trace_of(
    groups: dict[Band, list[Any]], transmitter: int, site: Site, objects: SceneObjects
) -> list[TracedPaths]:
    """Return the paths of one site at each band, over all groups of receivers."""
    depth = max(1, *(num_interactions(part) for parts in groups.values() for part in parts))
    result = []
    for band, parts in groups.items():
        traced = [
            read_transmitter(
                part,
                transmitter,
                orientation_rad=np.array(site.orientation_rad),
                objects=objects,
                depth=depth,
                where=f"band '{band.name}', transmitter '{site.name}'",
            )
            for part in parts
        ]
        firsts = np.cumsum([0, *(part.num_rx for part in parts[:-1])])
        result.append(join_paths(traced, firsts.tolist()))
    return result


def _require_found(
    found: Bool[np.ndarray, "band path"], bands: Sequence[Band], site: Site, *, allow_missing: bool
) -> None:
    num_missing = (~found).sum(axis=1)
    if num_missing.any() and not allow_missing:
        band = bands[int(num_missing.argmax())]
        raise ConfigError(
            f"transmitter '{site.name}': {num_missing.max()} of {found.shape[1]} paths were not "
            f"found at band '{band.name}'; trace all bands with the same solver settings and seed, "
            "or, if walls hide them at one carrier, store them as 0 there with allow_missing=True"
        )


def _campaign(
    bands: Sequence[Band], front_end: FrontEnd, about: PathsSource, found: Sequence[TracedPaths]
) -> Campaign:
    """Describe what was traced, as far as the paths themselves tell."""
    kinds = np.unique(np.concatenate([paths.interaction.ravel() for paths in found]))
    tracer = {
        "max_depth": found[0].interaction.shape[1],
        "specular_reflection": SPECULAR in kinds,
        "diffuse_reflection": DIFFUSE in kinds,
        "refraction": REFRACTION in kinds,
        "diffraction": DIFFRACTION in kinds,
        "kept_power_share": None,
        "max_num_paths": about.max_num_paths,
        "max_path_length_m": about.max_path_length_m or _longest_m(bands),
    }
    source = f"Sionna RT {metadata.version('sionna-rt')} PathSolver"
    data = {
        "name": about.name,
        "description": about.description,
        "scenes": [about.scene],
        "bands": list(bands),
        "front_end": front_end,
        "sampling": {"kind": "imported", "source": source},
        "shared_ues": len(found) > 1,
        "tracer": tracer,
    }
    return validate(Campaign, data, where="save_paths")


def _longest_m(bands: Sequence[Band]) -> float:
    """Return the longest path, to 10 cm, that no band takes for a shorter one [m]."""
    range_m = min(band.unambiguous_range_m for band in bands)
    return math.floor(10 * range_m * (1 - 1e-6)) / 10


def _merge_note(
    site: Site, traced: Sequence[TracedPaths], found: Bool[np.ndarray, "band path"]
) -> str:
    num_found = [len(part.delay_s) for part in traced]
    return (
        f"{site.name}: Sionna found {', '.join(map(str, num_found))} paths at the bands, in their "
        f"order; {found.shape[1]} are distinct (0.1 ns, 1 mrad) and "
        f"{int((~found).any(axis=0).sum())} of these were not found at every band"
    )


def _limit_notes(found: Sequence[TracedPaths], campaign: Campaign) -> list[str]:
    limit_m = campaign.tracer.max_path_length_m or math.inf
    length_m = np.concatenate([part.delay_s for part in found]) * SPEED_OF_LIGHT_M_S
    return [
        f"{int((length_m > limit_m).sum())} of {len(length_m)} paths are longer than {limit_m:g} m "
        "and were dropped; link/truncated_power_db has their power",
        "Diffracting edges (path/wedge), Doppler shifts and velocities were not carried over",
    ]
