"""The hash of a model: the code that it imports counts wherever it lies, and notes do not."""

import shutil
from pathlib import Path

import pytest

import raymark.models
from raymark.benchmark.localizer import ModelFolder, read_model_folder
from raymark.benchmark.model_code import SourceTree, code_hash, model_hash, read_code
from raymark.benchmark.scaffold import new_model
from raymark.models import get_model, model_names

SHIPPED = Path(raymark.models.__file__).parent


def edit(path: Path, text: str = "EDITED = True") -> None:
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    write(path, f"{before}\n{text}\n")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a copy of the shipped models that can be edited."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(SHIPPED, tmp_path / "models", ignore=ignored))


def shipped(models: Path, name: str) -> ModelFolder:
    return read_model_folder(models / name, package="raymark.models")


def own_files(model: ModelFolder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in model.folder.rglob("*.py")}


def mine(folder: Path, code: str) -> ModelFolder:
    """Return a user's model."""
    made = new_model("mine", folder)
    write(made / "model.py", code)
    return read_model_folder(made)


@pytest.mark.parametrize(
    ("name", "changes"), [("ple", True), ("mmoe", True), ("wknn", False), ("deep_sets", False)]
)
def test_hash_changes_when_a_model_that_it_is_made_of_does(
    models: Path, name: str, *, changes: bool
) -> None:
    model = shipped(models, name)
    before, own = model_hash(model), own_files(model)

    edit(models / "scadf_moe" / "network.py")

    assert (model_hash(model) != before) == changes
    assert own_files(model) == own  # a hash over the folder alone would miss it


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("model.py", True),
        ("model.yaml", True),
        ("sub/layers.py", True),
        ("weights.json", True),
        ("card.md", False),
        ("references.bib", False),
        ("__pycache__/model.pyc", False),
    ],
)
def test_hash_changes_when_a_file_of_its_folder_that_decides_predictions_does(
    tmp_path: Path, name: str, *, changes: bool
) -> None:
    folder = new_model("mine", tmp_path)
    before = model_hash(read_model_folder(folder))

    edit(folder / name, "# edited" if name == "model.yaml" else "EDITED = True")

    assert (model_hash(read_model_folder(folder)) != before) == changes


def test_hash_is_the_same_when_the_shipped_models_lie_elsewhere(models: Path) -> None:
    assert model_hash(shipped(models, "ple")) == model_hash(get_model("ple"))


def test_hashes_differ_when_shipped_models_do() -> None:
    assert len({model_hash(get_model(name)) for name in model_names()}) == len(model_names())


@pytest.mark.parametrize(
    "code",
    [
        "from raymark.models.ple.model import Model",
        "import raymark.models.ple.model",
        "from raymark.models.ple import model",
        "def late():\n    from raymark.models.ple.model import Model",
    ],
)
def test_users_code_holds_a_shipped_model_when_it_imports_one(tmp_path: Path, code: str) -> None:
    model = mine(tmp_path, code)

    names = set(SourceTree({"": tmp_path}).closure([model.module]))

    assert {"mine.model", "raymark.models.ple.model", "raymark.models.scadf_moe.network"} <= names
    assert "raymark.benchmark.localizer" in names
    assert "raymark.models.wknn.model" not in names


@pytest.mark.parametrize(
    ("code", "file"),
    [
        ("from .layers import Layer", "mine/layers.py"),
        ("from . import layers", "mine/layers.py"),
        ("from .. import beside", "beside.py"),
        ("import beside", "beside.py"),
        ("import beside as b", "beside.py"),
        ("from other.model import Model", "other/model.py"),
        ("from other.model import Model", "other/__init__.py"),
        ("from other import Layer", "other/layers.py"),
        ("from other import *", "other/layers.py"),
        ("import other", "other/layers.py"),
        ("if True:\n    def late():\n        import beside", "beside.py"),
    ],
)
def test_users_hash_changes_when_what_it_imports_does(tmp_path: Path, code: str, file: str) -> None:
    model = mine(tmp_path, code)
    write(tmp_path / "other" / "__init__.py", "from .layers import Inner as Layer\n")
    for name in ("mine/layers.py", "beside.py", "other/layers.py", "other/model.py"):
        write(tmp_path / name, "class Inner: ...\n")
    before = model_hash(model)

    edit(tmp_path / file)

    assert model_hash(model) != before


