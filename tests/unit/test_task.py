import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import ValidationError

from raymark.benchmark.conditions import Conditions
from raymark.benchmark.task import (
    Suite,
    Task,
    TrackSettings,
    find_task,
    load_suite,
    split_key,
    suite_names,
)
from raymark.benchmark.tracks import TRACKS, TrackName
from raymark.config import config_hash, validate
from raymark.errors import ConfigError
from raymark.radio import BAND_PRESETS, FrontEnd, Impairments
from raymark.scenes.degrading.grades import GRADES

NUM_CELLS = 9
"""Three scenes at three bands."""

SUITE: dict[str, Any] = {
    "name": "own",
    "version": 3,
    "preset": "none",
    "content_hash": "00",
    "scenes": ["a", "b"],
    "bands": ["low", "high", "top"],
    "seeds": [0, 1],
    "tracks": [{"track": "interpolation", "split": {"kind": "random-tracks"}}],
}
NLOS: dict[str, Any] = {
    "track": "unseen-nlos",
    "split": {"kind": "nlos-blocks", "num_folds": 3},
    "folds": [0, 2],
}
CROSS_SCENE: dict[str, Any] = {
    "track": "cross-scene",
    "split": {"kind": "random-tracks"},
    "shots": [0, 10],
}


def suite_of(**changes: Any) -> Suite:
    return validate(Suite, {**SUITE, **changes}, where="own.yaml")


def only_track(settings: dict[str, Any], **changes: Any) -> tuple[Task, ...]:
    return suite_of(tracks=[settings], **changes).tasks()


@pytest.mark.parametrize(
    ("name", "num_folds", "num_shots"), [("mini", 1, 2), ("small", 5, 4), ("v1", 5, 4)]
)
def test_shipped_suite_has_a_task_for_every_cell_fold_and_shot_when_expanded(
    name: str, num_folds: int, num_shots: int
) -> None:
    tasks = load_suite(name).tasks()

    assert Counter(task.track for task in tasks) == {
        "interpolation": NUM_CELLS,
        "unseen-nlos": NUM_CELLS * num_folds,
        "unseen-track": NUM_CELLS,
        "cross-band": NUM_CELLS,
        "cross-scene": NUM_CELLS * num_shots,
        "impaired": NUM_CELLS,
    }
    assert len({task.id for task in tasks}) == len({task.slug for task in tasks}) == len(tasks)


def test_every_name_of_a_track_has_its_meaning() -> None:
    assert get_args(TrackName) == tuple(TRACKS)


def test_shipped_suites_are_the_tiers_and_those_of_one_question_when_listed() -> None:
    assert suite_names() == [
        "mini", "multi-site", "paper", "sequence", "sequence-map",
        "small", "small-budget", "small-map", "small-map-errors", "v1",
    ]  # fmt: skip


@pytest.mark.parametrize("name", suite_names())
def test_shipped_suite_publishes_every_split_and_no_other_when_loaded(name: str) -> None:
    suite = load_suite(name)

    needed = {split_key(t.track, scene, t.fold) for t in suite.tasks() for scene in t.scenes}
    assert set(suite.split_hashes) == needed
    for task in suite.tasks():
        assert set(task.split_hashes) == set(task.scenes)
    assert suite.superseded_by is None


def test_task_id_names_suite_track_cell_fold_shots_and_version_when_made() -> None:
    ids = [task.id for task in only_track(NLOS, scenes=["a"], bands=["low"])]
    shot_ids = [task.id for task in only_track(CROSS_SCENE, bands=["low"])]

    assert ids == ["own/unseen-nlos/a/low/fold-0@3", "own/unseen-nlos/a/low/fold-2@3"]
    assert shot_ids[:2] == ["own/cross-scene/a/low/shots-0@3", "own/cross-scene/a/low/shots-10@3"]
    assert only_track(NLOS)[0].slug == "own__unseen-nlos__a__low__fold-0"


def test_task_takes_its_fold_when_a_track_runs_several() -> None:
    tasks = only_track(NLOS)

    assert [task.fold for task in tasks[:2]] == [0, 2]
    assert all(task.split.kind == "nlos-blocks" and task.split.fold == task.fold for task in tasks)


