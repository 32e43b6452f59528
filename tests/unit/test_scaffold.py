"""Model folders: what a new one holds, and how a wrong one is refused."""

import sys
from pathlib import Path

import pytest

from raymark.benchmark.localizer import Localizer, read_model_folder
from raymark.benchmark.scaffold import new_model
from raymark.errors import ConfigError
from raymark.models import get_model, model_names


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_new_model_is_a_model_when_it_is_made(tmp_path: Path) -> None:
    folder = new_model("scaffold_one", tmp_path)
    model = get_model(str(folder))

    assert {p.name for p in folder.iterdir()} == {"model.py", "model.yaml", "card.md"}
    assert (model.name, model.info.title) == ("scaffold_one", "scaffold_one")
    assert isinstance(model.create(0), Localizer)
    assert "NAME" not in "".join(
        p.read_text(encoding="utf-8") for p in folder.iterdir() if p.is_file()
    )


@pytest.mark.parametrize("name", ["my-model", "1st", "a b", "../x", ""])
def test_new_model_is_refused_when_its_name_is_none_of_pythons(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"a model must be named as Python names"):
        new_model(name, tmp_path)

    assert not list(tmp_path.iterdir())


TAKEN = {
    "wknn": "a model that ships with raymark",
    "error_bound": "a row that every board has",
    "all": "what --models takes for all models",
    "class": "a word of Python's",
    "json": "a module of Python's or an installed package",
    "numpy": "a module of Python's or an installed package",
    "raymark": "a module of Python's or an installed package",
    "__main__": "a module of Python's or an installed package",
}


@pytest.mark.parametrize("name", TAKEN)
def test_new_model_is_refused_when_its_name_is_taken(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' is {TAKEN[name]}; choose another name"):
        new_model(name, tmp_path, built_in=model_names())

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TAKEN)
def test_folder_is_refused_when_its_name_is_taken(tmp_path: Path, name: str) -> None:
    folder = new_model("mine", tmp_path).rename(tmp_path / name)

    with pytest.raises(ConfigError, match=rf"{folder}: '{name}' is {TAKEN[name]}"):
        get_model(str(folder))


def test_shipped_model_is_meant_when_its_own_folder_is_named() -> None:
    model = get_model("wknn")

    assert get_model(str(model.folder)) == model


def test_folder_of_a_user_is_taken_when_python_found_it_before(tmp_path: Path) -> None:
    folder = new_model("scaffold_known", tmp_path)
    (folder / "__init__.py").touch()
    get_model(str(folder)).create(0)

    assert get_model(str(folder)).name == "scaffold_known"


def test_new_model_is_refused_when_its_folder_exists(tmp_path: Path) -> None:
    new_model("mine", tmp_path)

    with pytest.raises(ConfigError, match=r"mine exists; choose another name"):
        new_model("mine", tmp_path)


@pytest.mark.parametrize("name", ["model.py", "model.yaml", "card.md"])
def test_folder_is_refused_when_a_file_is_missing(tmp_path: Path, name: str) -> None:
    folder = new_model("mine", tmp_path)
    (folder / name).unlink()

    with pytest.raises(ConfigError, match=rf"mine is no model folder: {name} is missing"):
        get_model(str(folder))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tuning:", "tunning:", r"unknown key at .*model.yaml: tunning; did you mean 'tuning'\?"),
        ("summary:", "#", r"missing key at .*model.yaml: summary"),
        ("[paths, scalars]", "[path]", r"input should be 'paths'.*, got 'path' at .*: inputs\[0\]"),
        ("[paths, scalars]", "[]", r"at least 1 item.* at .*model.yaml: inputs"),
        ("title: mine", "title: [", r"model.yaml is no valid YAML"),
    ],
)
def test_folder_is_refused_when_its_description_is_wrong(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    folder = new_model("mine", tmp_path)
    edit(folder / "model.yaml", old, new)

    with pytest.raises(ConfigError, match=message):
        read_model_folder(folder)


def test_folder_is_refused_when_its_name_cannot_be_imported(tmp_path: Path) -> None:
    folder = new_model("mine", tmp_path).rename(tmp_path / "my-model")

    with pytest.raises(ConfigError, match=r"must be named as Python names, got my-model"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "scaffold_a",
            "class Modell: ...",
            r"model.py must hold a class 'Model' that is a raymark",
        ),
        ("scaffold_b", "class Model: ...", r"model.py must hold a class 'Model' that is a raymark"),
        ("scaffold_c", "Model = 3", r"model.py must hold a class 'Model' that is a raymark"),
        ("scaffold_d", "import no_such_thing", r"'scaffold_d' cannot be imported.*ModuleNotFound"),
        ("scaffold_e", "1 / 0", r"'scaffold_e' cannot be imported from .*: ZeroDivisionError"),
        ("scaffold_f", "class Model(", r"'scaffold_f' cannot be imported from .*: SyntaxError"),
    ],
)
def test_model_is_refused_when_its_code_holds_none(
    tmp_path: Path, name: str, code: str, message: str
) -> None:
    folder = new_model(name, tmp_path)
    (folder / "model.py").write_text(code + "\n", encoding="utf-8")

    with pytest.raises(ConfigError, match=message):
        read_model_folder(folder).create(0)


def test_nearest_model_is_offered_when_one_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'wnn'; did you mean 'wknn'\?"):
        get_model("wnn")


def test_folder_is_named_when_a_path_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere is no model folder: model.py is missing"):
        get_model(str(tmp_path / "nowhere"))


def test_models_are_found_when_listed() -> None:
    assert {"train_centroid", "wknn"} <= set(model_names())
    assert model_names() == sorted(model_names())
