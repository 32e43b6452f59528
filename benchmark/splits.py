"""Splits: which UEs of a scene train, validate and test; the same ones at every band."""

import hashlib
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from raymark.benchmark.clusters import clustered_windows, parted_windows
from raymark.benchmark.split_settings import (
    BaseSplit,
    CrossingTracks,
    NlosBlocks,
    RandomTracks,
    SplitSettings,
    TrackBlocks,
)
from raymark.dataset import Dataset
from raymark.dataset.schema import NLOS
from raymark.errors import SplitError
from raymark.seeding import child_generator

UNUSED, TRAIN, VALIDATION, TEST, CONTEXT = 0, 1, 2, 3, 4
PART_NAMES = {
    UNUSED: "unused",
    TRAIN: "train",
    VALIDATION: "validation",
    TEST: "test",
    CONTEXT: "context",
}
"""Links of the context are handed out with the test links of their track, and not scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The part, block and window of every UE of one scene.

    Attributes:
        scene: Name of the scene.
        settings: How it was made.
        table: One row per UE, in the order of `Dataset.select(scene=...)`: site, ue_index, part,
            block (number of its square on the map), window (-1 where unused) and window_step.
    """

    scene: str
    settings: SplitSettings
    table: pd.DataFrame

    @property
    def hash(self) -> str:
        """SHA-256 (hex) over all rows."""
        return self._digest("")

    @property
    def draw(self) -> str:
        """Another hash over all rows, which is published nowhere: a name for random draws."""
        return self._digest("draw\n")

    def _digest(self, prefix: str) -> str:
        digest = hashlib.sha256(f"{prefix}{self.scene}\n".encode())
        for site in self.table["site"]:
            digest.update(f"{site}\n".encode())
        for column in ("ue_index", "part", "block", "window", "window_step"):
            digest.update(np.ascontiguousarray(self.table[column], dtype="<i8").tobytes())
        return digest.hexdigest()

    def is_part(self, part: int) -> Bool[np.ndarray, "link"]:
        """Tell of each row of `table` whether it is of one part."""
        return self.table["part"].to_numpy() == part

    @property
    def is_hidden(self) -> Bool[np.ndarray, "link"]:
        """Tell of each row of `table` whether it shows where a test UE is, to whatever site."""
        hidden = self.table["part"].isin([TEST, CONTEXT])
        if self.settings.unit == "ue":
            hidden = self.table["ue_index"].isin(self.table.loc[hidden, "ue_index"])
        return hidden.to_numpy()

    def rows(self, part: int) -> Int[np.ndarray, "link"]:
        """Return the positions in `table` of one part, in order."""
        return np.flatnonzero(self.is_part(part))


def make_split(dataset: Dataset, scene: str, settings: SplitSettings, *, window_size: int) -> Split:
    """Divide the UEs of a scene; the same arguments always give the same split.

    Raises:
        SplitError: If the scene has too few UEs for it, or the result leaks.
    """
    links = links_of(dataset, scene)
    clusters = None
    if settings.has_clusters:
        clusters = clustered_windows(links, window_size)
        if not settings.mixes_parts:
            links = links.assign(walk=clusters[0])
    rng = child_generator(settings.seed, "split", settings.kind, scene)
    block = block_numbers(links, settings.square_m, rng)
    counts = np.ones(len(links), dtype=bool)
    if settings.unit == "ue":
        _require_shared_ues(dataset, scene)
        counts = at_first_site(links)
    part = np.full(len(links), UNUSED)
    part[counts] = divide(settings, links.assign(block=block)[counts], rng)
    part = _with_buffer(positions_of(links), part, settings.gap_m)
    if clusters is None:
        window, window_step = windows_of(links, part, settings.longest_window(window_size))
    else:
        window, window_step = parted_windows(
            *clusters, np.zeros_like(part) if settings.mixes_parts else part
        )
    is_used = part != UNUSED
    table = links[["site", "ue_index"]].assign(
        part=part,
        block=block,
        window=np.where(is_used, window, -1),
        window_step=np.where(is_used, window_step, 0),
    )
    split = Split(scene=scene, settings=settings, table=table)
    check_split(split, links)
    return split


