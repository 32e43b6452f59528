"""Measure the links of a dataset: synthesise noisy CSI, estimate everything from it, keep it."""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.benchmark.conditions import MOST_PATHS, Conditions
from raymark.benchmark.measurements import CsiArray, CsiFiles, Measurements, SiteContext
from raymark.benchmark.splits import Split
from raymark.config import config_hash
from raymark.dataset import Dataset, Selection
from raymark.dataset.materialization import BATCH_SIZE
from raymark.dataset.path_tables import PathTable
from raymark.errors import ConfigError
from raymark.radio import SPEED_OF_LIGHT_M_S, Band, FrontEnd
from raymark.radio.estimation import EstimatedPaths, estimate_paths
from raymark.radio.fingerprints import (
    Fingerprints,
    estimated_fingerprints,
    measured_csi,
    oracle_fingerprints,
    tensor_to_db,
)
from raymark.radio.frames import wrap_rad
from raymark.radio.synthesis import PathBatch
from raymark.seeding import child_generator
from raymark.storage import writing

MEASURING_VERSION = 1
"""Raised when the estimates change, so that kept ones are made anew."""

NUM_KEPT_PATHS = 8
"""Of `MOST_PATHS` that are estimated so many are handed on, unless conditions say otherwise."""

_LEAST_COHERENCE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The measurements of all links of one scene at one band under one draw of noise.

    Attributes:
        scene: Name of the scene.
        band: Name of the band.
        seed: Of the noise; `raymark fingerprints --seed` gives the same CSI for clean conditions.
        conditions: How the front-end and the paths differ from the dataset's.
    """

    scene: str
    band: str
    seed: int
    conditions: Conditions | None = None

    def file(self, dataset: Dataset, folder: Path) -> Path:
        """Return where the estimates are kept."""
        conditions = self.conditions.model_dump(mode="json") if self.conditions else None
        key = [dataset.manifest.content_hash, self.scene, self.band, self.seed, conditions]
        return folder / f"{config_hash([MEASURING_VERSION, *key])[:32]}.npz"


def is_measured(survey: Survey, dataset: Dataset, folder: Path, with_csi: bool) -> bool:
    """Return whether `folder` has the measurements of a survey, and its CSI if that is needed."""
    path = survey.file(dataset, folder)
    return path.is_file() and (path.with_suffix(".csi.npy").is_file() or not with_csi)


def measure(survey: Survey, dataset: Dataset, folder: Path, *, with_csi: bool) -> Path:
    """Estimate the measurements of a survey, unless `folder` has them already.

    Args:
        survey: What to measure.
        dataset: Holds the paths.
        folder: Where the estimates are kept.
        with_csi: Keep the noisy CSI too (32 kB a link for 64 antennas and 64 tones).

    Returns:
        The `.npz` file; the CSI stands beside it as `.csi.npy`.
    """
    path = survey.file(dataset, folder)
    csi_path = path.with_suffix(".csi.npy")
    if is_measured(survey, dataset, folder, with_csi):
        return path
    selection = dataset.select(scene=survey.scene, band=survey.band)
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[np.ndarray]] = {}
    for arrays in _batches(selection, survey.conditions, survey.seed):
        for name, array in arrays.items():
            if name != "csi" or with_csi:
                columns.setdefault(name, []).append(array)
    joined = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    if with_csi:
        _publish_csi(csi_path, joined.pop("csi"))
    with writing(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **joined)
    return path


def num_paths_in(path: Path) -> Int[np.ndarray, " link"]:
    """Return the number of estimated paths of every link in what `measure` has kept."""
    with np.load(path) as stored:
        return np.asarray(stored["path_mask"].sum(axis=1))


def _publish_csi(path: Path, csi: np.ndarray) -> None:
    with writing(path) as partial, partial.open("wb") as file:
        np.save(file, csi)


def load_survey(
    survey: Survey, dataset: Dataset, folder: Path, split: Split, *, with_csi: bool
) -> Measurements:
    """Load the measurements of a survey, in the order of the dataset, with the split's windows.

    The height of a panel above its UEs is taken from links that are not tested.
    """
    path = survey.file(dataset, folder)
    selection = dataset.select(scene=survey.scene, band=survey.band)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    num_links = len(selection)
    csi_files = CsiFiles(
        files=(path.with_suffix(".csi.npy"),),
        file_index=np.zeros(num_links, dtype="i8"),
        row=np.arange(num_links),
    )
    return Measurements(
        sites=_site_contexts(selection, split),
        bands=(_receiver(selection, survey.conditions)[1],),
        site_index=selection.site_index,
        band_index=np.zeros(num_links, dtype="i8"),
        window=split.table["window"].to_numpy(),
        window_step=split.table["window_step"].to_numpy(),
        csi_files=csi_files if with_csi else None,
        **arrays,
    )


def _site_contexts(selection: Selection, split: Split) -> tuple[SiteContext, ...]:
    panel = selection.front_end.panel
    is_known = ~split.is_hidden
    contexts = []
    for i, site in enumerate(selection.sites):
        height_m = selection.position_m[is_known & (selection.site_index == i), 2]
        level_m = float(np.median(height_m)) if len(height_m) else 0.0
        pose = (*site.position_m[:2], site.orientation_rad[0])
        contexts.append(
            SiteContext(
                name=site.key,
                panel=panel,
                height_m=site.position_m[2] - level_m,
                pose=pose if split.settings.unit == "ue" else None,
            )
        )
    return tuple(contexts)


def measurements_of_csi(
    csi: Complex[Tensor, "link ant subcarrier"] | Complex[np.ndarray, "link ant subcarrier"],
    *,
    site: SiteContext,
    band: Band,
    front_end: FrontEnd,
    orientation_rad: Float[np.ndarray, "3"],
    window: Int[np.ndarray, "link"] | None = None,
) -> Measurements:
    """Estimate the measurements of new links of one site from their CSI, as a survey does.

    It is the gain of the channel: received over sent, neither normalised nor in the units of a
    radio. The noise of the front-end decides what counts as a path.

    Args:
        csi: Noisy CSI, with the antennas in the order of
            `raymark.radio.synthesis.element_positions`.
        site: The base station that received it.
        band: Its band.
        front_end: Panel and UE power, which say how strong the noise is.
        orientation_rad: Yaw, pitch and roll of the panel [rad].
        window: Links with the same number were measured one after the other, in their order here;
            every link stands alone if not given.

    Raises:
        ConfigError: If the CSI does not fit panel and band, is empty, is not finite, or gains.
    """
    tensor = torch.as_tensor(csi).to(torch.complex64).cpu()
    expected = (front_end.panel.num_antennas, band.num_subcarriers)
    if tensor.shape[1:] != expected or site.panel != front_end.panel:
        raise ConfigError(
            f"CSI of site {site.name} must have {expected[0]} antennas and {expected[1]} tones of "
            f"band {band.name} on the front-end's panel, got shape {tuple(tensor.shape)}"
        )
    require_channel_gains(tensor.numpy(), where=f"CSI of site {site.name}")
    parts = [
        _estimates(tensor[start : start + BATCH_SIZE], band, front_end, orientation_rad)
        for start in range(0, len(tensor), BATCH_SIZE)
    ]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    links = np.arange(len(tensor))
    window = links if window is None else window
    return Measurements(
        sites=(site,),
        bands=(band,),
        site_index=np.zeros_like(links),
        band_index=np.zeros_like(links),
        window=window,
        window_step=pd.Series(window).groupby(window).cumcount().to_numpy(),
        csi_files=CsiFiles(
            files=(CsiArray(values=arrays.pop("csi")),),
            file_index=np.zeros_like(links),
            row=links,
        ),
        **arrays,
    )


def require_channel_gains(
    csi: Complex[np.ndarray, "link ant subcarrier"],
    *,
    where: str,
    number: Int[np.ndarray, "link"] | None = None,
) -> None:
    """Check that CSI can be that of links.

    Args:
        csi: Of some links.
        where: What holds them, for the message.
        number: What each link is called; its place if not given.

    Raises:
        ConfigError: If there is no link, or one whose values are not finite or gain on average,
            which no channel does.
    """
    if not len(csi):
        raise ConfigError(f"{where} holds no links")
    for link, values in zip(range(len(csi)) if number is None else number, csi, strict=True):
        if not np.isfinite(values).all():
            raise ConfigError(f"{where}: 'csi' of link {link} is not finite")
        with np.errstate(over="ignore"):
            power = float(np.square(np.abs(values), dtype="f8").sum()) / max(values.size, 1)
        if not power < 1:
            raise ConfigError(
                f"{where}: link {link} gains {10 * np.log10(power):+.0f} dB; CSI must be the "
                "channel's gain, received over sent, not normalised"
            )


def _batches(
    selection: Selection, conditions: Conditions | None, seed: int
) -> Iterator[dict[str, np.ndarray]]:
    front_end, band = _receiver(selection, conditions)
    num_paths = (conditions and conditions.num_paths) or NUM_KEPT_PATHS
    for start, stop in selection.ranges(BATCH_SIZE):
        paths = dataclasses.replace(selection.path_batch(start, stop), band=band)
        if conditions is not None and conditions.fingerprints == "oracle":
            values = _true_values(paths, front_end, num_paths=num_paths)
            if conditions.ue_angle:
                table = selection.path_table(start, stop)
                values["ue_azimuth_rad"] = _first_at_ue(table, paths.orientation_rad)
            yield values
            continue
        if conditions is not None:
            # The same paths are blocked at every band: no band in the name of the draw.
            rng = child_generator(seed, selection.sites[0].scene, "blockage", start)
            paths = _block_paths(paths, conditions, rng)
        csi = measured_csi(
            paths,
            front_end,
            generator=selection.batch_noise_generator(start, seed),
            calibration=selection.calibration(start, front_end),
        )
        yield _estimates(csi, band, front_end, paths.orientation_rad, num_paths=num_paths)


def _estimates(
    csi: Complex[Tensor, "link ant subcarrier"],
    band: Band,
    front_end: FrontEnd,
    orientation_rad: Float[np.ndarray, "3"],
    *,
    num_paths: int = NUM_KEPT_PATHS,
) -> dict[str, np.ndarray]:
    """Return the arrays of `Measurements` that are estimated, by name, and the CSI itself."""
    prints = estimated_fingerprints(csi, band, front_end)
    estimated = estimate_paths(
        csi,
        front_end.panel,
        band,
        noise_variance=front_end.noise_variance(band),
        orientation_rad=orientation_rad,
        max_num_paths=MOST_PATHS,
    ).strongest(num_paths)
    return _arrays(estimated, prints, float(orientation_rad[0]))


def _true_values(paths: PathBatch, front_end: FrontEnd, *, num_paths: int) -> dict[str, np.ndarray]:
    """Return the same of the ray tracer's own paths, the strongest ones, and CSI without noise."""
    power = torch.where(paths.mask, paths.amplitude.abs().square(), 0.0)
    order = power.argsort(dim=1, descending=True, stable=True)[:, :num_paths]
    # As many columns as estimates have, whatever the longest list is.
    missing = (0, num_paths - order.shape[1])

    def chosen(values: Tensor) -> Tensor:
        return torch.nn.functional.pad(values.gather(1, order), missing)

    mask = chosen(paths.mask)
    strongest = EstimatedPaths(
        delay_s=chosen(torch.where(paths.mask, paths.delay_s, 0.0)),
        zenith_bs_rad=chosen(torch.where(paths.mask, paths.zenith_bs_rad, 0.0)),
        azimuth_bs_rad=chosen(torch.where(paths.mask, paths.azimuth_bs_rad, 0.0)),
        power_db=tensor_to_db(chosen(power)),
        mask=mask,
    )
    prints = oracle_fingerprints(paths, front_end)
    return _arrays(strongest, prints, float(paths.orientation_rad[0]))


