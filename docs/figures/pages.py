"""Take the pictures of the two pages of docs/tutorials/gallery.md: a scene in 3D, and a board.

Run it from anywhere, with Chromium: `python docs/figures/pages.py`. The cells of the gallery are
run in a folder of their own, and a browser photographs the pages that they write.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tutorial_pages import run_cell
from website.notebooks import TUTORIALS, read_cells

SCENE, BOARD = (Path(__file__).with_name(f"{name}_page.png") for name in ("scene", "board"))
SIZE = (1280, 800)
"""Of the window [pixels]."""


def photograph(page: Path, picture: Path) -> None:
    """Open a page in a browser without a window, and keep what it shows."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("neither chromium nor google-chrome is installed")
    options = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--hide-scrollbars"]
    width, height = SIZE
    subprocess.run(  # noqa: S603 - our own pages
        [
            browser,
            *options,
            "--enable-unsafe-swiftshader",
            f"--window-size={width},{height}",
            "--virtual-time-budget=8000",
            f"--screenshot={picture}",
            page.resolve().as_uri(),
        ],
        check=True,
        capture_output=True,
    )


def main() -> None:
    """Run the gallery, and photograph its pages."""
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory(prefix="raymark-") as folder:
        os.chdir(folder)
        for cell in read_cells(TUTORIALS / "gallery.py"):
            if cell.is_code:
                run_cell(cell.source, names)
        photograph(Path("scene.html"), SCENE)
        photograph(Path("board/index.html"), BOARD)
        os.chdir("/")
    print(f"wrote {SCENE} and {BOARD}")


if __name__ == "__main__":
    main()
