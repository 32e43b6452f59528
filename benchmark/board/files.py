"""The files of a board: page, Markdown, CSV and JSON, all from the same values."""

from pathlib import Path

from raymark.benchmark.board.content import Board
from raymark.benchmark.board.page import render_page
from raymark.benchmark.board.tables import csv_text, json_text, markdown_board
from raymark.storage import write_text
from raymark.storage.atomic import require_new_folder


def write_board(board: Board, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write `index.html`, `board.md`, `board.csv`, `board.json` and `summary.csv`.

    Args:
        board: What to show.
        out: Where the files go.
        overwrite: Write into a folder that holds files; those of the same name are replaced.

    Returns:
        The files, in the order of writing.

    Raises:
        DatasetError: If the folder is not empty (unless `overwrite`), or cannot be written.
    """
    require_new_folder(out, overwrite=overwrite)
    texts = {
        "index.html": render_page(board),
        "board.md": markdown_board(board),
        "board.csv": csv_text(board.rows),
        "board.json": json_text(board),
        "summary.csv": csv_text(board.summary),
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]
