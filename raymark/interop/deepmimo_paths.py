"""From the matrices of a DeepMIMO scenario to paths in our conventions, checked on the way."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from raymark.dataset.schema import NO_INTERACTION
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import SchemaError
from raymark.interop.deepmimo_format import carrier_phasor, decode_interactions
from raymark.interop.deepmimo_scenario import LinkMatrices
from raymark.interop.given_paths import lifted
from raymark.radio.frames import unit_vector

_DECIDING_LOS_PATHS = 10
_ALIGNED = 0.9
_SAME_DIRECTION = np.cos(np.radians(2.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioPaths:
    """Paths of one transmitter, still with the phases of the scenario.

    Attributes:
        paths: In our conventions, but for the carrier phase.
        num_lifted: Delays that were rounded below the straight line and lifted to it.
        is_turned: Whether directions of arrival pointed inwards and were turned.
        has_points: Whether the scenario has interaction points; zeros stand for them else.
    """

    paths: TracedPaths
    num_lifted: int
    is_turned: bool
    has_points: bool


def read_paths(
    links: LinkMatrices,
    tx_position_m: Float[np.ndarray, "3"],
    rx_position_m: Float[np.ndarray, "rx 3"],
    *,
    where: str,
) -> ScenarioPaths:
    """Convert the matrices of one transmitter and its receivers.

    Args:
        links: The matrices, one row a receiver.
        tx_position_m: The transmitter [m].
        rx_position_m: The receivers [m].
        where: Scenario and transmitter, for messages.

    Raises:
        SchemaError: If an interaction code means nothing, or if the directions of lines of sight
            are not the angles from +z and +x that DeepMIMO's conventions ask for.
    """
    rx, place = np.nonzero(np.isfinite(links.values["power"]))
    value = {name: array[rx, place].astype("f8") for name, array in links.values.items()}
    try:
        interaction = decode_interactions(value["inter"])
    except ValueError as error:
        raise SchemaError(
            f"{where}: interaction code {error} has a digit that is none of 1 to 4"
        ) from error
    is_direct = interaction[:, 0] == NO_INTERACTION
    straight_m = rx_position_m.astype("f8")[rx] - tx_position_m.astype("f8")
    direction_bs = unit_vector(np.radians(value["aod_el"]), np.radians(value["aod_az"]))
    direction_ue = unit_vector(np.radians(value["aoa_el"]), np.radians(value["aoa_az"]))
    is_turned = _check_directions(
        direction_bs[is_direct], direction_ue[is_direct], straight_m[is_direct], where=where
    )
    delay_s, num_lifted = lifted(value["delay"], np.linalg.norm(straight_m, axis=1))
    amplitude = 10 ** (value["power"] / 20) * np.exp(1j * np.radians(value["phase"]))
    paths = TracedPaths(
        ue_index=rx,
        delay_s=delay_s,
        direction_bs=direction_bs,
        direction_ue=-direction_ue if is_turned else direction_ue,
        interaction=interaction,
        vertex_m=_points(links, rx, place, interaction != NO_INTERACTION),
        object_index=np.full(interaction.shape, -1, dtype="i2"),
        primitive=np.full(interaction.shape, -1, dtype="i4"),
        wedge=np.zeros((len(rx), 13), dtype="f4"),
        amplitude=amplitude[None].astype("c8"),
    )
    return ScenarioPaths(
        paths=paths,
        num_lifted=num_lifted,
        is_turned=is_turned,
        has_points=links.points_m is not None,
    )


def has_carrier_phase(
    phase_rad: Float[np.ndarray, "los"], delay_s: Float[np.ndarray, "los"], carrier_hz: float
) -> bool | None:
    """Tell from lines of sight whether phases include exp(-j 2 pi f tau); converters differ.

    Without it their phases are all the same; with it they are once it is taken out.

    Returns:
        None if there are too few, or if neither holds.
    """
    if len(phase_rad) < _DECIDING_LOS_PATHS:
        return None
    phasor = np.exp(1j * phase_rad)
    is_plain = abs(phasor.mean()) > _ALIGNED
    is_turning = abs((phasor / carrier_phasor(delay_s, carrier_hz)).mean()) > _ALIGNED
    return None if is_plain == is_turning else bool(is_turning)


def with_depth(paths: TracedPaths, depth: int) -> TracedPaths:
    """Return the paths with more room for interactions; sites of a dataset have the same."""
    more = depth - paths.interaction.shape[1]
    widths = ((0, 0), (0, more))
    return replace(
        paths,
        interaction=np.pad(paths.interaction, widths),
        vertex_m=np.pad(paths.vertex_m, (*widths, (0, 0))),
        object_index=np.pad(paths.object_index, widths, constant_values=-1),
        primitive=np.pad(paths.primitive, widths, constant_values=-1),
    )


def _check_directions(
    direction_bs: Float[np.ndarray, "los 3"],
    direction_ue: Float[np.ndarray, "los 3"],
    straight_m: Float[np.ndarray, "los 3"],
    *,
    where: str,
) -> bool:
    """Compare lines of sight with the positions; return whether arrivals point inwards."""
    length_m = np.linalg.norm(straight_m, axis=1, keepdims=True)
    truth = straight_m / np.maximum(length_m, np.finfo("f8").tiny)
    if len(truth) == 0:
        return False
    departure = float(np.median((direction_bs * truth).sum(axis=1)))
    arrival = float(np.median((direction_ue * truth).sum(axis=1)))
    if departure < _SAME_DIRECTION or abs(arrival) < _SAME_DIRECTION:
        angles_deg = np.degrees(np.arccos(np.clip([departure, abs(arrival)], -1, 1)))
        raise SchemaError(
            f"{where}: departure and arrival of the lines of sight are {angles_deg[0]:.0f} and "
            f"{angles_deg[1]:.0f} deg off the straight lines (median); expected elevation in "
            "degrees from +z and azimuth from +x in the world frame (does this converter count "
            "elevation from the horizon?)"
        )
    return arrival > 0


def _points(
    links: LinkMatrices,
    rx: Int[np.ndarray, "path"],
    place: Int[np.ndarray, "path"],
    is_used: Bool[np.ndarray, "path depth"],
) -> Float[np.ndarray, "path depth 3"]:
    """Return interaction points; zeros beyond the last, and where the scenario has none."""
    points_m = np.zeros((*is_used.shape, 3), dtype="f4")
    if links.points_m is None:
        return points_m
    depth = min(is_used.shape[1], links.points_m.shape[2])
    given_m = links.points_m[rx, place, :depth].astype("f4")
    is_given = is_used[:, :depth, None] & np.isfinite(given_m)
    points_m[:, :depth] = np.where(is_given, given_m, 0)
    return points_m