def test_users_hash_stays_when_what_it_does_not_import_changes(tmp_path: Path) -> None:
    write(tmp_path / "other" / "__init__.py", "")
    model = mine(tmp_path, "import numpy, other\nfrom raymark.errors import ConfigError\n")
    before = model_hash(model)

    edit(tmp_path / "other" / "layers.py")
    edit(tmp_path / "raymark" / "errors.py")  # a checkout of raymark beside the model

    assert model_hash(model) == before


def test_circles_end_when_modules_and_packages_import_one_another(tmp_path: Path) -> None:
    write(tmp_path / "a.py", "import b\n")
    write(tmp_path / "b.py", "from a import x\n")
    write(tmp_path / "p" / "__init__.py", "from q import thing\n")
    write(tmp_path / "q" / "__init__.py", "from p import thing\n")
    model = mine(tmp_path, "import a\nfrom p import thing\n")

    names = set(SourceTree({"": tmp_path}).closure([model.module]))

    assert names == {"mine.model", "a", "b", "p", "q"}


def test_names_that_packages_pass_on_are_followed_when_they_are_ours() -> None:
    names = set(SourceTree({}).closure(["raymark.models.wknn.model"]))

    assert {"raymark.benchmark.localizer", "raymark.benchmark.features"} <= names
    assert {"raymark.radio.frames", "raymark.radio.bands"} <= names
    assert not {"raymark.benchmark", "raymark.benchmark.checkpoint", "raymark.errors"} & names


def test_code_of_the_references_holds_the_bound() -> None:
    names = set(SourceTree({}).closure(["raymark.benchmark.references"]))

    assert {"raymark.benchmark.bounds", "raymark.benchmark.path_geometry"} <= names
    assert code_hash("raymark.benchmark.references") != code_hash("raymark.benchmark.bounds")


@pytest.mark.parametrize("name", ["ple", "wknn"])
def test_hash_stays_when_only_comments_and_docstrings_change(models: Path, name: str) -> None:
    model = shipped(models, name)
    before = model_hash(model)

    for path in models.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace('"""', '"""Once upon a time: ', 1)
        write(path, f"# A word.\n\n{text}\n# Another.\n")

    assert model_hash(model) == before


NOTED = '''"""A module."""

LIMIT = 3  # why
"""What it is for."""

TEXT = """
# no comment

"""  # a comment


def f(x: int = 1) -> str:
    """Return it.

    At length.
    """
    # first
    return "#" + (
        "a"  # one

        "b"
    )


class Kind(Exception):
    """Only said."""
'''

BARE = '''LIMIT = 3
TEXT = """
# no comment

"""
def f(x: int = 1) -> str:
    return "#" + (
        "a"
        "b"
    )
class Kind(Exception):'''


def test_code_keeps_all_that_runs_when_notes_are_cut(tmp_path: Path) -> None:
    assert read_code(write(tmp_path / "noted.py", NOTED)) == BARE


@pytest.mark.parametrize(
    "code", [b"def f(:\n", b"x = '''\n", b"x = 1\n  y = 2\n", b"\x00", b"# \xe9\n"]
)
def test_hash_is_over_the_text_when_a_file_is_no_python(tmp_path: Path, code: bytes) -> None:
    model = mine(tmp_path, "")
    hashes = {model_hash(model)}

    for end in (b"", b"\n\n"):
        (model.folder / "model.py").write_bytes(code + end)
        hashes.add(model_hash(model))

    assert len(hashes) == 3
