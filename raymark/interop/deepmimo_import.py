"""A static scenario folder of DeepMIMO v4 becomes a dataset."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from raymark.config import validate
from raymark.dataset.campaign import Campaign
from raymark.dataset.manifest import Manifest
from raymark.dataset.schema import DIFFRACTION, DIFFUSE, REFRACTION, SPECULAR
from raymark.dataset.writing.imported import ImportedSite, write_imported
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.errors import ConfigError, DatasetError, counted
from raymark.interop.deepmimo_choice import Choice, DeepmimoImport, choose
from raymark.interop.deepmimo_format import carrier_phasor
from raymark.interop.deepmimo_paths import (
    ScenarioPaths,
    has_carrier_phase,
    read_paths,
    with_depth,
)
from raymark.interop.deepmimo_scenario import Scenario
from raymark.interop.given_paths import num_too_far, through_elements

_MAX_DEPTH = 8
_SEE_SOURCE = "see the scenario's source"


def import_deepmimo(folder: Path, out: Path, options: DeepmimoImport | None = None) -> Manifest:
    """Make a dataset of a scenario folder: transmitters become sites, receivers UEs they share.

    The UEs are on no track. Paths beyond the limits of the campaign are cut off and counted as
    those of traced ones are; receivers too far from a site are in outage there. The deepmimo
    package is not needed.

    Args:
        folder: A static scenario of DeepMIMO v4.
        out: The new dataset; it appears whole or not at all.
        options: What to take, and what a scenario does not say; see `DeepmimoImport`.

    Raises:
        DatasetError: If `folder` holds no such scenario, or `out` exists or cannot be written.
        SchemaError: If the scenario is damaged or does not keep DeepMIMO's conventions.
        ConfigError: If an option cannot be used, or the scenario leaves a choice open.
        PhysicsError: If a path breaks a physical law.
    """
    options = DeepmimoImport() if options is None else options
    if out.exists():
        raise DatasetError(f"{out} exists; choose another folder")
    scenario = Scenario(folder)
    choice = choose(scenario, options)
    has_patterns = _has_patterns(scenario, options)
    parts, has_carrier = _read_all(choice, options)
    campaign = _campaign(choice, parts, options)
    ues = _ues(choice)
    licence, attribution = _rights(scenario, options)
    sites = []
    for panels, part in zip(choice.panels, parts, strict=True):
        paths = _without_carrier(part.paths, scenario.carrier_hz) if has_carrier else part.paths
        for site in panels:
            seen = paths if has_patterns else through_elements(paths, site, options.front_end)
            sites.append(
                ImportedSite(
                    scene=campaign.scenes[0].name,
                    site=site,
                    ues=ues,
                    paths=seen,
                    licence=licence,
                    attribution=attribution,
                )
            )
    notes = _notes(choice, parts, campaign, has_carrier=has_carrier, has_patterns=has_patterns)
    return write_imported(out, campaign, sites, notes=notes)


def _read_all(choice: Choice, options: DeepmimoImport) -> tuple[list[ScenarioPaths], bool]:
    """Read the paths of every transmitter, and tell whether their phases include the carrier's."""
    scenario = choice.scenario
    parts, los_phases = [], []
    for transmitter, placement in zip(choice.transmitters, choice.placements, strict=True):
        links = scenario.load(transmitter, choice.receivers)
        los_phases.append(links.los_phases())
        part = read_paths(
            links.take(choice.rows),
            placement.tx_position_m,
            placement.rx_position_m[choice.rows],
            where=f"{scenario.folder}, tx set {transmitter.point_set.id}, tx {transmitter.index}",
        )
        parts.append(part)
    depth = max(part.paths.interaction.shape[1] for part in parts)
    parts = [replace(part, paths=with_depth(part.paths, depth)) for part in parts]
    return parts, _has_carrier(scenario, los_phases, options)


def _ues(choice: Choice) -> SampledUEs:
    alone = np.full(len(choice.rows), -1, dtype="i4")
    position_m = choice.placements[0].rx_position_m[choice.rows]
    return SampledUEs(position_m=position_m, track_id=alone, track_step=alone)


def _has_carrier(
    scenario: Scenario, los_phases: list[tuple[np.ndarray, np.ndarray]], options: DeepmimoImport
) -> bool:
    if options.carrier_in_phase is not None:
        return options.carrier_in_phase
    if scenario.notes is not None:
        return True
    phase_rad, delay_s = (np.concatenate(column) for column in zip(*los_phases, strict=True))
    found = has_carrier_phase(phase_rad, delay_s, scenario.carrier_hz)
    if found is None:
        raise ConfigError(
            f"{scenario.folder}: its {len(phase_rad)} lines of sight do not tell whether 'phase' "
            "includes the carrier phase exp(-j 2 pi f tau); say so with carrier_in_phase (true "
            "for Wireless InSite, false for DeepMIMO's conversions of Sionna RT)"
        )
    return found


