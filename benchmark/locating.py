"""Locate the links of a dataset with a checkpoint."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from raymark.benchmark.checkpoint import MEASUREMENTS_NAME, Checkpoint
from raymark.benchmark.measurements import Measurements
from raymark.benchmark.measuring import Survey, load_survey, measure
from raymark.benchmark.metrics import point_errors
from raymark.benchmark.site_frames import world_frame_positions
from raymark.benchmark.splits import (
    PART_NAMES,
    TRAIN,
    UNUSED,
    VALIDATION,
    Split,
    at_first_site,
    links_of,
    positions_of,
    windows_of,
)
from raymark.benchmark.store import write_table
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Task
from raymark.benchmark.task_data import cities_of, require_no_maps, with_odometry
from raymark.benchmark.ue_links import take_links
from raymark.dataset import Dataset, Selection
from raymark.errors import CheckpointError, ConfigError, SplitError, counted
from raymark.storage import require_file, write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a checkpoint puts the links of one scene at one band.

    Attributes:
        positions: Columns site, ue_index, x_m and y_m (world frame [m]), in stored order; of a
            task of UEs, all links of the sites that hear them there.
        errors: One row for each part of the task's split, `other` for links in none of them:
            part, points, mean_m, median_m, p90_m. A UE counts once, at its first site.
        ms_per_point: Time of the model's `predict` for each link [ms].
        notes: What to know when reading the errors; sentences.
    """

    positions: pd.DataFrame
    errors: pd.DataFrame
    ms_per_point: float
    notes: tuple[str, ...]


def locate_dataset(
    checkpoint: Checkpoint,
    dataset: Dataset,
    *,
    scene: str | None = None,
    band: str | None = None,
    seed: int | None = None,
    maps: Path | None = None,
) -> Located:
    """Measure and locate all links of one scene at one band, window by window.

    Where the task is of UEs, the model gets the links of each at the sites that hear it there, and
    where its UEs measure their steps, these.

    Measurements of the checkpoint are used where it was trained on the same ones; others are made,
    and not kept.

    On the dataset of the checkpoint's task, windows are those of its split, so that test links are
    located as in a run.

    Args:
        checkpoint: The fitted model.
        dataset: Any dataset of the same panel and band.
        scene: Name of the scene; the one that the task tests if not given.
        band: Name of the band; the one that the task tests if not given.
        seed: Of the noise; the checkpoint's if not given.
        maps: Folder of maps, for a model that knows the city: the checkpoint's seed names its map.

    Raises:
        CheckpointError: If the dataset has another panel, or another band than the task's.
        DatasetError: If it has no such scene or band (the nearest is offered).
        ConfigError: If the model knows the city and its map is missing, or maps are given and it
            reads none.
        SplitError: If the task is of UEs, and the sites see UEs of their own or are too few.
    """
    info, task = checkpoint.info, checkpoint.info.task
    selection = dataset.select(scene=scene or task.scene, band=band or task.band)
    _require_panel(checkpoint, selection)
    checkpoint.require_band(selection.band)
    scene = selection.sites[0].scene
    with_csi, knows_city = "csi" in info.inputs, "map" in info.inputs
    if not knows_city:
        require_no_maps(maps, info.model)
    survey = Survey(scene=scene, band=selection.band.name, seed=info.seed if seed is None else seed)
    split = _split(task, dataset, scene)
    with tempfile.TemporaryDirectory() as folder:
        kept = _measurements_of(checkpoint, survey, dataset, Path(folder), with_csi=with_csi)
        links, rows = _links_in_use(task, survey, dataset, kept, split, with_csi=with_csi)
        if knows_city:
            links = links.with_cities(cities_of(task, info.seed, dataset, maps, [scene]))
        order = np.lexsort((links.window_step, links.window))
        prediction, ms_per_point = checkpoint.locate_timed(links.take(order))
    site_frame_m = np.empty((len(links), 2))
    site_frame_m[order] = prediction.position_m
    position_m = world_frame_positions(site_frame_m, selection.site_index[rows], selection.sites)
    identity = split.table[["site", "ue_index"]].iloc[rows].reset_index(drop=True)
    counts = np.ones(len(rows), bool) if task.num_sites is None else at_first_site(identity)
    part = _parts_in_use(task, split)[rows][counts]
    true_m = positions_of(links_of(dataset, scene))[rows][counts]
    return Located(
        positions=identity.assign(x_m=position_m[:, 0], y_m=position_m[:, 1]),
        errors=_errors(position_m[counts], true_m, part),
        ms_per_point=ms_per_point,
        notes=(
            *_notes(task, selection, part),
            *_notes_of_sites(task, links, len(split.table)),
        ),
    )


def write_positions(path: Path, positions: pd.DataFrame, *, overwrite: bool = False) -> None:
    """Write located positions to a file that is named .parquet or .csv.

    Raises:
        ConfigError: If the name ends otherwise.
        DatasetError: If the file exists (unless `overwrite`) or cannot be written.
    """
    require_positions_file(path, overwrite=overwrite)
    if path.suffix == ".csv":
        write_text(path, positions.to_csv(index=False))
    else:
        write_table(path, positions)


def require_positions_file(path: Path, *, overwrite: bool) -> None:
    """Check that positions can be written to a file, before they are computed; see above."""
    if path.suffix not in {".parquet", ".csv"}:
        raise ConfigError(f"positions are written as .parquet or .csv, got {path}")
    require_file(path, overwrite=overwrite)


