"""Splits of random tracks and points against rules written out as loops."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from raymark.benchmark.split_settings import (
    CrossingTracks,
    NlosBlocks,
    RandomTracks,
    SplitSettings,
    TrackBlocks,
)
from raymark.benchmark.splits import (
    CONTEXT,
    TEST,
    TRAIN,
    UNUSED,
    VALIDATION,
    Split,
    check_split,
    links_of,
    make_split,
)
from raymark.dataset import Dataset
from raymark.dataset.schema import NLOS
from raymark.errors import SplitError

SCENE = "somewhere"
AREA_M = 120.0

few = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
any_window = st.integers(1, 6)
any_tracks = st.builds(RandomTracks, test_share=st.floats(0.1, 0.4), seed=st.integers(0, 99))
any_crossing = st.builds(
    CrossingTracks,
    buffer_m=st.floats(0.5, 8.0),
    reach_m=st.floats(10.0, 60.0),
    seed=st.integers(0, 99),
)
any_blocks = st.builds(
    NlosBlocks,
    block_m=st.floats(5.0, 40.0),
    buffer_m=st.floats(0.5, 8.0),
    num_folds=st.just(3),
    fold=st.integers(0, 2),
    seed=st.integers(0, 99),
)
any_track_blocks = st.builds(
    TrackBlocks,
    windows=st.just("tracks"),
    block_m=st.floats(10.0, 40.0),
    buffer_m=st.floats(0.5, 4.0),
    test_share=st.floats(0.2, 0.4),
    num_folds=st.just(3),
    fold=st.integers(0, 2),
    seed=st.integers(0, 99),
)
any_settings = st.one_of(any_tracks, any_crossing, any_blocks, any_track_blocks)


def random_links(*, seed: int, num_tracks: int, num_alone: int, num_sites: int) -> pd.DataFrame:
    """Return walks with steps left out, and points on no track, in shuffled order."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for site in range(num_sites):
        links = []
        for track in range(num_tracks):
            place_m = rng.uniform(0, AREA_M, 2)
            for step in range(int(rng.integers(1, 9))):
                place_m = place_m + rng.normal(size=2)
                if rng.random() < 0.9:
                    links.append((place_m, track, step))
        links += [(rng.uniform(0, AREA_M, 2), -1, -1) for _ in range(num_alone)]
        rows += [
            {
                "scene": SCENE,
                "site": f"bs{site}",
                "ue_index": ue_index,
                "x_m": links[i][0][0],
                "y_m": links[i][0][1],
                "los": int(rng.choice([-1, 0, 1], p=[0.1, 0.5, 0.4])),
                "track_id": links[i][1],
                "track_step": links[i][2],
            }
            for ue_index, i in enumerate(rng.permutation(len(links)))
        ]
    return pd.DataFrame(rows)


any_links = st.builds(
    random_links,
    seed=st.integers(0, 2**32 - 1),
    num_tracks=st.integers(5, 14),
    num_alone=st.integers(0, 6),
    num_sites=st.integers(1, 2),
)


def dataset_of(links: pd.DataFrame) -> Dataset:
    """Return a dataset that is only its table of links."""
    dataset = Dataset.__new__(Dataset)
    vars(dataset)["index"] = links
    campaign = SimpleNamespace(sites_share_ues=False)
    vars(dataset)["manifest"] = SimpleNamespace(campaign=campaign)
    return dataset


def split_or_reject(links: pd.DataFrame, of: SplitSettings, window_size: int) -> Split:
    try:
        return make_split(dataset_of(links), SCENE, of, window_size=window_size)
    except SplitError as error:
        if " links among " not in str(error):  # too few is no fault, a leak is one
            raise
        reject()


def track_of(row: Any) -> tuple[Any, ...]:
    if row.track_id < 0:
        return (row.site, "alone", row.ue_index)
    return (row.site, "track", row.track_id)


def handed(row: Any) -> int:
    """The part of a row, the context counted with the test that it comes with."""
    return TEST if row.part == CONTEXT else row.part


def joined(links: pd.DataFrame, split: Split) -> list[Any]:
    table = split.table.drop(columns=["site", "ue_index"])
    return list(pd.concat([links.reset_index(drop=True), table], axis=1).itertuples())


