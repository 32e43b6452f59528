"""Which paths hold a share of the power of a link, against ten naive lines."""

import numpy as np
import pytest

from raymark.dataset.writing.kept import needed_paths

RNG = np.random.default_rng(5)
UE = RNG.integers(0, 6, 200)
POWER = 10 ** RNG.uniform(-9, 0, (3, 200))


def naive(power: np.ndarray, ue_index: np.ndarray, share: float) -> set[int]:
    needed = set()
    for values in power:
        for ue in set(ue_index.tolist()):
            rows = np.flatnonzero(ue_index == ue)
            held, total = 0.0, values[rows].sum()
            for row in rows[np.argsort(-values[rows], kind="stable")]:
                if held >= share * total:
                    break
                needed.add(int(row))
                held += values[row]
    return needed


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999, 1 - 1e-6])
def test_needed_paths_are_those_of_a_plain_loop_when_powers_are_random(share: float) -> None:
    needed = needed_paths(POWER, UE, 6, share=share)

    assert set(np.flatnonzero(needed)) == naive(POWER, UE, share)


def test_needed_paths_are_the_same_when_a_link_is_alone() -> None:
    whole = needed_paths(POWER, UE, 8, share=0.999)

    for ue in range(6):
        rows = np.flatnonzero(ue == UE)
        alone = needed_paths(POWER[:, rows], np.zeros(len(rows), dtype="i8"), 1, share=0.999)
        np.testing.assert_array_equal(alone, whole[rows])


def test_path_is_not_needed_when_it_has_no_power() -> None:
    power = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])

    assert needed_paths(power, np.array([0, 0, 1]), 2, share=0.9).tolist() == [False, True, False]


@pytest.mark.parametrize("num_ues", [0, 4])
def test_nothing_is_needed_when_there_is_no_path(num_ues: int) -> None:
    none = np.zeros(0, dtype="i8")

    assert needed_paths(np.zeros((2, 0)), none, num_ues, share=0.9).shape == (0,)
