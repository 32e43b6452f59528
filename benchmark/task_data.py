"""Put a task together: what its model receives, and apart from it, what only the scorer knows."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from raymark.benchmark.channels import channels_of
from raymark.benchmark.city_map import CityMap, read_city_map
from raymark.benchmark.measurements import (
    Labelled,
    Measurements,
    concatenate_labelled,
)
from raymark.benchmark.measuring import Survey, load_survey
from raymark.benchmark.split_settings import SplitSettings
from raymark.benchmark.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    links_of,
    make_split,
    track_keys,
)
from raymark.benchmark.task import Links, Suite, Task
from raymark.benchmark.ue_links import link_rows, take_links
from raymark.dataset import Dataset
from raymark.dataset.manifest import SiteRecord
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


@dataclass(slots=True)
class Splits:
    """The splits of a dataset, made once and checked against their published hashes."""

    dataset: Dataset
    window_size: int
    _made: dict[tuple[str, SplitSettings], Split] = field(default_factory=dict)

    def get(self, task: Task, scene: str) -> Split:
        """Return the split of one scene under a task's settings.

        Raises:
            SplitError: If it leaks, or its hash differs from the published one.
        """
        key = (scene, task.split)
        if key not in self._made:
            self._made[key] = make_split(
                self.dataset, scene, task.split, window_size=self.window_size
            )
        made, expected = self._made[key], task.split_hashes.get(scene)
        if expected is not None and made.hash != expected:
            raise SplitError(
                f"the split of {scene} in task {task.id} has hash {made.hash[:12]}, the suite says "
                f"{expected[:12]}: its settings or hash were edited; a changed split is a new "
                "version of the suite"
            )
        return made


def require_dataset(suite: Suite, dataset: Dataset) -> None:
    """Check that a dataset is the one of a suite.

    Raises:
        ConfigError: If its content hash differs.
    """
    found = dataset.manifest.content_hash or ""
    if found != suite.content_hash:
        raise ConfigError(
            f"suite '{suite.name}' is for the dataset with content hash "
            f"{suite.content_hash[:12]}, {dataset.folder} has {found[:12]}; make the right one "
            f"with `raymark generate {suite.preset} --out DIR`, or add "
            "--any-data for a run that compares with no other"
        )


def bound_to(suite: Suite, dataset: Dataset) -> Suite:
    """Return a suite itself on its own dataset, else the suite bound to the one that is there.

    Other software, or a processor other than x86-64, makes another dataset than the published one.
    Scores of a suite that was bound to it compare with no others.
    """
    found = dataset.manifest.content_hash or ""
    return suite if found == suite.content_hash else suite.rebound(found)


def training_surveys_of(task: Task, seed: int) -> list[Survey]:
    """Return every survey that training and validation read."""
    links = [*task.train]
    if task.shots is not None:
        links.append(Links(scene=task.scene, band=task.band))
    return [_training_survey(task, each, seed) for each in links]


def surveys_of(task: Task, seed: int) -> list[Survey]:
    """Return every survey that a task reads."""
    surveys = training_surveys_of(task, seed)
    test = survey_of_test(task, seed)
    return [*surveys, *([] if test in surveys else [test])]


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
    test = load_survey(survey_of_test(task, seed), dataset, folder, split, with_csi=with_csi)
    test = _with_odometry(test, task, seed, dataset, split)
    test, rows = take_links(task.num_sites, split, test, _rows_in_windows(task, split))
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


def handed_rows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of all links that are handed out for test; of UEs, site by site."""
    return link_rows(task.num_sites, split, _rows_in_windows(task, split))[0]