def test_task_is_ranked_unless_it_interpolates_when_asked() -> None:
    ranked = {task.track: task.is_ranked for task in load_suite("mini").tasks()}

    assert {track for track, is_ranked in ranked.items() if not is_ranked} == {"interpolation"}
    assert set(ranked) == {
        name
        for name, track in TRACKS.items()
        if track.map_grade is None
        and not track.is_reproduction
        and not track.gives_tracks
        and track.num_sites is None
    }


def test_suite_of_sites_asks_the_same_ues_when_one_two_or_all_sites_hear_them() -> None:
    tasks = load_suite("multi-site").tasks()

    num_sites = {task.track: (task.num_sites, task.is_ranked) for task in tasks}
    assert num_sites == {
        "multi-site": ("all", True),
        "multi-site-2": (2, False),
        "multi-site-1": (1, False),
        "multi-site-nlos": ("all", True),
        "multi-site-nlos-2": (2, False),
        "multi-site-nlos-1": (1, False),
    }
    hashes: dict[tuple[str, str, int | None], set[str]] = {}
    for task in tasks:
        key = (task.split.kind, task.scene, task.fold)
        hashes.setdefault(key, set()).update(task.split_hashes.values())
    assert {len(same) for same in hashes.values()} == {1}


def test_suite_of_sequences_asks_whole_tracks_of_seen_and_unseen_places() -> None:
    tasks = load_suite("sequence").tasks()

    asked = {task.track: (task.split.kind, task.is_ranked) for task in tasks}
    assert asked == {
        "sequence": ("crossing-tracks", True),
        "sequence-unseen": ("track-blocks", True),
    }
    assert {task.split.windows for task in tasks} == {"tracks"}


