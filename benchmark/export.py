"""Tasks as HDF5 files, for models in any framework; the test part holds no positions."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from raymark.benchmark.features import feature_matrix
from raymark.benchmark.measurements import ARRAY_NAMES, Labelled, Measurements
from raymark.benchmark.measuring import measure
from raymark.benchmark.splits import links_of
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import load_task
from raymark.benchmark.task_links import handed_rows, surveys_of
from raymark.dataset import Dataset
from raymark.dataset.hdf5 import new_hdf5
from raymark.dataset.verification import require_content
from raymark.errors import ConfigError, DatasetError
from raymark.storage import require_file, writing

_CSI, _CSI_ROWS = "csi", 256


Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


def export_task(  # noqa: PLR0913 - the choices of the command line
    suite: Suite,
    task: Task,
    dataset: Dataset,
    path: Path,
    *,
    seed: int,
    with_csi: bool = False,
    overwrite: bool = False,
) -> None:
    """Write what a model receives: groups `train`, `validation` and `test`.

    Each holds the arrays of `Measurements` by their names, with `features` (`feature_matrix`) and,
    if asked for, `csi`. `train` and `validation` have `position_m` in the frame of the link's site
    and `los`; `site_index` counts the group's `site_name`. `test` has `site` and `ue_index`, by
    which predictions are told apart, and `asked`, the rows that are scored; `site_origin_m` and
    `site_yaw_rad`, taken at its `site_index`, turn site into world coordinates. Where several
    sites hear a UE, its links have the same `ue`, and that of the first site is `asked`.

    Raises:
        ConfigError: If the dataset is another one, or the task has no such seed.
        SchemaError: If the arrays of the dataset are not those of its content hash.
        DatasetError: If the file exists (unless `overwrite`) or cannot be written.
    """
    require_dataset(suite, dataset)
    require_content(dataset)
    if seed not in task.seeds:
        raise ConfigError(f"task {task.id} has the seeds {task.seeds}, got {seed}")
    require_file(path, overwrite=overwrite)
    with tempfile.TemporaryDirectory() as kept:
        _Export(suite, dataset, Path(kept), with_csi).write(task, seed, path)


def export_suite(  # noqa: PLR0913 - the choices of the command line
    suite: Suite,
    dataset: Dataset,
    folder: Path,
    *,
    tracks: Sequence[str] = (),
    seeds: Sequence[int] = (),
    with_csi: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> int:
    """Write every task and seed of a suite, as `export_task` does, to `<task>/seed-<s>.h5`.

    Folders are named as those of a submission (`Task.slug`). The same call goes on where it was
    interrupted: files that hold the same are kept.

    Args:
        suite: The suite.
        dataset: Its dataset.
        folder: Gets the files.
        tracks: Only these tracks; all if empty.
        seeds: Only these seeds of the suite; all if empty.
        with_csi: Add the noisy CSI.
        overwrite: Replace files that hold something else.
        progress: Told how many files are written.

    Returns:
        How many files there are.

    Raises:
        ConfigError: If the dataset is another one, or the suite has no such track or seed.
        DatasetError: If a file holds something else (unless `overwrite`) or cannot be written.
    """
    require_dataset(suite, dataset)
    tasks, seeds = suite.tasks_of(tracks), suite.seeds_of(seeds)
    files = {folder / t.slug / f"seed-{seed}.h5": (t, seed) for t in tasks for seed in seeds}
    with tempfile.TemporaryDirectory() as kept:
        export = _Export(suite, dataset, Path(kept), with_csi)
        missing = [path for path, chosen in files.items() if not export.is_written(*chosen, path)]
        for path in missing:
            if path.exists() and not overwrite:
                raise DatasetError(
                    f"{path} holds something else; choose another folder or add --overwrite"
                )
        for i, path in enumerate(missing):
            progress("tasks", i, len(missing))
            export.write(*files[path], path)
        progress("tasks", len(missing), len(missing))
    return len(files)


class _Export:
    """Writes tasks of a suite; what several of them read is measured once."""

    def __init__(self, suite: Suite, dataset: Dataset, kept: Path, with_csi: bool) -> None:
        self._suite, self._dataset, self._kept = suite, dataset, kept
        self._with_csi = with_csi
        self._splits = Splits(dataset, suite.window_size)

    def write(self, task: Task, seed: int, path: Path) -> None:
        for survey in surveys_of(task, seed):
            measure(survey, self._dataset, self._kept, with_csi=self._with_csi)
        data = load_task(
            task, seed, self._dataset, self._splits, self._kept, with_csi=self._with_csi
        )
        links = links_of(self._dataset, task.scene)
        handed = links.iloc[handed_rows(task, self._splits.get(task, task.scene))]
        with writing(path) as partial, new_hdf5(partial) as (file, _):
            file.attrs.update(self._attributes(task, seed))
            _write_sites(file, task, self._dataset)
            _write_labelled(file.create_group("train"), data.train)
            _write_labelled(file.create_group("validation"), data.validation)
            test = file.create_group("test")
            _write_measurements(test, data.test)
            test["site"] = handed["site"].to_numpy(dtype="S")
            test["ue_index"] = handed["ue_index"].to_numpy()
            test["asked"] = data.asked

    def is_written(self, task: Task, seed: int, path: Path) -> bool:
        """Return whether a file holds this task and seed, with CSI if that is asked for."""
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with h5py.File(path) as file:
            same = dict(file.attrs) == self._attributes(task, seed)
            return same and (f"test/{_CSI}" in file) == self._with_csi

    def _attributes(self, task: Task, seed: int) -> dict[str, str | int]:
        return {
            "task": task.id,
            "slug": task.slug,
            "suite_hash": self._suite.hash,
            "seed": seed,
            "content_hash": self._suite.content_hash,
        }


def _write_sites(file: h5py.File, task: Task, dataset: Dataset) -> None:
    records = dataset.select(scene=task.scene, band=task.band).sites
    file["site_origin_m"] = np.array([record.position_m[:2] for record in records])
    file["site_yaw_rad"] = np.array([record.orientation_rad[0] for record in records])


def _write_labelled(group: h5py.Group, labelled: Labelled) -> None:
    _write_measurements(group, labelled.measurements)
    group["position_m"], group["los"] = labelled.position_m, labelled.los


def _write_measurements(group: h5py.Group, links: Measurements) -> None:
    group["site_name"] = np.array([site.name for site in links.sites], dtype="S")
    for name in ARRAY_NAMES:
        group[name] = getattr(links, name)
    if links.ue_azimuth_rad is not None:
        group["ue_azimuth_rad"] = links.ue_azimuth_rad
    if links.odometry_m is not None:
        group["odometry_m"] = links.odometry_m
    if links.ue is not None:
        group["ue"] = links.ue
    group["features"] = feature_matrix(links).astype("f4")
    if links.csi_files is not None:
        shape = (len(links), *links.csi(np.arange(1)).shape[1:])
        csi = group.create_dataset(_CSI, shape=shape, dtype="c8")
        for start in range(0, len(links), _CSI_ROWS):
            rows = np.arange(start, min(start + _CSI_ROWS, len(links)))
            csi[rows[0] : rows[-1] + 1] = links.csi(rows)
