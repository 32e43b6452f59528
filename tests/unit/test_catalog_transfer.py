"""Fetching files over HTTP from a real server on this machine that fails in every way we know."""

import contextlib
import hashlib
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from published import (
    Handler,
    Request,
    Server,
    cut_after,
    cut_without_ranges,
    endless,
    redirect_to,
    serving,
    unavailable,
    without_ranges,
    wrong_bytes,
    wrong_length,
)

from raymark.catalog.http import open_http
from raymark.catalog.transfer import Patience, Transfer, fetch_small
from raymark.errors import ConfigError, DatasetError
from raymark.release.record import ReleasedFile

CONTENT = bytes(range(256)) * 12_000
"""Three blocks, the last of them not full."""

PATIENCE = Patience(num_tries=3, pause_s=0.01, timeout_s=5.0)
FILE = ReleasedFile(size_bytes=len(CONTENT), sha256=hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of one file."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.bin").write_bytes(CONTENT)
    with serving(tmp_path / "site") as server:
        yield server


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Server]:
    """A mirror of it."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "a.bin").write_bytes(CONTENT)
    with serving(tmp_path / "mirror") as server:
        yield server


def transfer_to(folder: Path, *mirrors: str) -> Transfer:
    return Transfer(
        mirrors=list(mirrors),
        folder=folder / "files",
        partials=folder / "partials",
        patience=PATIENCE,
    )


def kept(folder: Path) -> list[int]:
    """Sizes of what has come of files that are not whole."""
    return sorted(path.stat().st_size for path in (folder / "partials").iterdir())


def is_there(folder: Path) -> bool:
    file = folder / "files" / "a.bin"
    return file.is_file() and file.read_bytes() == CONTENT


def test_file_is_fetched_once_when_all_is_well(server: Server, tmp_path: Path) -> None:
    told: list[int] = []

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE}, progress=told.append)
    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert kept(tmp_path) == []
    assert told[-1] == len(CONTENT)
    assert len(server.requests) == 1
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_file_goes_on_where_it_stopped_when_the_connection_breaks(
    server: Server, tmp_path: Path
) -> None:
    server.faults["a.bin"] = [cut_after(1_500_000), unavailable, cut_after(700_000)]

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert [request.start for request in server.requests] == [0, 1_500_000, 1_500_000, 2_200_000]
    assert server.sent_bytes("a.bin") == len(CONTENT)


def test_file_goes_on_where_it_stopped_when_another_process_begins_anew(
    server: Server, tmp_path: Path
) -> None:
    server.faults["a.bin"] = [cut_after(1_000_000), *[unavailable] * 3]
    with pytest.raises(DatasetError, match=r"a\.bin cannot be fetched: .*503.*the same command go"):
        transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})
    assert kept(tmp_path) == [1_000_000]
    assert not is_there(tmp_path)

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert server.sent_bytes("a.bin") == len(CONTENT)


def test_file_is_asked_of_nobody_when_all_of_it_had_come(server: Server, tmp_path: Path) -> None:
    (tmp_path / "partials").mkdir()
    (tmp_path / "partials" / hashlib.sha256(b"a.bin").hexdigest()).write_bytes(CONTENT)

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert server.requests == []


@pytest.mark.parametrize("rest", [b"x" * 1000, b"x" * (len(CONTENT) + 1), b"x" * len(CONTENT)])
def test_file_is_fetched_anew_when_what_had_come_is_wrong(
    server: Server, tmp_path: Path, rest: bytes
) -> None:
    (tmp_path / "partials").mkdir()
    (tmp_path / "partials" / hashlib.sha256(b"a.bin").hexdigest()).write_bytes(rest)

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)


def test_file_is_fetched_anew_when_the_one_that_is_there_was_damaged(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.bin").write_bytes(CONTENT[:-1] + b"x")

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)


def test_file_begins_anew_when_the_server_knows_no_ranges(server: Server, tmp_path: Path) -> None:
    server.faults["a.bin"] = [cut_without_ranges(1_500_000), without_ranges]

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert server.sent_bytes("a.bin") == 1_500_000 + len(CONTENT)


def test_file_comes_from_elsewhere_when_the_server_says_so(
    server: Server, other: Server, tmp_path: Path
) -> None:
    server.always["a.bin"] = redirect_to(f"{other.url}/a.bin")
    other.faults["a.bin"] = [cut_after(1_000_000)]

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert [request.start for request in other.requests] == [0, 1_000_000]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (wrong_bytes, r"a\.bin: the file differs from the release \(SHA-256\)"),
        (wrong_length, r"the file has 3072004 bytes there, and the release says 3072000"),
        (endless, "more comes than the 3072000 bytes that the release says; it was cut off"),
        (
            redirect_to("file:///etc/passwd"),
            "Redirection to url 'file:///etc/passwd' is not allowed",
        ),
        (redirect_to("ftp://127.0.0.1/x"), "leads to ftp://127.0.0.1/x, which is not http"),
    ],
)
def test_file_comes_from_a_mirror_when_the_first_is_of_no_use(
    server: Server,
    other: Server,
    tmp_path: Path,
    fault: object,
    reason: str,
) -> None:
    assert callable(fault)
    server.always["a.bin"] = fault
    with pytest.raises(DatasetError, match=reason):
        transfer_to(tmp_path / "alone", server.url).fetch({"a.bin": FILE})
    assert kept(tmp_path / "alone") == [0]  # nothing of what is wrong is kept

    transfer_to(tmp_path, server.url, other.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert other.sent_bytes("a.bin") == len(CONTENT)


def test_mirror_goes_on_when_the_first_one_dies_in_the_middle(
    server: Server, other: Server, tmp_path: Path
) -> None:
    server.faults["a.bin"] = [cut_after(2_000_000), *[unavailable] * 3]

    transfer_to(tmp_path, server.url, other.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert other.sent_bytes("a.bin") == len(CONTENT) - 2_000_000


def test_file_begins_anew_when_two_mirrors_have_different_ones(
    server: Server, other: Server, tmp_path: Path
) -> None:
    (server.folder / "a.bin").write_bytes(b"x" * len(CONTENT))
    server.faults["a.bin"] = [cut_after(2_000_000), *[unavailable] * 3]

    transfer_to(tmp_path, server.url, other.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert [request.start for request in other.requests] == [2_000_000, 0]


def test_all_mirrors_are_named_with_their_reasons_when_none_has_the_file(
    server: Server, other: Server, tmp_path: Path
) -> None:
    server.always["a.bin"] = wrong_bytes
    (other.folder / "a.bin").unlink()
    gone = tmp_path / "gone"

    with pytest.raises(DatasetError) as caught:
        transfer_to(tmp_path, server.url, other.url, str(gone)).fetch({"a.bin": FILE})

    for reason in (
        f"{server.url}/a.bin: the file differs from the release",
        f"{other.url}/a.bin: the server says 404 Not Found",
        f"{gone}/a.bin: there is no such file",
    ):
        assert reason in str(caught.value)


def test_server_is_named_when_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"127\.0\.0\.1:9/a\.bin: no connection \(Connection re"):
        transfer_to(tmp_path, "http://127.0.0.1:9").fetch({"a.bin": FILE})


def test_server_is_named_when_it_does_not_answer(server: Server, tmp_path: Path) -> None:
    waiting = threading.Event()

    def silent(handler: Handler, request: Request, _content: bytes) -> None:
        waiting.wait(5)
        handler.close_connection = True

    server.always["a.bin"] = silent
    impatient = Patience(num_tries=1, pause_s=0.0, timeout_s=0.2)
    with pytest.raises(DatasetError, match="the server does not answer in time"):
        fetch_small(f"{server.url}/a.bin", 10, impatient)
    waiting.set()


def test_other_mirrors_are_asked_first_when_one_has_failed(
    server: Server, other: Server, tmp_path: Path
) -> None:
    names = [f"{i}.bin" for i in range(12)]
    for name in names:
        (other.folder / name).write_bytes(CONTENT[:100])
    small = ReleasedFile(size_bytes=100, sha256=hashlib.sha256(CONTENT[:100]).hexdigest())

    transfer_to(tmp_path, server.url, other.url).fetch(dict.fromkeys(names, small))

    assert 1 <= len(server.requests) <= 4  # each thread may have met it
    assert len(other.requests) == len(names)


@pytest.mark.parametrize("name", ["../a.bin", "/a.bin", "x/../../a.bin", "a\0b", ""])
def test_nothing_is_written_when_a_name_leads_out(
    server: Server, tmp_path: Path, name: str
) -> None:
    (server.folder.parent / "files").mkdir()
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(DatasetError, match="is no name of a file in"):
        transfer_to(tmp_path, server.url).fetch({"a.bin": FILE, name: FILE})

    assert sorted(tmp_path.rglob("*")) == before
    assert server.requests == []


def test_name_is_quoted_when_it_has_signs_of_urls(server: Server, tmp_path: Path) -> None:
    name = "28 GHz+x?y#z%41.bin"
    (server.folder / "28 GHz+x").write_bytes(b"another")
    (server.folder / name).write_bytes(CONTENT)
    server.always[name.partition("?")[0]] = wrong_bytes

    transfer_to(tmp_path, server.url).fetch({name: FILE})

    assert (tmp_path / "files" / name).read_bytes() == CONTENT


def test_other_files_stop_when_one_cannot_be_had(server: Server, tmp_path: Path) -> None:
    def drip(handler: Handler, request: Request, content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for first in range(0, len(content), 10_000):
                handler.wfile.write(content[first : first + 10_000])
                request.num_bytes = first + 10_000
                time.sleep(0.02)
        handler.close_connection = True

    server.always["a.bin"] = drip

    with pytest.raises(DatasetError, match=r"none\.bin cannot be fetched: .*404"):
        transfer_to(tmp_path, server.url).fetch({"a.bin": FILE, "none.bin": FILE})

    assert server.sent_bytes("a.bin") < len(CONTENT)  # all of it would have come after six seconds


@pytest.mark.parametrize("scheme", ["ftp", "generic", "simplecache", "github"])
def test_mirror_is_refused_when_its_scheme_is_none_of_ours(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ConfigError, match=rf"nothing is fetched by {scheme}:// \(there are: ht"):
        transfer_to(tmp_path, f"{scheme}:///etc").fetch({"passwd": FILE})


def test_empty_file_is_there_when_fetched(server: Server, tmp_path: Path) -> None:
    empty = ReleasedFile(size_bytes=0, sha256=hashlib.sha256(b"").hexdigest())

    transfer_to(tmp_path, server.url).fetch({"deep/empty": empty})

    assert (tmp_path / "files" / "deep" / "empty").read_bytes() == b""


def test_secret_stays_with_its_host_when_another_one_is_named(
    server: Server, other: Server
) -> None:
    server.always["a.bin"] = redirect_to(f"{other.url}/a.bin")

    with open_http(f"{server.url}/a.bin", 0, 5.0, headers={"Authorization": "Bearer x"}) as stream:
        assert stream.size_bytes == len(CONTENT)

    assert server.requests[0].headers["Authorization"] == "Bearer x"
    assert "Authorization" not in other.requests[0].headers


def certificate(folder: Path) -> Path:
    """Write key and certificate of a server on this machine, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def secure(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same folder over HTTPS, by a server that is believed to be who it is."""
    path = certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path)
    trusted = ssl.create_default_context(cafile=str(path))
    monkeypatch.setattr("raymark.catalog.http._certificates", lambda: trusted)
    with serving(server.folder, tls) as found:
        yield found


def test_file_comes_over_https_when_its_server_is_believed(
    secure: Server, other: Server, tmp_path: Path
) -> None:
    secure.faults["a.bin"] = [cut_after(1_000_000)]

    transfer_to(tmp_path, secure.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)
    assert secure.sent_bytes("a.bin") == len(CONTENT)


def test_server_is_refused_when_nobody_vouches_for_it(
    secure: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raymark.catalog.http._certificates", ssl.create_default_context)

    with pytest.raises(DatasetError, match=r"no connection \(.*certificate verify failed"):
        transfer_to(tmp_path, secure.url).fetch({"a.bin": FILE})
    assert secure.requests == []


def test_redirect_is_refused_when_it_leaves_https(
    secure: Server, other: Server, tmp_path: Path
) -> None:
    secure.always["a.bin"] = redirect_to(f"{other.url}/a.bin")

    with pytest.raises(DatasetError, match=r"leads to http://.*/a\.bin, which is not https; it is"):
        transfer_to(tmp_path, secure.url).fetch({"a.bin": FILE})
    assert other.requests == []
    assert len(secure.requests) == 1  # and it is not asked again


def test_redirect_is_followed_when_it_goes_to_https(
    server: Server, secure: Server, tmp_path: Path
) -> None:
    server.always["a.bin"] = redirect_to(f"{secure.url}/a.bin")

    transfer_to(tmp_path, server.url).fetch({"a.bin": FILE})

    assert is_there(tmp_path)


def test_small_file_is_refused_when_it_is_large(server: Server) -> None:
    with pytest.raises(DatasetError, match="has more than 1000 bytes"):
        fetch_small(f"{server.url}/a.bin", 1000, PATIENCE)
    assert fetch_small(f"{server.url}/a.bin", len(CONTENT), PATIENCE) == CONTENT


def test_small_file_is_asked_for_again_when_it_breaks_off(server: Server) -> None:
    server.faults["a.bin"] = [unavailable, cut_after(10)]

    assert fetch_small(f"{server.url}/a.bin", len(CONTENT), PATIENCE) == CONTENT