def links_of(dataset: Dataset, scene: str) -> pd.DataFrame:
    """Return every link of a scene, in stored order: identity, position, label, track and walk.

    `walk` names what a split must keep whole: a track, or a UE on none, for all sites that see it.
    """
    columns = ["site", "ue_index", "x_m", "y_m", "los", "track_id", "track_step"]
    index = dataset.index
    links = index.loc[index["scene"] == scene, columns].reset_index(drop=True)
    # Sites that see the same UEs number them alike: a walk seen by all of them is one.
    shared = dataset.manifest.campaign.sites_share_ues
    seen_by = pd.Series("all", links.index) if shared else links["site"]
    return links.assign(walk=_track_names(links, seen_by))


def at_first_site(table: pd.DataFrame) -> Bool[np.ndarray, "link"]:
    """Tell of each row of a scene's links whether it is of the first site of the campaign."""
    return (table["site"] == table["site"].iloc[0]).to_numpy()


def _require_shared_ues(dataset: Dataset, scene: str) -> None:
    if not dataset.manifest.campaign.sites_share_ues:
        raise SplitError(
            f"the sites of {scene} see UEs of their own, and a split of UEs needs the same ones at "
            "all: generate the dataset with shared_ues: true"
        )


def positions_of(links: pd.DataFrame) -> Float[np.ndarray, "link 2"]:
    """Return x and y of the links [m]."""
    return links[["x_m", "y_m"]].to_numpy(dtype="f8")


def check_split(split: Split, links: pd.DataFrame) -> None:
    """Check that nothing of the test can be learnt from training or validation data.

    Raises:
        SplitError: If a UE stands in two rows, a track or block that must be whole is divided, a
            window mixes parts unless that is asked for, a split of UEs uses links of another site
            than the first by themselves, or a training point lies within the buffer.
            The context of a test is of its part, but stands in any block.
    """
    table, settings = split.table, split.settings
    if table.duplicated(["site", "ue_index"]).any():
        raise SplitError(f"split of {split.scene}: a UE stands in two rows")
    if settings.unit == "ue":
        stray = table[(table["part"] != UNUSED) & ~at_first_site(table)]
        if len(stray):
            raise SplitError(
                f"split of {split.scene}: UE {stray['ue_index'].iloc[0]} stands in a part by its "
                f"link at site {stray['site'].iloc[0]}; the first site alone decides"
            )
    whole = {"track": links["walk"], "block": table["block"]}
    kept: dict[str, pd.Series] = {noun: whole[noun] for noun in settings.whole}
    kept |= {} if settings.mixes_parts else {"window": table["window"]}
    for noun, group in kept.items():
        counted = table["part"].replace(CONTEXT, UNUSED if noun == "block" else TEST)
        used = counted.to_numpy() != UNUSED
        num_parts = counted[used].groupby(group[used].to_numpy()).nunique()
        if (num_parts > 1).any():
            name = num_parts.index[num_parts > 1][0]
            raise SplitError(f"split of {split.scene}: {noun} {name} lies in two parts")
    _require_all_parts(table["part"].to_numpy(), split.scene, settings)
    position_m = positions_of(links)
    for noun, part in {"training": TRAIN, "validation": VALIDATION}.items():
        others_m = position_m[split.rows(part)]
        gap_m = distance_to_nearest(position_m[split.rows(TEST)], others_m).min()
        if gap_m < settings.gap_m:
            raise SplitError(
                f"split of {split.scene}: a {noun} point lies {gap_m:.2f} m from a "
                f"test point, closer than the buffer of {settings.gap_m:g} m"
            )


def distance_to_nearest(
    points_m: Float[np.ndarray, "point 2"], others_m: Float[np.ndarray, "other 2"]
) -> Float[np.ndarray, "point"]:
    """Return the distance of each point to the nearest of the others [m]."""
    return cKDTree(others_m).query(points_m)[0]


