"""What a model receives for a task: links, labels of those that train, and maps."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int

from raymark.benchmark.channels import channels_of
from raymark.benchmark.city_map import CityMap, read_city_map
from raymark.benchmark.measurements import Labelled, Measurements, concatenate_labelled
from raymark.benchmark.measuring import Survey, load_survey
from raymark.benchmark.site_frames import site_frame_positions
from raymark.benchmark.splits import TEST, TRAIN, VALIDATION, Split, links_of, track_keys
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Links, Task
from raymark.benchmark.task_links import rows_in_windows, survey_of_test, training_survey
from raymark.benchmark.ue_links import take_links
from raymark.dataset import Dataset
from raymark.errors import ConfigError, SplitError, counted
from raymark.presenting import Presented
from raymark.seeding import child_generator


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TaskData(Presented):
    """All that a model's process receives; it holds no position of a test link.

    Attributes:
        train: Labelled links to learn from.
        validation: Labelled links to choose by.
        test: Links to locate, window by window in random order.
        asked: Rows of `test` that are scored; all others are in the same window: training links,
            which the paper's protocol hands out, or the rest of a whole track; or they are of the
            same UEs at other sites.
    """

    train: Labelled
    validation: Labelled
    test: Measurements
    asked: Int[np.ndarray, "link"]

    def facts(self) -> Mapping[str, str]:
        """Return what a session shows of the data."""
        return {
            "training": counted(len(self.train.measurements), "link"),
            "validation": counted(len(self.validation.measurements), "link"),
            "test": f"{counted(len(self.asked), 'link')}, whose positions are not here",
        }

    def with_csi_in(self, folder: Path) -> "TaskData":
        """Copy the CSI of each part into files of a folder, where `with_csi_held` finds it."""
        return self._changed(lambda links, name: links.with_csi_in(folder / f"{name}.npy"))

    def with_cities(self, cities: Mapping[str, CityMap]) -> "TaskData":
        """Return the same with the maps around some sites, by the sites' names."""
        return self._changed(lambda links, _name: links.with_cities(cities))

    def with_csi_held(self) -> "TaskData":
        """Hold the CSI that was copied into the working directory, which is empty afterwards."""
        return self._changed(lambda links, _name: links.with_csi_held())

    def _changed(self, change: Callable[[Measurements, str], Measurements]) -> "TaskData":
        def labelled(part: Labelled, name: str) -> Labelled:
            return dataclasses.replace(part, measurements=change(part.measurements, name))

        return dataclasses.replace(
            self,
            train=labelled(self.train, "train"),
            validation=labelled(self.validation, "validation"),
            test=change(self.test, "test"),
        )


def load_training(
    task: Task, seed: int, dataset: Dataset, splits: Splits, folder: Path, *, with_csi: bool
) -> tuple[Labelled, Labelled]:
    """Return the training and validation links of one task and seed; arguments of `load_task`."""
    loader = _Loader(task, seed, dataset, splits, folder, with_csi)
    train = [loader.train(links) for links in task.train]
    validation = [loader.validation(links) for links in task.train]
    if task.shots:
        train.append(loader.shots(task.shots))
    parts = (concatenate_labelled(links) for links in (train, validation))
    counted = [
        dataclasses.replace(part, measurements=_with_own_windows(part.measurements))
        for part in parts
    ]
    return counted[0], counted[1]


def load_task(
    task: Task, seed: int, dataset: Dataset, splits: Splits, folder: Path, *, with_csi: bool
) -> TaskData:
    """Return what a model receives for one task and seed.

    Args:
        task: The task.
        seed: Of the noise, and of the draw of shots.
        dataset: The dataset of the task.
        splits: Its splits.
        folder: Where the measurements lie.
        with_csi: Whether the model may read CSI, and make that of training links anew.
    """
    train, validation = load_training(task, seed, dataset, splits, folder, with_csi=with_csi)
    split = splits.get(task, task.scene)
    survey = survey_of_test(task, seed)
    test = load_survey(survey, dataset, folder, split, with_csi=with_csi)
    test = with_odometry(test, task, survey, dataset, split)
    test, rows = take_links(task.num_sites, split, test, rows_in_windows(task, split))
    return TaskData(
        train=train,
        validation=validation,
        test=_with_own_windows(test),
        asked=np.flatnonzero(split.is_part(TEST)[rows]),
    )


def cities_of(
    task: Task, seed: int, dataset: Dataset, maps: Path | None, scenes: Sequence[str]
) -> dict[str, CityMap]:
    """Return the maps around the sites of some scenes, by the sites' names.

    The seed of a cell is that of its map, too: every seed has a map of its own.

    Args:
        task: Whose track says how wrong the maps are.
        seed: Of the cell.
        dataset: The dataset of the task.
        maps: Folder of maps.
        scenes: Whose sites.

    Raises:
        ConfigError: If there is no folder, a map is missing in it or does not fit the dataset, or
            the track has no maps.
    """
    folder = require_maps(maps)
    if task.map_grade is None:
        raise ConfigError(f"track '{task.track}' has no maps; choose one of those named map-...")
    return {
        site.key: read_city_map(folder, dataset.folder, site, task.map_grade, seed)
        for site in dataset.manifest.sites
        if site.scene in scenes
    }