@pytest.mark.parametrize(
    ("track", "split", "message"),
    [
        ("sequence", {"kind": "random-tracks"}, "hands out whole tracks: it needs windows: tracks"),
        (
            "unseen-track",
            {"kind": "crossing-tracks", "windows": "tracks"},
            "'unseen-track' has no use for windows: tracks",
        ),
        (
            "sequence-unseen",
            {"kind": "crossing-tracks", "windows": "tracks"},
            "is split by track-blocks, got 'crossing-tracks'",
        ),
        ("unseen-track", {"kind": "track-blocks", "windows": "tracks"}, "got 'track-blocks'"),
        ("sequence-unseen", {"kind": "track-blocks"}, "need windows: tracks, got 'consecutive'"),
        (
            "sequence-unseen",
            {"kind": "track-blocks", "windows": "tracks", "num_folds": 3, "fold": 3},
            r"fold must be below num_folds \(3\), got 3",
        ),
    ],
)
def test_suite_is_refused_when_tracks_and_windows_do_not_fit(
    track: str, split: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        suite_of(tracks=[{"track": track, "split": split}])


def test_suite_of_the_paper_takes_one_favour_away_with_each_track_and_ranks_none() -> None:
    tasks = {task.track: task for task in load_suite("paper").tasks()}
    favours = {
        track: (
            task.selects_on_test,
            task.conditions and task.conditions.budget,
            task.split.windows,
            task.split.kind,
        )
        for track, task in tasks.items()
    }

    assert list(favours) == [name for name, track in TRACKS.items() if track.is_reproduction]
    assert list(favours.values()) == [
        (True, "true values, the angle at the UE", "mixed-clusters", "random-tracks"),
        (True, "true values", "mixed-clusters", "random-tracks"),
        (True, "no noise", "mixed-clusters", "random-tracks"),
        (True, None, "mixed-clusters", "random-tracks"),
        (False, None, "mixed-clusters", "random-tracks"),
        (False, None, "clusters", "random-tracks"),
        (False, None, "clusters", "nlos-blocks"),
    ]
    assert not any(task.is_ranked for task in tasks.values())


def test_suite_of_maps_has_the_folds_of_unseen_nlos_and_ranks_one_grade() -> None:
    plain, maps = load_suite("small"), load_suite("small-map")
    ranked = {task.map_grade: task.is_ranked for task in maps.tasks()}

    assert ranked == {"exact": False, "surveyed": True, "open": False}
    assert maps.content_hash == plain.content_hash
    for task in maps.tasks():
        key = split_key("unseen-nlos", task.scene, task.fold)
        assert task.split_hashes == {task.scene: plain.split_hashes[key]}


def test_suite_of_errors_asks_one_fold_of_every_grade() -> None:
    maps, errors = load_suite("small-map"), load_suite("small-map-errors")
    grades = [task.map_grade for task in errors.tasks()]

    assert set(grades) == set(GRADES)
    assert len(grades) == 9 * len(GRADES)
    assert errors.content_hash == maps.content_hash
    for task in errors.tasks():
        key = split_key("map-exact", task.scene, 0)
        assert task.fold == 0
        assert task.split_hashes == {task.scene: maps.split_hashes[key]}


def test_suite_of_mapped_sequences_asks_the_unseen_blocks_of_sequences_and_ranks_one_grade() -> (
    None
):
    plain, maps = load_suite("sequence"), load_suite("sequence-map")
    ranked = {task.map_grade: task.is_ranked for task in maps.tasks()}

    assert ranked == {"surveyed": True, "open": False}
    assert maps.content_hash == plain.content_hash
    assert {task.split.windows for task in maps.tasks()} == {"tracks"}
    for task in maps.tasks():
        key = split_key("sequence-unseen", task.scene, task.fold)
        assert task.split_hashes == {task.scene: plain.split_hashes[key]}


def test_suite_of_budgets_asks_one_fold_of_unseen_nlos_at_five_gains() -> None:
    plain, budget = load_suite("small"), load_suite("small-budget")
    tasks = budget.tasks()

    assert Counter(task.gain_db for task in tasks) == dict.fromkeys([None, -10, 10, 20, 30], 6)
    assert budget.content_hash == plain.content_hash
    for task in tasks:
        key = split_key("unseen-nlos", task.scene, 0)
        assert task.split_hashes == {task.scene: plain.split_hashes[key]}


@pytest.mark.parametrize("track", [track for track in TRACKS if not track.startswith("cross")])
def test_task_trains_on_its_own_cell_when_nothing_crosses(track: str) -> None:
    for task in load_suite("mini").tasks():
        if task.track == track:
            assert [(x.scene, x.band) for x in task.train] == [(task.scene, task.band)]


def test_task_trains_on_the_other_bands_only_when_cross_band() -> None:
    tasks = only_track({"track": "cross-band", "split": {"kind": "random-tracks"}})

    assert len(tasks) == 6
    for task in tasks:
        others = [(task.scene, band) for band in SUITE["bands"] if band != task.band]
        assert [(x.scene, x.band) for x in task.train] == others


def test_task_trains_on_the_other_scenes_only_when_cross_scene() -> None:
    tasks = only_track(CROSS_SCENE, scenes=["a", "b", "c"])

    for task in tasks:
        others = [(scene, task.band) for scene in "abc" if scene != task.scene]
        assert [(x.scene, x.band) for x in task.train] == others
        assert set(task.scenes) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**NLOS, "folds": []}, "track 'unseen-nlos' with this split needs 'folds'"),
        (
            {"track": "interpolation", "split": {"kind": "random-tracks"}, "folds": [0]},
            "track 'interpolation' with this split has no use for 'folds'",
        ),
        ({**CROSS_SCENE, "shots": []}, "needs 'shots'"),
        (
            {"track": "cross-band", "split": {"kind": "random-tracks"}, "shots": [10]},
            "has no use for 'shots'",
        ),
        ({"track": "impaired", "split": {"kind": "random-tracks"}}, "needs 'conditions'"),
        (
            {**NLOS, "conditions": {"impairments": {"random_phase": True}}},
            "track 'unseen-nlos' has no use for impairments and blockage",
        ),
        (
            {**CROSS_SCENE, "conditions": {"blockage_probability": 0.1}},
            "its conditions are a link budget: noise, power_change_db, bandwidth_share, num_paths",
        ),
        (
            {**NLOS, "conditions": {"noise": "none", "power_change_db": 3.0}},
            "without noise, power_change_db changes nothing",
        ),
        ({**NLOS, "gains_db": [0, 10]}, "gains_db are different gains; 0 is the track itself"),
        ({**NLOS, "gains_db": [10, 10]}, "gains_db are different gains"),
        (
            {**NLOS, "gains_db": [10], "conditions": {"noise": "none"}},
            "without noise, gains_db change nothing",
        ),
        (
            {**NLOS, "gains_db": [30], "conditions": {"power_change_db": 40.0}},
            "power_change_db and a gain add up to 60 dB at most",
        ),
        ({**NLOS, "conditions": {"num_paths": 25}}, "less than or equal to 24, got 25"),
        ({**NLOS, "split": {"kind": "blocks"}}, "random-tracks"),
        (
            {**NLOS, "split": {**NLOS["split"], "block_cm": 5}},
            "unknown key .*; did you mean 'block_m'",
        ),
        ({**NLOS, "folds": [0], "track": "unseen"}, "unseen-nlos"),
        (
            {**NLOS, "split": {"kind": "nlos-blocks", "num_folds": 3, "fold": 3}},
            r"fold must be below num_folds \(3\), got 3",
        ),
    ],
)
def test_track_is_refused_when_its_keys_do_not_fit(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        suite_of(tracks=[settings])

    assert "own.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_suite_is_refused_when_it_runs_a_fold_that_does_not_exist() -> None:
    with pytest.raises(ConfigError, match=r"folds must be below num_folds \(3\)"):
        only_track({**NLOS, "folds": [0, 7]})


def test_suite_is_refused_with_the_nearest_key_when_a_key_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "window_sise": 4}), encoding="utf-8")

    with pytest.raises(ConfigError, match=r"own\.yaml: window_sise; did you mean 'window_size'\?"):
        load_suite(str(path))