def track_keys(links: pd.DataFrame) -> pd.Series:
    """Return a name for the track of every link as one site sees it."""
    return _track_names(links, links["site"])


def _track_names(links: pd.DataFrame, seen_by: pd.Series) -> pd.Series:
    """Name tracks by who sees them; a UE that is on no track is one of its own."""
    is_alone = links["track_id"] < 0
    number = links["track_id"].where(~is_alone, links["ue_index"]).astype(str)
    return seen_by + np.where(is_alone, "/ue-", "/track-") + number


def block_numbers(
    links: pd.DataFrame, block_m: float, rng: np.random.Generator
) -> Int[np.ndarray, "link"]:
    """Number the squares of a randomly placed grid, as they lie on the map."""
    shift_m = rng.uniform(0, block_m, size=2)
    cell = np.floor((positions_of(links) + shift_m) / block_m).astype("i8")
    return np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)


@singledispatch
def divide(
    settings: BaseSplit,
    links: pd.DataFrame,  # noqa: ARG001 - for those that part
    rng: np.random.Generator,  # noqa: ARG001
) -> Int[np.ndarray, "link"]:
    """Return the part of every link, before those within the buffer are dropped.

    Args:
        settings: Of the split; its type decides which function is called.
        links: As `links_of` returns them, with the `block` of each.
        rng: Of this split alone.

    Raises:
        SplitError: If no function is registered for its type.
    """
    raise SplitError(
        f"no function parts links by {type(settings).__name__}; register one with @divide.register"
    )


@divide.register
def _nlos_blocks(
    settings: NlosBlocks, links: pd.DataFrame, rng: np.random.Generator
) -> Int[np.ndarray, "link"]:
    block, is_nlos = links["block"].to_numpy(), links["los"].to_numpy() == NLOS
    fold = _deal_blocks(block, is_nlos, settings.num_folds, rng)[block]
    is_test = fold == settings.fold
    is_validation = fold == (settings.fold + 1) % settings.num_folds
    part = np.full(len(links), TRAIN)
    part[is_test | is_validation] = UNUSED
    part[is_validation & is_nlos] = VALIDATION
    part[is_test & is_nlos] = TEST
    return part


def _deal_blocks(
    block: Int[np.ndarray, "link"],
    counts: Bool[np.ndarray, "link"],
    num_folds: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, "block"]:
    """Return the fold of every block: in random order, each to the fold with fewest links.

    Of `counts` is said which links count; blocks without such are never held out.
    """
    size = np.bincount(block, weights=counts)
    fold, load = np.full(len(size), -1), np.zeros(num_folds)
    for i in rng.permutation(np.flatnonzero(size)):
        fold[i] = int(load.argmin())
        load[fold[i]] += size[i]
    return fold


@divide.register
def _random_tracks(
    settings: RandomTracks, links: pd.DataFrame, rng: np.random.Generator
) -> Int[np.ndarray, "link"]:
    track, names = pd.factorize(links["walk"])
    return _draw_tracks(settings, np.ones(len(names), dtype=bool), rng)[track]


@divide.register
def _crossing_tracks(
    settings: CrossingTracks, links: pd.DataFrame, rng: np.random.Generator
) -> Int[np.ndarray, "link"]:
    track, _ = pd.factorize(links["walk"])
    near = _has_other_track_near(positions_of(links), track, settings.reach_m)
    can_test = np.bincount(track, weights=near) >= 0.5 * np.bincount(track)
    return _draw_tracks(settings, can_test, rng)[track]


