"""CSI in files of one's own, and of `raymark fingerprints`: links to locate without any label."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex, Float, Int

from raymark.benchmark.measurements import Measurements, SiteContext
from raymark.benchmark.measuring import measurements_of_csi, require_channel_gains
from raymark.dataset.hdf5 import array_names, open_hdf5, read_array, read_attributes
from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import ConfigError
from raymark.radio import Receiver, Site, parse_bands

_HDF5_ENDINGS = (".h5", ".hdf5")
_CARRIER_TOLERANCE = 1e-6

_DAMAGE = (
    *(OSError, ValueError, EOFError, KeyError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What numpy raises for an archive that is none, is damaged, or is enciphered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiFile:
    """The CSI of links, and what else their file tells.

    Attributes:
        path: The file.
        csi: Noisy CSI, antennas in the order of `raymark.radio.synthesis.element_positions`.
        position_m: True x and y in the frame of the scene, to be shown beside what is found; None
            if nobody knows them [m].
        los: True labels, 1 LOS, 0 NLOS, -1 outage; None if nobody knows them.
        band: Name of the band; empty if the file has none.
        carrier_hz: Its carrier; None if the file has none [Hz].
    """

    path: Path
    csi: Complex[np.ndarray, "link ant subcarrier"]
    position_m: Float[np.ndarray, "link 2"] | None = None
    los: Int[np.ndarray, "link"] | None = None
    band: str = ""
    carrier_hz: float | None = None

    def receiver(self, band: str | None = None, given: Receiver | None = None) -> Receiver:
        """Return what received the CSI: as given, at a band, or at that of the file.

        Args:
            band: Name of a band, for raymark's usual front-end.
            given: The receiver, if it is another one.

        Raises:
            ConfigError: If nobody names a band, or the file was measured at another carrier.
        """
        if given is None:
            name = band or self.band
            if not name:
                raise ConfigError(
                    f"{self.path} does not tell its band; name it (--band 6GHz), or describe "
                    "what received the CSI (--receiver FILE)"
                )
            given = Receiver(band=parse_bands(name, option="--band")[0])
        elif band is not None and given.band.name != parse_bands(band, option="--band")[0].name:
            raise ConfigError(
                f"--band {band} is not the band of the receiver, '{given.band.name}'; give one"
            )
        asked_hz = given.band.carrier_hz
        if self.carrier_hz is not None and (
            abs(self.carrier_hz - asked_hz) > _CARRIER_TOLERANCE * asked_hz
        ):
            raise ConfigError(
                f"{self.path} was measured at {self.carrier_hz / 1e9:g} GHz, band "
                f"'{given.band.name}' is at {asked_hz / 1e9:g} GHz; give the band of the file"
            )
        return given


def read_csi(path: Path, *, site: str) -> CsiFile:
    """Read CSI from an NPZ or HDF5 file.

    It holds `csi` [link, ant, subcarrier], complex; the true positions may stand beside it as
    `position_m` [link, 2 or 3]. A file of `raymark fingerprints` is one, too.

    Args:
        path: Its name ends in .npz, .h5 or .hdf5.
        site: Name of the site whose links are wanted, where the file is of several.

    Raises:
        ConfigError: If it cannot be read, holds no such CSI or none of that site, or the CSI of a
            link is not finite or no gain of a channel.
        SchemaError: If it is a damaged HDF5 file.
    """
    if path.suffix not in {".npz", *_HDF5_ENDINGS}:
        raise ConfigError(f"CSI is read from .npz, .h5 or .hdf5, got {path}")
    if not path.is_file():
        raise ConfigError(f"CSI file {path} does not exist")
    arrays, told = _read_npz(path) if path.suffix == ".npz" else _read_hdf5(path)
    csi = arrays.get("csi")
    if csi is None or csi.ndim != 3 or csi.dtype.kind != "c":
        found = "none" if csi is None else f"{csi.dtype} of shape {csi.shape}"
        raise ConfigError(
            f"{path}: array 'csi' must be complex of shape [link, ant, subcarrier], got {found}"
        )
    rows = _rows_of(path, arrays, told, site)
    require_channel_gains(csi[rows], where=str(path), number=rows)
    return CsiFile(
        path=path,
        csi=csi[rows].astype("c8"),
        position_m=_true_positions(path, arrays, rows),
        los=_labels(path, arrays, rows),
        band=str(told.get("band", "")),
        carrier_hz=_carrier_hz(path, told),
    )


def measure_csi(file: CsiFile, site: Site, receiver: Receiver, *, scene: str) -> Measurements:
    """Estimate paths and all else from the CSI of links, as the benchmark does.

    Args:
        file: The CSI.
        site: Where it was received.
        receiver: Band and front-end.
        scene: Name of the site's scene.

    Raises:
        ConfigError: If the CSI does not fit panel and band, is empty, or is not finite.
    """
    panel = receiver.in_use.panel
    context = SiteContext(name=f"{scene}/{site.name}", panel=panel, height_m=site.position_m[2])
    return measurements_of_csi(
        file.csi,
        site=context,
        band=receiver.band,
        front_end=receiver.in_use,
        orientation_rad=np.array(site.orientation_rad),
    )


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ConfigError(
                f"{path} is one bare array, no NPZ file; write it by np.savez(FILE, csi=...)"
            )
        with stored:
            return {name: stored[name] for name in ("csi", "position_m") if name in stored}, {}
    except _DAMAGE as error:
        raise ConfigError(f"{path} is no NPZ file of plain arrays ({error})") from error


def _read_hdf5(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    wanted = {
        "csi": "csi",
        "position_m": "position_m",
        "ue/position_m": "position_m",
        "ue/site_index": "site_index",
        "link/los": "los",
    }
    with open_hdf5(path) as file:
        there = array_names(file)
        arrays = {wanted[name]: read_array(file, name, path) for name in wanted if name in there}
        attributes = read_attributes(file, path)
    return arrays, {k: v for k, v in attributes.items() if k in {"band", "carrier_hz", "sites"}}


def _rows_of(
    path: Path, arrays: dict[str, np.ndarray], told: dict[str, Any], site: str
) -> np.ndarray:
    """Return the links of a site; all, where the file tells of no sites."""
    site_index = _told_of_links(path, arrays, "site_index", name="ue/site_index")
    if site_index is None or "sites" not in told:
        return np.arange(len(arrays["csi"]))
    sites = [str(name) for name in np.atleast_1d(told["sites"])]
    rows = {name: np.flatnonzero(site_index == i) for i, name in enumerate(sites)}
    if not len(rows.get(site, ())):
        there = ", ".join(name for name in sites if len(rows[name])) or "none"
        raise ConfigError(f"{path} has no link of site '{site}' (it has: {there})")
    return rows[site]


def _carrier_hz(path: Path, told: dict[str, Any]) -> float | None:
    if "carrier_hz" not in told:
        return None
    value = np.asarray(told["carrier_hz"])
    is_number = value.size == 1 and value.dtype.kind in "iuf"
    carrier_hz = float(value.item()) if is_number else np.nan
    if not 0 < carrier_hz < np.inf:
        raise ConfigError(
            f"{path}: attribute 'carrier_hz' must be one finite number above 0, got "
            f"{told['carrier_hz']!s}"
        )
    return carrier_hz


def _true_positions(
    path: Path, arrays: dict[str, np.ndarray], rows: np.ndarray
) -> Float[np.ndarray, "link 2"] | None:
    position_m = _told_of_links(path, arrays, "position_m", name="position_m")
    if position_m is None:
        return None
    is_xy = position_m.ndim == 2 and position_m.shape[1] in {2, 3} and position_m.dtype.kind in "fi"
    if not is_xy or not np.isfinite(position_m).all():
        raise ConfigError(
            f"{path}: 'position_m' must be finite numbers of shape [link, 2 or 3], got "
            f"{position_m.dtype} of shape {position_m.shape}"
        )
    return position_m[rows, :2].astype("f8")


def _labels(
    path: Path, arrays: dict[str, np.ndarray], rows: np.ndarray
) -> Int[np.ndarray, "link"] | None:
    los = _told_of_links(path, arrays, "los", name="link/los")
    if los is None:
        return None
    if los.shape != (len(los),) or not np.isin(los, [LOS, NLOS, OUTAGE]).all():
        raise ConfigError(
            f"{path}: 'link/los' must be {LOS} (LOS), {NLOS} (NLOS) or {OUTAGE} (outage), one for "
            "each link"
        )
    return los[rows].astype("i8")


def _told_of_links(
    path: Path, arrays: dict[str, np.ndarray], key: str, *, name: str
) -> np.ndarray | None:
    """Return an array with a row for each link; None if the file, where it is `name`, has none."""
    array, num_links = arrays.get(key), len(arrays["csi"])
    if array is not None and (array.ndim == 0 or len(array) != num_links):
        raise ConfigError(
            f"{path}: '{name}' must have a row for each of the {num_links} links of 'csi', got "
            f"shape {array.shape}"
        )
    return array
