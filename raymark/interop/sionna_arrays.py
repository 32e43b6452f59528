"""From a `Paths` object of Sionna RT to plain numpy, one transmitter at a time.

Sionna is not imported: the object was made by whoever hands it in, and only what it shows in
public is read. Its tensors have the axes `[rx, tx, path]`; `interactions`, `objects`, `primitives`
and `vertices` have the depth in front, and `a` has `[rx, rx_ant, tx, tx_ant, path]`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex, Float, Int, UInt32

from raymark.dataset.schema import DIFFRACTION, DIFFUSE, NO_INTERACTION, REFRACTION, SPECULAR
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.errors import ConfigError
from raymark.radio.frames import rotation_matrix, unit_vector

_ATTRIBUTES = ("a", "tau", "valid", "interactions", "sources", "targets", "synthetic_array")
_KNOWN_INTERACTIONS = (NO_INTERACTION, SPECULAR, DIFFUSE, REFRACTION, DIFFRACTION)

_PHASE_REL = 1e-3
"""Sionna's phases across a panel are float32, some tens of turns at most."""
_CARRIER_REL = 0.5
"""float32 keeps the carrier's phase to 0.2 rad at 60 GHz and 1 us; a wrong one errs by sqrt(2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneObjects:
    """Objects of a loaded scene.

    Attributes:
        ids: Sionna's number of each, by which `Paths.objects` knows it; ascending.
        names: Name of each in the scene's file; `merged-<material>` where Sionna merged several.
        materials: Material of each.
    """

    ids: Int[np.ndarray, "object"]
    names: tuple[str, ...]
    materials: tuple[str, ...]


def num_interactions(paths: Any) -> int:
    """Return the length of the axis of interactions; 0 where only the line of sight was traced."""
    return int(paths.interactions.shape[0])


def read_objects(scene: Any) -> SceneObjects:
    """Return the objects of a loaded `sionna.rt.Scene`."""
    rows = []
    for name, item in scene.objects.items():
        # Of Sionna's own materials the ITU name, without thickness: that is what raymark stores.
        material = getattr(item.radio_material, "itu_type", None) or item.radio_material.name
        shown = f"merged-{material}" if name.startswith("no-name") else name
        rows.append((int(item.object_id), shown, str(material)))
    rows.sort()
    return SceneObjects(
        ids=np.array([row[0] for row in rows], dtype="i8"),
        names=tuple(row[1] for row in rows),
        materials=tuple(row[2] for row in rows),
    )


def require_readable(paths: Any, *, where: str) -> None:
    """Check that a value is a `Paths` object whose links have one port at either end.

    Raises:
        ConfigError: If it is none, or its arrays cannot be reduced to the panel's centre.
    """
    missing = [name for name in _ATTRIBUTES if not hasattr(paths, name)]
    if missing:
        raise ConfigError(
            f"{where}: expected a Paths object of Sionna RT, got {type(paths).__name__}, which "
            f"has no {', '.join(missing)}"
        )
    if not paths.synthetic_array:
        raise ConfigError(
            f"{where}: the paths were traced to every antenna (synthetic_array=False), raymark "
            "keeps those of the panel's centre; trace with synthetic_array=True"
        )
    for end, array in (("tx_array", paths.tx_array), ("rx_array", paths.rx_array)):
        if array.num_ant != array.array_size:
            raise ConfigError(
                f"{where}: {end} has {array.num_ant // array.array_size} polarizations, raymark "
                "keeps one; trace with polarization='V' or 'H', once for each"
            )
    if paths.rx_array.num_ant != 1:
        raise ConfigError(
            f"{where}: rx_array has {paths.rx_array.num_ant} antennas, raymark's UEs have one; "
            "trace with one (the panel of the base station is tx_array)"
        )


def require_carrier(paths: Any, carrier_hz: float, *, where: str) -> None:
    """Check that the paths were traced at a carrier, by the phase that Sionna gives it.

    Raises:
        ConfigError: If they were not.
    """
    valid = paths.valid.numpy()
    real, imag = (part.numpy()[:, 0, :, 0][valid] for part in paths.a)
    with_carrier, _ = paths.cir(normalize_delays=False, out_type="numpy")
    delay_s = paths.tau.numpy()[valid].astype("f8")
    amplitude = real + 1j * imag
    expected = amplitude * np.exp(-2j * np.pi * (carrier_hz * delay_s % 1.0))
    error = np.linalg.norm(with_carrier[:, 0, :, 0, :, 0][valid] - expected)
    if error > _CARRIER_REL * np.linalg.norm(amplitude):
        raise ConfigError(
            f"{where}: the phases of these paths are not those of a carrier at "
            f"{carrier_hz / 1e9:g} GHz; name the band whose carrier_hz the scene's frequency was"
        )


def read_transmitter(
    paths: Any,
    transmitter: int,
    *,
    orientation_rad: Float[np.ndarray, "3"],
    objects: SceneObjects,
    depth: int,
    where: str,
) -> TracedPaths:
    """Return the valid paths of one transmitter, responses between its centre and the UEs.

    Edges of diffraction are not in public, so `wedge` is 0.

    Args:
        paths: Readable paths, see `require_readable`.
        transmitter: Its index.
        orientation_rad: Its yaw, pitch and roll [rad].
        objects: What the scene's numbers mean.
        depth: Length of the axis of interactions, at least that of `paths`.
        where: What the paths are, for messages.

    Raises:
        ConfigError: If the phases across the array are those of another orientation, an object is
            not in the scene, or an interaction is of a kind that raymark does not know.
    """
    ue, row = np.nonzero(paths.valid.numpy()[:, transmitter])

    def pick(tensor: Any) -> np.ndarray:
        return np.asarray(tensor.numpy()[:, transmitter][ue, row])

    def pick_by_depth(tensor: Any) -> np.ndarray:
        values = np.moveaxis(tensor.numpy()[:, :, transmitter][:, ue, row], 0, 1)
        padding = [(0, 0), (0, depth - values.shape[1])] + [(0, 0)] * (values.ndim - 2)
        return np.pad(values, padding)

    interaction = pick_by_depth(paths.interactions)
    _require_known(interaction, where)
    present = interaction != NO_INTERACTION
    direction_bs = unit_vector(pick(paths.theta_t), pick(paths.phi_t))
    real, imag = (part.numpy()[:, 0, transmitter][ue, :, row].astype("f8") for part in paths.a)
    amplitude = _at_centre(
        real + 1j * imag, paths.tx_array, direction_bs, orientation_rad, where=where
    )
    object_index = _object_index(pick_by_depth(paths.objects), present, objects, where=where)
    primitive = np.where(present, pick_by_depth(paths.primitives), -1)
    vertex_m = np.where(present[..., None], pick_by_depth(paths.vertices), 0)
    return TracedPaths(
        ue_index=ue.astype("i8"),
        delay_s=pick(paths.tau).astype("f4"),
        direction_bs=direction_bs.astype("f4"),
        direction_ue=unit_vector(pick(paths.theta_r), pick(paths.phi_r)).astype("f4"),
        interaction=interaction.astype("u1"),
        vertex_m=vertex_m.astype("f4"),
        object_index=object_index.astype("i2"),
        primitive=primitive.astype("i4"),
        wedge=np.zeros((len(ue), 13), dtype="f4"),
        amplitude=amplitude[None].astype("c8"),
    )


def _at_centre(
    response: Complex[np.ndarray, "path ant"],
    array: Any,
    direction: Float[np.ndarray, "path 3"],
    orientation_rad: Float[np.ndarray, "3"],
    *,
    where: str,
) -> Complex[np.ndarray, "path"]:
    """Take the phases across a synthetic array out of the responses of its antennas.

    Sionna has put them in as exp(j 2 pi r_n . u), see `synthesize_csi`; antennas then agree.
    """
    local = direction.astype("f8") @ rotation_matrix(orientation_rad)
    turns = local @ np.asarray(array.normalized_positions.numpy(), dtype="f8")
    response = response * np.exp(-2j * np.pi * turns)
    centre = response.mean(axis=1)
    apart = np.abs(response - centre[:, None]).max(axis=1, initial=0)
    if (apart > _PHASE_REL * np.abs(response).max(axis=1, initial=0)).any():
        raise ConfigError(
            f"{where}: the phases across tx_array are not those of a panel with the orientation "
            f"{np.round(orientation_rad, 4).tolist()} rad; hand over the scene as it was traced"
        )
    return centre


def _object_index(
    ids: UInt32[np.ndarray, "path depth"],
    present: Bool[np.ndarray, "path depth"],
    objects: SceneObjects,
    *,
    where: str,
) -> Int[np.ndarray, "path depth"]:
    known = np.append(objects.ids, -1)
    index = np.searchsorted(objects.ids, ids)
    strange = present & (known[index] != ids)
    if strange.any():
        raise ConfigError(
            f"{where}: the paths touch an object with the number {ids[strange][0]}, which the "
            "scene does not have; hand over the scene in which they were traced"
        )
    return np.where(present, index, -1)


def _require_known(interaction: UInt32[np.ndarray, "path depth"], where: str) -> None:
    strange = interaction[~np.isin(interaction, _KNOWN_INTERACTIONS)]
    if strange.size:
        raise ConfigError(
            f"{where}: an interaction has the code {strange[0]}, expected reflection (specular or "
            "diffuse), refraction or diffraction; trace without sensing targets"
        )