def require_maps(maps: Path | None) -> Path:
    """Return the folder of maps for a model that knows the city.

    Raises:
        ConfigError: If none was given.
    """
    if maps is None:
        raise ConfigError(
            "a model that knows the city needs a folder of maps (--maps DIR); `raymark bench maps` "
            "makes one"
        )
    return maps


def require_no_maps(maps: Path | None, readers: str) -> None:
    """Check that no folder of maps is given to models that read none.

    Args:
        maps: The folder, if any.
        readers: Names of the models, for the message.

    Raises:
        ConfigError: If one was given.
    """
    if maps is not None:
        raise ConfigError(
            f"maps ({maps}) are for models that know the city, and none is among those chosen "
            f"({readers}); leave --maps out"
        )


def with_odometry(
    links: Measurements, task: Task, survey: Survey, dataset: Dataset, split: Split
) -> Measurements:
    """Add what UEs measure of their steps, if they do in a task.

    Args:
        links: All of the survey.
        task: Says how the steps are measured.
        survey: Of one scene; its seed is that of the errors.
        dataset: Holds the true positions.
        split: Of the scene; its windows say which steps there are.
    """
    if task.odometry is None:
        return links
    selection = dataset.select(scene=survey.scene, band=survey.band)
    position_m = site_frame_positions(
        selection.position_m[:, :2], selection.site_index, selection.sites
    )
    track = pd.factorize(track_keys(links_of(dataset, survey.scene)))[0]
    rng = child_generator(survey.seed, "odometry", survey.scene)
    measured_m = task.odometry.measured(position_m, track, split.table, rng)
    return dataclasses.replace(links, odometry_m=measured_m)


def _with_own_windows(links: Measurements) -> Measurements:
    """Count the windows of a part by themselves, in the order in which they come.

    The numbers of a split go along the tracks through all parts: a test window's would lie between
    those of its neighbours that train.
    """
    return dataclasses.replace(links, window=pd.factorize(links.window)[0])


@dataclass(frozen=True, slots=True)
class _Loader:
    task: Task
    seed: int
    dataset: Dataset
    splits: Splits
    folder: Path
    with_csi: bool

    def train(self, links: Links) -> Labelled:
        """Return what is learnt from; where models choose by the test, validation links too."""
        split = self.splits.get(self.task, links.scene)
        in_train = split.is_part(TRAIN)
        if self.task.selects_on_test:
            in_train |= split.is_part(VALIDATION)
        rows = np.flatnonzero(in_train)
        labelled, rows = self._labelled(links, rows)
        conditions = self.task.training_conditions
        if not self.with_csi or (conditions is not None and conditions.noise == "none"):
            return labelled
        selection = self.dataset.select(scene=links.scene, band=links.band)
        channels = channels_of(selection, conditions).take(rows)
        return dataclasses.replace(labelled, channels=channels)

    def validation(self, links: Links) -> Labelled:
        """Return what is chosen by."""
        part = TEST if self.task.selects_on_test else VALIDATION
        return self._labelled(links, self.splits.get(self.task, links.scene).rows(part))[0]

    def _labelled(
        self, links: Links, rows: Int[np.ndarray, "row"]
    ) -> tuple[Labelled, Int[np.ndarray, "link"]]:
        """Return links with their positions, and their rows; of UEs, at all sites."""
        split = self.splits.get(self.task, links.scene)
        survey = training_survey(self.task, links, self.seed)
        measurements = load_survey(survey, self.dataset, self.folder, split, with_csi=self.with_csi)
        measurements = with_odometry(measurements, self.task, survey, self.dataset, split)
        selection = self.dataset.select(scene=links.scene, band=links.band)
        taken, rows = take_links(self.task.num_sites, split, measurements, rows)
        labelled = Labelled(
            measurements=taken,
            position_m=site_frame_positions(
                selection.position_m[rows, :2], selection.site_index[rows], selection.sites
            ),
            los=selection.los[rows],
        )
        return labelled, rows

    def shots(self, count: int) -> Labelled:
        """Draw labelled links of the new scene; more shots hold the fewer ones."""
        available = self.train(Links(scene=self.task.scene, band=self.task.band))
        if count > len(available):
            raise SplitError(
                f"task {self.task.id} asks for {count} shots, but {self.task.scene} has "
                f"{len(available)} training links"
            )
        rng = child_generator(self.seed, "shots", self.task.scene)
        return available.take(np.sort(rng.permutation(len(available))[:count]))
