import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raymark.dataset import Dataset
from raymark.dataset.materialization import materialize
from raymark.loaders import FIELDS, open_links

PAGE = Path(__file__).parents[2] / "docs" / "loaders.md"
CANYON = {"scene": "street_canyon", "band": "6GHz"}


def python_blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def in_folder(small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the page's dataset and file lie under their names."""
    (tmp_path / "small").symlink_to(small_dataset.folder)
    materialize(small_dataset, tmp_path / "munich_6GHz.h5", **CANYON)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_block(word: str) -> dict[str, Any]:
    """Run the page's one block of code that has a word, for the scene of the tests."""
    text = PAGE.read_text(encoding="utf-8")
    (block,) = [block for block in python_blocks(text) if word in block]
    names: dict[str, Any] = {}
    code = re.sub(r"(?<![a-z_])munich(?!_)", "street_canyon", block)
    exec(code, names)  # noqa: S102 - our own page
    return names


@pytest.mark.usefixtures("in_folder")
def test_recipe_reads_paths_and_csi_when_run_as_the_page_has_it(small_dataset: Dataset) -> None:
    found = run_block("import h5py")

    table = small_dataset.select(**CANYON).path_table(7, 8)
    for name in ("delay_s", "azimuth_bs_rad", "amplitude"):
        np.testing.assert_array_equal(found[name], getattr(table, name))
    assert len(found["delay_s"]) > 0
    selection = small_dataset.select(**CANYON)
    prints = selection.fingerprints(0, 50, generator=selection.batch_noise_generator(0, 7))
    np.testing.assert_array_equal(found["csi"], prints.csi)
    np.testing.assert_array_equal(found["position_m"], selection.position_m)


@pytest.mark.usefixtures("in_folder")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_lines_of_the_page_work_when_run() -> None:
    lines = run_block("load_numpy")
    assert lines["arrays"]["csi"].shape == (50, 64, 64)
    assert sum(len(batch["los"]) for batch in lines["loader"]) == len(lines["table"]) == 50
    assert lines["index"].count_rows() == 50

    torch_lines = run_block("LinkOrder")
    assert sum(len(batch["csi"]) for batch in torch_lines["loader"]) == 50


def test_page_names_every_field_with_its_type_when_read(small_dataset: Dataset) -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) ?\| (\w+) \|", text, flags=re.MULTILINE)
    shapes = open_links(small_dataset.folder, **CANYON).shapes()
    sizes = {"ant × subcarrier": (64, 64), "64": (64,), "3": (3,), "": ()}

    assert {name: (sizes[shape], np.dtype(kind)) for name, shape, kind in rows} == shapes
    assert tuple(name for name, *_ in rows) == FIELDS


@pytest.mark.usefixtures("in_folder")
def test_session_is_run_as_the_page_has_it(small_dataset: Dataset) -> None:
    found = run_block("chosen.plot_coverage_map")

    assert len(found["chosen"]) == len(small_dataset.select(**CANYON))
    assert found["chosen"].band.name == "6GHz"
