"""The cells of a run: which are chosen, and the hash that says whether one must be run again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from raymark.benchmark.city_map import open_map
from raymark.benchmark.localizer import ModelFolder
from raymark.benchmark.measuring import MEASURING_VERSION
from raymark.benchmark.model_code import model_hash
from raymark.benchmark.store import cell_hash_of
from raymark.benchmark.task import Suite, Task
from raymark.benchmark.task_data import require_maps, require_no_maps
from raymark.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunChoice:
    """What of a suite is run.

    Attributes:
        models: Which models, such as `raymark.models.choose_models` returns.
        tracks: Only these tracks; all if empty.
        scenes: Only these scenes of the suite; all if empty.
        bands: Only these bands of the suite; all if empty.
        seeds: Only these seeds of the suite; all if empty.
        maps: Folder of the maps, for models that know the city; they run on tracks that have maps.

    Raises:
        ConfigError: If two models have the same name, one needs a map and there are none, or there
            are maps and none needs one.
    """

    models: tuple[ModelFolder, ...]
    tracks: tuple[str, ...] = ()
    scenes: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    maps: Path | None = None

    def __post_init__(self) -> None:
        """Check the names, by which results are told apart."""
        names = [model.name for model in self.models]
        if len(set(names)) < len(names):
            raise ConfigError(f"two of the models have the same name: {', '.join(names)}")
        require_maps_for(self.models, self.maps)

    def tasks_of(self, suite: Suite) -> tuple[Task, ...]:
        """Return the tasks of a suite that are run.

        Raises:
            ConfigError: If the suite has no such track, scene or band (the nearest is offered).
        """
        return suite.tasks_of(self.tracks, scenes=self.scenes, bands=self.bands)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCell:
    """One task, model and seed of a run, and the hashes of all, and of the code, that decide it."""

    task: Task
    model: ModelFolder
    seed: int
    hash: str
    model_hash: str

    @property
    def needs_csi(self) -> bool:
        """Whether its model reads CSI."""
        return "csi" in self.model.info.inputs


class Hashes:
    """Tells of each cell whether it must be run again.

    Attributes:
        models: The models.
        code: Hash of the files and the code of each, by its name.
    """

    def __init__(self, models: Sequence[ModelFolder], maps: Path | None) -> None:
        """Hash the code of models; maps are opened when a cell asks for one."""
        self.models, self._maps = models, maps
        self.code = {model.name: model_hash(model) for model in models}
        self._content: dict[tuple[str, int], str | None] = {}

    def of(self, task: Task, model: ModelFolder, seed: int) -> str:
        """Return the hash of a cell."""
        parts = [MEASURING_VERSION, model.name, self.code[model.name], seed]
        if model.needs_map and self._maps is not None and task.map_grade is not None:
            key = (task.map_grade, seed)
            if key not in self._content:
                self._content[key] = open_map(self._maps, *key).manifest.content_hash
            parts.append(self._content[key])
        return cell_hash_of(task, parts)


def cells_of(suite: Suite, choice: RunChoice, hashes: Hashes) -> list[RunCell]:
    """Return the cells that a choice of models, tracks and seeds asks for.

    Raises:
        ConfigError: If the suite has no such track, scene or band (the nearest is offered) or seed,
            or none of the tracks is for one of the models.
    """
    tasks = choice.tasks_of(suite)
    for model in choice.models:
        require_task_for(model, tasks)
    return [
        RunCell(
            task=task,
            model=model,
            seed=seed,
            hash=hashes.of(task, model, seed),
            model_hash=hashes.code[model.name],
        )
        for task in tasks
        for seed in suite.seeds_of(choice.seeds)
        for model in choice.models
        if _can_run(model, task)
    ]


def _can_run(model: ModelFolder, task: Task) -> bool:
    has_sites = task.num_sites is not None
    fits_sites = has_sites if model.hears_sites else task.num_sites in (None, 1)
    return fits_sites and (task.map_grade is not None or not model.needs_map)


def require_maps_for(models: Sequence[ModelFolder], maps: Path | None) -> None:
    """Check that maps are given where, and only where, models know the city.

    Raises:
        ConfigError: If they are missing, or nobody reads them.
    """
    if any(model.needs_map for model in models):
        require_maps(maps)
    else:
        require_no_maps(maps, ", ".join(model.name for model in models))


def require_task_for(model: ModelFolder, tasks: Sequence[Task]) -> None:
    """Check that one of the tasks is for a model: with maps, or with several sites, if it is.

    Raises:
        ConfigError: If none is.
    """
    if not any(_can_run(model, task) for task in tasks):
        tracks = ", ".join(dict.fromkeys(task.track for task in tasks))
        raise ConfigError(f"model '{model.name}' {_why_not(model, tracks)}")


def _why_not(model: ModelFolder, tracks: str) -> str:
    if model.needs_map:
        return (
            f"knows the city, and none of the tracks has maps ({tracks}); choose a suite with "
            "tracks named map-..., such as small-map"
        )
    if model.hears_sites:
        return (
            f"takes several sites, and none of the tracks has UEs that they hear ({tracks}); "
            "choose a suite with tracks named multi-site..., such as multi-site"
        )
    return (
        f"takes single links, and the tracks are of several sites ({tracks}); name it "
        f"{model.name}+sites, which fuses one for each site"
    )
