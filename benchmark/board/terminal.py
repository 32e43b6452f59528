"""The standings as a table for a terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from raymark.benchmark.board.content import Board
from raymark.benchmark.board.headline import Headline, headline
from raymark.benchmark.board.standings import (
    INTERVAL,
    MODEL,
    RATIO,
    SECOND_METRICS,
    TOTAL,
    Column,
    heading,
    standings,
)
from raymark.benchmark.skill import SHOWN

_FEWEST_COLUMNS = 80
_LEAST_MODEL_WIDTH = 14
"""A model's title may break over lines, but not into narrower ones; numbers never break."""

_DROPPED_FIRST = (
    "mse_m2",
    "share_under_3m",
    "share_under_1m",
    "win_rate",
    RATIO,
    INTERVAL,
    "median_m",
    "p90_m",
)
_GAP = 2


def terminal_table(
    board: Board,
    *,
    at: Headline | None = None,
    width: int = _FEWEST_COLUMNS,
    only: str | None = None,
) -> Table:
    """Return the standings: the metric per band and over all bands, then others and the ratio.

    Models stand in the order of their rank, then references and bounds, dimmed and without rank.

    Args:
        board: What to show.
        at: Track, shots, label and metric to show and rank by; the headline if not given.
        width: Columns of the terminal; where not all fit, the MSE goes first, then the shares, the
            win rate, the ratio, the interval, the median and the P90.
        only: Name of a model whose row alone is shown, with its rank among all.
    """
    at = at or headline(board)
    every = standings(board, at, only=only)
    columns = _fitting([_shortened(column) for column in every], width)
    table = Table(
        title=Text(heading(board, at)),
        title_justify="left",
        caption=Text(_caption(board, columns)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for column in columns:
        is_name = column.key == MODEL
        table.add_column(
            Text(column.title),
            justify="left" if is_name else "right",
            no_wrap=not is_name,
            min_width=None if is_name else _width(column),
        )
    for row in zip(*(column.texts for column in columns), strict=True):
        table.add_row(*map(Text, row), style=None if row[0] else "dim")
    return table


def _shortened(column: Column) -> Column:
    """Units of the further metrics stand in the caption."""
    short = {TOTAL: "all"} | {name: SHOWN[name].title for name in SECOND_METRICS}
    title = short.get(column.key, column.title)
    return Column(key=column.key, title=title, texts=column.texts)


def _fitting(columns: list[Column], width: int) -> list[Column]:
    for key in _DROPPED_FIRST:
        numbers = [column for column in columns if column.key != MODEL]
        needed = sum(map(_width, numbers)) + _GAP * len(numbers) + _LEAST_MODEL_WIDTH
        if needed <= width:
            break
        columns = [column for column in columns if column.key != key]
    return columns


def _width(column: Column) -> int:
    return max(map(len, (column.title, *column.texts)))


def _caption(board: Board, columns: list[Column]) -> str:
    shown = {column.key for column in columns}
    further = [SHOWN[name] for name in SECOND_METRICS if name in shown]
    parts = [f"{metric.title} in {metric.unit or '%'}" for metric in further]
    parts += ["ratio to the best model"] if RATIO in shown else []
    scenes = f"Independent scenes: {board.suite.num_scenes}."
    return f"Over all bands: {', '.join(parts)}. {scenes}" if parts else scenes
