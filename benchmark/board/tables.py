"""The board as files that need no browser: Markdown, CSV and JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from raymark.benchmark.board.content import (
    EVERY,
    ROW_KEYS,
    Board,
    ModelRow,
    TrackInfo,
)
from raymark.benchmark.board.headline import (
    Headline,
    cell,
    headline,
    number,
    ranked,
    ranking,
    values_of,
)
from raymark.benchmark.board.standings import (
    MISSING,
    bands_of,
    heading,
    shown_number,
    shown_value,
    standings,
    titled,
)
from raymark.benchmark.labels import NLOS_LABEL
from raymark.benchmark.metrics import METRICS
from raymark.benchmark.skill import SHOWN

_TRACK_COLUMNS = (
    ("all", "median_m"),
    ("all", "p90_m"),
    ("all", "mse_m2"),
    ("los", "median_m"),
    ("los", "p90_m"),
    ("nlos", "median_m"),
    ("nlos", "p90_m"),
    ("nlos", "mse_m2"),
    ("detectable", "median_m"),
    ("detectable", "p90_m"),
    ("blind", "median_m"),
    ("blind", "nll_nat"),
    ("blind", "area_90_m2"),
    ("outage", "median_m"),
    ("outage", "nll_nat"),
    ("outage", "area_90_m2"),
)
"""Label and metric of each column in a track's Markdown table."""


def markdown_board(board: Board) -> str:
    """Return the board as Markdown: facts, headline, matrix, a table per track, and trust."""
    at = headline(board)
    suite = board.suite
    seeds = ", ".join(map(str, suite.seeds)) or "none"
    facts = (
        f"Suite `{suite.name}@{suite.version}` (`{suite.hash[:12]}`), dataset "
        f"`{suite.dataset_id}` (`{suite.content_hash[:12]}`), seeds {seeds}. "
        f"Independent scenes: {suite.num_scenes}. {suite.trust}"
    )
    blocks = [
        f"# Leaderboard of the suite {suite.name}",
        suite.description,
        f"**Superseded by the suite {suite.superseded_by}.**" if suite.superseded_by else "",
        facts,
        f"## {heading(board, at)}",
        "Rows without a rank are references and bounds, which use what no model may see.",
        _markdown(_standings(board, at)),
        "### By scene and band",
        _markdown(_matrix(board, at)),
    ]
    for track in board.tracks:
        blocks += _track_section(board, track)
    blocks += ["## Trust", _markdown(_trust_rows(board), words=True)]
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


def _standings(board: Board, at: Headline) -> list[list[str]]:
    columns = standings(board, at)
    body = zip(*(column.texts for column in columns), strict=True)
    return [[column.title for column in columns], *map(list, body)]


def _matrix(board: Board, at: Headline) -> list[list[str]]:
    metric = SHOWN[at.metric]
    scenes = [name for name in board.summary["scene"].unique() if name != EVERY]
    cells = [(scene, band) for scene in scenes for band in bands_of(board)]
    columns = [values_of(cell(board, at, scene=s, band=b), at.metric) for s, b in cells]
    head = ["model", *(f"{scene} {band}" for scene, band in cells)]
    return [
        head,
        *_detectable_shares(board, at, cells),
        *(
            [model.title, *(shown_value(metric, column.get(model.name)) for column in columns)]
            for model in ranked(board, values_of(cell(board, at), at.metric), metric)
        ),
    ]


def _detectable_shares(
    board: Board, at: Headline, cells: Sequence[tuple[str, str]]
) -> list[list[str]]:
    """Return a row with the share of the NLOS links of each cell that show a path, if known."""
    nlos = Headline(track=at.track, shots=at.shots, label=NLOS_LABEL, metric=at.metric)
    shares = []
    for scene, band in cells:
        rows = cell(board, nlos, scene=scene, band=band)
        known, points = values_of(rows, "detectable_share"), values_of(rows, "num_points")
        # Rows may lack points: a bound has none where nothing is bounded, a model a fold.
        shares.append(known[max(known, key=points.__getitem__)] if known else None)
    if all(share is None for share in shares):
        return []
    texts = [MISSING if share is None else f"{100 * share:.0f}" for share in shares]
    return [["*detectable share of NLOS* [%]", *texts]]


def _track_section(board: Board, track: TrackInfo) -> list[str]:
    blocks = [f"## {track.title}", track.description]
    blocks += [] if track.is_ranked else ["A diagnostic: models are not ranked by this track."]
    for shots in track.shots or (None,):
        if shots is not None:
            blocks.append(f"### {shots} labelled points of the test scene")
        blocks.append(_markdown(_track_rows(board, track.name, shots)))
    return blocks


def _track_rows(board: Board, track: str, shots: int | None) -> list[list[str]]:
    def values(label: str, metric: str) -> dict[str, float]:
        at = Headline(track=track, shots=shots, label=label, metric=metric)
        return values_of(cell(board, at), metric)

    given = [(label, SHOWN[name]) for label, name in _TRACK_COLUMNS if name in board.summary]
    found = [(label, metric, values(label, metric.name)) for label, metric in given]
    chosen = [(label, metric) for label, metric, own in found if own]
    columns = [own for _, _, own in found if own]
    by = ranking(board, track=track, shots=shots, label=EVERY).metric
    order = ranked(board, values(EVERY, by), SHOWN[by])
    head = ["model", *(f"{titled(metric)}, {label.upper()}" for label, metric in chosen)]
    return [
        head,
        *([_marked_title(m), *(shown_number(c.get(m.name)) for c in columns)] for m in order),
    ]


def _trust_rows(board: Board) -> list[list[str]]:
    """Return what each model states of itself, and whether it was run here."""
    head = ["model", "sees", "trained before on", "open", "made again by", "verified"]
    return [
        head,
        *(
            [
                model.title,
                *(
                    text or MISSING
                    for text in (
                        model.inputs,
                        model.pretraining,
                        model.openness,
                        model.replication,
                    )
                ),
                "yes" if model.verified else "no",
            ]
            for model in board.models
            if model.kind == "model"
        ),
    ]


def _marked_title(model: ModelRow) -> str:
    return model.title if model.kind == "model" else f"*{model.title}* ({model.kind})"


def _markdown(rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """Return rows, the first of them the head, as a Markdown table, of words or of numbers."""
    head, *body = ([text.replace("|", "\\|") for text in row] for row in rows)
    rule = ["---" if words or name == "model" else "---:" for name in head]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))


def _plain(value: Any) -> Any:
    """Return a cell as JSON knows it: what is missing becomes null."""
    if isinstance(value, str):
        return value
    known = number(value)
    if known is None:
        return None
    return int(known) if float(known).is_integer() and not isinstance(value, float) else known
