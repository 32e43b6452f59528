from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.split_settings import (
    BaseSplit,
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
    divide,
    links_of,
    make_split,
    track_keys,
)
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite, Task
from raymark.dataset import Dataset
from raymark.dataset.schema import NLOS
from raymark.errors import SplitError

WINDOW_SIZE = 4
SCENES = ("street_canyon", "yard")
SETTINGS: dict[str, SplitSettings] = {
    "random-tracks": RandomTracks(),
    "crossing-tracks": CrossingTracks(),
    "nlos-blocks": NlosBlocks(buffer_m=4.0, num_folds=3),
    "track-blocks": TrackBlocks(
        windows="tracks", buffer_m=2.0, num_folds=3, validation_share=0.35, test_share=0.3
    ),
}
of_whole_tracks = [kind for kind, settings in SETTINGS.items() if "track" in settings.whole]
of_whole_blocks = [kind for kind, settings in SETTINGS.items() if "block" in settings.whole]
each_kind = pytest.mark.parametrize("kind", SETTINGS)
each_scene = pytest.mark.parametrize("scene", SCENES)

FindTask = Callable[..., Task]


def split_of(dataset: Dataset, kind: str, scene: str = "yard", **changes: Any) -> Split:
    settings = SETTINGS[kind].model_copy(update=changes)
    return make_split(dataset, scene, settings, window_size=WINDOW_SIZE)


def edited(split: Split, row: int, **values: Any) -> Split:
    """Return the split with other values in one row."""
    table = split.table.copy()
    for column, value in values.items():
        table.loc[row, column] = value
    return Split(scene=split.scene, settings=split.settings, table=table)


def parts_of(split: Split) -> np.ndarray:
    return split.table["part"].to_numpy()


def test_every_kind_of_split_is_tried_here() -> None:
    (union, _) = get_args(SplitSettings)
    kinds = {of.model_fields["kind"].default for of in get_args(union)}

    assert kinds == set(SETTINGS)


@each_kind
@each_scene
def test_split_is_equal_bit_by_bit_when_made_again(
    benchmark_dataset: Dataset, kind: str, scene: str
) -> None:
    first, second = (split_of(benchmark_dataset, kind, scene) for _ in range(2))

    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.hash == second.hash


@each_kind
def test_split_differs_when_its_seed_is_another(benchmark_dataset: Dataset, kind: str) -> None:
    first, second = (split_of(benchmark_dataset, kind, seed=seed) for seed in (0, 1))

    assert first.hash != second.hash
    assert not np.array_equal(parts_of(first), parts_of(second))


@each_kind
@each_scene
def test_split_rows_are_the_links_of_every_band_when_selected(
    benchmark_dataset: Dataset, kind: str, scene: str
) -> None:
    table = split_of(benchmark_dataset, kind, scene).table
    for band in benchmark_dataset.bands:
        selection = benchmark_dataset.select(scene=scene, band=band)
        names = [selection.sites[i].site for i in selection.site_index]
        assert table["site"].tolist() == names
        assert table["ue_index"].tolist() == selection.ue_index.tolist()


@each_scene
def test_splits_are_the_same_at_every_band_when_a_suite_asks_for_them(
    benchmark_splits: Splits, benchmark_suite: Suite, scene: str
) -> None:
    hashes: dict[tuple[str, int | None], set[str]] = {}
    for task in benchmark_suite.tasks():
        if task.scene == scene:
            key = (task.track, task.fold)
            hashes.setdefault(key, set()).add(benchmark_splits.get(task, scene).hash)

    assert len(hashes) == 8  # six tracks, one of them with three folds
    assert all(len(found) == 1 for found in hashes.values())


@each_kind
@pytest.mark.parametrize(
    "values",
    [
        {"site": "elsewhere"},
        {"ue_index": 10_000},
        {"part": UNUSED},
        {"block": 10_000},
        {"window": 10_000},
        {"window_step": 3},
    ],
    ids=str,
)
def test_split_hash_changes_when_any_value_of_a_row_changes(
    benchmark_dataset: Dataset, kind: str, values: dict[str, Any]
) -> None:
    split = split_of(benchmark_dataset, kind)
    row = int(split.rows(TRAIN)[-1])
    assert split.table.loc[row, "window_step"] != 3

    assert edited(split, row, **values).hash != split.hash


def test_split_hash_changes_when_rows_change_places(benchmark_dataset: Dataset) -> None:
    split = split_of(benchmark_dataset, "random-tracks")
    swapped = split.table.iloc[[1, 0, *range(2, len(split.table))]]

    assert Split(scene="yard", settings=split.settings, table=swapped).hash != split.hash


