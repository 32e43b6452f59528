"""Lists on the command line: nothing is cut, headings are read, and JSON holds the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import raymark
from rich.console import Console

from raymark.benchmark import load_suite
from raymark.cli import app, tables
from raymark.cli.tables import Column, print_rows, rows_of
from raymark.generator.plan import preset_names
from raymark.models import model_names
from raymark.radio import BAND_PRESETS
from raymark.scenes import scene_names
from raymark.work.cluster import example_names

LISTS = {
    "bands": list(BAND_PRESETS),
    "bench models": model_names(),
    "cluster examples": example_names(),
    "presets list": preset_names(),
    "scenes list": scene_names(),
}
LONG_ID = "small/interpolation/a_scene_of_a_long_name/FR3-7.8GHz@1"


def options_of(command: Any, name: str = "raymark") -> Iterator[tuple[str, Any]]:
    """Yield every option of every command, by the name of the command."""
    yield from ((name, option) for option in command.params)
    for inner, found in getattr(command, "commands", {}).items():
        yield from options_of(found, f"{name} {inner}")


def test_seed_is_refused_at_once_when_it_is_none() -> None:
    seeds = [x for x in options_of(typer.main.get_command(app)) if x[1].name == "seed"]
    # These two say it in one sentence of their own, for Python too.
    said = {"raymark scenes import", "raymark scenes degrade"}
    ranges = {name: (o.min, o.max) for name, o in seeds if name not in said}

    assert len(ranges) >= 7
    assert set(ranges.values()) == {(0, 2**32 - 1)}
    refused = raymark(
        "fingerprints", "no", "--scene", "a", "--band", "b", "--out", "c", "--seed", -1
    )
    assert refused.returncode == 2
    assert "greater than or equal to 0" in " ".join(refused.stderr.split())


@pytest.mark.parametrize("command", LISTS)
def test_list_shows_every_name_whole_when_it_goes_into_a_pipe(command: str) -> None:
    shown = raymark(*command.split()).stdout

    assert "…" not in shown
    first_words = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert set(LISTS[command]) <= set(first_words)


@pytest.mark.parametrize("command", LISTS)
def test_list_holds_the_same_names_when_it_is_json(command: str) -> None:
    rows = json.loads(raymark(*command.split(), "--json").stdout)

    assert [row["name"] for row in rows] == LISTS[command]


def test_tasks_are_whole_and_the_same_when_listed_in_a_pipe_and_as_json() -> None:
    ids = [task.id for task in load_suite("small").tasks()]

    shown = raymark("bench", "tasks").stdout
    rows = json.loads(raymark("bench", "tasks", "--json").stdout)

    assert set(ids) <= {line.split()[0] for line in shown.splitlines()}
    assert [row["id"] for row in rows] == ids
    assert {"scene": "munich", "band": "6GHz"} in rows[1]["train"]


def printed(width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a list with a long name as a window of some width shows it."""
    window = Console(width=width, force_terminal=True, color_system=None, markup=False)
    monkeypatch.setattr(tables, "out", window)
    with window.capture() as captured:
        print_rows([{"id": LONG_ID, "n": 1}], [Column(heading="task", key="id"), COUNT])
    return captured.get()


COUNT = Column(heading="links", key="n")


def test_name_is_folded_and_never_cut_when_the_window_is_narrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wide, narrow = printed(100, monkeypatch), printed(30, monkeypatch)

    assert LONG_ID in wide
    assert max(map(len, narrow.splitlines())) <= 30
    assert "".join(line[:23].strip() for line in narrow.splitlines()[1:]) == LONG_ID


def test_missing_value_is_a_dash_in_a_table_and_null_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import pandas as pd

    frame = pd.DataFrame({"median_m": pd.array([1.25, pd.NA], dtype="Float64"), "n": [1, 2]})
    columns = [Column(heading="median [m]", key="median_m"), COUNT]

    print_rows(rows_of(frame), columns)
    table = capsys.readouterr().out
    print_rows(rows_of(frame), columns, as_json=True)

    assert [line.split() for line in table.splitlines()[1:]] == [["1.25", "1"], ["-", "2"]]
    assert json.loads(capsys.readouterr().out)[1] == {"median_m": None, "n": 2}


def commands(command: Any, *names: str) -> list[tuple[str, ...]]:
    """Return the words of every command below one."""
    below = getattr(command, "commands", None)
    if below is None:
        return [names]
    return [path for name, sub in below.items() for path in commands(sub, *names, name)]


def test_help_names_what_an_option_takes_as_people_do() -> None:
    found = commands(typer.main.get_command(app))

    assert ("bench", "board") in found
    for names in found:
        shown = raymark(*names, "--help").stdout
        assert not re.search(r"<\w+\[|\blist\[|PosixPath", shown), names


def test_counts_agree_with_their_nouns_when_there_is_one_band(
    small_campaign: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "campaign.yaml"
    path.write_text(json.dumps({**small_campaign, "bands": ["6GHz"]}), encoding="utf-8")

    assert "each at 1 band\n" in raymark("plan", path).stdout
