import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from raymark.dataset.schema import FIELDS

SCRIPT = Path(__file__).parents[2] / "docs" / "schema_table.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("schema_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_schema_page_is_what_the_script_writes_when_the_schema_is_as_it_is(
    script: ModuleType,
) -> None:
    page = SCRIPT.with_name("schema.md").read_text(encoding="utf-8")
    assert page == script.schema_markdown(), "run `python docs/schema_table.py`"


def test_schema_page_has_a_row_for_every_field_when_written(script: ModuleType) -> None:
    lines = script.schema_markdown().splitlines()
    for field in FIELDS:
        rows = [line for line in lines if line.startswith(f"| `{field.name}` |")]
        assert any(field.description in row for row in rows)
