"""Tasks and suites: immutable values that say what is trained on, what is tested and how."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from raymark.benchmark.conditions import MOST_GAIN_DB, Conditions, check_budget, with_gain
from raymark.benchmark.odometry import Odometry
from raymark.benchmark.split_settings import SplitSettings
from raymark.benchmark.tracks import TRACKS, TrackName
from raymark.config import Name, Strict, config_hash, nearest, read_yaml, validate
from raymark.errors import ConfigError, counted
from raymark.presenting import Presented

Count = Annotated[int, Field(ge=0)]
Gain = Annotated[float, Field(ge=-MOST_GAIN_DB, le=MOST_GAIN_DB)]

SUITES_FOLDER = Path(__file__).with_name("suites")


class Links(Strict):
    """The links of one scene at one band."""

    scene: Name
    band: Name


class TrackSettings(Strict):
    """One track of a suite; it becomes a task for every scene, band, fold and number of shots."""

    track: TrackName = Field(description="What is asked; docs/benchmark.md tells each")
    split: SplitSettings = Field(description="How links are parted; its `kind` decides the keys")
    folds: tuple[Count, ...] = Field(
        default=(), description="Folds to run of a split that has some"
    )
    shots: tuple[Count, ...] = Field(default=(), description="Labelled links of the new scene")
    conditions: Conditions | None = Field(
        default=None, description="A link budget; on `impaired`, how the test is measured worse"
    )
    odometry: Odometry | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="What UEs measure of their own steps, on sequence tracks; nothing if not given",
    )
    gains_db: tuple[Gain, ...] = Field(
        default=(),
        exclude_if=lambda value: not value,
        description="Changes of the processing gain, as in power_change_db, at which it is asked "
        "once more: a curve on the board [dB]",
    )

    @model_validator(mode="after")
    def _fits_its_track(self) -> "TrackSettings":
        track = TRACKS[self.track]
        takers = [name for name, other in TRACKS.items() if other.split == self.split.kind]
        if track.split not in (None, self.split.kind) or (takers and self.track not in takers):
            raise ValueError(
                f"track '{self.track}' is split by {track.split or 'any other kind'}, got "
                f"'{self.split.kind}'"
            )
        if track.gives_tracks != (self.split.windows == "tracks"):
            verb = "hands out whole tracks: it needs" if track.gives_tracks else "has no use for"
            raise ValueError(f"track '{self.track}' {verb} windows: tracks in its split")
        is_of_ues = track.num_sites is not None
        if is_of_ues != (self.split.unit == "ue"):
            verb = "is of UEs: it needs" if is_of_ues else "has no use for"
            raise ValueError(f"track '{self.track}' {verb} unit: ue in its split")
        if self.odometry is not None and not track.gives_tracks:
            raise ValueError(
                f"track '{self.track}' has no use for odometry, which is of whole tracks"
            )
        num_groups = self.split.num_groups
        if num_groups and max(self.folds, default=0) >= num_groups:
            raise ValueError(f"folds must be below num_folds ({num_groups})")
        rules = {
            "folds": (bool(self.folds), num_groups > 0),
            "shots": (bool(self.shots), "shots" in track.needs),
        }
        needs = "conditions" in track.needs
        check_budget(
            self.track,
            self.conditions,
            self.gains_db,
            of_test=needs,
            may_be_oracle=track.is_reproduction,
        )
        if self.split.mixes_parts and not track.is_reproduction:
            raise ValueError(
                f"track '{self.track}' locates windows that hold no training point, got windows "
                f"'{self.split.windows}'"
            )
        for key, (is_given, is_needed) in rules.items():
            if is_given != is_needed:
                verb = "needs" if is_needed else "has no use for"
                raise ValueError(f"track '{self.track}' with this split {verb} '{key}'")
        return self


class Task(Presented, Strict):
    """One question to a model: train on these links, locate those."""

    suite: str
    version: int
    track: TrackName
    scene: Name
    band: Name
    fold: int | None
    shots: int | None
    content_hash: str = Field(description="Content hash of the dataset")
    train: tuple[Links, ...]
    split: SplitSettings
    split_hashes: dict[str, str] = Field(description="By scene; of every split that is used")
    window_size: int
    conditions: Conditions | None
    odometry: Odometry | None = Field(default=None, exclude_if=lambda value: value is None)
    gain_db: float | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="A point of a curve: the change of the processing gain, also in conditions",
    )
    seeds: tuple[int, ...]

    def facts(self) -> Mapping[str, str]:
        """Return what a session shows of the task."""
        return {
            "id": self.id,
            "asks": TRACKS[self.track].asks,
            "trained on": ", ".join(f"{links.scene} {links.band}" for links in self.train),
            "located": f"{self.scene} {self.band}",
            "split": self.split.kind,
            "seeds": ", ".join(map(str, self.seeds)),
        }

    @property
    def id(self) -> str:
        """Name of the task, with its version."""
        parts = [self.suite, self.track, self.scene, self.band]
        parts += [f"fold-{self.fold}"] if self.fold is not None else []
        parts += [f"shots-{self.shots}"] if self.shots is not None else []
        parts += [f"gain{self.gain_db:+g}dB"] if self.gain_db is not None else []
        return "/".join(parts) + f"@{self.version}"

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        return self.id.split("@", maxsplit=1)[0].replace("/", "__")

    @property
    def is_ranked(self) -> bool:
        """Whether models are compared by it; never at another gain than the track's own."""
        return TRACKS[self.track].is_ranked and self.gain_db is None

    @property
    def map_grade(self) -> str | None:
        """How wrong the map is that models get; None if they get none."""
        return TRACKS[self.track].map_grade

    @property
    def num_sites(self) -> int | Literal["all"] | None:
        """How many sites hear each UE; None where each link is a question of its own."""
        return TRACKS[self.track].num_sites

    @property
    def selects_on_test(self) -> bool:
        """Whether models choose by the tested links themselves, as the paper's code does."""
        return TRACKS[self.track].selects_on_test

    @property
    def training_conditions(self) -> Conditions | None:
        """How training and validation links are measured; None is as the dataset says."""
        return None if "conditions" in TRACKS[self.track].needs else self.conditions

    @property
    def scenes(self) -> tuple[str, ...]:
        """Every scene whose split is used."""
        return tuple(dict.fromkeys([links.scene for links in self.train] + [self.scene]))