def _first_at_ue(
    table: PathTable, orientation_rad: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "link"]:
    """Return the azimuth of each link's earliest path at the UE, in the site's frame [rad]."""
    azimuth_rad = np.zeros(len(table), dtype="f4")
    for i, (start, stop) in enumerate(itertools.pairwise(table.path_offset)):
        if stop > start:
            first = start + table.delay_s[start:stop].argmin()
            azimuth_rad[i] = wrap_rad(table.azimuth_ue_rad[first] - orientation_rad[0])
    return azimuth_rad


def _arrays(found: EstimatedPaths, prints: Fingerprints, yaw_rad: float) -> dict[str, np.ndarray]:
    """Return the arrays of `Measurements` of some links, by name, and their CSI."""
    delay_s, mask = found.delay_s.numpy(), found.mask.numpy()
    azimuth_rad = wrap_rad(found.azimuth_bs_rad.numpy() - yaw_rad)
    power = np.where(mask, 10 ** (found.power_db.numpy().astype("f8") / 10), 0.0)
    delay_spread_s, azimuth_spread_rad = _spreads(delay_s, azimuth_rad, power)
    return {
        "path_range_m": (delay_s * SPEED_OF_LIGHT_M_S).astype("f4"),
        "path_azimuth_rad": np.where(mask, azimuth_rad, 0.0).astype("f4"),
        "path_zenith_rad": found.zenith_bs_rad.numpy(),
        "path_power_db": found.power_db.numpy(),
        "path_mask": mask,
        "aoa_profile_db": prints.aoa_profile.numpy(),
        "distance_m": prints.distance_m.numpy(),
        "gain_db": prints.gain_db.numpy(),
        "has_signal": prints.has_signal.numpy(),
        "delay_spread_s": delay_spread_s.astype("f4"),
        "azimuth_spread_rad": azimuth_spread_rad.astype("f4"),
        "csi": prints.csi.numpy(),
    }