def _rows_in_windows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of all links in windows of test links, each in order of its steps.

    The order of the windows is random. The draw hangs on the whole split, not on published numbers
    alone: nobody who lacks the dataset can undo it.
    """
    window = split.table["window"].to_numpy()
    rows = np.flatnonzero(np.isin(window, window[split.rows(TEST)]))
    step = split.table["window_step"].to_numpy()[rows]
    number = np.unique(window[rows], return_inverse=True)[1]
    rng = child_generator(task.split.seed, "test order", task.scene, split.draw)
    place = rng.permutation(number.max() + 1)[number]
    return rows[np.lexsort((step, place))]


def ordered_test_rows(task: Task, split: Split) -> Int[np.ndarray, "link"]:
    """Return the rows of the test links, in the order of `handed_rows`."""
    rows = handed_rows(task, split)
    return rows[split.is_part(TEST)[rows]]


def truth_of(task: Task, dataset: Dataset, splits: Splits) -> pd.DataFrame:
    """Return one row per test link, in the order that models see: identity, label, position.

    Columns: site, ue_index, block, window, los, x_m and y_m (world frame [m]).
    """
    split = splits.get(task, task.scene)
    rows = ordered_test_rows(task, split)
    links = links_of(dataset, task.scene).iloc[rows]
    table = split.table.iloc[rows]
    return pd.DataFrame(
        {
            "site": links["site"].to_numpy(),
            "ue_index": links["ue_index"].to_numpy(),
            "block": table["block"].to_numpy(),
            "window": pd.factorize(table["window"])[0],
            "los": links["los"].to_numpy(),
            "x_m": links["x_m"].to_numpy(dtype="f8"),
            "y_m": links["y_m"].to_numpy(dtype="f8"),
        }
    )


def _with_odometry(
    links: Measurements, task: Task, seed: int, dataset: Dataset, split: Split
) -> Measurements:
    """Add what UEs measure of their steps, if they do; `links` are all of the split's scene."""
    if task.odometry is None:
        return links
    selection = dataset.select(scene=split.scene, band=task.band)
    position_m = site_frame_positions(
        selection.position_m[:, :2], selection.site_index, selection.sites
    )
    track = pd.factorize(track_keys(links_of(dataset, split.scene)))[0]
    rng = child_generator(seed, "odometry", split.scene)
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
        survey = _training_survey(self.task, links, self.seed)
        measurements = load_survey(survey, self.dataset, self.folder, split, with_csi=self.with_csi)
        measurements = _with_odometry(measurements, self.task, self.seed, self.dataset, split)
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


def _training_survey(task: Task, links: Links, seed: int) -> Survey:
    return Survey(
        scene=links.scene, band=links.band, seed=seed, conditions=task.training_conditions
    )


def survey_of_test(task: Task, seed: int) -> Survey:
    """Return the survey that the test links of a task are measured by."""
    return Survey(scene=task.scene, band=task.band, seed=seed, conditions=task.conditions)


def site_frame_positions(
    position_m: Float[np.ndarray, "link 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2"]:
    """Turn world into site coordinates: origin at the BS, x along its azimuth [m]."""
    origin_m, rotation = _site_frames(sites)
    offset_m = position_m.astype("f8") - origin_m[site_index]
    return np.einsum("lji,lj->li", rotation[site_index], offset_m)


def world_frame_positions(
    position_m: Float[np.ndarray, "link 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2"]:
    """Turn site into world coordinates [m]."""
    origin_m, rotation = _site_frames(sites)
    return np.einsum("lij,lj->li", rotation[site_index], position_m) + origin_m[site_index]


def world_frame_covariances(
    covariance_m2: Float[np.ndarray, "link 2 2"],
    site_index: Int[np.ndarray, "link"],
    sites: tuple[SiteRecord, ...],
) -> Float[np.ndarray, "link 2 2"]:
    """Turn covariances of site coordinates into those of world coordinates [m^2]."""
    rotation = _site_frames(sites)[1][site_index]
    return rotation @ covariance_m2 @ rotation.transpose(0, 2, 1)


def _site_frames(
    sites: tuple[SiteRecord, ...],
) -> tuple[Float[np.ndarray, "site 2"], Float[np.ndarray, "site 2 2"]]:
    """Return origin and rotation (site to world) of every site's frame."""
    origin_m = np.array([site.position_m[:2] for site in sites], dtype="f8")
    yaw = np.array([site.orientation_rad[0] for site in sites])
    rotation = np.stack([np.cos(yaw), -np.sin(yaw), np.sin(yaw), np.cos(yaw)], axis=-1)
    return origin_m, rotation.reshape(-1, 2, 2)
