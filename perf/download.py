"""Speed of getting a dataset by name against plain curl, and what a cut connection costs.

    python perf/download.py DATASET                  half a minute, 1 GB of temporary files
    python perf/download.py DATASET --megabytes 2 --repeats 1

The release is a finished dataset with one file of random bytes added. A server on this machine, in
a process of its own, serves it to both: to `Catalog.get`, which hashes every byte and puts the
dataset into an empty cache, and to curl (urllib where there is none), which only writes the files.
Then the same server breaks the connection once, in the middle of the large file.
"""

import argparse
import http.server
import json
import multiprocessing
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache
from raymark.config import sealed_json
from raymark.dataset import open_dataset
from raymark.release import About, Release
from raymark.release.hashing import hash_files
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Author, sums_text
from raymark.storage import file_sha256

LARGE_NAME = "run/random.bin"
NAME = "random-bytes"


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends files from where they are asked for; breaks off once if there is a file `cut`."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.root / self.path.lstrip("/")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        whole = path.stat().st_size
        end = whole
        if self.path.endswith(LARGE_NAME) and (self.root / "cut").exists():
            (self.root / "cut").unlink()
            end = whole // 2
        self.send_response(HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK)
        self.send_header("Content-Length", str(whole - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        self.wfile.flush()
        with path.open("rb") as file:
            sent = self.connection.sendfile(file, start, end - start) if end > start else 0
        self.close_connection = end < whole
        with (self.root / "sent").open("a", encoding="utf-8") as log:
            log.write(f"{self.path} {sent}\n")

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def serve(root: Path, port: Connection) -> None:
    """Serve a folder until the process ends."""
    handler = type("Bound", (Handler,), {"root": root})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port.send(server.server_port)
        server.serve_forever()


def write_release(data: Path, folder: Path, num_bytes: int) -> None:
    """Write a release of a dataset with one large file of random bytes."""
    dataset = open_dataset(data)
    shutil.copytree(data, folder)
    (folder / LARGE_NAME).parent.mkdir()
    (folder / LARGE_NAME).write_bytes(np.random.default_rng(0).bytes(num_bytes))
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    record = Release(
        version="1.0.0",
        date="2026-01-01",
        about=About(title="random bytes", authors=(Author(name="nobody"),)),
        tier=None,
        licence="CC0-1.0",
        dataset_id=dataset.manifest.id,
        content_hash=str(dataset.manifest.content_hash),
        left_out=dataset.manifest.left_out,
        materialized=(),
        benchmark=None,
        code_version="0",
        files=hash_files(folder, names),
    )
    (folder / RELEASE_NAME).write_text(sealed_json(record), encoding="utf-8")
    sums = sums_text(record, file_sha256(folder / RELEASE_NAME))
    (folder / SUMS_NAME).write_text(sums, encoding="utf-8")


def get(url: str, into: Path) -> None:
    """Get the release into an empty cache, as the command does."""
    catalog = Catalog(cache=DatasetCache(folder=into), address=f"{url}/index.json")
    catalog.get(Reference(name=NAME)).let_go()


def plain(url: str, names: list[str], into: Path) -> str:
    """Fetch the same files without a check; return by what."""
    targets = {f"{url}/release/{name}": into / name for name in names}
    for target in targets.values():
        target.parent.mkdir(parents=True, exist_ok=True)
    curl = shutil.which("curl")
    if curl is None:
        for source, target in targets.items():
            urllib.request.urlretrieve(source, target)  # noqa: S310 - this machine's own server
        return "urllib"
    command = [curl, "--silent", "--show-error", "--fail"]
    for source, target in targets.items():
        command += ["--output", str(target), source]
    subprocess.run(command, check=True)
    return "curl"


def timed(run: Callable[[Path], object], folder: Path) -> tuple[float, object]:
    """Return the time of a run into an empty folder [s], and what it gave."""
    started = time.perf_counter()
    found = run(folder)
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds, found


def measure(url: str, names: list[str], root: Path, repeats: int) -> dict[str, float | str]:
    """Time both in turn, and count the bytes that a cut costs."""
    best = {"get_s": float("inf"), "plain_s": float("inf")}
    peer: object = ""
    for _ in range(repeats):
        best["get_s"] = min(best["get_s"], timed(lambda f: get(url, f), root / "cache")[0])
        seconds, peer = timed(lambda f: plain(url, names, f), root / "plain")
        best["plain_s"] = min(best["plain_s"], seconds)
    (root / "site" / "sent").unlink()
    (root / "site" / "cut").touch()
    timed(lambda f: get(url, f), root / "cache")
    lines = (root / "site" / "sent").read_text(encoding="utf-8").splitlines()
    sent = [int(line.rsplit(" ", 1)[1]) for line in lines if LARGE_NAME in line]
    size = (root / "site" / "release" / LARGE_NAME).stat().st_size
    if len(sent) != 2:
        raise SystemExit(f"expected one cut and one resumption, got {len(sent)} requests")
    return {
        **best,
        "peer": str(peer),
        "ratio": best["plain_s"] / best["get_s"],
        "cut_cost": sum(sent) / size - 1,
    }


def main() -> None:
    """Read the command line, write the release, serve it, time both, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="folder of a finished dataset")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_release(arguments.dataset, root / "made", arguments.megabytes * 1_000_000)
        site = root / "site"
        made = publish_release(
            root / "made", str(site / "release"), str(site / "index.json"), name=NAME
        )
        files = [p for p in (site / "release").rglob("*") if p.is_file()]
        names = [p.relative_to(site / "release").as_posix() for p in files]
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(site, theirs))
        server.start()
        theirs.close()  # its own is the last: if it dies, nobody waits for its port
        try:
            url = f"http://127.0.0.1:{ours.recv()}"
            found = measure(url, names, root, arguments.repeats)
        finally:
            server.terminate()
            server.join()
    print(f"{made.entry.size_bytes / 1e6:.0f} MB in {len(names)} files, hashed while they come")
    print(f"raymark datasets get    {found['get_s']:.2f} s")
    print(f"{found['peer']:<22}  {found['plain_s']:.2f} s")
    print(f"speed against {found['peer']}      {found['ratio']:.2f}")
    print(f"bytes spent after a cut {100 * float(found['cut_cost']):.2f} % more")
    if arguments.json:
        arguments.json.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
