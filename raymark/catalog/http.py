"""Files over HTTP, from any point on, with the standard library."""

import contextlib
import functools
import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from raymark.errors import DatasetError

_WEB = ("http", "https")
_MAY_PASS = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers that may be better the next time."""


class UnreachableError(DatasetError):
    """No answer, or none of use now: the same question may be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """The bytes of a file from some point on.

    Attributes:
        start: Where they begin [B]: where it was asked for, or 0.
        size_bytes: Size of the whole file [B], if its keeper says it.
        read: Returns the next bytes, at most so many, as soon as there are some; none at the end.
    """

    start: int
    size_bytes: int | None
    read: Callable[[int], bytes | None]


class _Redirects(request.HTTPRedirectHandler):
    """Follows an answer elsewhere, but not out of https, nor with what only one host may know."""

    def redirect_request(
        self,
        req: request.Request,
        fp: Any,  # what beartype does not take for an IO
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in _WEB or (old.scheme == "https" and new.scheme != "https"):
            raise DatasetError(
                f"{req.full_url} leads to {newurl}, which is not {old.scheme}; it is not followed"
            )
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and (new.scheme, new.netloc) != (old.scheme, old.netloc):
            made.remove_header("Authorization")
        return made


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return who is believed to be who; reading them takes longer than many a file does."""
    return ssl.create_default_context()


def _opener() -> request.OpenerDirector:
    """Return what opens http and https alone: no file and no FTP, wherever an answer leads."""
    director = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(context=_certificates()),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        director.add_handler(handler)
    return director


@contextlib.contextmanager
def open_http(
    url: str, start: int, timeout_s: float, *, headers: Mapping[str, str] | None = None
) -> Iterator[Stream]:
    """Open a file from a point on; one whose server knows no ranges begins at its beginning.

    Args:
        url: Its address.
        start: Number of bytes that are not needed [B].
        timeout_s: How long the server may be silent [s].
        headers: What it is told besides.

    Raises:
        UnreachableError: If there is no answer, or one that may be better the next time.
        DatasetError: If there is no such file, or the answer is of no use.
    """
    asked = request.Request(url, headers={**(headers or {}), "Accept-Encoding": "identity"})  # noqa: S310 - the opener knows http and https alone
    if start:
        asked.add_header("Range", f"bytes={start}-")
    try:
        with _opener().open(asked, timeout=timeout_s) as answer:
            yield _stream_of(answer, url, start)
    except HTTPError as error:
        error.close()
        kind = UnreachableError if error.code in _MAY_PASS else DatasetError
        raise kind(f"{url}: the server says {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        is_final = isinstance(cause, ssl.SSLCertVerificationError)
        kind = DatasetError if is_final else UnreachableError
        raise kind(f"{url}: {_reason(cause)}") from error


def _stream_of(answer: Any, url: str, start: int) -> Stream:
    """Return the stream of an answer, whose headers must say what can be checked."""
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise DatasetError(f"{url}: the server sends it as '{encoding}', and not as it is")
    length = _number(answer.headers.get("Content-Length"))
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        began, size_bytes = _range_of(answer.headers.get("Content-Range", ""))
        if began != start:
            raise DatasetError(f"{url}: the server sends bytes from {began}, not from {start} on")
    elif answer.status == HTTPStatus.OK:
        began, size_bytes = 0, length
    else:
        raise DatasetError(f"{url}: the server says {answer.status}, and not that it has the file")
    return Stream(start=began, size_bytes=size_bytes, read=answer.read1)


def _range_of(text: str) -> tuple[int | None, int | None]:
    """Return where a part begins and how large the whole is, of `bytes 5-9/10`."""
    span, _, size = text.removeprefix("bytes").strip().partition("/")
    return _number(span.partition("-")[0]), _number(size)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None


def _reason(cause: BaseException | str) -> str:
    """Return in a few words why there is no answer."""
    if isinstance(cause, TimeoutError):
        return "the server does not answer in time"
    if isinstance(cause, OSError):
        return f"no connection ({cause.strerror or cause})"
    return f"the connection broke off ({cause if isinstance(cause, str) else type(cause).__name__})"