@few
@given(any_links, any_settings, any_window)
def test_split_lets_no_group_cross_when_links_are_random(
    links: pd.DataFrame, of: SplitSettings, window_size: int
) -> None:
    rows = joined(links, split_or_reject(links, of, window_size))
    parts: dict[Any, set[int]] = {}
    for row in rows:
        groups = {"block": ("block", row.block), "track": track_of(row)}
        for noun in of.whole:
            if row.part != UNUSED and (row.part != CONTEXT or noun == "track"):
                parts.setdefault(groups[noun], set()).add(handed(row))

    assert all(len(found) == 1 for found in parts.values())
    assert set().union(*parts.values()) == {TRAIN, VALIDATION, TEST}


@few
@given(any_links, st.one_of(any_crossing, any_blocks, any_track_blocks))
def test_split_keeps_every_buffer_when_links_are_random(
    links: pd.DataFrame, of: CrossingTracks | NlosBlocks | TrackBlocks
) -> None:
    rows = joined(links, split_or_reject(links, of, 4))
    for one, other in itertools.permutations(rows, 2):
        if one.part in {VALIDATION, TEST} and other.part in {TRAIN, VALIDATION} - {one.part}:
            gap_m = np.hypot(one.x_m - other.x_m, one.y_m - other.y_m)
            assert gap_m >= of.buffer_m


@few
@given(any_links, any_blocks)
def test_split_tests_and_validates_nlos_only_when_it_has_blocks(
    links: pd.DataFrame, of: NlosBlocks
) -> None:
    for row in joined(links, split_or_reject(links, of, 4)):
        if row.part in {VALIDATION, TEST}:
            assert row.los == NLOS


@few
@given(any_links, any_settings, any_window)
def test_windows_are_consecutive_steps_of_one_track_and_part_when_links_are_random(
    links: pd.DataFrame, of: SplitSettings, window_size: int
) -> None:
    windows: dict[int, list[Any]] = {}
    for row in joined(links, split_or_reject(links, of, window_size)):
        assert (row.window >= 0) == (row.part != UNUSED)
        if row.part != UNUSED:
            windows.setdefault(row.window, []).append(row)

    for rows in windows.values():
        rows.sort(key=lambda row: row.window_step)
        assert len(rows) <= of.longest_window(window_size)
        assert [row.window_step for row in rows] == list(range(len(rows)))
        assert len({(track_of(row), handed(row)) for row in rows}) == 1
        steps = [row.track_step for row in rows]
        assert steps == list(range(steps[0], steps[0] + len(rows)))


@few
@given(any_links, any_settings, any_window)
def test_windows_are_as_long_as_they_can_be_when_links_are_random(
    links: pd.DataFrame, of: SplitSettings, window_size: int
) -> None:
    rows = [r for r in joined(links, split_or_reject(links, of, window_size)) if r.part != UNUSED]
    place = {(track_of(row), row.track_step): row for row in rows if row.track_id >= 0}
    size: dict[int, int] = {}
    for row in rows:
        size[row.window] = size.get(row.window, 0) + 1
    for (track, step), row in place.items():
        after = place.get((track, step + 1))
        if after is not None and handed(after) == handed(row) and after.window != row.window:
            assert size[row.window] == of.longest_window(window_size)


@few
@given(any_links, any_settings)
def test_split_passes_its_own_check_and_repeats_when_links_are_random(
    links: pd.DataFrame, of: SplitSettings
) -> None:
    split = split_or_reject(links, of, 4)

    check_split(split, links_of(dataset_of(links), SCENE))
    assert split_or_reject(links, of, 4).hash == split.hash
    assert len(split.table) == len(links)


@few
@given(any_links, any_settings, st.data())
def test_split_hash_changes_when_any_row_changes(
    links: pd.DataFrame, of: SplitSettings, data: st.DataObject
) -> None:
    split = split_or_reject(links, of, 4)
    row = data.draw(st.integers(0, len(links) - 1))
    column = data.draw(st.sampled_from(["ue_index", "part", "block", "window", "window_step"]))
    table = split.table.copy()
    table.loc[row, column] += 1

    assert Split(scene=SCENE, settings=of, table=table).hash != split.hash


@pytest.mark.parametrize("of", [RandomTracks(), CrossingTracks(), NlosBlocks(num_folds=3)], ids=str)
def test_random_links_do_allow_a_split_when_many(of: SplitSettings) -> None:
    """The properties above are not empty: most random links can be split."""
    num_split = 0
    for seed in range(10):
        links = random_links(seed=seed, num_tracks=14, num_alone=3, num_sites=2)
        try:
            make_split(dataset_of(links), SCENE, of, window_size=4)
        except SplitError:
            continue
        num_split += 1

    assert num_split >= 8
