"""The Hugging Face hub by its own client, against a stand-in on this machine.

The stand-in answers what the client asks when it makes a dataset, commits files and looks for them.
It takes every file as a regular one; the hub's storage of large files (LFS, Xet) is not tried here.
"""

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

import pytest

from raymark.release import verify_release

pytestmark = [pytest.mark.slow, pytest.mark.needs("huggingface_hub")]

REPO, COMMIT, TOKEN = "tests/walls", "c" * 40, "hf_of_the_tests"

CHILD = """
import sys
from pathlib import Path
from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache

release, index, cache = sys.argv[1:]
target = "hf://datasets/tests/walls"
for _ in range(2):
    made = publish_release(Path(release), target, index)
    print(made.was_there, *made.entry.mirrors)
catalog = Catalog(cache=DatasetCache(folder=Path(cache)), address=index)
held = catalog.get(Reference(name="two-walls"))
print(held.folder)
"""
"""Publishes twice and gets; the client reads the hub's address when it is imported."""


class Hub(http.server.BaseHTTPRequestHandler):
    """What of the hub's API is asked here, for one dataset."""

    protocol_version = "HTTP/1.1"
    files: dict[str, bytes]
    asked: list[tuple[str, str, str]]

    def do_GET(self) -> None:
        """Send a file from where it is asked for, or say of which commit the dataset is."""
        self.note()
        if self.path.startswith("/api/"):
            self.answer({"id": REPO, "sha": COMMIT, "siblings": []})
            return
        content = self.files.get(self.file_name())
        if content is None:
            self.send(HTTPStatus.NOT_FOUND, b"", {"X-Error-Code": "EntryNotFound"})
            return
        self.send(HTTPStatus.OK, content, {"ETag": '"x"', "X-Repo-Commit": COMMIT})

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def do_POST(self) -> None:
        """Make the dataset, say how files are to come, take a commit."""
        self.note()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]
            self.answer({"files": modes})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/datasets/{REPO}/commit/{COMMIT}"
            self.answer({"commitUrl": url, "commitOid": COMMIT})
        else:
            self.answer({"url": f"http://{self.headers['Host']}/datasets/{REPO}", "id": REPO})

    def note(self) -> None:
        """Remember who asked for what."""
        self.asked.append((self.command, self.path, self.headers.get("Authorization", "")))

    def file_name(self) -> str:
        """The file that a path of `resolve` means."""
        return unquote(self.path).partition("/resolve/")[2].partition("/")[2]

    def answer(self, value: object) -> None:
        """Send JSON."""
        self.send(HTTPStatus.OK, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: HTTPStatus, content: bytes, headers: dict[str, str]) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[tuple[str, type[Hub]]]:
    """A hub without files: its address, and what it holds and was asked."""
    handler = type("Bound", (Hub,), {"files": {}, "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


def test_release_has_the_same_bytes_when_published_to_a_hub_and_fetched(
    hub: tuple[str, type[Hub]], small_release: Path, tmp_path: Path
) -> None:
    address, state = hub
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }

    done = subprocess.run(
        [sys.executable, "-c", CHILD, small_release, tmp_path / "index.json", tmp_path / "cache"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    first, second, folder = done.stdout.splitlines()
    assert first == f"False hf://datasets/{REPO}@{COMMIT}"
    assert second == f"True hf://datasets/{REPO}@{COMMIT}"
    names = {
        p.relative_to(small_release).as_posix() for p in small_release.rglob("*") if p.is_file()
    }
    assert set(state.files) == names
    assert verify_release(Path(folder), "hashes") == []
    fetched = [path for method, path, _ in state.asked if method == "GET" and "/resolve/" in path]
    assert all(f"/datasets/{REPO}/resolve/{COMMIT}/" in path for path in fetched)
    assert {token for _, path, token in state.asked if REPO in path} == {f"Bearer {TOKEN}"}
    assert sum("/commit/" in path for _, path, _ in state.asked) == 1
