"""What of a DeepMIMO scenario is imported: options, transmitters, panels and receivers."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import BeforeValidator, Field

from raymark.errors import ConfigError, SchemaError
from raymark.interop.deepmimo_scenario import Placement, PointSet, Scenario, Transmitter
from raymark.interop.import_options import PathImport
from raymark.radio import FrontEnd, Site, panels_of
from raymark.radio.frames import wrap_deg

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, int | float) else value


Angles = Annotated[tuple[Annotated[float, Field(ge=-180, le=180)], ...], BeforeValidator(_listed)]
Tilts = Annotated[tuple[Annotated[float, Field(ge=-90, le=90)], ...], BeforeValidator(_listed)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed)]


class DeepmimoImport(PathImport):
    """How a scenario becomes a dataset; the defaults take all of it."""

    tx_sets: Numbers = Field(default=(), description="Sets of transmitters; all if none")
    rx_sets: Numbers = Field(
        default=(), description="Sets of receivers; all that do not transmit if none"
    )
    azimuth_deg: Angles = Field(
        default=(),
        description="Where the panels look: one value, or one a transmitter. As in the dataset if "
        "raymark made the scenario, else to the middle of the receivers that have a path [deg]",
    )
    downtilt_deg: Tilts = Field(
        default=(), description="The same for the tilt, positive looks down; else 0 [deg]"
    )
    num_panels: int = Field(
        default=1, ge=1, le=6, description="Panels of each transmitter, turned evenly about it"
    )
    front_end: FrontEnd = FrontEnd()
    apply_element_patterns: bool | None = Field(
        default=None,
        description="Multiply the front-end's element patterns in: yes, but for an export that "
        "kept them",
    )
    carrier_in_phase: bool | None = Field(
        default=None,
        description="Whether phases include exp(-j 2 pi f tau); told from the lines of sight",
    )
    drop_outage: bool = Field(default=False, description="Leave out receivers without any path")
    sector_half_width_deg: float | None = Field(
        default=None,
        gt=0,
        le=180,
        description="Leave out receivers that stand farther from the boresight of each panel [deg]",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is imported of a scenario.

    Attributes:
        scenario: The scenario.
        transmitters: The chosen transmitters.
        receivers: The chosen sets of receivers.
        placements: Positions, by transmitter.
        panels: Sites that each transmitter becomes.
        rows: The chosen receivers, counted over all chosen sets.
    """

    scenario: Scenario
    transmitters: tuple[Transmitter, ...]
    receivers: tuple[PointSet, ...]
    placements: tuple[Placement, ...]
    panels: tuple[tuple[Site, ...], ...]
    rows: Int[np.ndarray, "ue"]


def choose(scenario: Scenario, options: DeepmimoImport) -> Choice:
    """Find out which transmitters and receivers are imported, and how the panels look.

    Raises:
        ConfigError: If a set is unknown, angles do not fit, or no receiver is left.
        SchemaError: If positions are missing or differ between transmitters.
    """
    transmitters = scenario.transmitters(options.tx_sets)
    receivers = scenario.receiver_sets(options.rx_sets)
    placements = tuple(scenario.placement(each, receivers) for each in transmitters)
    for placement in placements[1:]:
        if not np.array_equal(placement.rx_position_m, placements[0].rx_position_m):
            raise SchemaError(
                f"{scenario.folder}: rx_pos differs between transmitters; download it again"
            )
    panels = _panels(scenario, options, transmitters, placements)
    rows = _rows(options, placements, panels)
    if len(rows) == 0:
        raise ConfigError(
            f"{scenario.folder}: none of its {len(placements[0].rx_position_m)} receivers is left; "
            "widen sector_half_width_deg or set drop_outage to false"
        )
    return Choice(
        scenario=scenario,
        transmitters=transmitters,
        receivers=receivers,
        placements=placements,
        panels=panels,
        rows=rows,
    )


def _panels(
    scenario: Scenario,
    options: DeepmimoImport,
    transmitters: tuple[Transmitter, ...],
    placements: tuple[Placement, ...],
) -> tuple[tuple[Site, ...], ...]:
    count = len(transmitters)
    names = _site_names(transmitters)
    exported = {site.name: site for site in scenario.notes.sites} if scenario.notes else {}
    middle_deg = [_azimuth_of_middle(placement) for placement in placements]
    azimuth_deg = _by_transmitter(options.azimuth_deg, count, "azimuth_deg") or [
        exported[name].azimuth_deg if name in exported else middle
        for name, middle in zip(names, middle_deg, strict=True)
    ]
    downtilt_deg = _by_transmitter(options.downtilt_deg, count, "downtilt_deg") or [
        exported[name].downtilt_deg if name in exported else 0.0 for name in names
    ]
    sites = [
        Site(
            name=name,
            position_m=tuple(map(float, placement.tx_position_m)),
            azimuth_deg=azimuth,
            downtilt_deg=downtilt,
        )
        for name, placement, azimuth, downtilt in zip(
            names, placements, azimuth_deg, downtilt_deg, strict=True
        )
    ]
    return tuple(panels_of(site, options.num_panels) for site in sites)


def _site_names(transmitters: tuple[Transmitter, ...]) -> list[str]:
    """Name transmitters as their sets are named, where that gives different names that we allow."""
    names = [
        each.point_set.name + (f"-{each.index}" if each.point_set.num_points > 1 else "")
        for each in transmitters
    ]
    if len(set(names)) == len(names) and all(map(_SITE_NAME.fullmatch, names)):
        return names
    return [f"tx{each.point_set.id}-{each.index}" for each in transmitters]


def _by_transmitter(angles: tuple[float, ...], count: int, name: str) -> list[float]:
    if len(angles) not in (0, 1, count):
        raise ConfigError(
            f"{name} must have one value or one for each of the {count} transmitters, "
            f"got {len(angles)}"
        )
    return list(angles) * (count if len(angles) == 1 else 1)


def _azimuth_of_middle(placement: Placement) -> float:
    """Return the direction of the mean position of all receivers that have a path [deg]."""
    chosen = placement.is_heard if placement.is_heard.any() else np.ones_like(placement.is_heard)
    offset_m = (placement.rx_position_m[chosen].astype("f8") - placement.tx_position_m).mean(axis=0)
    return round(float(np.degrees(np.arctan2(offset_m[1], offset_m[0]))), 1)


def _rows(
    options: DeepmimoImport, placements: tuple[Placement, ...], panels: tuple[tuple[Site, ...], ...]
) -> Int[np.ndarray, "ue"]:
    position_m = placements[0].rx_position_m
    is_wanted = np.ones(len(position_m), dtype=bool)
    if options.drop_outage:
        is_wanted &= np.any([placement.is_heard for placement in placements], axis=0)
    if options.sector_half_width_deg is not None:
        sectors = [
            _in_sector(position_m, s, options.sector_half_width_deg) for p in panels for s in p
        ]
        is_wanted &= np.any(sectors, axis=0)
    return options.draw(is_wanted, kind="deepmimo")


def _in_sector(
    position_m: Float[np.ndarray, "rx 3"], site: Site, half_width_deg: float
) -> Bool[np.ndarray, "rx"]:
    x_m, y_m, _ = (position_m.astype("f8") - site.position_m).T
    off_deg = np.degrees(np.arctan2(y_m, x_m)) - site.azimuth_deg
    return np.abs(wrap_deg(off_deg)) <= half_width_deg
