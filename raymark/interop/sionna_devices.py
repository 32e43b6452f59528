"""Transmitters and receivers of Sionna RT as the sites and UEs of a dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from raymark.config import validate
from raymark.dataset.writing.ues import SampledUEs
from raymark.errors import ConfigError
from raymark.radio import Site
from raymark.radio.frames import wrap_deg

_SAME_PLACE_M = 1e-3
_LEAST_ROLL_DEG = 1e-3


def read_sites(scene: Any, parts: Sequence[Any]) -> list[Site]:
    """Return the transmitters of a loaded scene as sites.

    Args:
        scene: A `sionna.rt.Scene`.
        parts: `Paths` objects that were traced from them.

    Raises:
        ConfigError: If the paths start elsewhere, or a transmitter is rolled or oddly named.
    """
    devices = scene.transmitters
    places = [_points(device.position) for device in devices.values()]
    for part in parts:
        if not _are_same(places, [_points(part.sources)]):
            starts = np.round(_points(part.sources), 3).tolist()
            raise ConfigError(
                f"the scene's transmitters ({', '.join(devices) or 'none'}) do not stand where the "
                f"paths start, {starts} m; hand over the scene as it was traced"
            )
    return [_site(name, device) for name, device in devices.items()]


def read_ues(parts: Sequence[Any]) -> SampledUEs:
    """Return the receivers of `Paths` objects, one group after the other, as UEs on no track."""
    position_m = np.concatenate([_points(part.targets) for part in parts]).astype("f4")
    track_id, track_step = (np.full(len(position_m), -1, dtype="i4") for _ in range(2))
    return SampledUEs(position_m=position_m, track_id=track_id, track_step=track_step)


def require_same_devices(first: Sequence[Any], other: Sequence[Any], *, where: str) -> None:
    """Check that two bands were traced between the same devices, in the same order and groups.

    Raises:
        ConfigError: If they were not.
    """
    for noun, name in (("transmitters", "sources"), ("receivers", "targets")):
        ours, theirs = ([_points(getattr(part, name)) for part in side] for side in (first, other))
        if [len(points) for points in ours] != [len(points) for points in theirs] or not _are_same(
            ours, theirs
        ):
            raise ConfigError(
                f"{where}: its {noun} are not those of the first band; trace all bands with the "
                "same devices, in the same order"
            )


def _site(name: str, device: Any) -> Site:
    yaw, pitch, roll = np.degrees(_points(device.orientation)[0]).tolist()
    if abs(roll) > _LEAST_ROLL_DEG:
        raise ConfigError(
            f"transmitter '{name}' is rolled by {roll:.3g} deg about its boresight, but raymark's "
            "panels stand upright; trace it with roll 0"
        )
    place = {
        "name": name,
        "position_m": _points(device.position)[0].tolist(),
        "azimuth_deg": wrap_deg(yaw),
        "downtilt_deg": pitch,
    }
    return validate(Site, place, where=f"transmitter '{name}'")


def _points(vectors: Any) -> Float[np.ndarray, "n 3"]:
    """Return Sionna's vectors, whose components come first, as rows."""
    return np.asarray(vectors.numpy(), dtype="f8").reshape(3, -1).T


def _are_same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> bool:
    one, other = (np.concatenate([np.zeros((0, 3)), *points]) for points in (ours, theirs))
    return len(one) == len(other) and np.allclose(one, other, rtol=0, atol=_SAME_PLACE_M)