def test_suite_equals_what_was_written_when_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(SUITE), encoding="utf-8")

    assert load_suite(str(path)) == suite_of()


def test_suite_offers_the_nearest_name_when_it_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown suite 'smal'; did you mean 'small'\?"):
        load_suite("smal")


def test_suite_is_refused_when_its_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.yaml"):
        load_suite(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("version", ["", "@4"])
def test_task_is_found_with_or_without_its_version_when_it_exists(version: str) -> None:
    task = find_task(f"small/unseen-nlos/etoile/28GHz/fold-3{version}")

    assert (task.scene, task.band, task.fold) == ("etoile", "28GHz", 3)
    assert task in load_suite("small").tasks()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("small/unseen-nlos/etoil/28GHz/fold-1", "small/unseen-nlos/etoile/28GHz/fold-1@4"),
        ("small/interpolation/munich/6GHz@1", "small/interpolation/munich/6GHz@4"),
    ],
)
def test_task_offers_the_nearest_name_when_it_is_unknown(name: str, nearest: str) -> None:
    message = f"unknown task '{name}'; did you mean '{nearest}'?"

    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        find_task(name)

    assert "lists all 117" in str(caught.value)


def test_task_offers_the_nearest_suite_when_its_suite_is_unknown() -> None:
    with pytest.raises(ConfigError, match="unknown suite 'mni'; did you mean 'mini'"):
        find_task("mni/interpolation/munich/6GHz")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 4},
        {"content_hash": "01"},
        {"window_size": 6},
        {"seeds": [0]},
        {"split_hashes": {"unseen-nlos/fold-0/a": "ab"}},
        {"tracks": [{**NLOS, "split": {**NLOS["split"], "buffer_m": 5.5}}]},
        {"tracks": [{**NLOS, "split": {**NLOS["split"], "seed": 1}}]},
    ],
    ids=str,
)
def test_task_and_suite_change_their_hashes_when_anything_changes(changes: dict[str, Any]) -> None:
    before = suite_of(tracks=[NLOS])
    after = suite_of(**{"tracks": [NLOS], **changes})

    assert config_hash(before.tasks()[0]) != config_hash(after.tasks()[0])
    assert before.hash != after.hash
    assert before.hash == suite_of(tracks=[NLOS]).hash


def test_task_changes_its_hash_when_conditions_change() -> None:
    def task(**conditions: Any) -> Task:
        track = {"track": "impaired", "split": {"kind": "random-tracks"}, "conditions": conditions}
        return only_track(track)[0]

    conditions: list[dict[str, Any]] = [
        {},
        {"power_change_db": -3.0},
        {"blockage_probability": 0.1},
        {"blockage_loss_db": 3.0},
        {"impairments": {"random_phase": True}},
        {"noise": "none"},
        {"bandwidth_share": 0.5},
        {"num_paths": 8},
    ]
    assert len({config_hash(task(**values)) for values in conditions}) == len(conditions)


