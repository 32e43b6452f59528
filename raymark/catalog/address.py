"""Which index is asked: its address is a setting, and its last copy serves without a network."""

import hashlib
import os

from raymark.catalog.cache import DatasetCache
from raymark.catalog.index import Index, parse_index
from raymark.catalog.streams import UnreachableError, is_local
from raymark.catalog.transfer import DEFAULT_PATIENCE, Patience, fetch_small
from raymark.errors import ConfigError, DatasetError
from raymark.storage import write_text

INDEX_VARIABLE, OFFLINE_VARIABLE = "RAYMARK_INDEX", "RAYMARK_OFFLINE"
_LARGEST_INDEX_BYTES = 64_000_000
_COPIES = "indexes"


def index_address(named: str | None = None) -> str | None:
    """Return the address of the index: the one that is named, or that of RAYMARK_INDEX, if any."""
    return named or os.environ.get(INDEX_VARIABLE) or None


def require_address(named: str | None = None) -> str:
    """Return the address of the index.

    Raises:
        ConfigError: If none is set.
    """
    address = index_address(named)
    if address is None:
        raise ConfigError(
            "no index of datasets is set, and raymark has none of its own yet: set "
            f"{INDEX_VARIABLE} to the path or URL of one (`raymark datasets` and `raymark cite` "
            "take --index, too)"
        )
    return address


def is_offline() -> bool:
    """Return whether RAYMARK_OFFLINE forbids to ask anybody.

    Raises:
        ConfigError: If it is neither 0 nor 1.
    """
    text = os.environ.get(OFFLINE_VARIABLE) or "0"
    if text not in ("0", "1"):
        raise ConfigError(f"{OFFLINE_VARIABLE} must be 0 or 1, got '{text}'")
    return text == "1"


def read_index(
    address: str,
    cache: DatasetCache,
    *,
    offline: bool = False,
    patience: Patience = DEFAULT_PATIENCE,
) -> Index:
    """Read an index and check its seal; one from elsewhere is copied for use without a network.

    Args:
        address: A path or a URL.
        cache: Keeps the copy.
        offline: Read the copy of the last time.
        patience: How long servers are waited for.

    Raises:
        DatasetError: If it cannot be reached.
        ConfigError: If it is no index, or there is no copy of it.
        SchemaError: If it was edited after it was written: its seal does not fit.
    """
    digest = hashlib.sha256(address.encode()).hexdigest()[:20]
    copy = cache.folder / _COPIES / f"{digest}.json"
    if offline and not is_local(address):
        if not copy.is_file():
            raise ConfigError(
                f"there is no copy of {address} from before; ask it once without --offline and "
                f"{OFFLINE_VARIABLE}"
            )
        return parse_index(copy.read_text(encoding="utf-8"), where=str(copy))
    try:
        content = fetch_small(address, _LARGEST_INDEX_BYTES, patience)
    except UnreachableError as error:
        hint = "; --offline takes the copy of the last time" if copy.is_file() else ""
        raise DatasetError(f"{error}{hint}") from error
    text = content.decode(errors="replace")
    index = parse_index(text, where=address)
    if not is_local(address):
        write_text(copy, text)
    return index
