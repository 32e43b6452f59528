"""Speed of `raymark release verify` at the level of hashes, against `sha256sum -c`.

    python perf/release_verify.py                half a minute, 1 GB of temporary files
    python perf/release_verify.py --megabytes 100

The release consists of random bytes: a few large files, as fingerprints are, and many small ones,
as shards and predictions are. Both read the same files, which the system holds in memory.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from raymark.config import sealed_json
from raymark.release import About, Release, verify_release
from raymark.release.hashing import hash_files
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Author, sums_text
from raymark.storage import file_sha256

LARGE_BYTES, SMALL_BYTES = 50_000_000, 50_000
SMALL_SHARE = 0.2


def write_release(folder: Path, num_bytes: int) -> int:
    """Write random files with a record and sums; return their number."""
    rng = np.random.default_rng(0)
    num_large = max(1, round(num_bytes * (1 - SMALL_SHARE) / LARGE_BYTES))
    sizes = [LARGE_BYTES] * num_large + [SMALL_BYTES] * round(num_bytes * SMALL_SHARE / SMALL_BYTES)
    for i, size in enumerate(sizes):
        (folder / f"file-{i:05d}.bin").write_bytes(rng.bytes(size))
    record = Release(
        version="1.0.0",
        date="2026-01-01",
        about=About(title="random bytes", authors=(Author(name="nobody"),)),
        tier=None,
        licence="CC0-1.0",
        dataset_id="none",
        content_hash="",
        left_out=(),
        materialized=(),
        benchmark=None,
        code_version="0",
        files=hash_files(folder, sorted(path.name for path in folder.iterdir())),
    )
    (folder / RELEASE_NAME).write_text(sealed_json(record), encoding="utf-8")
    sums = sums_text(record, file_sha256(folder / RELEASE_NAME))
    (folder / SUMS_NAME).write_text(sums, encoding="utf-8")
    return len(sizes)


def ours(folder: Path) -> None:
    """Verify as the command does."""
    faults = verify_release(folder, "hashes")
    if faults:
        raise SystemExit(faults[0])


def peer(folder: Path) -> None:
    """Check the sums as a user without raymark does."""
    command = ["sha256sum", "--check", "--quiet", SUMS_NAME]
    subprocess.run(command, cwd=folder, check=True)


def best_of(run: Callable[[Path], None], folder: Path, repeats: int) -> float:
    """Return the shortest of some runs [s]."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(folder)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Read the command line, write the files, time both in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        num_files = write_release(folder, arguments.megabytes * 1_000_000)
        seconds = {run.__name__: best_of(run, folder, arguments.repeats) for run in (ours, peer)}
    ratio = seconds["ours"] / seconds["peer"]
    print(f"{arguments.megabytes} MB in {num_files} files")
    print(f"raymark release verify  {seconds['ours']:.2f} s")
    print(f"sha256sum --check       {seconds['peer']:.2f} s")
    print(f"ratio                   {ratio:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**seconds, "ratio": ratio}), encoding="utf-8")


if __name__ == "__main__":
    main()