def test_hash_of_conditions_is_the_earlier_one_when_they_use_no_new_key() -> None:
    keys = {"impairments", "power_change_db", "blockage_probability", "blockage_loss_db"}

    assert set(Conditions().model_dump(mode="json")) == keys
    for name in ("interpolation", "impaired"):
        (one, *_) = [task for task in load_suite("mini").tasks() if task.track == name]
        assert (one.conditions is None) == (name == "interpolation")
        assert one.training_conditions is None


def test_link_budget_holds_for_training_too_and_is_told_in_words() -> None:
    conditions = {"power_change_db": 10.0, "bandwidth_share": 0.5, "num_paths": 4}

    task = only_track({**NLOS, "conditions": conditions})[0]

    assert task.training_conditions == task.conditions == Conditions(**conditions)
    assert task.conditions.budget == "+10 dB, 50 % of the band, 4 estimated paths"
    assert Conditions(noise="none").budget == "no noise"
    assert Conditions().budget == ""


def test_conditions_change_power_and_band_and_nothing_else() -> None:
    front_end = FrontEnd(impairments=Impairments(random_phase=True))
    band = BAND_PRESETS["6GHz"]
    conditions = Conditions(power_change_db=10.0, bandwidth_share=0.3)

    made, narrow = conditions.applied_to(front_end, band)

    assert made.ue.tx_power_dbm == front_end.ue.tx_power_dbm + 10.0
    assert made.impairments == front_end.impairments
    # 0.3 of 64 tones, to the nearest even number; the same tones, the same power on fewer.
    assert narrow.num_subcarriers == 20
    assert narrow.subcarrier_spacing_hz == band.subcarrier_spacing_hz
    expected = front_end.noise_variance(band) * (20 / 64) / 10
    assert made.noise_variance(narrow) == pytest.approx(expected)
    assert Conditions().applied_to(front_end, band) == (front_end, band)
    quiet, _ = Conditions(noise="none").applied_to(front_end, band)
    assert quiet.noise_variance(band) == pytest.approx(front_end.noise_variance(band) / 1e6)


def test_suite_knows_no_published_split_when_bound_to_another_dataset() -> None:
    suite = load_suite("mini")
    other = suite.rebound("ff")

    assert (other.content_hash, other.split_hashes) == ("ff", {})
    assert other.hash != suite.hash
    assert "compare with no other board" in other.description
    assert [task.id for task in other.tasks()] == [task.id for task in suite.tasks()]


def test_task_cannot_be_changed_when_made() -> None:
    task = suite_of().tasks()[0]

    with pytest.raises(ValidationError, match="frozen"):
        task.seeds = (5,)  # type: ignore[misc]


def test_conditions_are_those_of_the_dataset_when_nothing_is_given() -> None:
    clean = Conditions()

    assert (clean.power_change_db, clean.blockage_probability) == (0.0, 0.0)
    assert clean.impairments == type(clean.impairments)()


def test_track_settings_are_immutable_values_when_equal() -> None:
    one, other = (validate(TrackSettings, NLOS, where="x") for _ in range(2))

    assert one == other
    assert hash(one.split) == hash(other.split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scenes": ["a", "a"]}, "'scenes' lists something twice"),
        ({"seeds": [-1]}, "greater than or equal to 0, got -1"),
        ({"split_hashes": {"interpolation/c": "0"}}, "unknown split 'interpolation/c'"),
    ],
)
def test_suite_is_refused_when_its_lists_do_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        suite_of(**change)


def test_suite_is_refused_when_a_scene_is_crossed_and_there_is_but_one() -> None:
    with pytest.raises(ConfigError, match="'cross-scene' needs at least two scenes"):
        only_track(CROSS_SCENE, scenes=["a"])


def test_suite_is_refused_when_unseen_nlos_is_not_split_by_blocks() -> None:
    with pytest.raises(ConfigError, match="is split by nlos-blocks, got 'random-tracks'"):
        only_track({"track": "unseen-nlos", "split": {"kind": "random-tracks"}})


def test_seeds_are_those_named_in_the_order_of_the_suite() -> None:
    suite = load_suite("small")

    assert suite.seeds_of(()) == suite.seeds
    assert suite.seeds_of((2, 0)) == (0, 2)
    with pytest.raises(ConfigError, match=r"suite 'small' has no seed 7 \(it has: 0, 1, 2\)"):
        suite.seeds_of((7,))
