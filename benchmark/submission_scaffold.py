"""`raymark bench new-submission`: a folder whose keys, file names and links are filled in."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from raymark.benchmark.model_names import require_own_name
from raymark.benchmark.submission import CARD_NAME, INFO_NAME, SubmissionInfo
from raymark.benchmark.suite_data import Splits, require_dataset
from raymark.benchmark.task import Suite
from raymark.benchmark.task_links import truth_of
from raymark.dataset import Dataset
from raymark.errors import ConfigError
from raymark.storage import new_folder, write_text

_CARD = """# {name}

Say what the model is, where it comes from, what it was tuned on and in how many tries, and where it
is known to fail.
"""


def new_submission(
    name: str,
    parent: Path,
    *,
    suite: Suite,
    dataset: Dataset,
    tracks: Sequence[str] = (),
    built_in: Collection[str] = (),
) -> Path:
    """Write the folder of a submission: what is missing are words and positions.

    Args:
        name: Of the submission and of its folder.
        parent: Where the folder goes.
        suite: What it answers.
        dataset: The suite's dataset, for the links of each test.
        tracks: Only these tracks; all if empty.
        built_in: Names that are taken: those of the models that ship.

    Returns:
        The folder.

    Raises:
        ConfigError: If the name is wrong or taken, the folder exists, the dataset is another one,
            or the suite has no such track.
        DatasetError: If it cannot be written.
    """
    if not (name.isascii() and name.isidentifier() and name[0] != "_"):
        raise ConfigError(
            f"a submission's name has letters, digits and _, and begins with a letter, got '{name}'"
        )
    require_own_name(name, built_in, where=f"submission {name}")
    require_dataset(suite, dataset)
    tasks, folder = suite.tasks_of(tracks), parent / name
    if folder.exists():
        raise ConfigError(f"{folder} exists; choose another name")
    given = {
        "name": name,
        "suite": suite.name,
        "suite_hash": suite.hash,
        "content_hash": suite.content_hash,
    }
    splits = Splits(dataset, suite.window_size)
    with new_folder(folder) as partial:
        write_text(partial / INFO_NAME, "".join(_lines(given)))
        write_text(partial / CARD_NAME, _CARD.format(name=name))
        for task in tasks:
            links = truth_of(task, dataset, splits)[["site", "ue_index"]].assign(x_m="", y_m="")
            for seed in task.seeds:
                path = partial / "predictions" / task.slug / f"seed-{seed}.csv"
                write_text(path, links.to_csv(index=False))
    return folder


def _lines(given: dict[str, str]) -> Iterator[str]:
    """Yield the lines of `submission.yaml`; those of keys that may be left out are comments."""
    for key, field in SubmissionInfo.model_fields.items():
        value = f" {json.dumps(given[key])}" if key in given else ""
        mark = "" if field.is_required() else "# "
        yield f"# {field.description}\n{mark}{key}:{value}\n"
