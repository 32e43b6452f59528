"""The drawing of the packages is that of the sources."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "docs" / "figures" / "architecture.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "architecture", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--check"])
    return module


@pytest.mark.slow
def test_drawing_is_what_the_script_draws_when_the_sources_are_as_they_are(
    script: ModuleType,
) -> None:
    script.main()

    assert script.TARGET.is_file()
    plan = script.read_plan()
    assert {room for floor in plan.floors for room in floor} == set(script.ROOMS)
    assert script.GROUND not in {here for here, _ in plan.arrows}


def test_check_refuses_when_the_drawing_is_stale(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale = tmp_path / "architecture.json"
    stale.write_text(script.DATA.read_text("utf-8").replace("raymark.viewer", "raymark.none"))
    monkeypatch.setattr(script, "DATA", stale)

    with pytest.raises(SystemExit, match="the drawing is stale; run `python docs/figures"):
        script.main()


def test_arrows_that_follow_from_others_are_left_out_when_a_plan_is_read(
    script: ModuleType,
) -> None:
    imports = {"a": {"b", "c"}, "b": {"c"}, "c": set()}

    assert script._direct(imports, "a") == {"b"}
