"""The board without a browser: terminal table, Markdown, CSV and JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from rich.table import Table

from raymark.benchmark.board.content import (
    EVERY,
    HEADLINE_METRIC,
    ROW_KEYS,
    Board,
    ModelInfo,
    TrackInfo,
)
from raymark.benchmark.board.headline import Headline, cell, headline, number, ranked
from raymark.benchmark.metrics import METRICS

_MISSING = "–"
_TRACK_COLUMNS = (
    ("all", "median_m"),
    ("all", "p90_m"),
    ("all", "mse_m2"),
    ("los", "median_m"),
    ("los", "p90_m"),
    ("nlos", "median_m"),
    ("nlos", "p90_m"),
    ("nlos", "mse_m2"),
)
"""Label and metric of each column in a track's Markdown table."""


def terminal_table(board: Board, *, at: Headline | None = None) -> Table:
    """Return the headline as a table: P90 per band; P90, MSE, median and ratio over all bands.

    Models stand in the order of their rank, then references and bounds, dimmed and without rank.

    Args:
        board: What to show.
        at: Track, shots, label and metric to show and rank by; the headline if not given.
    """
    at = at or headline(board)
    metric = METRICS[at.metric]
    bands = _bands(board)
    head, *rows = _headline_rows(board, at, bands)
    title = f"{_track_title(board, at)}, {at.label.upper()}: {metric.title} [{metric.unit}]"
    table = Table(title=title, caption=_scenes_note(board), caption_justify="left")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 1 else "right", no_wrap=index == 1)
    for row in rows:
        table.add_row(*row, style=None if row[0] else "dim")
    return table


def markdown_board(board: Board) -> str:
    """Return the board as Markdown: facts, the headline matrix, and one table per track."""
    at = headline(board)
    suite = board.suite
    seeds = ", ".join(map(str, suite.seeds)) or "none"
    facts = (
        f"Suite `{suite.name}@{suite.version}` (`{suite.hash[:12]}`), dataset "
        f"`{suite.dataset_id}` (`{suite.content_hash[:12]}`), seeds {seeds}. {_scenes_note(board)}"
    )
    metric = METRICS[at.metric]
    blocks = [
        f"# Leaderboard of the suite {suite.name}",
        suite.description,
        facts,
        f"## {_track_title(board, at)}, {at.label.upper()}: {metric.title} [{metric.unit}]",
        "Rows without a rank are references and bounds, which use what no model may see.",
        _markdown(_headline_rows(board, at, _bands(board))),
        "### By scene and band",
        _markdown(_matrix(board, at)),
    ]
    for track in board.tracks:
        blocks += _track_section(board, track)
    return "\n\n".join(block for block in blocks if block) + "\n"


def json_rows(board: Board) -> list[dict[str, Any]]:
    """Return `Board.rows` as plain values, the metrics of each row gathered under `metrics`."""
    metrics = [name for name in METRICS if name in board.rows]
    keys = list(ROW_KEYS)
    records = board.rows[[*keys, *metrics]].to_dict("records")
    return [
        {key: _plain(record[key]) for key in keys}
        | {"metrics": {name: _plain(record[name]) for name in metrics}}
        for record in records
    ]


def json_text(board: Board) -> str:
    """Return `json_rows` as text, one row a line."""
    lines = (json.dumps(row, allow_nan=False) for row in json_rows(board))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV; what does not apply is an empty field."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def _headline_rows(board: Board, at: Headline, bands: Sequence[str]) -> list[list[str]]:
    metric = METRICS[at.metric]
    where = {"track": at.track, "shots": at.shots, "label": at.label}
    per_band = [_values(cell(board, band=band, **where), at.metric) for band in bands]
    total = cell(board, **where)
    names = ranked(board, _values(total, at.metric), metric)
    models = {model.name: model for model in board.models}
    best = number(_values(total, at.metric).get(names[0])) if names else None
    others = [name for name in ("mse_m2", "median_m") if name in total and name != at.metric]
    head = ["#", "model", *bands, "all bands", "95 %", *(METRICS[n].title for n in others), "ratio"]
    rows = [head]
    for rank, name in enumerate(names, start=1):
        value = number(_values(total, at.metric).get(name))
        rows.append(
            [
                str(rank) if models[name].kind == "model" and value is not None else "",
                models[name].title,
                *(_text(values.get(name)) for values in per_band),
                _text(value),
                _interval(total, at.metric, name),
                *(_text(_values(total, other).get(name)) for other in others),
                _text(value / best) if value is not None and best else _MISSING,
            ]
        )
    return rows


