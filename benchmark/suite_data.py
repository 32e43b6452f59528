"""A suite and its dataset: whether they belong together, and the splits that both make."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from raymark.benchmark.split_settings import SplitSettings
from raymark.benchmark.splits import TEST, Split, make_split
from raymark.benchmark.task import Links, Suite, Task
from raymark.benchmark.ue_links import link_rows
from raymark.dataset import Dataset
from raymark.errors import ConfigError, SplitError


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

    def require(self, tasks: Iterable[Task]) -> None:
        """Check that the dataset holds all that tasks ask of it, before anything is written.

        Raises:
            DatasetError: If it has no such scene or band (the nearest is offered).
            SplitError: If a split cannot be made of it, leaks, or differs from the published one.
        """
        for task in tasks:
            for links in (*task.train, Links(scene=task.scene, band=task.band)):
                self.dataset.select(scene=links.scene, band=links.band)
                split = self.get(task, links.scene)
                link_rows(task.num_sites, split, split.rows(TEST))


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
            f"with `raymark generate {suite.preset} --out DIR`"
        )


def bound_to(suite: Suite, dataset: Dataset) -> Suite:
    """Return a suite itself on its own dataset, else the suite bound to the one that is there.

    Other software, or a processor other than x86-64, makes another dataset than the published one.
    Scores of a suite that was bound to it compare with no others.
    """
    found = dataset.manifest.content_hash or ""
    return suite if found == suite.content_hash else suite.rebound(found)
