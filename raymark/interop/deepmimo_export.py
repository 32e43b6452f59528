"""Write the links of one scene at one band as a scenario folder of DeepMIMO v4."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import raymark
from raymark.dataset import Dataset, PathTable, Selection
from raymark.dataset.schema import OUTAGE, UNKNOWN
from raymark.errors import ConfigError, DatasetError
from raymark.interop.deepmimo_format import (
    NOTES_KEY,
    PARAMS_NAME,
    ExportedSite,
    ExportNotes,
    matrix_stem,
)
from raymark.interop.deepmimo_matrices import matrices_of
from raymark.storage import new_folder
from raymark.storage.atomic import writable

DEEPMIMO_VERSION = "4.0.5"
"""Version of the package whose loader the layout was checked with."""

_FORBIDDEN = "/\\:*?\"'<>|\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedScenario:
    """What an export wrote.

    Attributes:
        folder: The scenario folder; its name is the scenario's.
        num_sites: Transmitters.
        num_ues: Receivers.
        num_paths: Paths of all links.
        has_points: Whether the interaction points are among it.
    """

    folder: Path
    num_sites: int
    num_ues: int
    num_paths: int
    has_points: bool


def export_deepmimo(
    dataset: Dataset,
    folder: Path,
    *,
    scene: str,
    band: str,
    site: str | None = None,
    keep_element_patterns: bool = False,
) -> ExportedScenario:
    """Write a scenario folder that `deepmimo.load` reads: sites transmit, UEs receive.

    DeepMIMO multiplies powers with antenna patterns of its user's choice, so the elements'
    patterns are taken out: `power` is that of isotropic elements of the same polarization. This
    is exact, as an element scales a path by a real factor of its direction alone. `phase`
    includes the carrier phase exp(-j 2 pi f tau), which DeepMIMO's channels would lack otherwise.
    Every site is a set of transmitters of its own under its name, in order. Interaction points
    are written unless the dataset came without its `detail` files; the buildings are not.

    Args:
        dataset: Where the links are.
        folder: The new scenario folder; its name is the scenario's, in lower case.
        scene: Name of the scene.
        band: Name of the band; a scenario has one.
        site: One site; all sites of the scene if not given, which must see the same UEs.
        keep_element_patterns: Leave the patterns of BS and UE elements in `power`; channels must
            then be computed with DeepMIMO's `isotropic` pattern.

    Raises:
        DatasetError: If the folder exists or cannot be written, if the sites see different UEs,
            or if scene, band or site is not in the dataset.
        ConfigError: If DeepMIMO could not load a folder of that name.
    """
    _require_usable_name(folder.name)
    sites = dataset.select(scene=scene, band=band, site=site).sites
    links = [dataset.select(scene=scene, band=band, site=record.site) for record in sites]
    _require_same_ues(links)
    with new_folder(folder) as partial, writable(folder):
        tables = [each.path_table(0, len(each)) for each in links]
        _require_known_interactions(dataset, tables)
        with_points = "detail" not in dataset.manifest.left_out
        notes = _notes(links, keep_element_patterns=keep_element_patterns)
        for i, (each, table) in enumerate(zip(links, tables, strict=True)):
            matrices = matrices_of(
                each, table, keep_element_patterns=keep_element_patterns, with_points=with_points
            )
            for name, values in matrices.items():
                stem = matrix_stem(name, i, 0, len(links))
                path = partial / f"{stem}.npz"
                np.savez_compressed(path, allow_pickle=False, **{name: values})
        _write_params(partial, _params(links, tables, notes))
    return ExportedScenario(
        folder=folder,
        num_sites=len(links),
        num_ues=len(links[0]),
        num_paths=sum(len(table.delay_s) for table in tables),
        has_points=with_points,
    )


def _require_usable_name(name: str) -> None:
    good = "".join("_" if character in _FORBIDDEN else character for character in name).lower()
    if name != good:
        raise ConfigError(
            "DeepMIMO finds scenarios only by names in lower case that hold none of the characters "
            f"{' '.join(_FORBIDDEN[:-1])}, got '{name}'; name the folder '{good}'"
        )


def _require_same_ues(links: list[Selection]) -> None:
    if all(np.array_equal(each.position_m, links[0].position_m) for each in links):
        return
    site = links[0].sites[0]
    names = ", ".join(each.sites[0].site for each in links)
    raise DatasetError(
        f"{links[0].dataset.folder}: the sites of '{site.scene}' see different UEs, but all "
        f"transmitters of a DeepMIMO scenario have the same receivers; export one site at a time "
        f"(it has: {names})"
    )


def _require_known_interactions(dataset: Dataset, tables: list[PathTable]) -> None:
    if any((table.interaction == UNKNOWN).any() for table in tables):
        source = dataset.manifest.campaign.sampling.imported_from
        raise DatasetError(
            f"{dataset.folder}: it was imported from {source}, which does not tell the "
            "interactions of its paths, and DeepMIMO has no code for that"
        )


def _notes(links: list[Selection], *, keep_element_patterns: bool) -> ExportNotes:
    manifest, front_end = links[0].dataset.manifest, links[0].front_end
    sites = [each.sites[0] for each in links]
    yaw_pitch_deg = [np.degrees(site.orientation_rad[:2]).tolist() for site in sites]
    return ExportNotes(
        dataset_id=manifest.id,
        content_hash=manifest.content_hash or "",
        scene=sites[0].scene,
        band=links[0].band.name,
        sites=tuple(
            ExportedSite(name=site.site, azimuth_deg=yaw, downtilt_deg=pitch)
            for site, (yaw, pitch) in zip(sites, yaw_pitch_deg, strict=True)
        ),
        element_patterns="included" if keep_element_patterns else "removed",
        bs_pattern=front_end.panel.element_pattern,
        ue_pattern=front_end.ue.element_pattern,
        licence=sites[0].licence,
        attribution=sites[0].attribution,
    )


def _params(links: list[Selection], tables: list[PathTable], notes: ExportNotes) -> dict[str, Any]:
    """Return the content of `params.json`."""
    is_heard = np.any([each.los != OUTAGE for each in links], axis=0)
    transmitters = [
        _txrx_set(i, site.name, is_tx=True, num_points=1, num_active=int(len(table.delay_s) > 0))
        # The panel of a set of transmitters: azimuth, elevation (up) and roll.
        | {"array_orientation": [site.azimuth_deg, -site.downtilt_deg, 0.0]}
        for i, (site, table) in enumerate(zip(notes.sites, tables, strict=True))
    ]
    receivers = _txrx_set(
        len(links), "ue", is_tx=False, num_points=len(is_heard), num_active=int(is_heard.sum())
    )
    return {
        "version": DEEPMIMO_VERSION,
        "rt_params": _rt_params(links[0], notes),
        "txrx_sets": {f"txrx_set_{each['id']}": each for each in [*transmitters, receivers]},
        "materials": {},
        "scene": {
            "num_scenes": 1,
            "n_objects": 0,
            "n_vertices": 0,
            "n_faces": 0,
            "n_triangular_faces": 0,
        },
    }


def _txrx_set(
    number: int, name: str, *, is_tx: bool, num_points: int, num_active: int
) -> dict[str, Any]:
    return {
        "name": name,
        "id_orig": number,
        "id": number,
        "is_tx": is_tx,
        "is_rx": not is_tx,
        "num_points": num_points,
        "num_active_points": num_active,
        "num_ant": 1,
        "dual_pol": False,
        "ant_rel_positions": [[0, 0, 0]],
        "array_orientation": [0, 0, 0],
        "grid_spacing": None,
    }


def _rt_params(links: Selection, notes: ExportNotes) -> dict[str, Any]:
    """Return the ray tracer's settings in DeepMIMO's terms."""
    manifest = links.dataset.manifest
    tracer = manifest.campaign.tracer
    return {
        "raytracer_name": "raymark",
        "raytracer_version": manifest.software.get("raymark", raymark.__version__),
        "frequency": links.band.carrier_hz,
        "max_path_depth": tracer.max_depth,
        "max_reflections": tracer.max_depth if tracer.specular_reflection else 0,
        "max_diffractions": int(tracer.diffraction),
        "max_scattering": int(tracer.diffuse_reflection),
        "max_transmissions": tracer.max_depth if tracer.refraction else 0,
        "diffuse_reflections": max(tracer.max_depth - 1, 0) if tracer.diffuse_reflection else 0,
        "diffuse_diffractions": 0,
        "diffuse_transmissions": 0,
        "diffuse_final_interaction_only": True,
        "diffuse_random_phases": tracer.diffuse_reflection,
        "terrain_reflection": tracer.specular_reflection,
        "terrain_diffraction": tracer.diffraction,
        "terrain_scattering": tracer.diffuse_reflection,
        "num_rays": tracer.discovery.discovery_rays,
        "ray_casting_method": "uniform",
        "synthetic_array": True,
        "ray_casting_range_az": 360.0,
        "ray_casting_range_el": 180.0,
        "gps_bbox": [0, 0, 0, 0],
        "raw_params": {
            NOTES_KEY: notes.model_dump(mode="json"),
            "tracer": tracer.model_dump(mode="json"),
        },
    }


def _write_params(folder: Path, params: dict[str, Any]) -> None:
    """Write what a scenario has once: parameters, an empty scene, and whose the data are."""
    (folder / PARAMS_NAME).write_text(json.dumps(params, indent=1) + "\n", encoding="utf-8")
    (folder / "objects.json").write_text("[]\n", encoding="utf-8")
    np.savez_compressed(folder / "vertices.npz", vertices=np.zeros((0, 3)))
    notes = params["rt_params"]["raw_params"][NOTES_KEY]
    text = f"{notes['attribution']} (licence: {notes['licence']})\n"
    (folder / "ATTRIBUTION").write_text(text, encoding="utf-8")
