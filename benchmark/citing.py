"""What whoever shows a board has to cite: its dataset, its suite, raymark, and the models on it."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from raymark.benchmark.references import REFERENCES
from raymark.benchmark.store import RUN_NAME, RunFolder, RunInfo
from raymark.config import read_text
from raymark.errors import ConfigError
from raymark.release.citing import RAYMARK, entry_of, program
from raymark.release.part import BOARD_FOLDER, RUN_FOLDER

BOARD_NAME = "board.json"

_BLOCK = re.compile(r"^```bibtex\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ENTRY = re.compile(r"^@\w+\{.*?(?=^@|\Z)", re.DOTALL | re.MULTILINE)

References = Callable[[str], str]
"""Returns the BibTeX that stands beside a model that ships with raymark; else nothing."""


def is_board(folder: Path) -> bool:
    """Return whether a folder holds a run, or a board."""
    return (folder / RUN_NAME).is_file() or (folder / BOARD_NAME).is_file()


def board_works(folder: Path, references: References) -> tuple[list[str], list[str]]:
    """Return the BibTeX entries of a run or a board, and the models that name no work.

    Args:
        folder: Of a run, of a board, or of a release that has them.
        references: What is cited with a model that ships.

    Raises:
        ConfigError: If run or board cannot be read.
    """
    for run in (folder, folder / RUN_FOLDER):
        if (run / RUN_NAME).is_file():
            return _works_of_run(RunFolder(run), references)
    for board in (folder, folder / BOARD_FOLDER):
        if (board / BOARD_NAME).is_file():
            names = _models_on(board / BOARD_NAME)
            works, unnamed = works_of_models(((name, "") for name in names), references)
            return [_raymark(), *works], unnamed
    raise ConfigError(f"{folder} holds neither a run ({RUN_NAME}) nor a board ({BOARD_NAME})")


def works_of_models(
    models: Iterable[tuple[str, str]], references: References
) -> tuple[list[str], list[str]]:
    """Return the entries beside models that ship, or in the cards of others.

    Args:
        models: Name and card of each.
        references: What is cited with a model that ships.

    Returns:
        The entries, and the names of models that have none.
    """
    works: dict[str, None] = {}
    unnamed = []
    for name, card in models:
        text = "\n".join([references(name), *_BLOCK.findall(card)])
        found = [entry.strip() for entry in _ENTRY.findall(text)]
        works |= dict.fromkeys(found)
        if not found:
            unnamed.append(name)
    return list(works), unnamed


def _works_of_run(run: RunFolder, references: References) -> tuple[list[str], list[str]]:
    records = (r for r in run.models().values() if r.kind == "model")
    works, unnamed = works_of_models(((r.name, r.card) for r in records), references)
    return [_dataset(run.info()), _raymark(), *works], unnamed


def _models_on(path: Path) -> list[str]:
    try:
        names = {row["model"] for row in json.loads(read_text(path))}
    except (ValueError, TypeError, LookupError) as error:
        raise ConfigError(f"{path} is no board: each of its rows has a 'model'") from error
    return sorted(str(name) for name in names if name not in REFERENCES)


def _raymark() -> str:
    return program(RAYMARK, None, author="{The raymark authors}")


def _dataset(info: RunInfo) -> str:
    suite = info.suite
    fields = {
        "title": f"Suite {suite.name}, version {suite.version}, of raymark",
        "note": f"Hash {suite.hash[:12]}; dataset {info.dataset_id}, "
        f"content hash {info.content_hash[:12]}",
    }
    return entry_of("misc", f"suite {suite.name} {suite.version}", fields)