def _has_patterns(scenario: Scenario, options: DeepmimoImport) -> bool:
    """Tell whether the powers already have the element patterns that the dataset is to have."""
    if options.apply_element_patterns is not None:
        return not options.apply_element_patterns
    notes, front_end = scenario.notes, options.front_end
    if notes is None or notes.element_patterns == "removed":
        return False
    is_turned = options.azimuth_deg or options.downtilt_deg or options.num_panels > 1
    asked = front_end.panel.element_pattern, front_end.ue.element_pattern
    if is_turned or asked != (notes.bs_pattern, notes.ue_pattern):
        raise ConfigError(
            f"{scenario.folder}: its powers include the element patterns '{notes.bs_pattern}' (BS) "
            f"and '{notes.ue_pattern}' (UE), so front_end must have these (got '{asked[0]}' and "
            f"'{asked[1]}') and panels cannot be turned; export it without keep_element_patterns"
        )
    return True


def _rights(scenario: Scenario, options: DeepmimoImport) -> tuple[str, str]:
    """Return licence and attribution: as given, else as exported, else where to look."""
    notes = scenario.notes
    licence = notes.licence if notes else _SEE_SOURCE
    attribution = notes.attribution if notes else _SEE_SOURCE
    return options.licence or licence, options.attribution or attribution


def _without_carrier(paths: TracedPaths, carrier_hz: float) -> TracedPaths:
    phasor = np.conj(carrier_phasor(paths.delay_s, carrier_hz))
    return replace(paths, amplitude=(paths.amplitude * phasor).astype("c8"))


def _campaign(choice: Choice, parts: list[ScenarioPaths], options: DeepmimoImport) -> Campaign:
    """Describe the dataset as a campaign that cannot be traced again."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", choice.scenario.folder.resolve().name)
    notes = choice.scenario.notes
    band = options.band(
        choice.scenario.carrier_hz,
        name=notes.band if notes else None,
        where=f"import of {choice.scenario.folder}",
    )
    kinds = {int(kind) for part in parts for kind in np.unique(part.paths.interaction)}
    depth = max(int((part.paths.interaction > 0).sum(axis=1).max(initial=0)) for part in parts)
    data: dict[str, Any] = {
        "name": options.name or name,
        "description": f"Imported: {choice.scenario.source}.",
        "seed": options.seed,
        "scenes": [
            {
                "name": options.scene or name,
                "sites": [site.model_dump() for panels in choice.panels for site in panels],
            }
        ],
        "bands": [band.model_dump()],
        "front_end": options.front_end.model_dump(),
        "sampling": {"kind": "imported", "source": choice.scenario.source},
        "shared_ues": True,
        "tracer": {
            "max_depth": min(depth, _MAX_DEPTH),
            "specular_reflection": SPECULAR in kinds,
            "diffraction": DIFFRACTION in kinds,
            "refraction": REFRACTION in kinds,
            "diffuse_reflection": DIFFUSE in kinds,
            "kept_power_share": None,
            "max_num_paths": options.max_num_paths,
            "max_path_length_m": options.path_limit_m(band),
        },
    }
    return validate(Campaign, data, where=f"import of {choice.scenario.folder}")


def _notes(
    choice: Choice,
    parts: list[ScenarioPaths],
    campaign: Campaign,
    *,
    has_carrier: bool,
    has_patterns: bool,
) -> tuple[str, ...]:
    """Say how the paths were made, and what was done to them."""
    num_lifted = sum(part.num_lifted for part in parts)
    num_all = len(choice.placements[0].rx_position_m)
    limit_m = campaign.tracer.max_path_length_m or math.inf
    num_far = sum(num_too_far(part.paths, limit_m) for part in parts)
    patterns = "are those of the scenario" if has_patterns else "were multiplied with the front-end"
    said = [
        f"Paths come from {choice.scenario.source}.",
        f"{len(choice.rows)} of its {num_all} receivers were taken.",
        f"Element patterns {patterns}; polarizations are those of the scenario.",
        f"Its phases {'included' if has_carrier else 'did not include'} the carrier phase.",
        "Objects, materials and edges are not known.",
    ]
    if choice.scenario.notes:
        said.append(f"It was exported from {choice.scenario.notes.dataset_id}.")
    if not all(part.has_points for part in parts):
        said.append("It has no interaction points: path/vertex_m is 0.")
    if num_far:
        links = counted(num_far, "link")
        said.append(f"Outage by paths that are longer than {limit_m:.0f} m: {links}.")
    if num_lifted:
        delays = counted(num_lifted, "delay")
        said.append(f"Rounded below the straight line, and lifted to it: {delays}.")
    if any(part.is_turned for part in parts):
        said.append("Its directions of arrival pointed inwards, and were turned.")
    return tuple(said)