class Suite(Presented, Strict):
    """A list of tasks on one dataset, written as tracks over scenes and bands."""

    schema_version: Literal[1] = Field(default=1, description="Version of this form")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Begins the id of every task"
    )
    version: int = Field(ge=1, description="Ends the id of every task; a published one stays")
    description: str = Field(default="", description="One sentence for the board")
    superseded_by: str | None = Field(default=None, description="A later suite, NAME@VERSION")
    preset: str = Field(description="Campaign that makes the dataset")
    content_hash: str = Field(description="Content hash of that dataset")
    scenes: tuple[Name, ...] = Field(min_length=1, description="Scenes of the dataset")
    bands: tuple[Name, ...] = Field(min_length=1, description="Bands of the dataset")
    seeds: tuple[Count, ...] = Field(min_length=1, description="Of noise and of models")
    window_size: int = Field(default=5, ge=1, description="Consecutive measurements in a window")
    tracks: tuple[TrackSettings, ...] = Field(min_length=1, description="What is asked")
    split_hashes: dict[str, str] = Field(
        default_factory=dict, description="By `track/scene` or `track/fold-f/scene`"
    )

    @model_validator(mode="after")
    def _has_no_gaps_or_repeats(self) -> "Suite":
        tracks = [settings.track for settings in self.tracks]
        lists = {"scenes": self.scenes, "bands": self.bands, "seeds": self.seeds, "tracks": tracks}
        for key, values in lists.items():
            if len(set(values)) < len(values):
                raise ValueError(f"'{key}' lists something twice")
        for track in tracks:
            others = TRACKS[track].trains_on_other
            if others and len(lists[others]) < 2:
                raise ValueError(f"track '{track}' needs at least two {others}")
        known = {
            split_key(settings.track, scene, fold)
            for settings in self.tracks
            for scene in self.scenes
            for fold in settings.folds or (None,)
        }
        for key in self.split_hashes:
            if key not in known:
                raise ValueError(f"split_hashes has an unknown split '{key}'")
        return self

    def facts(self) -> Mapping[str, str]:
        """Return what a session shows of the suite."""
        return {
            "name": f"{self.name}@{self.version}",
            "tracks": ", ".join(settings.track for settings in self.tracks),
            "scenes": ", ".join(self.scenes),
            "bands": ", ".join(self.bands),
            "seeds": ", ".join(map(str, self.seeds)),
            "size": counted(len(self.tasks()), "task"),
            "content hash": self.content_hash,
        }

    def tasks(self) -> tuple[Task, ...]:
        """Return all tasks, track by track."""
        return tuple(
            self._task(settings, Links(scene=scene, band=band), fold, shots, gain_db)
            for settings in self.tracks
            for scene in self.scenes
            for band in self.bands
            for fold in settings.folds or (None,)
            for shots in settings.shots or (None,)
            for gain_db in (None, *settings.gains_db)
        )

    def tasks_of(
        self, tracks: Sequence[str] = (), *, scenes: Sequence[str] = (), bands: Sequence[str] = ()
    ) -> tuple[Task, ...]:
        """Return the tasks of some tracks, scenes and bands; of all of them if none is named.

        Raises:
            ConfigError: If the suite has no such track, scene or band (the nearest is offered).
        """
        wanted: dict[str, tuple[Sequence[str], list[str]]] = {
            "track": (tracks, [settings.track for settings in self.tracks]),
            "scene": (scenes, list(self.scenes)),
            "band": (bands, list(self.bands)),
        }
        for noun, (names, known) in wanted.items():
            for name in names:
                if name not in known:
                    raise ConfigError(
                        f"suite '{self.name}' has no {noun} '{name}'{nearest(name, known)} "
                        f"(it has: {', '.join(known)})"
                    )
        return tuple(
            task
            for task in self.tasks()
            if all(not names or getattr(task, noun) in names for noun, (names, _) in wanted.items())
        )

    def seeds_of(self, seeds: Sequence[int]) -> tuple[int, ...]:
        """Return the seeds that are named, in the order of the suite; all of them if none is.

        Raises:
            ConfigError: If the suite has no such seed.
        """
        for seed in seeds:
            if seed not in self.seeds:
                known = ", ".join(map(str, self.seeds))
                raise ConfigError(f"suite '{self.name}' has no seed {seed} (it has: {known})")
        return tuple(seed for seed in self.seeds if not seeds or seed in seeds)

    def _task(
        self,
        settings: TrackSettings,
        links: Links,
        fold: int | None,
        shots: int | None,
        gain_db: float | None,
    ) -> Task:
        scene, band = links.scene, links.band
        train = _train_links(settings.track, scene, band, self.scenes, self.bands)
        scenes = dict.fromkeys([links.scene for links in train] + [scene])
        keys = {name: split_key(settings.track, name, fold) for name in scenes}
        return Task(
            suite=self.name,
            version=self.version,
            track=settings.track,
            scene=scene,
            band=band,
            fold=fold,
            shots=shots,
            content_hash=self.content_hash,
            train=train,
            split=settings.split.model_copy(update={} if fold is None else {"fold": fold}),
            split_hashes={
                name: self.split_hashes[key]
                for name, key in keys.items()
                if key in self.split_hashes
            },
            window_size=self.window_size,
            conditions=with_gain(settings.conditions, gain_db),
            odometry=settings.odometry,
            gain_db=gain_db,
            seeds=self.seeds,
        )

    @property
    def has_sites(self) -> bool:
        """Whether it asks of UEs that several sites hear."""
        return any(TRACKS[settings.track].num_sites is not None for settings in self.tracks)

    def rebound(self, content_hash: str) -> "Suite":
        """Return the same suite on another dataset; its hash differs, so boards are told apart."""
        note = f"{self.description} (not on the published dataset: compare with no other board)"
        update = {"content_hash": content_hash, "split_hashes": {}, "description": note}
        return self.model_copy(update=update)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the whole suite."""
        return config_hash(self)


def split_key(track: TrackName, scene: str, fold: int | None) -> str:
    """Return the name of a split in `Suite.split_hashes`."""
    return f"{track}/{scene}" if fold is None else f"{track}/fold-{fold}/{scene}"


def suite_names() -> list[str]:
    """Return the suites that ship with raymark."""
    return sorted(path.stem for path in SUITES_FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """Load a suite by its name, or from a YAML file.

    Raises:
        ConfigError: If it is unknown (the nearest is offered) or holds a wrong key or value.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = SUITES_FOLDER / f"{name}.yaml"
        if name not in suite_names():
            raise ConfigError(
                f"unknown suite '{name}'{nearest(name, suite_names())} "
                f"(there are: {', '.join(suite_names())}; or name a .yaml file)"
            )
    return validate(Suite, read_yaml(path), where=str(path))


def find_task(name: str, suite: Suite | None = None) -> Task:
    """Return a task by its id, with or without `@version`.

    Args:
        name: Id of the task.
        suite: Where to look; the shipped suite that the id begins with if not given.

    Raises:
        ConfigError: If there is none (the nearest is offered).
    """
    suite = suite or load_suite(name.split("/", maxsplit=1)[0])
    tasks = {task.id: task for task in suite.tasks()}
    for task_id, task in tasks.items():
        if name in {task_id, task_id.split("@", maxsplit=1)[0]}:
            return task
    known = list(tasks)
    raise ConfigError(
        f"unknown task '{name}'{nearest(name, known)}; `raymark bench tasks --suite {suite.name}` "
        f"lists all {len(known)}"
    )


def _train_links(
    track: TrackName, scene: str, band: str, scenes: tuple[str, ...], bands: tuple[str, ...]
) -> tuple[Links, ...]:
    """Return what a track trains on; the shots of a new scene come beside it."""
    other = TRACKS[track].trains_on_other
    if other == "bands":
        return tuple(Links(scene=scene, band=name) for name in bands if name != band)
    if other == "scenes":
        return tuple(Links(scene=name, band=band) for name in scenes if name != scene)
    return (Links(scene=scene, band=band),)