@each_kind
def test_split_is_accepted_when_its_hash_is_the_published_one(
    benchmark_dataset: Dataset, benchmark_task: FindTask, kind: str
) -> None:
    split = split_of(benchmark_dataset, kind)
    task = benchmark_task("interpolation", "yard").model_copy(
        update={"split": SETTINGS[kind], "split_hashes": {"yard": split.hash}}
    )

    assert Splits(benchmark_dataset, WINDOW_SIZE).get(task, "yard").hash == split.hash


@pytest.mark.parametrize("change", ["hash", "settings", "window size"])
def test_split_is_refused_when_it_is_not_the_published_one(
    benchmark_dataset: Dataset, benchmark_task: FindTask, change: str
) -> None:
    published = split_of(benchmark_dataset, "random-tracks").hash
    update: dict[str, Any] = {"split_hashes": {"yard": published}}
    if change == "hash":
        update["split_hashes"] = {"yard": "0" * 64}
    if change == "settings":
        update["split"] = RandomTracks(test_share=0.3)
    task = benchmark_task("interpolation", "yard").model_copy(update=update)
    splits = Splits(benchmark_dataset, WINDOW_SIZE + (change == "window size"))

    with pytest.raises(SplitError, match=r"split of yard .* settings or hash were edited"):
        splits.get(task, "yard")


@each_kind
@each_scene
def test_split_passes_its_check_when_clean(
    benchmark_dataset: Dataset, kind: str, scene: str
) -> None:
    split = split_of(benchmark_dataset, kind, scene)

    check_split(split, links_of(benchmark_dataset, scene))


@each_kind
def test_leaky_split_is_refused_when_a_ue_stands_in_two_parts(
    benchmark_dataset: Dataset, kind: str
) -> None:
    split = split_of(benchmark_dataset, kind)
    test, train = int(split.rows(TEST)[0]), int(split.rows(TRAIN)[0])
    leaky = edited(
        split,
        train,
        site=split.table.loc[test, "site"],
        ue_index=split.table.loc[test, "ue_index"],
    )

    with pytest.raises(SplitError, match="split of yard: a UE stands in two rows"):
        check_split(leaky, links_of(benchmark_dataset, "yard"))


@pytest.mark.parametrize("kind", of_whole_tracks)
@pytest.mark.parametrize("part", [TRAIN, VALIDATION])
def test_leaky_split_is_refused_when_a_track_is_divided(
    benchmark_dataset: Dataset, kind: str, part: int
) -> None:
    split = split_of(benchmark_dataset, kind)
    row = int(split.rows(TEST)[0])
    leaky = edited(split, row, part=part, window=10_000)
    name = track_keys(links_of(benchmark_dataset, "yard"))[row]

    with pytest.raises(SplitError, match=f"track {name} lies in two parts"):
        check_split(leaky, links_of(benchmark_dataset, "yard"))


@pytest.mark.parametrize("kind", of_whole_blocks)
@pytest.mark.parametrize("part", [TRAIN, VALIDATION])
def test_leaky_split_is_refused_when_a_block_is_divided(
    benchmark_dataset: Dataset, kind: str, part: int
) -> None:
    split = split_of(benchmark_dataset, kind)
    block = split.table.loc[int(split.rows(TEST)[0]), "block"]
    row = int(split.rows(part)[0])

    with pytest.raises(SplitError, match=f"block {block} lies in two parts"):
        check_split(edited(split, row, block=block), links_of(benchmark_dataset, "yard"))


@each_kind
def test_leaky_split_is_refused_when_a_window_mixes_parts(
    benchmark_dataset: Dataset, kind: str
) -> None:
    split = split_of(benchmark_dataset, kind)
    window = split.table.loc[int(split.rows(TEST)[0]), "window"]

    with pytest.raises(SplitError, match=f"window {window} lies in two parts"):
        check_split(
            edited(split, int(split.rows(TRAIN)[0]), window=window),
            links_of(benchmark_dataset, "yard"),
        )


@pytest.mark.parametrize("kind", [kind for kind, of in SETTINGS.items() if of.gap_m])
def test_leaky_split_is_refused_when_a_training_point_lies_within_the_buffer(
    benchmark_dataset: Dataset, kind: str
) -> None:
    split, links = split_of(benchmark_dataset, kind), links_of(benchmark_dataset, "yard")
    test, train = int(split.rows(TEST)[0]), int(split.rows(TRAIN)[0])
    near = links.copy()
    near.loc[train, ["x_m", "y_m"]] = links.loc[test, ["x_m", "y_m"]]

    with pytest.raises(SplitError, match=r"a training point lies 0.00 m from a test"):
        check_split(split, near)