@divide.register
def _track_blocks(
    settings: TrackBlocks, links: pd.DataFrame, rng: np.random.Generator
) -> Int[np.ndarray, "link"]:
    block = links["block"].to_numpy()
    counts = np.ones(len(links), dtype=bool)
    fold = _deal_blocks(block, counts, settings.num_folds, rng)[block]
    track, names = pd.factorize(links["walk"])
    drawn = _draw_tracks(settings, np.ones(len(names), dtype=bool), rng)[track]
    is_tested = fold == settings.fold
    is_validated = fold == (settings.fold + 1) % settings.num_folds
    part = np.full(len(links), UNUSED)
    part[(drawn == TRAIN) & ~is_tested & ~is_validated] = TRAIN
    part[(drawn == VALIDATION) & is_validated] = VALIDATION
    part[drawn == TEST] = np.where(is_tested, TEST, CONTEXT)[drawn == TEST]
    return part


def _draw_tracks(
    settings: RandomTracks | CrossingTracks | TrackBlocks,
    can_test: Bool[np.ndarray, "track"],
    rng: np.random.Generator,
) -> Int[np.ndarray, "track"]:
    order = rng.permutation(len(can_test))
    order = order[can_test[order]]
    num_test = max(1, round(settings.test_share * len(can_test)))
    num_validation = max(1, round(settings.validation_share * len(can_test)))
    part = np.full(len(can_test), TRAIN)
    part[order[:num_test]] = TEST
    part[order[num_test : num_test + num_validation]] = VALIDATION
    return part


def _has_other_track_near(
    position_m: Float[np.ndarray, "link 2"], track: Int[np.ndarray, "link"], reach_m: float
) -> Bool[np.ndarray, "link"]:
    pairs = cKDTree(position_m).query_pairs(reach_m, output_type="ndarray")
    pairs = pairs[track[pairs[:, 0]] != track[pairs[:, 1]]]
    near = np.zeros(len(position_m), dtype=bool)
    near[pairs.ravel()] = True
    return near


def _with_buffer(
    position_m: Float[np.ndarray, "link 2"], part: Int[np.ndarray, "link"], buffer_m: float
) -> Int[np.ndarray, "link"]:
    """Drop validation points near the test, then training points near either."""
    if not buffer_m:
        return part
    part = part.copy()
    for kept, dropped in ((TEST, VALIDATION), (TEST, TRAIN), (VALIDATION, TRAIN)):
        if (part == kept).any():
            rows = np.flatnonzero(part == dropped)
            near = distance_to_nearest(position_m[rows], position_m[part == kept]) < buffer_m
            part[rows[near]] = UNUSED
    return part


def _require_all_parts(part: Int[np.ndarray, "link"], scene: str, settings: SplitSettings) -> None:
    for number in (TRAIN, VALIDATION, TEST):
        name = PART_NAMES[number]
        if not (part == number).any():
            raise SplitError(
                f"the split '{settings.kind}' of {scene} has no {name} links among "
                f"{len(part)} UEs; use more UEs, smaller blocks or a smaller buffer"
            )


def windows_of(
    links: pd.DataFrame, part: Int[np.ndarray, "link"], window_size: int
) -> tuple[Int[np.ndarray, "link"], Int[np.ndarray, "link"]]:
    """Cut each track's consecutive steps of one part into windows; the last may be shorter.

    Args:
        links: As `links_of` returns them.
        part: Part of each link; no window holds links of two, but for a test and its context.
        window_size: Most links of a window.

    Returns:
        Number of each link's window, and its place there.
    """
    track = pd.factorize(track_keys(links))[0]
    step = links["track_step"].to_numpy()
    order = np.lexsort((step, track))
    of = np.where(part == CONTEXT, TEST, part)[order]
    goes_on = (
        (np.diff(track[order], prepend=-1) == 0)
        & (np.diff(step[order], prepend=-1) == 1)
        & (np.diff(of, prepend=-1) == 0)
    )
    run = np.cumsum(~goes_on)
    start = np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(order))))
    in_run = np.arange(len(order)) - start
    number = pd.factorize(run * (len(order) + 1) + in_run // window_size)[0]
    window, window_step = np.full(len(order), -1), np.zeros(len(order), dtype="i8")
    window[order], window_step[order] = number, in_run % window_size
    return window, window_step
