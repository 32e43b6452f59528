"""From traced paths to shard arrays: merging, ranking, cutting off, labelling."""

from typing import Any

import numpy as np
import pytest

from raymark.dataset.campaign import TracerSettings
from raymark.dataset.schema import check_arrays
from raymark.dataset.writing.assembly import assemble_shard, merge_duplicates
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.radio import Site

SPEED_OF_LIGHT_M_S = 299_792_458.0
SITE = Site(name="bs0", position_m=(0.0, 0.0, 10.0), azimuth_deg=0.0)


def traced(rows: list[dict[str, Any]], num_references: int = 0) -> TracedPaths:
    """Paths given by what matters: UE, length, interactions, amplitudes, perhaps a direction."""
    count = len(rows)
    direction = np.array([row.get("direction", (1.0, 0.0, 0.0)) for row in rows], dtype="f4")
    codes = [[*row.get("interaction", ()), 0, 0] for row in rows]
    interaction = np.array([code[:2] for code in codes], dtype="u1").reshape(count, 2)
    return TracedPaths(
        ue_index=np.array([row["ue"] for row in rows], dtype="i8"),
        delay_s=np.array([row["length_m"] / SPEED_OF_LIGHT_M_S for row in rows], dtype="f4"),
        direction_bs=direction.reshape(count, 3),
        direction_ue=-direction.reshape(count, 3),
        interaction=interaction,
        vertex_m=np.zeros((count, 2, 3), dtype="f4"),
        object_index=np.where(interaction > 0, 1, -1).astype("i2"),
        primitive=np.where(interaction > 0, 5, -1).astype("i4"),
        wedge=np.zeros((count, 13), dtype="f4"),
        amplitude=np.array([row["a"] for row in rows], dtype="c8").reshape(count, -1).T,
        num_references=num_references,
    )


