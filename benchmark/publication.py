"""From the folder of a run to the values of a board."""

import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import image

from raymark.benchmark.audit import TABLE_NAME
from raymark.benchmark.board import (
    Board,
    Layout,
    ModelRow,
    SuiteInfo,
    TrackInfo,
    headline,
    write_board,
)
from raymark.benchmark.board.content import AUDIT_COLUMNS
from raymark.benchmark.board.standings import heading, standings
from raymark.benchmark.budget import budget_curves
from raymark.benchmark.scoring import ScoredCell, group_cells, score_rows, score_run
from raymark.benchmark.store import Cell, ModelRecord, RunFolder
from raymark.benchmark.submission import read_submission
from raymark.benchmark.summary import cdfs_of, compare, maps_of, summarize
from raymark.benchmark.task import Suite, TrackSettings, load_suite, suite_names
from raymark.benchmark.tracks import TRACKS
from raymark.benchmark.truths import Truths
from raymark.dataset import Dataset
from raymark.dataset.buildings import HeightMap
from raymark.errors import ScoringError
from raymark.plots.maps import BUILDING_HEIGHT_M
from raymark.presenting import Presented
from raymark.storage.atomic import require_free_folder

Progress = Callable[[str, int, int], None]

_BUILDING_GREY = 0.55


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PublishedBoard(Presented):
    """A board and where it lies.

    Attributes:
        board: Its values.
        files: What was written: page, Markdown, CSV and JSON.
    """

    board: Board
    files: tuple[Path, ...]

    def facts(self) -> Mapping[str, str]:
        """Return what a session shows of the board, beside its standings."""
        suite, models = self.board.suite, self.board.models
        return {
            "suite": f"{suite.name}@{suite.version}",
            "dataset": suite.dataset_id,
            "models": ", ".join(model.name for model in models if model.kind == "model"),
            "tracks": ", ".join(track.name for track in self.board.tracks),
            "files": ", ".join(map(str, self.files)),
        }

    def _repr_html_(self) -> str:
        """Return the facts, and the standings by which models are ranked, as tables."""
        at = headline(self.board)
        shown = {column.title: column.texts for column in standings(self.board, at)}
        with pd.option_context("display.max_colwidth", None):
            table = pd.DataFrame(shown).to_html(index=False)
        facts = super(PublishedBoard, self)._repr_html_()
        return f"{facts}<p>{escape(heading(self.board, at))}</p>{table}"


