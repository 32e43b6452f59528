import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from raymark.scenes.degrading import GRADES

SCRIPT = Path(__file__).parents[2] / "docs" / "grades_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("grades_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_has_the_grades_of_the_code_when_read(script: ModuleType) -> None:
    page = script.TARGET.read_text(encoding="utf-8")

    assert script.grades_markdown() in page
    assert script.with_table(page) == page
    assert all(f"`{name}`" in page for name in GRADES)


def test_table_replaces_a_stale_one_when_written(script: ModuleType) -> None:
    stale = "a\n<!-- grades -->\nold\n<!-- end of grades -->\nz\n"

    written = script.with_table(stale)

    assert "old" not in written
    assert written.startswith("a\n<!-- grades -->\n| error |")
    assert written.endswith("|\n<!-- end of grades -->\nz\n")
