"""How shards are put together, so that workers load few sites and none idles."""

import pytest

from raymark.generator.generate import _block_size


@pytest.mark.parametrize(
    ("num_jobs", "num_workers", "expected"),
    [
        (1, 100, 1),  # fewer shards than workers: each its own block
        (32, 2, 4),  # four blocks for each worker
        (100_000, 100, 10),  # never more than ten, so that a lost worker loses little
        (50, 0, 10),  # no worker has joined yet
    ],
)
def test_blocks_leave_several_for_each_worker_when_there_are_enough(
    num_jobs: int, num_workers: int, expected: int
) -> None:
    assert _block_size(num_jobs, num_workers) == expected