@each_scene
def test_nlos_blocks_test_every_nlos_link_once_when_all_folds_run(
    benchmark_dataset: Dataset, scene: str
) -> None:
    links = links_of(benchmark_dataset, scene)
    folds = [split_of(benchmark_dataset, "nlos-blocks", scene, fold=fold) for fold in range(3)]
    times_tested = sum((parts_of(split) == TEST).astype(int) for split in folds)

    np.testing.assert_array_equal(times_tested, links["los"] == NLOS)
    for split in folds:
        assert (links["los"][split.rows(VALIDATION)] == NLOS).all()
        held_out = split.table["block"].isin(split.table["block"][split.rows(TEST)])
        assert set(parts_of(split)[held_out]) <= {TEST, UNUSED}


@each_scene
def test_nlos_blocks_validate_on_what_the_next_fold_tests_when_made(
    benchmark_dataset: Dataset, scene: str
) -> None:
    first, second = (
        split_of(benchmark_dataset, "nlos-blocks", scene, fold=fold) for fold in (0, 1)
    )

    assert set(first.rows(VALIDATION)) <= set(second.rows(TEST))


@each_scene
def test_nlos_blocks_are_squares_of_their_side_when_numbered(
    benchmark_dataset: Dataset, scene: str
) -> None:
    table = split_of(benchmark_dataset, "nlos-blocks", scene).table
    links = links_of(benchmark_dataset, scene)
    for _, rows in links.groupby(table["block"]):
        assert np.ptp(rows["x_m"]) <= 20.0
        assert np.ptp(rows["y_m"]) <= 20.0


@each_scene
def test_track_blocks_test_every_point_of_the_same_tracks_once_when_all_folds_run(
    benchmark_dataset: Dataset, scene: str
) -> None:
    keys = links_of(benchmark_dataset, scene)["walk"]
    folds = [split_of(benchmark_dataset, "track-blocks", scene, fold=fold) for fold in range(3)]
    times_tested = sum((parts_of(split) == TEST).astype(int) for split in folds)
    tested = set(keys[times_tested > 0])

    np.testing.assert_array_equal(times_tested, keys.isin(tested))
    for split in folds:
        handed_out = np.isin(parts_of(split), [TEST, CONTEXT])
        np.testing.assert_array_equal(handed_out, keys.isin(tested))
        for _, track in split.table[handed_out].groupby(keys[handed_out]):
            assert len(set(track["window"])) == 1
            assert track["window_step"].tolist() == list(range(len(track)))


@each_scene
def test_nothing_trains_in_a_block_that_is_tested_or_validated_on_when_tracks_are_whole(
    benchmark_dataset: Dataset, scene: str
) -> None:
    table = split_of(benchmark_dataset, "track-blocks", scene).table
    parts = (TRAIN, VALIDATION, TEST)
    blocks = {part: set(table["block"][table["part"] == part]) for part in parts}

    assert all(blocks.values())
    assert not blocks[TRAIN] & (blocks[VALIDATION] | blocks[TEST])
    assert not blocks[VALIDATION] & blocks[TEST]


def test_leaky_split_is_refused_when_the_context_of_a_test_trains(
    benchmark_dataset: Dataset,
) -> None:
    split = split_of(benchmark_dataset, "track-blocks")
    row = int(split.rows(CONTEXT)[0])
    links = links_of(benchmark_dataset, "yard")

    check_split(edited(split, row, part=CONTEXT), links)
    with pytest.raises(SplitError, match=f"track {track_keys(links)[row]} lies in two parts"):
        check_split(edited(split, row, part=TRAIN, window=10_000), links)


@each_scene
def test_crossing_tracks_pass_near_others_when_they_are_tested(
    benchmark_dataset: Dataset, scene: str
) -> None:
    split, links = (
        split_of(benchmark_dataset, "crossing-tracks", scene),
        links_of(benchmark_dataset, scene),
    )
    keys = track_keys(links)
    xy_m = links[["x_m", "y_m"]].to_numpy()
    for key in set(keys[split.rows(TEST)]):
        others_m = xy_m[keys != key]
        gaps_m = [np.linalg.norm(others_m - point, axis=1).min() for point in xy_m[keys == key]]
        assert np.median(gaps_m) <= 15.0


