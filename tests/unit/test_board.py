"""The outputs of a board, on boards small enough to be worked out by hand."""

import base64
import csv
import dataclasses
import io
import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from raymark.benchmark.board import (
    CDF_LEVELS,
    Board,
    Cdf,
    ErrorMap,
    Headline,
    Layout,
    ModelRow,
    SuiteInfo,
    TrackInfo,
    headline,
    terminal_table,
    write_board,
)
from raymark.benchmark.board.content import AUDIT_COLUMNS, COMPARISON_COLUMNS
from raymark.benchmark.board.headline import cell, ranked, ratio_to_best, values_of
from raymark.benchmark.board.page import embedded_json, render_card, render_page
from raymark.benchmark.board.payload import MAP_POINTS, pack_errors, pack_positions, page_data
from raymark.benchmark.board.standings import shown_number, shown_value, standings, titled
from raymark.benchmark.board.tables import csv_text, json_rows, json_text, markdown_board
from raymark.benchmark.labels import LABELS
from raymark.benchmark.metrics import METRICS
from raymark.benchmark.skill import SHOWN
from raymark.errors import DatasetError

HALF_CODE_REL = 10 ** (0.5 * 9 / 65535) - 1
"""Relative error of a packed error: half of one of 65535 steps over nine decades."""

SCENES, BANDS = ("yard", "lane"), ("6GHz", "28GHz")
PNG = bytes.fromhex("89504e470d0a1a0a")
HEADLINE = Headline(track="unseen-nlos", shots=None, label="nlos", metric="p90_m")

WORST = {"near": 4.0, "far": 8.0, "silent": None, "oracle": 2.0, "bound": 0.5}
"""P90 [m] in the yard at 6 GHz; twice as much in the lane, and half as much again at 28 GHz."""
COVERAGE = {"near": 0.99, "far": 0.88}
P90_NEAR_M = {
    ("yard", "6GHz"): 4.0,
    ("yard", "28GHz"): 6.0,
    ("lane", "6GHz"): 8.0,
    ("lane", "28GHz"): 12.0,
}


def model(name: str, **changes: Any) -> ModelRow:
    plain = ModelRow(
        name=name,
        title=name.capitalize(),
        kind="model",
        is_trajectory=False,
        summary=f"What {name} does.",
        card_markdown=f"# {name}\n\nText.\n",
        num_parameters=10,
        fit_s=1.5,
        predict_ms_per_point=0.25,
        peak_memory_mb=None,
        verified=True,
    )
    return dataclasses.replace(plain, **changes)


def metrics_of(name: str, p90_m: float | None) -> dict[str, Any]:
    if p90_m is None:
        return dict.fromkeys(METRICS, pd.NA)
    return dict.fromkeys(METRICS, pd.NA) | {
        "p90_m": p90_m,
        "mse_m2": 1000 * p90_m,
        "median_m": p90_m / 4,
        "share_under_1m": 1 / (4 * p90_m),
        "coverage_90": COVERAGE.get(name, pd.NA),
    }


