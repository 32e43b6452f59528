"""A small release made of closed forms, and an HTTP server that serves it, with faults if asked."""

import contextlib
import http.server
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from small_install import CAMPAIGN, SITE, traced, walking_ues

from raymark.config import sealed_json, validate
from raymark.dataset import open_dataset
from raymark.dataset.campaign import Campaign
from raymark.dataset.writing.imported import ImportedSite, write_imported
from raymark.release import About, BuildSettings, build_release, read_release
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Author, sums_text
from raymark.storage import file_sha256

SCENES = ("wall", "yard")


def write_release(folder: Path) -> None:
    """Write a release of two scenes at two bands, with arrays of one scene at one band."""
    ues = walking_ues()
    sites = [
        ImportedSite(
            scene=scene,
            site=SITE,
            ues=ues,
            paths=traced(ues),
            licence="CC0-1.0",
            attribution=f"those who built the {scene}",
        )
        for scene in SCENES
    ]
    campaign = validate(Campaign, {**CAMPAIGN, "scenes": list(SCENES)}, where="tests")
    data = folder.with_name(f"{folder.name}-data")
    write_imported(data, campaign, sites, notes=())
    about = About(
        title="Two walls",
        authors=(Author(name="Doe, Jane"),),
        licence="CC-BY-4.0",
        url="https://example.org/walls",
    )
    settings = BuildSettings(version="1.0.0", about=about, materialized=(("yard", "6GHz"),))
    build_release(open_dataset(data).folder, folder, settings)


def other_release(release: Path, folder: Path, **update: object) -> None:
    """Say something else in the record of a copy of a release, or of itself, sealed anew."""
    if release != folder:
        shutil.copytree(release, folder)
    made = read_release(release).model_copy(update=update)
    (folder / RELEASE_NAME).write_text(sealed_json(made), encoding="utf-8")
    sums = sums_text(made, file_sha256(folder / RELEASE_NAME))
    (folder / SUMS_NAME).write_text(sums, encoding="utf-8")


@dataclass
class Request:
    """What a client asked for: path, first byte, its other headers, and what it got."""

    path: str
    start: int
    headers: dict[str, str]
    status: int = 0
    num_bytes: int = 0


Answer = Callable[["Handler", Request, bytes], None]
"""Answers a request for a file in a way of its own."""


@dataclass
class Server:
    """Serves a folder, and remembers what it was asked.

    `faults` has ways to answer requests for a path; each is used once, in their order.
    """

    folder: Path
    url: str = ""
    faults: dict[str, list[Answer]] = field(default_factory=dict)
    always: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def sent_bytes(self, path: str) -> int:
        """Bytes of a file that were sent, over all requests."""
        return sum(request.num_bytes for request in self.requests if request.path == path)

    def asked(self, path: str) -> list[Request]:
        """Requests for a file, in their order."""
        return [request for request in self.requests if request.path == path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with files and ranges of files, as a good server does, unless a fault is planned."""

    protocol_version = "HTTP/1.1"
    owner: Server

    def do_GET(self) -> None:
        """Answer one request."""
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        span = self.headers.get("Range", "bytes=0-")
        start = int(span.removeprefix("bytes=").partition("-")[0])
        request = Request(path=path, start=start, headers=dict(self.headers))
        self.owner.requests.append(request)
        file = self.owner.folder / path
        planned = self.owner.faults.get(path, [])
        if planned:
            planned.pop(0)(self, request, file.read_bytes() if file.is_file() else b"")
        elif path in self.owner.always:
            self.owner.always[path](self, request, file.read_bytes() if file.is_file() else b"")
        elif not file.is_file():
            self.say(request, HTTPStatus.NOT_FOUND)
        else:
            self.send_file(request, file.read_bytes())

    def send_file(self, request: Request, content: bytes) -> None:
        """Send a file from where the client wants it."""
        whole, content = len(content), content[request.start :]
        status = HTTPStatus.PARTIAL_CONTENT if request.start else HTTPStatus.OK
        headers = {"Content-Length": str(len(content))}
        if request.start:
            headers["Content-Range"] = f"bytes {request.start}-{whole - 1}/{whole}"
        self.say(request, status, headers, content)

    def say(
        self,
        request: Request,
        status: HTTPStatus,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> None:
        """Send an answer; the connection ends with it."""
        request.status = status
        self.send_response(status)
        for name, value in (headers or {"Content-Length": "0"}).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)
            request.num_bytes += len(content)
        self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def cut_after(num_bytes: int) -> Answer:
    """Send so many bytes of what is wanted, and break off."""

    def answer(handler: Handler, request: Request, content: bytes) -> None:
        headers = {"Content-Length": str(len(content) - request.start)}
        if request.start:
            headers["Content-Range"] = f"bytes {request.start}-{len(content) - 1}/{len(content)}"
        status = HTTPStatus.PARTIAL_CONTENT if request.start else HTTPStatus.OK
        handler.say(request, status, headers, content[request.start :][:num_bytes])

    return answer


def unavailable(handler: Handler, request: Request, _content: bytes) -> None:
    """Say that it may work later."""
    handler.say(request, HTTPStatus.SERVICE_UNAVAILABLE)


def without_ranges(handler: Handler, request: Request, content: bytes) -> None:
    """Send the whole file, whatever was asked for."""
    handler.say(request, HTTPStatus.OK, {"Content-Length": str(len(content))}, content)


def cut_without_ranges(num_bytes: int) -> Answer:
    """Send the beginning of the file, whatever was asked for, and break off."""

    def answer(handler: Handler, request: Request, content: bytes) -> None:
        handler.say(
            request, HTTPStatus.OK, {"Content-Length": str(len(content))}, content[:num_bytes]
        )

    return answer


def wrong_bytes(handler: Handler, request: Request, content: bytes) -> None:
    """Send as many bytes, of which one is another."""
    middle = len(content) // 2
    edited = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    handler.send_file(request, edited)


def wrong_length(handler: Handler, request: Request, content: bytes) -> None:
    """Say and send more than there is."""
    handler.send_file(request, content + b"more")


def endless(handler: Handler, request: Request, content: bytes) -> None:
    """Say no length, and send more than there is."""
    handler.say(request, HTTPStatus.OK, {"X": "y"}, content + b"more" * 100_000)


def redirect_to(url: str) -> Answer:
    """Send the client to another address."""

    def answer(handler: Handler, request: Request, _content: bytes) -> None:
        handler.say(request, HTTPStatus.FOUND, {"Location": url, "Content-Length": "0"})

    return answer


@contextlib.contextmanager
def serving(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve a folder on this machine, over HTTPS if there is a certificate."""
    owner = Server(folder=folder)
    handler = type("Bound", (Handler,), {"owner": owner})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        owner.url = f"http://127.0.0.1:{server.server_port}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            owner.url = owner.url.replace("http:", "https:")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield owner
        finally:
            server.shutdown()
            thread.join()
