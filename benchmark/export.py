"""A task as one HDF5 file, for models in any framework; the test part holds no positions."""

import tempfile
from pathlib import Path

import h5py
import numpy as np

from raymark.benchmark.features import feature_matrix
from raymark.benchmark.measurements import ARRAY_NAMES, Labelled, Measurements
from raymark.benchmark.measuring import measure
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import (
    Splits,
    load_task,
    require_dataset,
    surveys_of,
    truth_of,
)
from raymark.dataset import Dataset
from raymark.dataset.verification import require_content
from raymark.errors import ConfigError, DatasetError
from raymark.storage import writing

_CSI_ROWS = 256


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
    which predictions are told apart; `site_origin_m` and `site_yaw_rad`, taken at its `site_index`,
    turn site into world coordinates.

    Raises:
        ConfigError: If the dataset is another one, or the task has no such seed.
        SchemaError: If the arrays of the dataset are not those of its content hash.
        DatasetError: If the file exists (unless `overwrite`) or cannot be written.
    """
    require_dataset(suite, dataset)
    require_content(dataset)
    if seed not in task.seeds:
        raise ConfigError(f"task {task.id} has the seeds {task.seeds}, got {seed}")
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists; choose another name or add --overwrite")
    splits = Splits(dataset, suite.window_size)
    with tempfile.TemporaryDirectory() as folder, writing(path) as partial:
        kept = Path(folder)
        for survey in surveys_of(task, seed):
            measure(survey, dataset, kept, with_csi=with_csi)
        data = load_task(task, seed, dataset, splits, kept, with_csi=with_csi)
        truth = truth_of(task, dataset, splits)
        with h5py.File(partial, "w") as file:
            file.attrs.update(
                {"task": task.id, "slug": task.slug, "suite_hash": suite.hash, "seed": seed}
            )
            file.attrs["content_hash"] = suite.content_hash
            _write_sites(file, task, dataset)
            _write_labelled(file.create_group("train"), data.train)
            _write_labelled(file.create_group("validation"), data.validation)
            test = file.create_group("test")
            _write_measurements(test, data.test)
            test["site"] = truth["site"].to_numpy(dtype="S")
            test["ue_index"] = truth["ue_index"].to_numpy()


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
    group["features"] = feature_matrix(links).astype("f4")
    if links.csi_files is not None:
        shape = (len(links), *links.csi(np.arange(1)).shape[1:])
        csi = group.create_dataset("csi", shape=shape, dtype="c8")
        for start in range(0, len(links), _CSI_ROWS):
            rows = np.arange(start, min(start + _CSI_ROWS, len(links)))
            csi[rows[0] : rows[-1] + 1] = links.csi(rows)