def as_metrics(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return (
        pd.DataFrame(rows)
        .astype({"shots": "Int64", "fold": "Int64"} if "fold" in rows[0] else {"shots": "Int64"})
        .astype(dict.fromkeys(METRICS, "Float64"))
    )


def summary_of(tracks: tuple[TrackInfo, ...]) -> pd.DataFrame:
    places = [(s, b) for s in (*SCENES, "all") for b in (*BANDS, "all")]
    rows = []
    for track, shots in [(t.name, shots) for t in tracks for shots in t.shots or (None,)]:
        for label in ("all", "nlos"):
            for scene, band in places:
                factor = {"yard": 1.0, "lane": 2.0, "all": 1.5}[scene]
                factor *= {"6GHz": 1.0, "28GHz": 1.5, "all": 1.25}[band]
                for name, worst in WORST.items():
                    p90_m = None if worst is None else worst * factor
                    row = {"track": track, "shots": shots, "scene": scene, "band": band}
                    row |= {"label": label, "model": name, "num_points": 20, "num_blocks": 4}
                    row |= metrics_of(name, p90_m)
                    if p90_m is not None and "all" not in (scene, band):
                        row |= {"p90_m_low": p90_m / 2, "p90_m_high": p90_m * 2}
                    rows.append(row)
    return as_metrics(rows)


def rows_of() -> pd.DataFrame:
    keys = {"task": "nlos-yard@1", "track": "unseen-nlos", "shots": pd.NA, "scene": "yard"}
    keys |= {"band": "6GHz", "fold": 0, "gain_db": pd.NA, "label": "nlos", "num_points": 20}
    return as_metrics(
        [
            keys | {"model": name, "seed": seed} | metrics_of(name, worst)
            for name, worst in WORST.items()
            for seed in (0, 1)
        ]
    )


def make_board(**changes: Any) -> Board:
    tracks = (
        TrackInfo(name="interpolation", title="Interpolation", description="x", is_ranked=False),
        TrackInfo(name="unseen-nlos", title="Unseen NLOS", description="y", is_ranked=True),
        TrackInfo(
            name="cross-scene", title="Cross scene", description="z", is_ranked=True, shots=(0, 10)
        ),
    )
    errors = np.linspace(0.0, 8.0, len(CDF_LEVELS))
    where: dict[str, Any] = {"track": "unseen-nlos", "shots": None, "scene": "yard", "band": "6GHz"}
    plain = Board(
        suite=SuiteInfo(
            name="tiny",
            version=2,
            hash="a" * 64,
            description="A board for tests.",
            dataset_id="yard@1",
            content_hash="b" * 64,
            seeds=(0, 1),
            num_scenes=2,
        ),
        tracks=tracks,
        models=(
            model("bound", kind="bound", num_parameters=None, fit_s=None),
            model("far"),
            model("silent"),
            model("oracle", kind="reference", is_trajectory=True),
            model("near", verified=False, inputs="paths, csi", pretraining="none", openness="code"),
        ),
        rows=rows_of(),
        summary=summary_of(tracks),
        comparisons=pd.DataFrame(
            [(*where.values(), "nlos", "p90_m", "far", "near", 4.0, 3.0, None, 0.01)],
            columns=list(COMPARISON_COLUMNS),
        ),
        audits=pd.DataFrame(
            [("unseen-nlos", "yard", 0, 9, 2, 3, 0.5, 1.0, 2.0, 1.0, 2.0, 40.0, 5.0, None)],
            columns=list(AUDIT_COLUMNS),
        ),
        cdfs=(Cdf(**where, label="nlos", model="near", error_m=errors),),
        maps=(
            ErrorMap(
                **where,
                x_m=np.arange(1300.0),
                y_m=-np.arange(1300.0),
                los=np.arange(1300) % 3 - 1,
                is_detected=np.arange(1300) % 2 == 0,
                error_m={"near": np.arange(1300.0)},
            ),
        ),
        layouts={"yard": Layout(extent_m=(0.0, 1.0, 2.0, 3.0), png=PNG)},
        sites_m={"yard": {"west": (4.0, 5.5)}},
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def board() -> Board:
    return make_board()


def empty_board() -> Board:
    full = make_board()
    return dataclasses.replace(
        full,
        tracks=(),
        models=(),
        rows=full.rows[:0],
        summary=full.summary[:0],
        comparisons=full.comparisons[:0],
        audits=pd.DataFrame(),
        cdfs=(),
        maps=(),
        layouts={},
        sites_m={},
    )


def printed(board: Board, width: int = 80, **choice: Any) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal_table(board, width=width, **choice))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def body_of(text: str) -> list[list[str]]:
    """Cells of the printed rows below the rule; an unranked row starts with an empty cell."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("─")) + 1
    below = itertools.takewhile(lambda line: not re.match("Over|Independent", line), lines[first:])
    return [[line[:2].strip(), *line[2:].split()] for line in below]


def tables_in(markdown: str) -> list[list[list[str]]]:
    """Cells of each Markdown table, without the rule below its head."""
    blocks = [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]
    return [
        [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (lines[0], *lines[2:])]
        for lines in blocks
    ]


# The headline and the order of models


def with_skills(board: Board) -> Board:
    """The same board where its NLOS points show a path, and models have skills with intervals."""
    table = board.summary
    skill = 1 - table["p90_m"] / 20
    table = table.assign(skill=skill, skill_low=skill - 0.125, skill_high=skill + 0.0625)
    detectable = table[table["label"] == "nlos"].assign(label="detectable", detectable_share=1.0)
    nlos = table.assign(detectable_share=table["label"].map({"nlos": 0.685}))
    # A bound that leaves out points has another share of those that it has.
    lacking = nlos.drop_duplicates(["track", "shots", "label", "scene", "band"])
    lacking = lacking[lacking["label"] == "nlos"].assign(detectable_share=0.9, num_points=1)
    lacking["model"] = "error_bound"
    summary = pd.concat([lacking, nlos, detectable], ignore_index=True)
    return dataclasses.replace(board, summary=summary)


def test_headline_is_the_skill_on_unseen_nlos_that_shows_a_path(board: Board) -> None:
    skilled = with_skills(board)

    found = headline(skilled)

    assert found == dataclasses.replace(HEADLINE, label="detectable", metric="skill")
    text = printed(skilled, width=100)
    assert text.startswith("Unseen NLOS, NLOS points that show a path: Skill [%]")
    # P90 of near over all cells is 7.5 m: 1 - 7.5 / 20.
    assert body_of(text)[0][:6] == ["1", "Near", "70.0", "55.0", "62.5", "50.0–68.8"]
    assert "ratio" not in text
    assert "| *detectable share of NLOS* [%] | 68 | 68 | 68 | 68 |" in markdown_board(skilled)


def test_headline_is_nlos_p90_when_it_is_not_known_what_shows_a_path(board: Board) -> None:
    assert headline(board) == HEADLINE
    assert "Links that show no path are not told apart" in board.suite.trust
    known = dataclasses.replace(board.suite, detections_are_known=True)
    assert "told apart" not in known.trust


def test_headline_is_the_first_ranked_track_when_the_suite_has_no_unseen_nlos(
    board: Board,
) -> None:
    tracks = tuple(track for track in board.tracks if track.name != "unseen-nlos")
    summary = board.summary[board.summary["label"] == "all"]

    found = headline(dataclasses.replace(board, tracks=tracks, summary=summary))

    assert found == Headline(track="cross-scene", shots=0, label="all", metric="p90_m")


def test_cell_takes_only_rows_without_shots_when_none_are_asked(board: Board) -> None:
    at = dataclasses.replace(HEADLINE, track="cross-scene", shots=10)

    assert set(cell(board, HEADLINE)["shots"].isna()) == {True}
    assert set(cell(board, at)["shots"]) == {10}
    assert len(cell(board, at, scene="yard", band="6GHz")) == len(WORST)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("p90_m", ["near", "far", "silent", "oracle", "bound"]),
        ("share_under_1m", ["near", "far", "silent", "oracle", "bound"]),
        ("coverage_90", ["far", "near", "silent", "oracle", "bound"]),  # 0.88 is nearer to 0.9
    ],
)
def test_models_stand_best_first_and_references_and_bounds_last(
    board: Board, metric: str, expected: list[str]
) -> None:
    values = values_of(cell(board, HEADLINE), metric)

    assert [m.name for m in ranked(board, values, METRICS[metric])] == expected


@pytest.mark.parametrize(
    ("metric", "value", "best", "expected"),
    [
        ("p90_m", 6.0, 4.0, 1.5),
        ("share_under_1m", 0.2, 0.5, 2.5),
        ("coverage_90", 0.8, 0.9, None),
        ("p90_m", None, 4.0, None),
        ("p90_m", 6.0, None, None),
        ("outlier_share", 0.1, 0.0, None),
        ("skill", 0.4, 0.5, None),
    ],
)
def test_ratio_says_how_many_times_worse(
    metric: str, value: float | None, best: float | None, expected: float | None
) -> None:
    assert ratio_to_best(SHOWN[metric], value, best) == expected


# Numbers as text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.00004, "<0.001"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (99.96, "100"),
        (1234.0, "1230"),
        (78166.0, "78.2k"),
        (1.46e6, "1.46M"),
        (float("nan"), "–"),
        (pd.NA, "–"),
    ],
)
def test_number_has_three_digits_and_no_exponent(value: object, text: str) -> None:
    assert shown_number(value) == text


def test_share_is_shown_in_percent() -> None:
    share = METRICS["share_under_1m"]

    assert (shown_value(share, 0.1234), shown_value(share, pd.NA)) == ("12.3", "–")
    assert titled(share) == "Under 1 m [%]"
    assert titled(METRICS["p90_m"]) == "P90 [m]"


# The terminal


def test_terminal_table_shows_bands_total_and_ratio_of_the_headline(board: Board) -> None:
    text = printed(board)

    assert text.startswith("Unseen NLOS, NLOS points: P90 [m]")
    head = ["#", "model", "6GHz", "28GHz", "all", "Median", "Under", "1", "m", "MSE", "ratio"]
    assert text.splitlines()[1].split() == head
    # Worked by hand: near is 4 m in the yard, so 6 m over both scenes at 6 GHz and 9 m at 28 GHz.
    assert body_of(text) == [
        ["1", "Near", "6.00", "9.00", "7.50", "1.88", "3.3", "7500", "1.00"],
        ["2", "Far", "12.0", "18.0", "15.0", "3.75", "1.7", "15.0k", "2.00"],
        ["", "Silent", "–", "–", "–", "–", "–", "–", "–"],
        ["", "Oracle", "3.00", "4.50", "3.75", "0.938", "6.7", "3750", "0.500"],
        ["", "Bound", "0.750", "1.12", "0.938", "0.234", "26.7", "938", "0.125"],
    ]
    assert "Independent scenes: 2." in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_table_cuts_no_number_when_titles_are_long(width: int) -> None:
    models = tuple(
        dataclasses.replace(m, title=f"{m.title} [bold] with a very long title of many words")
        for m in make_board().models
    )
    board = make_board(models=models)
    text = printed(board, width=width)

    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "[bold]" in text  # a title is text, not markup
    for number in ("6.00", "9.00", "7.50"):
        assert number in text


def test_terminal_table_drops_columns_in_order_when_they_do_not_fit(board: Board) -> None:
    columns = [column.key for column in standings(board, HEADLINE)]

    further = ["median_m", "share_under_1m", "mse_m2", "ratio"]
    assert columns == ["#", "model", *BANDS, "all bands", *further]
    assert "MSE" not in printed(board, width=70)
    assert "Under" not in printed(board, width=56)
    assert "ratio" not in printed(board, width=50)
    assert "Median" not in printed(board, width=42)
    assert "28GHz" in printed(board, width=42)


def test_interval_stands_beside_the_total_when_the_cell_has_one(board: Board) -> None:
    summary = board.summary.assign(p90_m_low=board.summary["p90_m"] / 2)
    summary["p90_m_high"] = board.summary["p90_m"] * 2
    with_intervals = dataclasses.replace(board, summary=summary)

    assert "3.75–15.0" in printed(with_intervals, width=100)
    assert "95 %" not in printed(board, width=100)
    assert "95 %" not in printed(with_intervals, width=44)


def test_terminal_table_ranks_by_distance_from_the_target_when_there_is_one(board: Board) -> None:
    at = dataclasses.replace(HEADLINE, metric="coverage_90")
    text = printed(board, at=at)

    assert text.startswith("Unseen NLOS, NLOS points: Coverage 90 % [%]")
    assert [row[:3] for row in body_of(text)][:3] == [
        ["1", "Far", "88.0"],
        ["2", "Near", "99.0"],
        ["", "Silent", "–"],
    ]
    assert "ratio" not in text


def test_terminal_table_names_the_shots_when_the_track_has_some(board: Board) -> None:
    at = Headline(track="cross-scene", shots=10, label="all", metric="p90_m")

    assert printed(board, at=at).startswith("Cross scene, 10 shots, LOS and NLOS points: P90 [m]")


# Markdown, CSV, JSON


def test_markdown_holds_standings_matrix_and_one_table_per_track_and_shots(board: Board) -> None:
    text = markdown_board(board)
    found, matrix, *tracks, trust = tables_in(text)

    further = ["Median [m]", "Under 1 m [%]", "MSE [m²]", "ratio"]
    assert found[0] == ["#", "model", *BANDS, "all bands", *further]
    assert [row[:2] for row in found[1:]] == [
        ["1", "Near"], ["2", "Far"], ["", "Silent"], ["", "Oracle"], ["", "Bound"]
    ]  # fmt: skip
    assert matrix[0] == ["model", *(f"{scene} {band}" for scene, band in P90_NEAR_M)]
    assert matrix[1] == ["Near", *(f"{value:#.3g}" for value in P90_NEAR_M.values())]
    assert len(tracks) == 4  # interpolation, unseen-nlos, cross-scene with 0 and with 10 shots
    assert all(len(row) == len(table[0]) for table in tables_in(text) for row in table)
    assert trust[0] == ["model", "sees", "trained before on", "open", "made again by", "verified"]
    assert trust[-1] == ["Near", "paths, csi", "none", "code", "–", "no"]
    assert "A diagnostic: models are not ranked by this track." in text
    assert "*Oracle* (reference)" in text
    assert "seeds 0, 1. Independent scenes: 2." in text


def test_markdown_keeps_its_columns_when_a_title_holds_a_bar() -> None:
    models = (model("near", title="A | B"),)

    found = tables_in(markdown_board(make_board(models=models)))[0]

    assert found[1][1] == "A \\| B"
    assert len(found[1]) == len(found[0])


def test_json_is_a_list_of_rows_with_nested_metrics(board: Board) -> None:
    rows = json.loads(json_text(board))

    assert rows == json_rows(board)
    assert len(rows) == 2 * len(WORST)
    assert rows[0] == {
        "task": "nlos-yard@1",
        "track": "unseen-nlos",
        "shots": None,
        "scene": "yard",
        "band": "6GHz",
        "fold": 0,
        "gain_db": None,
        "model": "near",
        "seed": 0,
        "label": "nlos",
        "num_points": 20,
        "metrics": dict.fromkeys(METRICS)
        | {
            "p90_m": 4.0,
            "mse_m2": 4000.0,
            "median_m": 1.0,
            "share_under_1m": 0.0625,
            "coverage_90": 0.99,
        },
    }
    assert isinstance(rows[0]["fold"], int)
    assert isinstance(rows[0]["metrics"]["p90_m"], float)


def test_csv_field_is_empty_when_a_value_does_not_apply(board: Board) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(board.rows))))

    assert rows[0]["shots"] == ""
    assert float(rows[0]["p90_m"]) == 4.0
    silent = next(row for row in rows if row["model"] == "silent")
    assert {silent[name] for name in METRICS} == {""}


# Files


def test_files_are_written_and_not_replaced_unless_asked(board: Board, tmp_path: Path) -> None:
    out = tmp_path / "new" / "board"
    names = ["index.html", "board.md", "board.csv", "board.json", "summary.csv"]

    assert write_board(board, out) == [out / name for name in names]
    (out / "board.md").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"board is not empty; .* --overwrite"):
        write_board(board, out)
    assert (out / "board.md").read_text(encoding="utf-8") == "mine"

    write_board(board, out, overwrite=True)

    assert (out / "board.md").read_text(encoding="utf-8") == markdown_board(board)


def test_files_are_the_same_when_written_twice(board: Board, tmp_path: Path) -> None:
    first, second = (write_board(board, tmp_path / name) for name in "ab")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    "board",
    [
        empty_board(),
        make_board(models=(model("near"),), comparisons=make_board().comparisons[:0]),
        dataclasses.replace(empty_board(), tracks=make_board().tracks, models=make_board().models),
    ],
    ids=["empty", "one model", "no results"],
)
def test_board_is_written_when_there_is_little_to_show(board: Board, tmp_path: Path) -> None:
    kept = {m.name for m in board.models}
    summary = board.summary[board.summary["model"].isin(kept)]

    write_board(dataclasses.replace(board, summary=summary), tmp_path / "board")

    assert "# Leaderboard" in (tmp_path / "board" / "board.md").read_text(encoding="utf-8")
    assert terminal_table(board).row_count == len(board.models)


# The page


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="board-data">(.*?)</script>', page)
    assert found is not None
    return json.loads(found[1])


def test_page_embeds_its_data_and_loads_nothing(board: Board) -> None:
    page = render_page(board)

    assert data_of(page) == json.loads(json.dumps(page_data(board)))
    assert not re.search(r"\b(?:src|href)=[\"'](?!#|data:)", page)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest|innerHTML", page)
    assert page.count("default-src 'none'") == 1


def test_page_shows_text_as_text_when_it_holds_markup() -> None:
    evil = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'
    suite = dataclasses.replace(make_board().suite, description=evil, name=evil)
    plain = make_board()
    tracks = (dataclasses.replace(plain.tracks[1], title=evil, description=evil),)
    models = (model("near", title=evil, summary=evil, card_markdown=evil),)
    table = plain.summary
    summary = table[(table["track"] == "unseen-nlos") & (table["model"] == "near")]

    page = render_page(
        make_board(
            suite=suite,
            tracks=tracks,
            models=models,
            summary=summary,
            comparisons=plain.comparisons[:0],
        )
    )

    assert page.count("<script") == 2  # data and code
    assert page.count("</script>") == 2
    assert "<img" not in page
    assert data_of(page)["models"][0]["title"] == evil
    assert data_of(page)["tracks"][0]["about"] == evil


def test_embedded_json_has_no_angle_bracket_and_reads_back() -> None:
    data = {"a": "</script><!--", "ü": [1, None]}
    text = embedded_json(data)

    assert "<" not in text
    assert json.loads(text) == data


def test_card_is_rendered_below_the_headings_of_the_page() -> None:
    html = render_card("# T\n\n## U\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n**bold** <b>raw</b>\n")

    assert "<h4>T</h4>" in html
    assert "<h5>U</h5>" in html
    assert "<td>1</td>" in html
    assert "<strong>bold</strong> &lt;b&gt;raw&lt;/b&gt;" in html


@pytest.mark.parametrize(
    "markdown", ["![x](https://e.org/a.png)", "[x](javascript:alert(1))", "<iframe src=x>"]
)
def test_card_loads_and_runs_nothing(markdown: str) -> None:
    html = render_card(markdown)

    assert not re.search(r"<img|<iframe|href=\"javascript", html)


def test_page_data_puts_models_before_references_before_bounds(board: Board) -> None:
    data = page_data(board)

    assert data["names"]["model"] == ["far", "silent", "near", "oracle", "bound"]
    assert [m["name"] for m in data["models"]] == data["names"]["model"]
    assert data["names"]["scene"] == ["all", *SCENES]
    assert data["names"]["band"] == ["all", *BANDS]
    assert data["names"]["label"] == list(LABELS)


def test_page_data_has_null_for_what_does_not_apply(board: Board) -> None:
    data = page_data(board)
    names, columns = data["names"], data["summary"]

    assert "rmse_m" not in columns  # no model has it
    models = [names["model"][i] for i in columns["model"]]
    assert columns["p90_m"][models.index("silent")] is None
    assert columns["coverage_90"][models.index("bound")] is None
    assert set(columns["shots"]) == {None, 0, 10}
    assert data["comparisons"]["low"] == [3]
    assert "high" not in data["comparisons"]
    assert "variogram_m" not in data["audits"]


def test_packed_errors_come_back_to_a_half_code() -> None:
    errors = np.array([0.001, 0.0123, 1.0, 42.5, 500.0, 90000.0])
    codes = np.frombuffer(_bytes_of(pack_errors(errors)), dtype="<u2")

    np.testing.assert_allclose(1e-4 * 10 ** (codes / 65535 * 9), errors, rtol=1.01 * HALF_CODE_REL)
    assert np.frombuffer(_bytes_of(pack_errors(np.zeros(1))), dtype="<u2").tolist() == [0]


def test_packed_positions_come_back_to_half_a_step() -> None:
    x_m = np.array([-120.0, 3.25, 400.0])
    packed = pack_positions(x_m)
    codes = np.frombuffer(_bytes_of(packed["codes"]), dtype="<u2")

    span_m = packed["to"] - packed["from"]
    np.testing.assert_allclose(
        packed["from"] + codes / 65535 * span_m, x_m, rtol=0, atol=0.51 * span_m / 65535
    )
    assert pack_positions(np.array([7.0]))["from"] == 7.0


def test_map_is_thinned_evenly_when_it_has_many_points(board: Board) -> None:
    data = page_data(board)["maps"][0]
    kept = np.frombuffer(_bytes_of(data["x"]["codes"]), dtype="<u2")

    assert data["num_points"] == 1300
    assert len(data["los"]) == len(kept) == 434  # every third, as 1300 / 600 rounds up to 3
    assert len(kept) <= MAP_POINTS
    assert np.ptp(np.diff(kept.astype(int))) <= 1


def _bytes_of(text: str) -> bytes:
    return base64.b64decode(text)
