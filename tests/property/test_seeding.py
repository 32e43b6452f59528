import hashlib

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from raymark.seeding import child_generator

seeds = st.integers(0, 2**32 - 1)
names = st.lists(st.text("abcdefgh_", min_size=1, max_size=6) | st.integers(0, 99), max_size=4)


def draws(seed: int, path: list[str | int]) -> np.ndarray:
    return child_generator(seed, *path).random(8)


@given(seeds, names)
def test_child_generator_is_the_same_when_called_again(seed: int, path: list[str | int]) -> None:
    np.testing.assert_array_equal(draws(seed, path), draws(seed, path))


@given(seeds, names, names)
def test_child_generator_is_another_when_names_differ(
    seed: int, path: list[str | int], other: list[str | int]
) -> None:
    assume([str(x) for x in path] != [str(x) for x in other])

    assert not np.array_equal(draws(seed, path), draws(seed, other))


@given(seeds, seeds, names)
def test_child_generator_is_another_when_seeds_differ(
    seed: int, other: int, path: list[str | int]
) -> None:
    assume(seed != other)

    assert not np.array_equal(draws(seed, path), draws(other, path))


@given(seeds, st.lists(names, min_size=2, max_size=5))
def test_child_generator_is_the_same_when_others_draw_before(
    seed: int, paths: list[list[str | int]]
) -> None:
    alone = draws(seed, paths[-1])

    for path in paths[:-1]:
        draws(seed, path)

    np.testing.assert_array_equal(draws(seed, paths[-1]), alone)


def test_child_generator_keeps_its_stream_when_the_library_changes() -> None:
    """The stream decides the content of datasets: another value here makes old seeds void."""
    words = child_generator(1, "munich", "ue").integers(0, 2**32, 3).tolist()

    # Philox keyed by SeedSequence([1, *sha256("munich/ue") as little-endian words]).
    digest = hashlib.sha256(b"munich/ue").digest()
    entropy = [1] + [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    philox = np.random.Philox(np.random.SeedSequence(entropy))
    assert words == np.random.Generator(philox).integers(0, 2**32, 3).tolist()