def _receiver(selection: Selection, conditions: Conditions | None) -> tuple[FrontEnd, Band]:
    """Return the front-end and the band that links are measured with."""
    if conditions is None:
        return selection.front_end, selection.band
    return conditions.applied_to(selection.front_end, selection.band)


def _block_paths(paths: PathBatch, conditions: Conditions, rng: np.random.Generator) -> PathBatch:
    """Weaken each path at random, as clutter that has moved since the survey would."""
    is_blocked = rng.random(paths.amplitude.shape) < conditions.blockage_probability
    factor = np.where(is_blocked, 10 ** (-conditions.blockage_loss_db / 20), 1.0)
    amplitude = paths.amplitude * torch.from_numpy(factor.astype("f4"))
    return dataclasses.replace(paths, amplitude=amplitude)


def _spreads(
    delay_s: Float[np.ndarray, "link path"],
    azimuth_rad: Float[np.ndarray, "link path"],
    power: Float[np.ndarray, "link path"],
) -> tuple[Float[np.ndarray, "link"], Float[np.ndarray, "link"]]:
    """Return r.m.s. delay spread [s] and circular azimuth spread [rad]; 0 without paths.

    ITU-R P.1407, sec. 2.2.3, and 3GPP TR 38.901, eq. A-1, as `raymark.dataset.link_statistics` has
    them for true paths.
    """
    total = power.sum(axis=1)
    weight = power / np.where(total > 0, total, 1.0)[:, None]
    mean_s = (weight * delay_s).sum(axis=1, keepdims=True)
    delay_spread_s = np.sqrt((weight * (delay_s - mean_s) ** 2).sum(axis=1))
    resultant = np.abs((weight * np.exp(1j * azimuth_rad)).sum(axis=1))
    coherence = np.where(total > 0, resultant, 1.0).clip(_LEAST_COHERENCE, 1.0)
    return delay_spread_s, np.sqrt(-2 * np.log(coherence))