def _measurements_of(
    checkpoint: Checkpoint, survey: Survey, dataset: Dataset, folder: Path, *, with_csi: bool
) -> Path:
    """Return where a survey is measured: in the checkpoint, or else in `folder`, from now on."""
    kept = checkpoint.folder / MEASUREMENTS_NAME
    path = survey.file(dataset, kept)
    files = [path, path.with_suffix(".csi.npy")] if with_csi else [path]
    if all(file.is_file() and checkpoint.holds(file) for file in files):
        return kept
    measure(survey, dataset, folder, with_csi=with_csi)
    return folder


def _links_in_use(
    task: Task, survey: Survey, dataset: Dataset, kept: Path, split: Split, *, with_csi: bool
) -> tuple[Measurements, Int[np.ndarray, "link"]]:
    """Return the links of a survey as the task hands them out, in stored order, and their rows."""
    links = load_survey(survey, dataset, kept, split, with_csi=with_csi)
    links = with_odometry(links, task, survey, dataset, split)
    rows = np.arange(len(links))
    if task.num_sites is not None:
        rows = np.flatnonzero(at_first_site(split.table))
    links, rows = take_links(task.num_sites, split, links, rows)
    stored = np.argsort(rows)
    return links.take(stored), rows[stored]


def _require_panel(checkpoint: Checkpoint, selection: Selection) -> None:
    found = selection.front_end.panel
    expected = checkpoint.info.front_end.panel
    if found != expected:
        raise CheckpointError(
            f"{selection.dataset.folder} has a panel of {found.num_rows} x {found.num_cols} "
            f"'{found.element_pattern}' elements, '{checkpoint.info.model}' was trained with "
            f"{expected.num_rows} x {expected.num_cols} '{expected.element_pattern}'; use a "
            "dataset of the same panel"
        )


def _is_of_task(task: Task, dataset: Dataset, scene: str) -> bool:
    return dataset.manifest.content_hash == task.content_hash and scene in task.scenes


def _split(task: Task, dataset: Dataset, scene: str) -> Split:
    """Return the parts of the task where it has any, and windows of all links."""
    links = links_of(dataset, scene)
    if task.num_sites is not None and not dataset.manifest.campaign.sites_share_ues:
        raise SplitError(
            f"task {task.id} is of UEs that several sites hear, and the sites of {scene} in "
            f"{dataset.folder} see UEs of their own; use a dataset made with shared_ues: true"
        )
    if _is_of_task(task, dataset, scene):
        table = Splits(dataset, task.window_size).get(task, scene).table
    else:
        table = links[["site", "ue_index"]].assign(part=UNUSED, block=0)
    size = task.split.longest_window(task.window_size)
    window, window_step = windows_of(links, table["part"].to_numpy(), size)
    table = table.assign(window=window, window_step=window_step)
    return Split(scene=scene, settings=task.split, table=table)


def _parts_in_use(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the part of each link; of a new scene, no link trains but the shots."""
    part = split.table["part"].to_numpy().copy()
    if split.scene not in {links.scene for links in task.train}:
        part[part == VALIDATION] = UNUSED
        part[(part == TRAIN) & (not task.shots)] = UNUSED
    return part


def _errors(
    position_m: Float[np.ndarray, "link 2"],
    true_m: Float[np.ndarray, "link 2"],
    part: Int[np.ndarray, "link"],
) -> pd.DataFrame:
    error_m = pd.Series(point_errors(position_m, true_m).error_m)
    rows = [
        {
            "part": "other" if number == UNUSED else PART_NAMES[number],
            "points": int((part == number).sum()),
            "mean_m": float(error_m[part == number].mean()),
            "median_m": float(error_m[part == number].median()),
            "p90_m": float(error_m[part == number].quantile(0.9)),
        }
        for number in np.unique(part)
    ]
    return pd.DataFrame(rows)


def _notes_of_sites(task: Task, links: Measurements, num_stored: int) -> Iterator[str]:
    """Say how links stand for UEs, and how many of those that are stored were not used."""
    if task.num_sites is None:
        return
    yield (
        f"each UE is located by its links at {counted(len(links.sites), 'site')}; errors count it "
        f"once, at {links.sites[0].name}"
    )
    if num_stored > len(links):
        yield (
            f"{counted(num_stored - len(links), 'link')} of other sites, or of UEs that "
            f"{links.sites[0].name} has none of, were not used and are not located"
        )


def _notes(task: Task, selection: Selection, part: Int[np.ndarray, "link"]) -> Iterator[str]:
    dataset, scene = selection.dataset, selection.sites[0].scene
    num_train = int((part == TRAIN).sum())
    if num_train:
        drawn = f"; {task.shots} of them were" if scene == task.scene and task.shots else ""
        yield (
            f"{num_train} of the {len(part)} links belong to the part that the model was trained "
            f"on{drawn}: their error says nothing about new places"
        )
    if not _is_of_task(task, dataset, scene):
        yield (
            f"{scene} of {dataset.folder} is not in task {task.id}: no link is known to be one "
            "that the model was trained on"
        )
    if task.conditions is not None and scene == task.scene:
        yield "the links are measured by the dataset's own front-end, not as the task impairs it"