def publish_board(  # noqa: PLR0913 - the choices of the command line
    runs: Path,
    folder: Path,
    *,
    submissions: Sequence[Path] = (),
    built_in: Collection[str] = (),
    dataset: Dataset | None = None,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> PublishedBoard:
    """Write the board of a run and of submissions.

    Args:
        runs: Folder of the run.
        folder: Gets the board.
        submissions: Folders of predictions of models that were run elsewhere; they are checked.
        built_in: Names of the models that ship, which no submission may have.
        dataset: That of the run; the truth is compared with it, and its buildings and
            base stations are drawn on the error maps.
        overwrite: Replace a board that lies in `folder`.
        progress: Told how far each stage is.

    Raises:
        ConfigError: If there is no run, or `folder` is in use; it is said before the work.
        ScoringError: If predictions do not fit the truth or were changed, or two models have the
            same name.
    """
    source = RunFolder(runs)
    suite = source.info().suite
    require_free_folder(folder, overwrite=overwrite)
    truths = Truths(source, dataset)
    read = [
        read_submission(path, suite, truths.of, built_in=built_in, progress=progress)
        for path in submissions
    ]
    board = build_board(source, read, dataset=dataset, progress=progress)
    files = write_board(board, folder, overwrite=overwrite)
    return PublishedBoard(board=board, files=tuple(files))


def build_board(
    folder: RunFolder,
    submissions: Sequence[tuple[ModelRecord, list[Cell]]] = (),
    *,
    dataset: Dataset | None = None,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Board:
    """Recompute every number of a board from the predictions of a run and of submissions.

    Args:
        folder: The run.
        submissions: Models that were run elsewhere, with their checked predictions.
        dataset: The dataset of the run; the truth is compared with it, and its buildings and
            base stations are drawn on the error maps.
        progress: Told how far each stage is.

    Raises:
        ScoringError: If predictions do not fit the truth or were changed, or two models have the
            same name.
    """
    suite, records = folder.info().suite, folder.models()
    for record, _ in submissions:
        if record.name in records:
            raise ScoringError(f"two models are called '{record.name}'; rename the submission")
        records[record.name] = record
    progress("score", 0, 1)
    truths = Truths(folder, dataset)
    cells = score_run(folder, [cell for _, own in submissions for cell in own], truths=truths)
    progress("score", 1, 1)
    groups = group_cells([cell for cell in cells if cell.task.gain_db is None])
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress("intervals", done, len(groups))

    rivals = [record.name for record in records.values() if record.kind == "model"]
    summary = summarize(groups, rivals, progress=advance)
    audit = folder.root / "audit" / TABLE_NAME
    return Board(
        suite=_suite_info(folder, cells, truth_is_checked=truths.are_checked),
        tracks=_track_infos(suite, {group.key[0] for group in groups}),
        models=tuple(
            _model_row(records[name], [c for c in cells if c.result.model == name], suite)
            for name in dict.fromkeys(cell.result.model for cell in cells)
        ),
        rows=score_rows(cells),
        summary=summary,
        comparisons=compare(groups, rivals),
        audits=(
            pd.read_parquet(audit).drop(columns="hash")
            if audit.is_file()
            else pd.DataFrame(columns=list(AUDIT_COLUMNS))
        ),
        cdfs=cdfs_of(groups),
        maps=maps_of(groups),
        layouts={} if dataset is None else _layouts(dataset),
        budgets=budget_curves(cells),
        sites_m={} if dataset is None else _sites_m(dataset),
    )


def _layouts(dataset: Dataset) -> dict[str, Layout]:
    found = {scene: dataset.buildings(scene) for scene in dataset.scenes}
    return {scene: layout_of(item.heights) for scene, item in found.items() if item is not None}


def _sites_m(dataset: Dataset) -> dict[str, dict[str, tuple[float, float]]]:
    found: dict[str, dict[str, tuple[float, float]]] = {scene: {} for scene in dataset.scenes}
    for site in dataset.manifest.sites:
        found[site.scene][site.site] = site.position_m[:2]
    return found


def layout_of(height_map: HeightMap) -> Layout:
    """Return the buildings of a scene as a transparent grey picture, north up."""
    is_building = height_map.height_m[::-1] >= BUILDING_HEIGHT_M
    pixels = np.full((*is_building.shape, 4), _BUILDING_GREY)
    pixels[..., 3] = 0.6 * is_building
    file = io.BytesIO()
    image.imsave(file, pixels, format="png")
    x_m, y_m = height_map.x_m, height_map.y_m
    extent_m = (float(x_m[0]), float(y_m[0]), float(x_m[-1]), float(y_m[-1]))
    return Layout(extent_m=extent_m, png=file.getvalue())


def _suite_info(
    folder: RunFolder, cells: Sequence[ScoredCell], *, truth_is_checked: bool
) -> SuiteInfo:
    info, records = folder.info(), folder.models()
    of_models = [c.result for c in cells if c.result.model in records]
    sandboxes = {r.sandbox for r in of_models if records[r.model].kind == "model"}
    return SuiteInfo(
        name=info.suite.name,
        version=info.suite.version,
        hash=info.suite.hash,
        description=info.suite.description,
        dataset_id=info.dataset_id,
        content_hash=info.content_hash,
        seeds=info.suite.seeds,
        num_scenes=len(info.suite.scenes),
        superseded_by=successor_of(info.suite),
        truth_is_checked=truth_is_checked,
        detections_are_known=all(cell.is_detected is not None for cell in cells),
        sandboxes=tuple(sorted(sandboxes)),
    )


def successor_of(suite: Suite) -> str | None:
    """Return what has taken a suite's place, NAME@VERSION: as it says, or as raymark ships."""
    if suite.superseded_by is not None or suite.name not in suite_names():
        return suite.superseded_by
    shipped = load_suite(suite.name)
    return f"{shipped.name}@{shipped.version}" if shipped.version > suite.version else None


def _track_infos(suite: Suite, present: set[str]) -> tuple[TrackInfo, ...]:
    return tuple(
        TrackInfo(
            name=settings.track,
            title=TRACKS[settings.track].title,
            description=_description(settings),
            is_ranked=TRACKS[settings.track].is_ranked,
            shots=settings.shots,
        )
        for settings in suite.tracks
        if settings.track in present
    )


def _description(settings: TrackSettings) -> str:
    """Return what a track asks, and whether it says anything of new places."""
    track = TRACKS[settings.track]
    if settings.conditions is not None and settings.conditions.budget:
        budget = f". Link budget: {settings.conditions.budget}"
    else:
        budget = ""
    if track.tests is None:
        return f"{track.asks}{budget}"
    if not settings.split.gap_m:
        lie = "stand among training ones, often centimetres away (distances in the audit)"
    else:
        lie = f"stand {settings.split.gap_m:g} m or more from any training one"
    return f"{track.asks}. It tests {track.tests}, not places: its links {lie}{budget}"


def _model_row(record: ModelRecord, cells: list[ScoredCell], suite: Suite) -> ModelRow:
    def reduced(name: str, how: Literal["median", "max"]) -> float | None:
        values = [getattr(cell.result, name) for cell in cells]
        present = [float(value) for value in values if value is not None]
        return float(getattr(np, how)(present)) if present else None

    parameters, trust = reduced("num_parameters", "median"), record.trust
    return ModelRow(
        name=record.name,
        title=record.title + _missing_seeds(record, cells, suite),
        kind=record.kind,
        is_trajectory=record.is_trajectory,
        summary=record.summary,
        card_markdown=f"{record.card}\nTuning: {record.tuning}.\n",
        num_parameters=None if parameters is None else int(parameters),
        fit_s=reduced("fit_s", "median"),
        predict_ms_per_point=reduced("predict_ms_per_point", "median"),
        peak_memory_mb=reduced("peak_memory_mb", "max"),
        verified=record.verified,
        inputs=None if trust.inputs is None else ", ".join(trust.inputs),
        pretraining=(
            None
            if trust.pretraining is None
            else ", ".join(data.title for data in trust.pretraining) or "none"
        ),
        openness=trust.openness,
        replication=trust.replication,
    )


def _missing_seeds(record: ModelRecord, cells: list[ScoredCell], suite: Suite) -> str:
    """Return which seeds a model was run with where some of the suite's lack on a track.

    The seeds that most tracks have stand first: `seed 0; on interpolation 0, 1, 2`.
    """
    if record.kind != "model":
        return ""
    seeds_of: dict[str, set[int]] = {}
    for cell in cells:
        seeds_of.setdefault(cell.task.track, set()).add(cell.result.seed)
    tracks_by_seeds: dict[tuple[int, ...], list[str]] = {}
    for track, seeds in seeds_of.items():
        tracks_by_seeds.setdefault(tuple(sorted(seeds)), []).append(track)
    if all(set(seeds) >= set(suite.seeds) for seeds in tracks_by_seeds):
        return ""
    common, *others = sorted(tracks_by_seeds, key=lambda own: (-len(tracks_by_seeds[own]), own))
    notes = [f"seed{'s' if len(common) > 1 else ''} {', '.join(map(str, common))}"]
    notes += [
        f"on {' and '.join(tracks_by_seeds[own])} {', '.join(map(str, own))}" for own in others
    ]
    return f" ({'; '.join(notes)})"