@pytest.mark.parametrize("kind", ["random-tracks", "crossing-tracks"])
def test_tracks_are_drawn_in_their_shares_when_split(benchmark_dataset: Dataset, kind: str) -> None:
    split = split_of(benchmark_dataset, kind)
    keys = track_keys(links_of(benchmark_dataset, "yard"))

    assert keys.nunique() == 32  # two sites, 80 UEs each, 5 steps a track
    assert keys[split.rows(TEST)].nunique() == 6  # 0.2 of them
    assert keys[split.rows(VALIDATION)].nunique() == 3  # 0.1 of them


def test_windows_are_the_tracks_cut_into_pieces_when_nothing_divides_them(
    benchmark_dataset: Dataset,
) -> None:
    table = split_of(benchmark_dataset, "random-tracks").table
    keys = track_keys(links_of(benchmark_dataset, "yard"))
    for _, track in table.groupby(keys):
        assert track["window_step"].tolist() == [0, 1, 2, 3, 0]
        first = track["window"].iloc[0]
        assert track["window"].tolist() == [first] * 4 + [first + 1]


@pytest.mark.parametrize("kind", ["random-tracks", "crossing-tracks"])
def test_split_treats_every_ue_as_a_track_when_there_are_none(
    two_site_dataset: Dataset, kind: str
) -> None:
    # The few UEs stand far apart: all may be tested, and the buffer takes none.
    wide = {"reach_m": 100.0} if kind == "crossing-tracks" else {}
    split = split_of(two_site_dataset, kind, "two_sites", **wide)
    used = split.table[split.table["part"] != UNUSED]

    assert set(split.table["site"]) == {"west", "east"}
    assert used["window"].is_unique
    assert (used["window_step"] == 0).all()
    assert [len(split.rows(part)) for part in (VALIDATION, TEST)] == [1, 3]


@pytest.mark.parametrize(
    ("kind", "part", "changes"),
    [
        ("nlos-blocks", "validation", {}),
        ("crossing-tracks", "validation", {"reach_m": 1e-3}),
        ("crossing-tracks", "train", {"reach_m": 500.0, "buffer_m": 500.0}),
    ],
)
def test_split_is_refused_in_one_sentence_when_there_are_too_few_ues(
    two_site_dataset: Dataset, kind: str, part: str, changes: dict[str, Any]
) -> None:
    message = f"the split '{kind}' of two_sites has no (train|{part}) links among 14 UEs; use more"

    with pytest.raises(SplitError, match=message) as caught:
        split_of(two_site_dataset, kind, "two_sites", **changes)

    assert "\n" not in str(caught.value)


def test_sites_see_the_ues_of_all_when_they_are_shared(
    shared_dataset: Dataset, benchmark_dataset: Dataset
) -> None:
    own = links_of(benchmark_dataset, "yard")
    shared = links_of(shared_dataset, "yard")
    west, east = (shared[shared["site"] == site] for site in ("west", "east"))

    np.testing.assert_array_equal(west[["x_m", "y_m"]], own[["x_m", "y_m"]])
    np.testing.assert_array_equal(west[["x_m", "y_m"]], east[["x_m", "y_m"]])
    assert west["track_id"].nunique() == own.groupby("site")["track_id"].nunique().sum()


@each_kind
def test_no_walk_is_in_training_and_test_when_sites_share_ues(
    kind: str, shared_dataset: Dataset
) -> None:
    split = split_of(shared_dataset, kind)
    links = links_of(shared_dataset, "yard")
    positions = links[["x_m", "y_m"]].apply(tuple, axis=1)

    test, train = (set(positions[parts_of(split) == part]) for part in (TEST, TRAIN))
    assert test
    assert train
    assert not test & train


def test_split_raises_when_a_shared_walk_is_divided_by_site(shared_dataset: Dataset) -> None:
    split = split_of(shared_dataset, "random-tracks")
    links = links_of(shared_dataset, "yard")
    test = links.iloc[split.rows(TEST)[0]]
    twin = np.flatnonzero((links["walk"] == test["walk"]) & (links["site"] != test["site"]))[0]

    with pytest.raises(SplitError, match="lies in two parts"):
        check_split(edited(split, int(twin), part=TRAIN), links)


def test_split_of_a_new_kind_is_refused_when_no_function_parts_its_links() -> None:
    class Unregistered(BaseSplit):
        pass

    with pytest.raises(SplitError, match=r"no function parts links by Unregistered; register one"):
        divide(Unregistered(), pd.DataFrame(), np.random.default_rng(0))
