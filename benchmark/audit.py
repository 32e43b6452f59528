"""The leakage audit of splits: how far the test is from training, and what that alone is worth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from jaxtyping import Float
from matplotlib.axes import Axes
from scipy.spatial import cKDTree

from raymark.benchmark.splits import (
    PART_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    distance_to_nearest,
    links_of,
    positions_of,
)
from raymark.benchmark.store import write_table
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task, split_key
from raymark.dataset import Dataset, Selection
from raymark.dataset.buildings import Buildings
from raymark.plots import house_style, new_figure, plot_split_map, root_figure, save_figure
from raymark.seeding import child_generator
from raymark.storage import write_text

MAX_LAG_M = 60.0
_LAG_BIN_M = 1.0
_PLATEAU_M = 45.0
_MAX_LINKS, _MAX_PAIRS = 2000, 40_000

TABLE_NAME, CSV_NAME = "audit.parquet", "audit.csv"


def audit_suite(
    suite: Suite,
    dataset: Dataset,
    folder: Path,
    *,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> pd.DataFrame:
    """Audit every split of a suite; write a table, a map of each split and the variograms.

    Args:
        suite: Whose splits.
        dataset: Its dataset; the buildings that it holds are drawn below the maps.
        folder: Gets `audit.parquet`, `audit.csv`, `variogram.png` (`.csv`), a map per split, and
            `split_hashes.yaml`, which a suite publishes.
        progress: Told how many splits are audited.

    Raises:
        SplitError: If a split leaks or differs from the published one.
    """
    curves = _variograms(suite, dataset)
    buildings = {scene: dataset.buildings(scene) for scene in suite.scenes}
    num_splits = len(list(splits_of(suite)))
    audited: list[_Audited] = []
    for item in _audited(suite, dataset, curves):
        progress("audit", len(audited), num_splits)
        audited.append(item)
        map_path = folder / "maps" / f"{item.key.replace('/', '__')}.png"
        _draw_map(item.split, item.links, buildings[item.split.scene], map_path)
    progress("audit", num_splits, num_splits)
    table = _table(audited)
    hashes = {item.key: item.split.hash for item in audited}
    write_table(folder / TABLE_NAME, table)
    write_text(folder / CSV_NAME, table.to_csv(index=False))
    write_text(folder / "split_hashes.yaml", yaml.safe_dump({"split_hashes": hashes}))
    _save_variograms(curves, folder / "variogram.png")
    return table


def audit_table(suite: Suite, dataset: Dataset) -> pd.DataFrame:
    """Return the table of `audit_suite`, which writes it: one row for every split.

    Raises:
        SplitError: If a split leaks or differs from the published one.
    """
    return _table(list(_audited(suite, dataset, _variograms(suite, dataset))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audited:
    """A split with its key in `Suite.split_hashes`, its links, and its row of the table."""

    key: str
    split: Split
    links: pd.DataFrame
    row: dict[str, Any]


def _audited(suite: Suite, dataset: Dataset, curves: dict[str, pd.DataFrame]) -> Iterator[_Audited]:
    splits = Splits(dataset, suite.window_size)
    for task in splits_of(suite):
        split, links = splits.get(task, task.scene), links_of(dataset, task.scene)
        row = {"track": task.track, "scene": task.scene, "fold": task.fold, "hash": split.hash}
        yield _Audited(
            key=split_key(task.track, task.scene, task.fold),
            split=split,
            links=links,
            row=row | _audit(split, links, similarity_range_m(curves[task.scene])),
        )


def _table(audited: list[_Audited]) -> pd.DataFrame:
    return pd.DataFrame([item.row for item in audited]).astype({"fold": "Int64"})


def _variograms(suite: Suite, dataset: Dataset) -> dict[str, pd.DataFrame]:
    return {scene: variogram(dataset, scene, suite.bands[0]) for scene in suite.scenes}


def splits_of(suite: Suite) -> Iterator[Task]:
    """Yield one task for every split of a suite."""
    seen = set()
    for task in suite.tasks():
        key = split_key(task.track, task.scene, task.fold)
        if key not in seen:
            seen.add(key)
            yield task


def _audit(split: Split, links: pd.DataFrame, range_m: float) -> dict[str, Any]:
    position_m = positions_of(links)
    train_m, test_m = position_m[split.rows(TRAIN)], position_m[split.rows(TEST)]
    nearest_m = distance_to_nearest(test_m, train_m)
    low, middle, high = np.quantile(nearest_m, [0.1, 0.5, 0.9]).tolist()
    centroid_m = np.linalg.norm(test_m - train_m.mean(axis=0), axis=1)
    return {
        "num_train": len(train_m),
        "num_validation": len(split.rows(VALIDATION)),
        "num_test": len(test_m),
        "distance_q10_m": low,
        "distance_q50_m": middle,
        "distance_q90_m": high,
        # The oracle answers with the nearest training point: its errors are these distances.
        "oracle_nn_median_m": middle,
        "oracle_nn_p90_m": high,
        "centroid_median_m": float(np.median(centroid_m)),
        "buffer_m": split.settings.gap_m,
        "variogram_m": range_m,
    }


def variogram(dataset: Dataset, scene: str, band: str) -> pd.DataFrame:
    """Return how the likeness of two links' angle-delay images falls with their distance.

    The images are amplitudes over azimuth and delay of the noiseless CSI; likeness is their cosine,
    averaged over pairs of covered links of one site. Columns: lag_m (centre), similarity and
    num_pairs.
    """
    selection = dataset.select(scene=scene, band=band)
    lags, values = [np.empty(0)], [np.empty(0)]
    for site in range(len(selection.sites)):
        rows = np.flatnonzero((selection.site_index == site) & (selection.los >= 0))
        rng = child_generator(0, "variogram", scene, site)
        rows = np.sort(rng.permutation(rows)[:_MAX_LINKS])
        if not len(rows):
            continue
        position_m = selection.position_m[rows, :2]
        images = _angle_delay_images(selection, rows)
        pairs = cKDTree(position_m).query_pairs(MAX_LAG_M, output_type="ndarray")
        a, b = pairs[rng.permutation(len(pairs))[:_MAX_PAIRS]].T
        lags.append(np.linalg.norm(position_m[a] - position_m[b], axis=1))
        values.append(np.einsum("pi,pi->p", images[a], images[b]))
    lag = (np.concatenate(lags) / _LAG_BIN_M).astype("i8")
    count = np.bincount(lag)
    total = np.bincount(lag, weights=np.concatenate(values))
    used = np.flatnonzero(count)
    return pd.DataFrame(
        {
            "lag_m": (used + 0.5) * _LAG_BIN_M,
            "similarity": total[used] / count[used],
            "num_pairs": count[used],
        }
    )


def similarity_range_m(curve: pd.DataFrame) -> float:
    """Return the lag at which likeness has fallen half-way from 1 to its plateau [m].

    Training points closer than this to a test point tell more of it than distant ones do.
    """
    plateau = curve.loc[curve["lag_m"] > _PLATEAU_M, "similarity"].mean()
    below = curve.loc[curve["similarity"] < (1 + plateau) / 2, "lag_m"]
    return float(below.iloc[0]) if len(below) else MAX_LAG_M


def _angle_delay_images(selection: Selection, rows: np.ndarray) -> Float[np.ndarray, "link pixel"]:
    """Return images of unit length, float32; every other row of the panel adds up in power.

    The image of a link all of whose paths are too late for CSI is zero.
    """
    panel = selection.front_end.panel
    images = []
    for start, stop in selection.ranges():
        inside = rows[(rows >= start) & (rows < stop)] - start
        if len(inside):
            csi = selection.fingerprints(start, stop, kind="oracle").csi[torch.from_numpy(inside)]
            grid = csi.reshape(len(csi), panel.num_cols, panel.num_rows, -1)
            spectrum = torch.fft.ifft(torch.fft.fft(grid, dim=1), dim=3).abs().square().sum(dim=2)
            images.append(spectrum.sqrt().flatten(1).numpy())
    flat = np.concatenate(images)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.maximum(length, np.finfo("f4").tiny)


def _draw_map(split: Split, links: pd.DataFrame, buildings: Buildings | None, path: Path) -> None:
    figure, (ax,) = new_figure()
    part = split.table["part"].map(PART_NAMES)
    heights = None if buildings is None else buildings.heights
    plot_split_map(links.assign(part=part), height_map=heights, ax=ax)
    save_figure(figure, path)


@house_style()
def plot_variograms(curves: Mapping[str, pd.DataFrame], *, ax: Axes | None = None) -> Axes:
    """Draw how like two links are over their distance, and where that has fallen half-way.

    Args:
        curves: What `variogram` returns, by scene.
        ax: Where to draw; a new figure if not given.
    """
    ax = new_figure()[1][0] if ax is None else ax
    for scene, curve in curves.items():
        half_m = similarity_range_m(curve)
        ax.plot(curve["lag_m"], curve["similarity"], label=f"{scene} (half-way at {half_m:.1f} m)")
    ax.set(xlabel="Distance of two UEs [m]", ylabel="Likeness of their angle-delay images")
    ax.set(ylim=(0, 1))
    ax.legend()
    return ax


def _save_variograms(curves: dict[str, pd.DataFrame], path: Path) -> None:
    save_figure(root_figure(plot_variograms(curves)), path)
    table = pd.concat([curve.assign(scene=scene) for scene, curve in curves.items()])
    write_text(path.with_suffix(".csv"), table.to_csv(index=False))