def _matrix(board: Board, at: Headline) -> list[list[str]]:
    where = {"track": at.track, "shots": at.shots, "label": at.label}
    scenes = [name for name in board.summary["scene"].unique() if name != EVERY]
    cells = [(scene, band) for scene in scenes for band in _bands(board)]
    columns = [_values(cell(board, scene=s, band=b, **where), at.metric) for s, b in cells]
    order = ranked(board, _values(cell(board, **where), at.metric), METRICS[at.metric])
    titles = {model.name: model.title for model in board.models}
    head = ["model", *(f"{scene} {band}" for scene, band in cells)]
    return [head, *([titles[n], *(_text(c.get(n)) for c in columns)] for n in order)]


def _track_section(board: Board, track: TrackInfo) -> list[str]:
    blocks = [f"## {track.title}", track.description]
    blocks += [] if track.is_ranked else ["A diagnostic: models are not ranked by this track."]
    for shots in track.shots or (None,):
        if shots is not None:
            blocks.append(f"### {shots} labelled points of the test scene")
        blocks.append(_markdown(_track_rows(board, track.name, shots)))
    return blocks


def _track_rows(board: Board, track: str, shots: int | None) -> list[list[str]]:
    columns = [(lab, m) for lab, m in _TRACK_COLUMNS if m in board.summary]
    labels = {EVERY, *(label for label, _ in columns)}
    cells = {label: cell(board, track=track, shots=shots, label=label) for label in labels}
    order = ranked(board, _values(cells[EVERY], HEADLINE_METRIC), METRICS[HEADLINE_METRIC])
    titles = {model.name: _marked_title(model) for model in board.models}
    head = ["model", *(f"{METRICS[m].title}, {label.upper()}" for label, m in columns)]
    return [
        head,
        *([titles[n], *(_text(_values(cells[lab], m).get(n)) for lab, m in columns)] for n in order),
    ]


def _marked_title(model: ModelInfo) -> str:
    return model.title if model.kind == "model" else f"*{model.title}* ({model.kind})"


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return rows, the first of them the head, as a Markdown table."""
    head, *body = ([text.replace("|", "\\|") for text in row] for row in rows)
    rule = ["---" if name == "model" else "---:" for name in head]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def _bands(board: Board) -> list[str]:
    return [str(band) for band in board.summary["band"].unique() if band != EVERY]


def _track_title(board: Board, at: Headline) -> str:
    return next((track.title for track in board.tracks if track.name == at.track), at.track)


def _scenes_note(board: Board) -> str:
    return f"Independent scenes: {board.suite.num_scenes}."


def _values(table: pd.DataFrame, metric: str) -> pd.Series:
    return table[metric] if metric in table else pd.Series(dtype="Float64")


def _interval(table: pd.DataFrame, metric: str, name: str) -> str:
    low, high = (number(_values(table, f"{metric}_{end}").get(name)) for end in ("low", "high"))
    return _MISSING if low is None or high is None else f"{_text(low)}–{_text(high)}"


def _text(value: object) -> str:
    """Return about three significant digits, never in exponents."""
    known = number(value)
    if known is None:
        return _MISSING
    digits = next((d for d, least in enumerate((100, 10, 1)) if abs(known) >= least), 3)
    return f"{known:.{digits}f}"


def _plain(value: Any) -> Any:
    """Return a cell as JSON knows it: what is missing becomes null."""
    if isinstance(value, str):
        return value
    known = number(value)
    if known is None:
        return None
    return int(known) if float(known).is_integer() and not isinstance(value, float) else known
