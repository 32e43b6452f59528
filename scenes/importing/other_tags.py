"""Tags that GDAL's driver for OpenStreetMap keeps together in one column."""

import json
import re
from collections.abc import Mapping
from typing import Any

COLUMNS = ("other_tags", "all_tags")

_PAIR = re.compile(r'"((?:[^"\\]|\\.)*)"\s*=>\s*"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


def unpacked(properties: Mapping[str, Any]) -> dict[str, Any]:
    r"""Return attributes with the tags of such columns beside the others, which come first.

    They are written as PostgreSQL's hstore, or as JSON.

    Example:
        >>> unpacked({"building": "yes", "other_tags": '"height"=>"21","name"=>"a \\"b\\""'})
        {'building': 'yes', 'height': '21', 'name': 'a "b"'}
    """
    given = {key: value for key, value in properties.items() if key not in COLUMNS}
    tags = {key: value for column in COLUMNS for key, value in _tags(properties.get(column))}
    present = {key for key, value in given.items() if value is not None}
    return given | {key: value for key, value in tags.items() if key not in present}


def _tags(column: Any) -> list[tuple[str, Any]]:
    if isinstance(column, str) and column.lstrip().startswith("{"):
        try:
            column = json.loads(column)
        except ValueError:
            return []
    if isinstance(column, Mapping):
        return list(column.items())
    pairs = _PAIR.findall(column) if isinstance(column, str) else []
    return [(_plain(key), _plain(value)) for key, value in pairs]


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
