"""The Hugging Face hub: its own client says where a file is, as whom to ask, and how to upload."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from raymark.catalog.http import Stream, open_http
from raymark.errors import ConfigError, DatasetError, RaymarkError
from raymark.extras import import_extra

_REPO = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)/?", re.ASCII)
_FILE = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+)", re.ASCII
)


@contextlib.contextmanager
def open_hub(location: str, start: int, timeout_s: float) -> Iterator[Stream]:
    """Open a file of a dataset on the hub; the file itself comes over HTTP.

    Args:
        location: `hf://datasets/OWNER/NAME/PATH`, with `@REVISION` behind the name if need be.
        start: Number of bytes that are not needed [B].
        timeout_s: How long the server may be silent [s].

    Raises:
        ConfigError: If it is no such location, or huggingface_hub is not installed.
        DatasetError: As `open_http` does.
    """
    found = _FILE.fullmatch(location)
    if found is None:
        raise ConfigError(f"{location} is no file of a dataset: hf://datasets/OWNER/NAME/FILE")
    hub = import_extra("huggingface_hub", name="what hf:// needs")
    url = hub.hf_hub_url(
        found["repo"], found["path"], repo_type="dataset", revision=found["revision"]
    )
    with open_http(url, start, timeout_s, headers=hub.utils.build_hf_headers()) as stream:
        yield stream


def require_hub_repo(location: str) -> str:
    """Return owner and name of the dataset that a URL names.

    Raises:
        ConfigError: If it names none, or a folder in one.
    """
    found = _REPO.fullmatch(location)
    if found is None:
        raise ConfigError(f"{location} is no dataset of the hub: hf://datasets/OWNER/NAME")
    return found["repo"]


@contextlib.contextmanager
def explained_hub(location: str, hub: Any) -> Iterator[None]:
    """Turn the errors of the hub's client into one sentence.

    Raises:
        DatasetError: If the hub refuses, or cannot be reached.
    """
    try:
        yield
    except RaymarkError:
        raise
    except (hub.errors.HfHubHTTPError, OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise DatasetError(f"{location}: the hub did not take it: {text}") from error
