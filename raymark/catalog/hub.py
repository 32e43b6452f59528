"""The Hugging Face hub: its own client says where a file is, as whom to ask, and how to upload."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from raymark.catalog.http import Stream, open_http
from raymark.errors import ConfigError, DatasetError, RaymarkError
from raymark.extras import import_extra
from raymark.release.record import RELEASE_NAME

_TIMEOUT_S = 30.0
_BLOCK_BYTES = 1 << 18
_REPO = re.compile(r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)/?", re.ASCII)
_FILE = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?/(?P<path>.+)", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Where the files of a release are now.

    Attributes:
        location: Folder or URL.
        was_there: Whether all of them were there before.
    """

    location: str
    was_there: bool = False


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


def upload_to_hub(
    files: Mapping[str, Path], target: str, progress: Callable[[str], None]
) -> Copied:
    """Upload the files of a release in one commit, which readers find whole or not at all.

    Args:
        files: Files of this machine by their names there, `release.json` among them.
        target: `hf://datasets/OWNER/NAME`, which is made if need be.
        progress: Told of every file when all are there.

    Returns:
        Where they are, under the very commit: a later one does not change what this one has.

    Raises:
        ConfigError: If huggingface_hub is not installed.
        DatasetError: If the hub refuses or cannot be reached, or another release is there.
    """
    repo = require_hub_repo(target)
    hub = import_extra("huggingface_hub", name="what hf:// needs")
    with _explained(target):
        api = hub.HfApi()
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        if api.file_exists(repo, RELEASE_NAME, repo_type="dataset"):
            pinned = f"hf://datasets/{repo}@{api.dataset_info(repo).sha}"
            _require_same(f"{pinned}/{RELEASE_NAME}", files[RELEASE_NAME], target)
            return Copied(location=pinned, was_there=True)
        made = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(file))
            for name, file in files.items()
        ]
        commit = api.create_commit(
            repo, made, commit_message="Publish with raymark", repo_type="dataset"
        )
    for name in files:
        progress(name)
    return Copied(location=f"hf://datasets/{repo}@{commit.oid}")


def _require_same(location: str, record: Path, target: str) -> None:
    expected = record.read_bytes()
    found = b""
    with open_hub(location, 0, _TIMEOUT_S) as stream:
        while len(found) <= len(expected) and (block := stream.read(_BLOCK_BYTES)):
            found += block
    if found != expected:
        raise DatasetError(f"{target} holds another release; choose another name")


@contextlib.contextmanager
def _explained(location: str) -> Iterator[None]:
    """Turn the errors of the hub's client into one sentence."""
    try:
        yield
    except RaymarkError:
        raise
    except Exception as error:  # the client passes on those of its own HTTP client, too
        text = " ".join(str(error).split())
        raise DatasetError(f"{location}: the hub did not take it: {text}") from error
