"""Tutorials run as they are printed, and show what their pages say that they show."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tutorial_pages
from tutorial_pages import differences, run_cell, shown
from website.notebooks import (
    TUTORIALS,
    Cell,
    notebook,
    notebook_files,
    read_cells,
    tutorial_names,
    with_downloads,
)

BOARD = "<div><table><caption>PublishedBoard</caption><td>{}</td></table><p>{}</p></div>\n"


FRAMEWORKS = {"loaders": ("datasets", "tensorflow")}
"""What a tutorial needs beyond what is installed for tests."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.needs(*FRAMEWORKS.get(x, ()))) for x in tutorial_names()],
)
def test_tutorial_shows_what_its_page_says_when_it_is_run(name: str, tmp_path: Path) -> None:
    tutorial_pages.run_alone(name, tmp_path)

    page = (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")
    made = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert differences(page, made) == [], f"run `python docs/tutorial_pages.py {name}`"
    figures = {path.name for path in TUTORIALS.glob(f"{name}-*.png")}
    assert {path.name for path in tmp_path.glob("*.png")} == figures


@pytest.mark.parametrize("name", tutorial_names())
def test_page_of_a_tutorial_has_its_text_and_code(name: str) -> None:
    """The page is that of the script, whatever the numbers are: no run is needed to see it."""
    page = (TUTORIALS / f"{name}.md").read_text(encoding="utf-8")
    at = 0
    for cell in read_cells(TUTORIALS / f"{name}.py"):
        part = f"```python\n{cell.source}\n```" if cell.is_code else cell.source
        assert part in page[at:], f"run `python docs/tutorial_pages.py {name}`"
        at = page.index(part, at) + len(part)


def test_pages_and_figures_are_those_of_tutorials() -> None:
    named = {f"{name}.md" for name in tutorial_names()}

    assert len(named) == 7
    assert {path.name for path in TUTORIALS.glob("*.md")} == named
    for path in TUTORIALS.glob("*.png"):
        page = TUTORIALS / f"{path.stem.rpartition('-')[0]}.md"
        assert f"]({path.name})" in page.read_text(encoding="utf-8")


def test_notebook_has_the_cells_of_the_script_and_no_link_to_a_page(tmp_path: Path) -> None:
    script = tmp_path / "x.py"
    script.write_text(
        "# %% [markdown]\n# A [b](c.md)\n#\n# d\n\n# %%\n1\n\n# 2\n", encoding="utf-8"
    )

    cells = read_cells(script)

    assert cells == [
        Cell(is_code=False, source="A [b](c.md)\n\nd"),
        Cell(is_code=True, source="1\n\n# 2"),
    ]
    made = json.loads(notebook(cells))
    assert [cell["source"] for cell in made["cells"]] == ["A b\n\nd", "1\n\n# 2"]
    assert set(notebook_files()) == {f"tutorials/{name}.ipynb" for name in tutorial_names()}
    script.write_text("x = 1\n# %%\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.py does not begin with a cell"):
        read_cells(script)


def test_cell_shows_what_it_prints_and_its_last_value(tmp_path: Path) -> None:
    names = {"x": 1}

    assert run_cell("print(x)\ny = x + 1\ny", names) == ("1\n", 2)
    assert run_cell("y = 3", names) == ("", None)
    assert names["y"] == 3
    assert list(shown(None, tmp_path / "a.png")) == []
    assert list(shown([1], tmp_path / "a.png")) == ["```text\n[1]\n```"]
    with pytest.raises(ZeroDivisionError):
        run_cell("1 / 0", names)


def test_value_is_shown_as_figure_or_table_when_it_has_one(tmp_path: Path) -> None:
    import pandas as pd

    from raymark import plots

    _, (ax,) = plots.new_figure()
    table = pd.DataFrame({"a": [1]})

    assert list(shown(ax, tmp_path / "a.png")) == ["![figure of the cell above](a.png)"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert next(shown(table, tmp_path / "b.png")).startswith("<div>\n<table")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("page", "made", "num_different"),
    [
        ("a 10.0\nb", "a 11.0\nb", 0),
        ("a 10.0\nb", "a 20.0\nb", 1),
        ("version 1.0.0", "version 1.0.0", 0),
        ("version 1.0.0", "version 2.0.0", 1),
        (BOARD.format("Mean 1", "WKNN 2"), BOARD.format("WKNN 9", "Mean 0"), 0),
        (BOARD.format("Mean 1", "WKNN 2"), BOARD.format("Mean 1", "other 2"), 1),
        (BOARD.format("Mean 1", "WKNN 2"), "", 1),
    ],
)
def test_pages_differ_in_words_and_in_numbers_that_are_no_scores(
    page: str, made: str, num_different: int
) -> None:
    assert len(differences(page, made)) == num_different


def test_page_offers_notebook_and_script_below_its_title() -> None:
    page = with_downloads("<!-- x -->\n\n# A\n\nb\n", "own")

    assert page == ("<!-- x -->\n\n# A\n\nDownload: [notebook](own.ipynb), [script](own.py)\n\nb\n")


def test_script_refuses_a_tutorial_that_is_none() -> None:
    script = Path(tutorial_pages.__file__)
    done = subprocess.run(
        [sys.executable, script, "nothing"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "invalid choice: 'nothing'" in done.stderr
