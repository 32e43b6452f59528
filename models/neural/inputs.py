"""From measurements to batches of windows: standardised tensors, CSI made as it is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.channels import Channels
from raymark.benchmark.features import carrier_loss_db
from raymark.models.neural.images import csi_images, power_floor
from raymark.models.neural.path_sets import PathSet, path_set

Modality = Literal["image", "profile", "distance", "gain", "paths", "ue_angle"]
"""What a network can be given of each link; the angle at the UE where a track hands it out."""

_FLOOR_SAMPLE = 128
_IMAGES_AT_ONCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Windows of links as a network sees them; positions are in units of the position scale.

    Attributes:
        mask: True where a window has a vertex; windows may be short.
        carrier: Logarithm of the carrier, about -1 to 1: the band.
        image: Real and imaginary part of the CFR, and the log angle-delay power.
        profile: AoA profile, standardised.
        distance: First-path distance, standardised.
        gain: Channel gain, free-space factor of the carrier taken out, standardised.
        ue_angle: Azimuth of the first path at the UE [half turns]; 0 where nobody knows it.
        paths: Features of each estimated path.
        path_mask: True where there is a path.
        anchor: Horizontal virtual point of the first path: in line of sight, where the UE is.
    """

    mask: Bool[Tensor, "b s"]
    carrier: Float[Tensor, "b"]
    image: Float[Tensor, "b s 3 ant subcarrier"] | None
    profile: Float[Tensor, "b s azimuth"]
    distance: Float[Tensor, "b s"]
    gain: Float[Tensor, "b s"]
    ue_angle: Float[Tensor, "b s"]
    paths: Float[Tensor, "b s path feature"]
    path_mask: Bool[Tensor, "b s path"]
    anchor: Float[Tensor, "b s 2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """Offsets and scales of what networks see and return, fitted on training links.

    Attributes:
        position_mean_m: Mean position in the frame of the site [m].
        position_scale_m: Deviation of the positions; one number, so that shapes stay [m].
        profile_db: Mean and deviation of the AoA profile [dB].
        distance_m: Mean and deviation of the first-path distance [m].
        gain_db: Mean and deviation of the channel gain [dB].
        image_floor: Angle-delay power that counts as none.
    """

    position_mean_m: tuple[float, float]
    position_scale_m: float
    profile_db: tuple[float, float]
    distance_m: tuple[float, float]
    gain_db: tuple[float, float]
    image_floor: float

    @classmethod
    def fit(cls, train: Labelled, *, has_image: bool) -> "Scaler":
        """Return the scaler of training links."""
        links, mean_m = train.measurements, train.position_m.mean(axis=0)
        return cls(
            position_mean_m=(float(mean_m[0]), float(mean_m[1])),
            position_scale_m=float(train.position_m.std(axis=0).mean()),
            profile_db=_moments(links.aoa_profile_db),
            distance_m=_moments(links.distance_m),
            gain_db=_moments(_gain_db(links)),
            image_floor=_image_floor(links) if has_image else 0.0,
        )

    def standardize(self, position_m: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Turn positions [m] into units of the scale about the mean."""
        return (position_m - position_m.new_tensor(self.position_mean_m)) / self.position_scale_m

    def restore(self, position: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Undo `standardize` [m]."""
        return position * self.position_scale_m + position.new_tensor(self.position_mean_m)


def window_rows(links: Measurements, size: int) -> Int[np.ndarray, "window {size}"]:
    """Return the rows of the links of each window, in order of time; -1 where it is short.

    Longer windows of the task are cut; with `size` 1 every link stands alone.
    """
    if size == 1:
        return np.arange(len(links))[:, None]
    key = np.stack([links.window, links.window_step // size], axis=1)
    window = np.unique(key, axis=0, return_inverse=True)[1].reshape(-1)
    rows = np.full((window.max(initial=-1) + 1, size), -1)
    rows[window, links.window_step % size] = np.arange(len(links))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is changed at random in training batches; every network gets the same.

    Attributes:
        path_dropout: Share of the estimated paths that are left out; estimates miss some, too.
        noise: Source of fresh noise for the CSI, on the device.
    """

    path_dropout: float
    noise: torch.Generator


class BatchSource:
    """Makes the batches of one set of links on one device."""

    def __init__(
        self,
        links: Measurements,
        scaler: Scaler,
        *,
        window_size: int,
        has_image: bool,
        channels: Channels | None = None,
        device: torch.device,
    ) -> None:
        """Put everything but images on the device.

        Args:
            links: The measurements.
            scaler: Offsets and scales.
            window_size: Vertices of a window.
            has_image: Whether the network looks at images; they are made batch by batch.
            channels: True paths of training links, for CSI with fresh noise.
            device: Where batches are made.
        """
        self.rows = self.windows_of(links, window_size)
        self.links, self._scaler, self._device = links, scaler, device
        self._has_image = has_image
        self._channels = None
        if channels is not None and has_image:
            self._channels = channels.to(device).with_clean_csi()
        self._kept: Float[Tensor, "link 3 ant subcarrier"] | None = None
        self._paths = self.paths_of(links).to(device)
        columns = {
            "carrier": 2 * np.log10(links.carrier_hz / 8e9),
            "profile": _standard(links.aoa_profile_db, scaler.profile_db),
            "distance": _standard(links.distance_m, scaler.distance_m),
            "gain": _standard(_gain_db(links), scaler.gain_db),
            "ue_angle": _ue_angle(links),
        }
        self._columns = {
            name: torch.from_numpy(np.asarray(values, dtype="f4")).to(device)
            for name, values in columns.items()
        }

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.links)

    def windows_of(self, links: Measurements, size: int) -> Int[np.ndarray, "window s"]:
        """Return the rows of each window; a subclass may group links by something else."""
        return window_rows(links, size)

    def paths_of(self, links: Measurements) -> PathSet:
        """Return the paths of links; a subclass may know more of them."""
        return path_set(links)

    def keep_images(self) -> None:
        """Make the images of measured CSI once, for batches that are asked for again and again.

        They take 48 kB a link of 64 antennas and 64 tones.
        """
        if self._has_image:
            pieces = np.array_split(np.arange(len(self)), max(1, len(self) // _IMAGES_AT_ONCE))
            self._kept = torch.cat([self._images_of(self._csi(rows)) for rows in pieces])

    def batch(self, rows: Int[np.ndarray, "b s"], augmentation: Augmentation | None) -> Batch:
        """Return the batch of some windows.

        Args:
            rows: Links of each window, -1 where there is none.
            augmentation: For training; without it links are what was measured.
        """
        at = torch.from_numpy(np.maximum(rows, 0)).to(self._device)
        paths = self._paths.take(at)
        paths = paths.thinned(augmentation.path_dropout) if augmentation is not None else paths
        values = {name: column[at] for name, column in self._columns.items()}
        # Row 0 stands in for missing vertices, but the band is that of a vertex that is there.
        one_there = torch.from_numpy(rows.max(axis=1)).to(self._device)
        values["carrier"] = self._columns["carrier"][one_there]
        return Batch(
            mask=torch.from_numpy(rows >= 0).to(self._device),
            image=self._images(rows, augmentation) if self._has_image else None,
            paths=paths.features(),
            path_mask=paths.mask,
            anchor=self._scaler.standardize(paths.anchor_m()),
            **values,
        )

    def _images(
        self, rows: Int[np.ndarray, "b s"], augmentation: Augmentation | None
    ) -> Float[Tensor, "b s 3 ant subcarrier"]:
        """Return the images of the links that are there, and zeros for the others."""
        flat = rows.reshape(-1)
        there = flat[flat >= 0]
        if augmentation is not None and self._channels is not None:
            images = self._images_of(self._channels.csi(there, augmentation.noise))
        elif self._kept is not None:
            images = self._kept[torch.from_numpy(there).to(self._device)]
        else:
            images = self._images_of(self._csi(there))
        padded = images.new_zeros((len(flat), *images.shape[1:]))
        padded[torch.from_numpy(flat >= 0).to(self._device)] = images
        return padded.unflatten(0, rows.shape)

    def _images_of(
        self, csi: Complex[Tensor, "link ant subcarrier"]
    ) -> Float[Tensor, "link 3 ant subcarrier"]:
        return csi_images(csi, self.links.sites[0].panel, self._scaler.image_floor)

    def _csi(self, rows: Int[np.ndarray, "link"]) -> Complex[Tensor, "link ant subcarrier"]:
        return torch.from_numpy(self.links.csi(rows)).to(self._device)


def order_windows(
    rows: Int[np.ndarray, "window s"], rng: np.random.Generator, *, vertex_dropout: float
) -> Int[np.ndarray, "window s"]:
    """Return windows in random order, half of them backwards, some vertices left out.

    A walk may be walked either way; a window never loses all of its vertices.
    """
    rows = rows[rng.permutation(len(rows))]
    if rows.shape[1] == 1:
        return rows
    backwards = rng.random(len(rows)) < 0.5
    rows = np.where(backwards[:, None], rows[:, ::-1], rows)
    dropped = np.where(rng.random(rows.shape) < vertex_dropout, -1, rows)
    return np.where((dropped >= 0).any(axis=1, keepdims=True), dropped, rows)


def _gain_db(links: Measurements) -> Float[np.ndarray, "link"]:
    return links.gain_db + carrier_loss_db(links)


def _ue_angle(links: Measurements) -> Float[np.ndarray, "link"]:
    return np.zeros(len(links)) if links.ue_azimuth_rad is None else links.ue_azimuth_rad / np.pi


def _moments(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), max(float(values.std()), 1e-6)


def _standard(values: np.ndarray, moments: Sequence[float]) -> np.ndarray:
    return (values - moments[0]) / moments[1]


def _image_floor(links: Measurements) -> float:
    rows = np.unique(np.linspace(0, len(links) - 1, _FLOOR_SAMPLE).astype("i8"))
    return power_floor(torch.from_numpy(links.csi(rows)), links.sites[0].panel)