def assemble(
    rows: list[dict[str, Any]], num_ues: int, num_references: int = 0, **settings: Any
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    ues = SampledUEs(
        position_m=np.zeros((num_ues, 3), dtype="f4"),
        track_id=np.zeros(num_ues, dtype="i4"),
        track_step=np.arange(num_ues, dtype="i4"),
    )
    main, detail = assemble_shard(
        traced(rows, num_references),
        ues,
        first_ue=100,
        site=SITE,
        settings=TracerSettings(**{"kept_power_share": None, **settings}),
        material_of_object=np.array([7, 8]),
    )
    check_arrays("paths", main, where="paths")
    check_arrays("detail", detail, where="detail")
    return main, detail


MIXED = [
    {"ue": 2, "length_m": 50, "interaction": [1], "a": [0.1, 0.4]},
    {"ue": 0, "length_m": 30, "a": [0.5, 0.2]},
    {"ue": 2, "length_m": 70, "interaction": [1, 8], "a": [0.3, 0.1]},
    {"ue": 0, "length_m": 40, "interaction": [1], "a": [0.7, 0.1j]},
]


def test_paths_are_grouped_by_ue_and_strongest_first_when_assembled() -> None:
    main, detail = assemble(MIXED, 4)

    assert main["link/path_offset"].tolist() == [0, 2, 2, 4, 4]
    np.testing.assert_allclose(main["path/amplitude"][0], [0.7, 0.5, 0.3, 0.1])
    np.testing.assert_allclose(main["path/amplitude"][1], [0.1j, 0.2, 0.1, 0.4])
    assert main["ue/ue_index"].tolist() == [100, 101, 102, 103]
    assert main["path/num_interactions"].tolist() == [1, 0, 2, 1]
    assert detail["path/material"].tolist() == [[8, -1], [-1, -1], [8, 8], [8, -1]]


def test_labels_tell_los_nlos_and_outage_when_assembled() -> None:
    main, _ = assemble(MIXED, 4)

    assert main["link/los"].tolist() == [1, -1, 0, -1]


def test_assemble_shard_makes_outage_when_nothing_was_found() -> None:
    main, _ = assemble([{"ue": 0, "length_m": 999, "a": [1.0]}], 3, max_path_length_m=380.0)

    assert main["link/los"].tolist() == [-1, -1, -1]
    assert main["path/amplitude"].shape == (1, 0)


def test_weak_paths_are_cut_off_and_counted_when_there_are_too_many() -> None:
    powers = np.array([0.5, 0.3, 0.15, 0.05])
    rows = [
        {"ue": 0, "length_m": 10 + i, "interaction": [1], "a": [np.sqrt(p), np.sqrt(0.1)]}
        for i, p in enumerate(powers)
    ]

    main, _ = assemble(rows, 2, max_num_paths=2)

    np.testing.assert_allclose(np.abs(main["path/amplitude"][0]) ** 2, [0.5, 0.3], rtol=1e-6)
    assert main["link/saturated"].tolist() == [True, False]
    # 0.2 of 1.0 is lost at the first band, half of four equal powers at the second.
    expected_db = [[10 * np.log10(0.2), -200], [10 * np.log10(0.5), -200]]
    np.testing.assert_allclose(main["link/truncated_power_db"], expected_db, atol=1e-4)


def test_long_paths_are_dropped_and_counted_when_over_the_limit() -> None:
    rows = [
        {"ue": 0, "length_m": 100, "a": [0.6]},
        {"ue": 0, "length_m": 380.5, "interaction": [1], "a": [0.8]},
    ]

    main, _ = assemble(rows, 1, max_path_length_m=380.0)

    np.testing.assert_allclose(main["path/delay_s"] * SPEED_OF_LIGHT_M_S, [100], rtol=1e-6)
    assert not main["link/saturated"][0]
    assert main["link/truncated_power_db"][0, 0] == pytest.approx(10 * np.log10(0.64), abs=1e-4)


def test_longer_path_does_not_take_a_place_when_places_are_few() -> None:
    rows = [
        {"ue": 0, "length_m": 500, "interaction": [1], "a": [0.9]},
        {"ue": 0, "length_m": 100, "a": [0.6]},
        {"ue": 0, "length_m": 110, "interaction": [1], "a": [0.3]},
    ]

    main, _ = assemble(rows, 1, max_num_paths=2, max_path_length_m=380.0)

    np.testing.assert_allclose(main["path/amplitude"][0], [0.6, 0.3])
    assert not main["link/saturated"][0]


SAME = {"ue": 0, "length_m": 100.0, "interaction": [8], "a": [0.5]}


def test_duplicate_counts_once_when_paths_are_the_same() -> None:
    rows = [SAME, {**SAME, "a": [0.6]}, {**SAME, "length_m": 100.01}]

    kept = merge_duplicates(traced(rows))

    assert kept.tolist() == [1]  # the strongest


@pytest.mark.parametrize(
    "change",
    [
        {"ue": 1},
        {"length_m": 100.1},
        {"interaction": [1]},
        {"interaction": [8, 1]},
        {"direction": (0.99995, 0.01, 0.0)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_paths_stay_apart_when_anything_differs(change: dict[str, Any]) -> None:
    assert merge_duplicates(traced([SAME, {**SAME, **change}])).tolist() == [0, 1]


def test_shard_is_the_same_when_paths_come_in_another_order() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "ue": int(rng.integers(5)),
            "length_m": float(rng.uniform(10, 400)),
            "interaction": [int(rng.choice([1, 8]))],
            "a": rng.uniform(0.1, 1, 2).tolist(),
            "direction": tuple(rng.normal(size=3)),
        }
        for _ in range(60)
    ]
    first, _ = assemble(rows, 5, max_num_paths=6)

    second, _ = assemble([rows[i] for i in rng.permutation(60)], 5, max_num_paths=6)

    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array)


# Powers at one band, and at two carriers of reference.
RANKED = [
    {"ue": 0, "length_m": 900, "interaction": [1], "a": np.sqrt([0.90, 0.899, 0.10]).tolist()},
    {"ue": 0, "length_m": 50, "interaction": [8], "a": np.sqrt([0.09, 0.100, 0.20]).tolist()},
    {"ue": 0, "length_m": 60, "interaction": [8], "a": np.sqrt([0.01, 0.001, 0.70]).tolist()},
    {"ue": 0, "length_m": 70, "interaction": [8], "a": np.sqrt([1e-4, 1e-6, 1e-5]).tolist()},
]


def test_paths_are_kept_until_a_share_of_power_when_references_rank_them() -> None:
    main, _ = assemble(RANKED, 2, num_references=2, kept_power_share=0.99)

    np.testing.assert_allclose(np.abs(main["path/amplitude"]) ** 2, [[0.9, 0.09, 0.01]], rtol=1e-5)
    assert main["link/saturated"].tolist() == [False, False]
    lost_db = 10 * np.log10(1e-5 / 1.00001)  # at the worse of both
    np.testing.assert_allclose(main["link/truncated_power_db"], [[lost_db, -200]], atol=1e-3)


def test_paths_with_the_largest_share_stay_when_more_are_needed_than_may_be_kept() -> None:
    main, _ = assemble(RANKED, 1, num_references=2, kept_power_share=0.99, max_num_paths=2)

    np.testing.assert_allclose(np.abs(main["path/amplitude"]) ** 2, [[0.9, 0.01]], rtol=1e-5)
    assert main["link/saturated"].tolist() == [True]
    lost_db = 10 * np.log10(0.20001 / 1.00001)
    np.testing.assert_allclose(main["link/truncated_power_db"], [[lost_db]], atol=1e-3)


def test_line_of_sight_stays_when_it_is_too_weak_to_be_needed() -> None:
    blocked = {"ue": 0, "length_m": 40, "a": np.sqrt([1e-6, 1e-6, 1e-6]).tolist()}

    main, _ = assemble([*RANKED, blocked], 1, num_references=2, kept_power_share=0.99)

    assert main["link/los"].tolist() == [1]
