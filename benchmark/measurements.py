"""What a model may see of a link: everything is estimated from its noisy CSI, nothing else."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from raymark.benchmark.channels import Channels, concatenate_channels
from raymark.benchmark.city_map import CityMap
from raymark.radio import Band, Panel

PerLink = Float[np.ndarray, "link"]
PerPath = Float[np.ndarray, "link path"]

_CSI_ROWS = 256
"""Links whose CSI is copied at once."""

Input = Literal["paths", "aoa_profile", "scalars", "csi", "map", "other_sites"]
"""Parts of the measurements that a model may say it uses, the map around the sites, and the links
of the same UE at other sites."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteContext:
    """What an operator knows of a base station.

    Attributes:
        name: `<scene>/<site>`.
        panel: Its antenna array.
        height_m: Height of the panel above the UEs' antennas [m].
        city: The map around it, for models that name `map` among their inputs, on tracks that have
            maps.
        pose: x and y [m], and azimuth [rad], in the frame of the scene; None but on tracks of UEs,
            which several sites may hear.
    """

    name: str
    panel: Panel
    height_m: float
    city: CityMap | None = None
    pose: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CsiArray:
    """CSI in memory, where it was handed over and not measured from a dataset."""

    values: Complex[np.ndarray, "link ant subcarrier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiFiles:
    """Where the CSI of links lies; it is read from disk row by row.

    Attributes:
        files: `.npy` files of shape [link, ant, subcarrier], or arrays in memory.
        file_index: File of each link.
        row: Row of each link in its file.
    """

    files: tuple[Path | CsiArray, ...]
    file_index: Int[np.ndarray, "link"]
    row: Int[np.ndarray, "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Measurements of links, in the site's frame: origin at the BS, x along its azimuth, z up.

    Attributes:
        sites: Base stations.
        bands: Bands.
        site_index: Base station of each link.
        band_index: Band of each link.
        window: Links with the same number were measured one after the other on one track.
        window_step: Place of each link in its window.
        path_range_m: Delay times c of each estimated path, strongest first; 0 where padded [m].
        path_azimuth_rad: Direction from the BS in the site's frame [rad].
        path_zenith_rad: The same, from the zenith [rad].
        path_power_db: Power of each path as a channel gain [dB].
        path_mask: True where there is a path.
        aoa_profile_db: Power over the azimuth from boresight, bins as in
            `raymark.radio.fingerprints.azimuth_bins` [dB].
        distance_m: First-path time of arrival times c; 0 without signal [m].
        gain_db: Mean channel gain [dB].
        has_signal: False where no first path was found.
        delay_spread_s: R.m.s. delay spread of the estimated paths [s].
        azimuth_spread_rad: Their circular azimuth spread [rad].
        csi_files: Where the CSI lies, for models that ask for it.
        ue_azimuth_rad: True azimuth of the first path at the UE, in the site's frame; 0 without a
            path. An oracle's, for the paper's protocol alone: None on every other track [rad].
        odometry_m: Step from the link before in the same window, as the UE measures it, in the
            site's frame; 0 where there is none before. None on tracks without odometry [m].
        ue: Links with the same number are of one UE at several sites, at the same time
            (`raymark.benchmark.UeLinks`). None where each link is a question of its own.
    """

    sites: tuple[SiteContext, ...]
    bands: tuple[Band, ...]
    site_index: Int[np.ndarray, "link"]
    band_index: Int[np.ndarray, "link"]
    window: Int[np.ndarray, "link"]
    window_step: Int[np.ndarray, "link"]
    path_range_m: PerPath
    path_azimuth_rad: PerPath
    path_zenith_rad: PerPath
    path_power_db: PerPath
    path_mask: Bool[np.ndarray, "link path"]
    aoa_profile_db: Float[np.ndarray, "link azimuth"]
    distance_m: PerLink
    gain_db: PerLink
    has_signal: Bool[np.ndarray, "link"]
    delay_spread_s: PerLink
    azimuth_spread_rad: PerLink
    csi_files: CsiFiles | None = None
    ue_azimuth_rad: PerLink | None = None
    odometry_m: Float[np.ndarray, "link 2"] | None = None
    ue: Int[np.ndarray, "link"] | None = None

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.site_index)

    def take(self, rows: Int[np.ndarray, "row"]) -> "Measurements":
        """Return the links at `rows`, in that order."""
        values = {name: getattr(self, name)[rows] for name in ARRAY_NAMES}
        csi = self.csi_files
        if csi is not None:
            csi = CsiFiles(files=csi.files, file_index=csi.file_index[rows], row=csi.row[rows])
        for name in _SOMETIMES:
            known = getattr(self, name)
            values[name] = None if known is None else known[rows]
        return dataclasses.replace(self, **values, csi_files=csi)

    def csi(self, rows: Int[np.ndarray, "row"]) -> Complex[np.ndarray, "row ant subcarrier"]:
        """Read the noisy CSI of the links at `rows`.

        Raises:
            ValueError: If the model did not name `csi` among its inputs.
        """
        if self.csi_files is None:
            raise ValueError("this model gets no CSI; add 'csi' to `inputs` in its model.yaml")
        file_index, row = self.csi_files.file_index[rows], self.csi_files.row[rows]
        maps = [
            file.values if isinstance(file, CsiArray) else np.load(file, mmap_mode="r")
            for file in self.csi_files.files
        ]
        csi = np.empty((len(rows), *maps[0].shape[1:]), dtype="c8")
        for i, array in enumerate(maps):
            csi[file_index == i] = array[row[file_index == i]]
        return csi

    def with_csi_in(self, path: Path) -> "Measurements":
        """Copy the CSI of these links, if they have any, into a file that holds no other.

        Where a link stands in the file of its survey would tell of its neighbours.

        Args:
            path: `.npy` file to write; it is named from the working directory of whoever reads it.
        """
        if self.csi_files is None:
            return self
        links = np.arange(len(self))
        shape = (len(self), *self.csi(links[:1]).shape[1:])
        array = np.lib.format.open_memmap(path, mode="w+", dtype="c8", shape=shape)
        for start in range(0, len(self), _CSI_ROWS):
            rows = links[start : start + _CSI_ROWS]
            array[rows] = self.csi(rows)
        array.flush()
        files = (Path(path.name),)
        csi_files = CsiFiles(files=files, file_index=np.zeros_like(links), row=links)
        return dataclasses.replace(self, csi_files=csi_files)

    def with_csi_held(self) -> "Measurements":
        """Hold the files of CSI open, and remove them: whoever reads it sees no file."""
        if self.csi_files is None:
            return self
        arrays = []
        for file in self.csi_files.files:
            if isinstance(file, Path):
                arrays.append(CsiArray(values=np.load(file, mmap_mode="r")))
                file.unlink()
            else:
                arrays.append(file)
        csi_files = dataclasses.replace(self.csi_files, files=tuple(arrays))
        return dataclasses.replace(self, csi_files=csi_files)

    def with_cities(self, cities: Mapping[str, CityMap]) -> "Measurements":
        """Return the same with the maps around some sites, by the sites' names."""
        sites = tuple(
            dataclasses.replace(site, city=cities.get(site.name, site.city)) for site in self.sites
        )
        return dataclasses.replace(self, sites=sites)

    @property
    def height_m(self) -> PerLink:
        """Height of each link's panel above the UE [m]."""
        return np.array([site.height_m for site in self.sites])[self.site_index]

    @property
    def carrier_hz(self) -> PerLink:
        """Carrier of each link [Hz]."""
        return np.array([band.carrier_hz for band in self.bands])[self.band_index]


_SOMETIMES = ("ue_azimuth_rad", "odometry_m", "ue")
"""Fields that are arrays over links on some tracks."""

ARRAY_NAMES = tuple(
    field.name
    for field in dataclasses.fields(Measurements)
    if field.name not in {"sites", "bands", "csi_files", *_SOMETIMES}
)
"""Fields of `Measurements` that are arrays over links, on every track."""


def concatenate(parts: Sequence[Measurements]) -> Measurements:
    """Join measurements of several scenes and bands; windows and UEs stay apart."""
    sites = tuple(dict.fromkeys(site for part in parts for site in part.sites))
    bands = tuple(dict.fromkeys(band for part in parts for band in part.bands))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ARRAY_NAMES}
    next_window = 0
    for part in parts:
        values = {name: getattr(part, name) for name in ARRAY_NAMES}
        values["site_index"] = np.array([sites.index(s) for s in part.sites])[part.site_index]
        values["band_index"] = np.array([bands.index(b) for b in part.bands])[part.band_index]
        values["window"] = part.window + next_window
        next_window += int(part.window.max(initial=-1)) + 1
        for name, value in values.items():
            columns[name].append(value)
    joined: dict[str, Any] = {name: np.concatenate(of) for name, of in columns.items()}
    for name in _SOMETIMES:
        known = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        joined[name] = np.concatenate(known) if len(known) == len(parts) else None
    if joined["ue"] is not None:
        num_ues = [int(part.ue.max(initial=-1)) + 1 for part in parts if part.ue is not None]
        before = np.cumsum([0, *num_ues[:-1]])
        joined["ue"] = joined["ue"] + np.repeat(before, [len(part) for part in parts])
    return Measurements(
        sites=sites,
        bands=bands,
        csi_files=_join_csi([p.csi_files for p in parts]),
        **joined,
    )


def _join_csi(parts: Sequence[CsiFiles | None]) -> CsiFiles | None:
    present = [part for part in parts if part is not None]
    if len(present) < len(parts):
        return None
    files = tuple(dict.fromkeys(file for part in present for file in part.files))
    file_index = [np.array([files.index(f) for f in p.files])[p.file_index] for p in present]
    return CsiFiles(
        files=files,
        file_index=np.concatenate(file_index),
        row=np.concatenate([part.row for part in present]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Measurements with their true positions: what a model learns from.

    Attributes:
        measurements: What was measured.
        position_m: True x and y of the UE in the frame of its site [m].
        los: Labels: 1 LOS, 0 NLOS, -1 outage.
        channels: True paths of training links, of which CSI is made with fresh noise, for models
            that ask for CSI; None for validation links, whose CSI is the measured one only, and
            where there is no noise.
    """

    measurements: Measurements
    position_m: Float[np.ndarray, "link 2"]
    los: Int[np.ndarray, "link"]
    channels: Channels | None = None

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.measurements)

    def with_cities(self, cities: Mapping[str, CityMap]) -> "Labelled":
        """Return the same with the maps around some sites, by the sites' names."""
        return dataclasses.replace(self, measurements=self.measurements.with_cities(cities))

    def take(self, rows: Int[np.ndarray, "row"]) -> "Labelled":
        """Return the links at `rows`, in that order."""
        return Labelled(
            measurements=self.measurements.take(rows),
            position_m=self.position_m[rows],
            los=self.los[rows],
            channels=None if self.channels is None else self.channels.take(rows),
        )


def concatenate_labelled(parts: Sequence[Labelled]) -> Labelled:
    """Join labelled measurements; channels are joined where all parts have them."""
    channels = [part.channels for part in parts if part.channels is not None]
    return Labelled(
        measurements=concatenate([part.measurements for part in parts]),
        position_m=np.concatenate([part.position_m for part in parts]),
        los=np.concatenate([part.los for part in parts]),
        channels=concatenate_channels(channels) if len(channels) == len(parts) else None,
    )
