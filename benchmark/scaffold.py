"""`raymark bench new-model`: a working model folder to start from."""

from collections.abc import Collection
from pathlib import Path

from raymark.benchmark.model_names import require_free_name
from raymark.errors import ConfigError
from raymark.storage import new_folder, write_text

_TEMPLATE = Path(__file__).with_name("model_template")


def new_model(name: str, parent: Path, *, built_in: Collection[str] = ()) -> Path:
    """Write the folder of a new model.

    Args:
        name: Name of the model and of its folder.
        parent: Where the folder goes.
        built_in: Names that are taken: those of the models that ship.

    Returns:
        The folder.

    Raises:
        ConfigError: If the name is no Python identifier or is taken, or the folder exists.
        DatasetError: If it cannot be written.
    """
    if not name.isidentifier():  # before it becomes a part of a path
        raise ConfigError(f"a model must be named as Python names (letters, digits, _), got {name}")
    folder = parent / name
    require_free_name(folder, built_in)
    if folder.exists():
        raise ConfigError(f"{folder} exists; choose another name")
    with new_folder(folder) as partial:
        for path in sorted(path for path in _TEMPLATE.iterdir() if path.is_file()):
            text = path.read_text(encoding="utf-8").replace("NAME", name)
            write_text(partial / path.name, text)
    return folder
