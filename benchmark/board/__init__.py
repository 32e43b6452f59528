"""The leaderboard: what it shows, and its terminal table, Markdown, CSV, JSON and HTML page."""

from raymark.benchmark.board.content import (
    CDF_LEVELS,
    Board,
    Cdf,
    ErrorMap,
    Layout,
    ModelRow,
    SuiteInfo,
    TrackInfo,
)
from raymark.benchmark.board.files import write_board
from raymark.benchmark.board.headline import Headline, headline
from raymark.benchmark.board.terminal import terminal_table

__all__ = [
    "CDF_LEVELS",
    "Board",
    "Cdf",
    "ErrorMap",
    "Headline",
    "Layout",
    "ModelRow",
    "SuiteInfo",
    "TrackInfo",
    "headline",
    "terminal_table",
    "write_board",
]
