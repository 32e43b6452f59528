"""The benchmark: tasks, splits, the contract of a model, metrics, runs and the board."""

from raymark.benchmark.channels import Channels
from raymark.benchmark.checkpoint import Checkpoint, open_checkpoint
from raymark.benchmark.city_map import CityMap, MapPaths
from raymark.benchmark.following import GivesMixture, Mixture
from raymark.benchmark.localizer import Localizer, Prediction, tune
from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.measuring import measurements_of_csi
from raymark.benchmark.task import Suite, Task, find_task, load_suite, suite_names
from raymark.benchmark.ue_links import UeLinks

__all__ = [
    "Channels",
    "Checkpoint",
    "CityMap",
    "GivesMixture",
    "Labelled",
    "Localizer",
    "MapPaths",
    "Measurements",
    "Mixture",
    "Prediction",
    "Suite",
    "Task",
    "UeLinks",
    "find_task",
    "load_suite",
    "measurements_of_csi",
    "open_checkpoint",
    "suite_names",
    "tune",
]
