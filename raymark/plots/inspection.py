"""Figures and a table that show what a dataset holds, each figure with its data beside it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Complex
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raymark import plots
from raymark.dataset import Dataset, Selection
from raymark.dataset.buildings import HeightMap
from raymark.dataset.link_statistics import link_table, visible_paths
from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.plots import LABEL_STYLES, AngleDelayProfile, SiteMark
from raymark.plots.selections import element_gain_db, heights_of, noisy_csi, site_marks
from raymark.radio.levels import to_db
from raymark.storage.atomic import require_new_folder, writable

Progress = Callable[[Path], None]
"""Called with the path of each figure that was written."""

_SEVERAL_PATHS, _STRONG_PATH_DB, _TRIED_LINKS = 3, 20.0, 100
_MOST_BEHIND = 0.5
_EXAMPLES = (NLOS, LOS)
"""Labels of which a typical link is drawn."""

_LINK_KEYS = ["site", "ue_index", "x_m", "y_m", "z_m", "los"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """A figure, its file name without suffix, and the data that it shows."""

    name: str
    figure: Figure
    data: pd.DataFrame | dict[str, np.ndarray]


def num_figures(dataset: Dataset) -> int:
    """Return how many figures `inspect_dataset` writes, where a scene has LOS and NLOS links."""
    return len(dataset.scenes) * (3 + (1 + len(_EXAMPLES)) * len(dataset.bands))


def inspect_dataset(
    dataset: Dataset,
    folder: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = lambda _path: None,
) -> list[Path]:
    """Write the figures of every scene as PNG, with their data as CSV or NPZ beside them.

    Per scene: `los_map`, `gain_vs_distance`, `spreads`, and per band `coverage` and a typical link
    of NLOS and one of LOS (the same ones at every band, with fresh noise).

    Args:
        dataset: What to look at.
        folder: Where the files go.
        seed: Root of the noise on the links' CSI.
        overwrite: Write into a folder that holds files; those of the same name are replaced.
        progress: Told of each figure.

    Returns:
        The figures, in the order of writing.

    Raises:
        DatasetError: If the folder is not empty (unless `overwrite`), or cannot be written.
    """
    require_new_folder(folder, overwrite=overwrite)
    written = []
    for scene in dataset.scenes:
        for drawing in _draw_scene(dataset, scene, seed):
            written.append(_write(drawing, folder))
            progress(written[-1])
    return written


def los_map(dataset: Dataset, scene: str) -> Figure:
    """Draw the UEs of a scene by their label, a panel for each site, with the buildings below."""
    selection = dataset.select(scene=scene, band=dataset.bands[0])
    return _los_figure(scene, link_table(selection), site_marks(selection), heights_of(selection))


def _draw_scene(dataset: Dataset, scene: str, seed: int) -> Iterator[_Drawing]:
    selections = [dataset.select(scene=scene, band=band) for band in dataset.bands]
    tables = [link_table(selection) for selection in selections]
    marks, height_map = site_marks(selections[0]), heights_of(selections[0])
    figure = _los_figure(scene, tables[0], marks, height_map)
    yield _Drawing(name=f"los_map_{scene}", figure=figure, data=tables[0][_LINK_KEYS])
    for links in tables:
        yield _draw_coverage(scene, links, marks, height_map)
    yield _draw_gains(scene, selections, tables)
    yield _draw_spreads(scene, pd.concat(tables, ignore_index=True))
    for label in _EXAMPLES:
        typical = _typical_link(selections[0], tables[0], label)
        if typical is not None:
            for selection in selections:
                yield _draw_link(scene, selection, typical, seed)


@plots.house_style()
def _los_figure(
    scene: str, links: pd.DataFrame, marks: Sequence[SiteMark], height_map: HeightMap | None
) -> Figure:
    figure, panels = _site_panels(links, marks)
    for ax, mark, rows in panels:
        plots.plot_los_map(rows, [mark], height_map=height_map, ax=ax)
        ax.set_title(f"{scene}, {mark.name}: line of sight")
    plots.share_ranges([ax for ax, _, _ in panels])
    return figure


@plots.house_style()
def _draw_coverage(
    scene: str, links: pd.DataFrame, marks: Sequence[SiteMark], height_map: HeightMap | None
) -> _Drawing:
    band = links["band"].iloc[0]
    figure, panels = _site_panels(links, marks)
    limits_db = plots.gain_limits_db(links.loc[links["los"] != OUTAGE, "gain_db"].to_numpy())
    for ax, mark, rows in panels:
        plots.plot_coverage_map(rows, [mark], height_map=height_map, limits_db=limits_db, ax=ax)
        ax.set_title(f"{scene}, {mark.name}: gain at {band}")
    plots.share_ranges([ax for ax, _, _ in panels])
    data = links[[*_LINK_KEYS, "gain_db"]]
    return _Drawing(name=f"coverage_{scene}_{band}", figure=figure, data=data)


def _site_panels(
    links: pd.DataFrame, marks: Sequence[SiteMark]
) -> tuple[Figure, list[tuple[Axes, SiteMark, pd.DataFrame]]]:
    """Return a figure with one panel per site, whose sectors may overlap, and its links."""
    num_cols = math.ceil(math.sqrt(len(marks)))
    num_rows = math.ceil(len(marks) / num_cols)
    figure, axes = plots.new_figure(num_rows, num_cols, panel_inches=(6.4, 5.6))
    for spare in axes[len(marks) :]:
        spare.set_axis_off()
    used = axes[: len(marks)]
    rows = [links[links["site"] == mark.name] for mark in marks]
    return figure, list(zip(used, marks, rows, strict=True))


@plots.house_style()
def _draw_gains(
    scene: str, selections: Sequence[Selection], tables: Sequence[pd.DataFrame]
) -> _Drawing:
    figure, axes = plots.new_figure(1, len(tables), panel_inches=(4.6, 4.2))
    for ax, selection, links in zip(axes, selections, tables, strict=True):
        carrier_hz = selection.band.carrier_hz
        plots.plot_gain_vs_distance(
            links, carrier_hz, element_gain_db=element_gain_db(selection), ax=ax
        )
        ax.set_title(f"{scene} at {selection.band.name}")
    plots.share_ranges(axes)
    data = pd.concat([links[["band", *_LINK_KEYS, "distance_m", "gain_db"]] for links in tables])
    return _Drawing(name=f"gain_vs_distance_{scene}", figure=figure, data=data)


@plots.house_style()
def _draw_spreads(scene: str, links: pd.DataFrame) -> _Drawing:
    figure, axes = plots.new_figure(1, 2, panel_inches=(5.2, 4.2))
    plots.plot_delay_spread_cdf(links, ax=axes[0]).set_title(f"{scene}: delay spread")
    plots.plot_azimuth_spread_cdf(links, ax=axes[1]).set_title(f"{scene}: azimuth spread")
    columns = ["band", *_LINK_KEYS, "num_paths", "delay_spread_ns", "azimuth_spread_deg"]
    return _Drawing(name=f"spreads_{scene}", figure=figure, data=links[columns])


def _typical_link(selection: Selection, links: pd.DataFrame, label: int) -> int | None:
    """Return the row of a link with several paths and about the median gain of all of its label.

    Those nearest the median are tried in turn, of links that have most of their power before the
    panel, if there are any; None stands for no link of that label.
    """
    of_label = links[links["los"] == label]
    ahead = of_label[of_label["behind_share"] < _MOST_BEHIND]
    rows = of_label if ahead.empty else ahead
    distance_db = (rows["gain_db"] - rows["gain_db"].median()).abs().to_numpy()
    nearest = [int(row) for row in rows.index.to_numpy()[np.argsort(distance_db, kind="stable")]]
    several = (row for row in nearest[:_TRIED_LINKS] if _has_several_paths(selection, row))
    return next(several, nearest[0] if nearest else None)


def _has_several_paths(selection: Selection, link: int) -> bool:
    power_db = visible_paths(selection, link)["power_db"]
    return int((power_db > power_db.max() - _STRONG_PATH_DB).sum()) >= _SEVERAL_PATHS


@plots.house_style()
def _draw_link(scene: str, selection: Selection, link: int, seed: int) -> _Drawing:
    band = selection.band
    front_end = selection.front_end
    csi = noisy_csi(selection, link, seed)
    profile = plots.angle_delay_profile(csi, front_end.panel, band)
    paths = visible_paths(selection, link)
    figure, axes = plots.new_figure(1, 2, panel_inches=(5.2, 4.2))
    clean = selection.fingerprints(link, link + 1, kind="oracle").csi[0].numpy()
    gain = np.mean(np.abs(clean) ** 2, keepdims=True)
    snr_db = to_db(gain / front_end.noise_variance(band)).item()
    label = LABEL_STYLES[int(selection.los[link])].name
    plots.plot_csi_magnitude(csi, band, ax=axes[0])
    axes[0].set_title(f"{scene} at {band.name}: CSI, {label}, SNR {snr_db:.0f} dB")
    plots.plot_angle_delay_profile(profile, paths=paths, ax=axes[1])
    site = selection.sites[int(selection.site_index[link])].site
    axes[1].set_title(f"{site}, UE {selection.ue_index[link]}")
    data = _link_arrays(csi, profile, paths)
    name = f"link_{label.lower()}_{scene}_{band.name}"
    return _Drawing(name=name, figure=figure, data=data)


def _link_arrays(
    csi: Complex[np.ndarray, "ant subcarrier"], profile: AngleDelayProfile, paths: pd.DataFrame
) -> dict[str, np.ndarray]:
    return {
        "csi": csi,
        "azimuth_rad": profile.azimuth_rad,
        "length_m": profile.length_m,
        "power_db": profile.power_db,
        **{f"path_{name}": paths[name].to_numpy() for name in paths},
    }


def _write(drawing: _Drawing, folder: Path) -> Path:
    path = folder / f"{drawing.name}.png"
    plots.save_figure(drawing.figure, path)
    with writable(path):
        if isinstance(drawing.data, pd.DataFrame):
            drawing.data.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
        else:
            np.savez_compressed(path.with_suffix(".npz"), allow_pickle=False, **drawing.data)
    return path
