"""Read an environment of WAIR-D as it is: where BSs and UEs stand, and the paths between them.

WAIR-D (arXiv 2212.02159) ships no description of its files. What stands here is what its own
generator script and the public code that reads them agree in, checked on the environment 00743 of
scenario 2, of which positions and labels of 10,000 links are public (repository
Horizontal666/AMDNloc, MIT):

- `Info.npy` has numbers in a row: width and depth of the picture, then, in scenario 1, x and y of
  BS and UE for each link, BS by BS; in scenario 2 x and y of the one BS, then those of all UEs. The
  unit is half a metre, x points right in the picture and y up, the origin is the lower left corner.
  Heights are not stored; the scripts take 6 m and 1.5 m.
- `Path.npy` is a pickled dictionary by the name of the link, `bs0_ue3` in scenario 1 and
  `bs0_ue00003` in scenario 2. Each has `taud`, the delays [ns], and `dod` (at the BS) and `doa` (at
  the UE), zenith and azimuth [rad] of each path, both pointing outwards, azimuths not wrapped.
- `H_2_6_G.npy` and so on is such a dictionary with the complex response of each path at 2.6 GHz,
  in the order of `taud`, of isotropic antennas, without the carrier phase.
- A nanosecond is 0.3 m: lines of sight are distances over 0.3 m/ns to 10 um. Paths are therefore
  as long as they are here, and their delays 0.07 % longer than in WAIR-D.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from raymark.errors import ConfigError, DatasetError, SchemaError, counted
from raymark.interop.plain_npy import array_of, read_dictionary, read_numbers
from raymark.radio.frames import unit_vector
from raymark.storage import within

INFO_NAME, PATH_NAME, PICTURE_NAME = "Info.npy", "Path.npy", "environment.png"
CARRIERS_GHZ = {"2_6": 2.6, "6_0": 6.0, "28_0": 28.0, "60_0": 60.0, "100_0": 100.0}
UNIT_M = 0.5
M_PER_NS = 0.3
_LINK = re.compile(r"bs(0|[1-9]\d{0,3})_ue(\d{1,7})", re.ASCII)
_ARRAYS = ("taud", "dod", "doa")
_FARTHEST_M = 1e6
_SAME_LENGTH_M = 1e-3
_SAME_DIRECTION = 1e-4
"""Of unit vectors: what diffracts beside a line of sight is as long to 1 um, but farther off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkPaths:
    """The paths of one BS to all UEs, UE by UE.

    Attributes:
        ue_index: UE of each path.
        length_m: Length [m].
        direction_bs: Unit vector from the BS.
        direction_ue: Unit vector from the UE, outwards.
        amplitude: Response at each band.
    """

    ue_index: Int[np.ndarray, "path"]
    length_m: Float[np.ndarray, "path"]
    direction_bs: Float[np.ndarray, "path 3"]
    direction_ue: Float[np.ndarray, "path 3"]
    amplitude: Complex[np.ndarray, "band path"]

    def is_direct(
        self, bs_position_m: Float[np.ndarray, "3"], ue_position_m: Float[np.ndarray, "ue 3"]
    ) -> Bool[np.ndarray, "path"]:
        """Tell which paths are lines of sight: as long as the straight line, and along it.

        WAIR-D does not say; its scripts tell it so, too.
        """
        straight_m = ue_position_m[self.ue_index] - bs_position_m
        distance_m = np.linalg.norm(straight_m, axis=1)
        along = straight_m / np.maximum(distance_m, np.finfo("f8").tiny)[:, None]
        off = [self.direction_bs - along, self.direction_ue + along]
        is_along = np.max([np.linalg.norm(each, axis=1) for each in off], axis=0) < _SAME_DIRECTION
        return is_along & (np.abs(self.length_m - distance_m) < _SAME_LENGTH_M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an environment holds.

    Attributes:
        folder: Where it lies.
        size_m: Width and depth of its picture [m].
        bs_xy_m: x and y of the BSs [m].
        ue_xy_m: x and y of the UEs [m].
        carriers_ghz: Carriers of the bands that were read [GHz].
        links: The paths of each BS.
        ignored: Names of arrays that links have beside those that are read.
    """

    folder: Path
    size_m: Float[np.ndarray, "2"]
    bs_xy_m: Float[np.ndarray, "bs 2"]
    ue_xy_m: Float[np.ndarray, "ue 2"]
    carriers_ghz: tuple[float, ...]
    links: tuple[LinkPaths, ...]
    ignored: tuple[str, ...]


def read_environment(folder: Path, name: str, carriers_ghz: tuple[float, ...] = ()) -> Environment:
    """Read one environment of a scenario.

    Args:
        folder: The scenario, such as "scenario_2".
        name: Its environment, such as "00743".
        carriers_ghz: The bands to read; all that are there if none is named.

    Raises:
        DatasetError: If there is no such environment.
        SchemaError: If a file is missing, damaged, or does not fit the others.
        ConfigError: If a band is not there.
    """
    for needed in (INFO_NAME, PATH_NAME):
        if not within(folder, f"{name}/{needed}").is_file():
            raise DatasetError(
                f"{folder} holds no environment '{name}' ({name}/{needed} is missing)"
            )
    inside = folder / name
    files = _response_files(folder, name, carriers_ghz)
    paths = read_dictionary(inside / PATH_NAME)
    names = _Names(inside / PATH_NAME, paths)
    size_m, bs_xy_m, ue_xy_m = _positions(inside / INFO_NAME, names)
    responses = {path: read_dictionary(path) for path in files.values()}
    links = tuple(_read_links(names, bs, paths, responses) for bs in range(names.num_bs))
    return Environment(
        folder=inside,
        size_m=size_m,
        bs_xy_m=bs_xy_m,
        ue_xy_m=ue_xy_m,
        carriers_ghz=tuple(files),
        links=links,
        ignored=tuple(sorted({str(key) for link in paths.values() for key in link} - {*_ARRAYS})),
    )


class _Names:
    """The links of a dictionary by their names: how many BSs and UEs there are.

    Attributes:
        path: The file.
        num_bs: Number of BSs.
        num_ues: Number of UEs.
    """

    def __init__(self, path: Path, links: Mapping[Any, Any]) -> None:
        """Read the names.

        Raises:
            SchemaError: If there is none, or one is no link or missing.
        """
        self.path = path
        found = [_LINK.fullmatch(key) if isinstance(key, str) else None for key in links]
        if not links or not all(found):
            got = next((key for key, match in zip(links, found, strict=True) if not match), "none")
            raise SchemaError(f"{path}: expected links such as 'bs0_ue0', got {str(got)[:80]!r}")
        numbers = np.array([match.groups() for match in found if match]).astype("i8")
        self.num_bs, self.num_ues = (int(n) for n in numbers.max(axis=0) + 1)
        self._is_padded = all(match and len(match[2]) > 4 for match in found)
        every = (self.of(bs, ue) for bs in range(self.num_bs) for ue in range(self.num_ues))
        missing = next((name for name in every if name not in links), None)
        if missing or len(links) != self.num_bs * self.num_ues:
            fault = f"link {missing} is missing" if missing else "a link has two names"
            raise SchemaError(
                f"{path}: {fault}, of {counted(self.num_bs, 'BS', 'BSs')} and "
                f"{counted(self.num_ues, 'UE')}; download the environment again"
            )

    def of(self, bs: int, ue: int) -> str:
        """Return the name of a link."""
        return f"bs{bs}_ue{ue:05d}" if self._is_padded else f"bs{bs}_ue{ue}"


def _response_files(folder: Path, name: str, carriers_ghz: tuple[float, ...]) -> dict[float, Path]:
    """Return the files of the bands by their carriers [GHz], the lowest first."""
    paths = {ghz: within(folder, f"{name}/H_{key}_G.npy") for key, ghz in CARRIERS_GHZ.items()}
    there = {ghz: path for ghz, path in paths.items() if path.is_file()}
    known = ", ".join(f"{ghz:g}" for ghz in there) or "none"
    for ghz in carriers_ghz:
        if ghz not in there:
            raise ConfigError(f"{folder / name} has no band at {ghz:g} GHz (it has: {known})")
    if not there:
        raise SchemaError(f"{folder / name}: no file of responses is there, such as H_2_6_G.npy")
    return {ghz: path for ghz, path in there.items() if not carriers_ghz or ghz in carriers_ghz}


def _positions(
    path: Path, names: _Names
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "bs 2"], Float[np.ndarray, "ue 2"]]:
    """Return size of the picture, BSs and UEs [m]; one row a link, or the BS and then all UEs."""
    info = read_numbers(path).astype("f8").ravel() * UNIT_M
    num_bs, num_ues = names.num_bs, names.num_ues
    if not (np.abs(info) < _FARTHEST_M).all():  # written so that a NaN fails, too
        raise SchemaError(f"{path} holds values that are no positions; download it again")
    if num_bs == 1 and len(info) == 4 + 2 * num_ues:
        return info[:2], info[None, 2:4], info[4:].reshape(-1, 2)
    if len(info) != 2 + 4 * num_bs * num_ues:
        raise SchemaError(
            f"{path}: expected positions of {counted(num_bs, 'BS', 'BSs')} and "
            f"{counted(num_ues, 'UE')}, those of {names.path.name}, got {len(info)} numbers; "
            "download the environment again"
        )
    table = info[2:].reshape(num_bs, num_ues, 4)
    bs_xy_m, ue_xy_m = table[:, 0, :2], table[0, :, 2:]
    if (table[..., :2] != bs_xy_m[:, None]).any() or (table[..., 2:] != ue_xy_m).any():
        raise SchemaError(f"{path}: the positions of a BS or UE differ from link to link")
    return info[:2], bs_xy_m, ue_xy_m


def _read_links(
    names: _Names,
    bs: int,
    paths: Mapping[str, Any],
    responses: Mapping[Path, Mapping[str, Any]],
) -> LinkPaths:
    """Put the paths of all links of a BS into one list."""
    links = [names.of(bs, ue) for ue in range(names.num_ues)]
    delays = [_read_delays(names.path, paths, link) for link in links]
    counts = [len(each) for each in delays]
    sized = list(zip(links, counts, strict=True))
    dod, doa = (
        np.concatenate([_read_angles(names.path, paths, *each, name) for each in sized])
        for name in ("dod", "doa")
    )
    amplitude = [
        np.concatenate([_read_response(path, of_band, *each) for each in sized])
        for path, of_band in responses.items()
    ]
    return LinkPaths(
        ue_index=np.repeat(np.arange(len(links)), counts),
        length_m=np.concatenate(delays) * M_PER_NS,
        direction_bs=unit_vector(*dod.T),
        direction_ue=unit_vector(*doa.T),
        amplitude=np.array(amplitude),
    )


def _read_delays(path: Path, links: Mapping[str, Any], link: str) -> Float[np.ndarray, "path"]:
    delay_ns = _read_array(path, links, link, "taud")
    is_delay = (delay_ns >= 0) & (delay_ns < _FARTHEST_M / M_PER_NS)
    if delay_ns.ndim != 1 or not is_delay.all():
        _refuse(path, link, "'taud' is no list of delays of paths up to 1,000 km")
    return delay_ns


def _read_angles(
    path: Path, links: Mapping[str, Any], link: str, count: int, name: str
) -> Float[np.ndarray, "path 2"]:
    angles_rad = _read_array(path, links, link, name)
    if angles_rad.shape != (count, 2) and not angles_rad.size == count == 0:
        got = list(angles_rad.shape)
        _refuse(path, link, f"expected '{name}' of shape {[count, 2]}, got {got}")
    return angles_rad.reshape(-1, 2)


def _read_array(
    path: Path, links: Mapping[str, Any], link: str, name: str
) -> Float[np.ndarray, "..."]:
    """Return one array of a link, of finite real numbers."""
    held = links[link]
    if not isinstance(held, dict) or name not in held:
        _refuse(path, link, f"'{name}' is missing")
    try:
        array = array_of(held[name])
    except ValueError as error:
        _refuse(path, link, f"'{name}' is damaged: {error}")
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        _refuse(path, link, f"'{name}' holds values that are no finite real numbers")
    return array.astype("f8")


def _read_response(
    path: Path, links: Mapping[str, Any], link: str, count: int
) -> Complex[np.ndarray, "path"]:
    if link not in links:
        _refuse(path, link, "it is missing")
    try:
        array = array_of(links[link])
    except ValueError as error:
        _refuse(path, link, f"it is damaged: {error}")
    if array.shape != (count,):
        _refuse(path, link, f"expected {count} responses, as many as delays, got {array.size}")
    if not (np.abs(array) <= 1).all():
        _refuse(path, link, "a response is above 1, or no number: it is no channel gain")
    return array.astype("c16")


def _refuse(path: Path, link: str, fault: str) -> NoReturn:
    raise SchemaError(f"{path}: link {link}: {fault}; download the environment again")
