"""Write the table of grades in docs/map_aware.md from the grades themselves.

Run it from anywhere: `python docs/grades_table.py`. A test compares the page with its output.
"""

import re
from pathlib import Path

from raymark.scenes.degrading import GRADES, SIZE_SOURCES, Grade

TARGET = Path(__file__).with_name("map_aware.md")

_SURVEYS = ("exact", "surveyed", "open")
_HEAD = """| error | what it is | surveyed | open | alone | where the size comes from |
|---|---|---|---|---|---|"""
_TABLE = re.compile(r"(?<=<!-- grades -->\n).*?(?=<!-- end of grades -->)", re.DOTALL)


def grades_markdown() -> str:
    """Return the table: one row for each kind of error."""
    rows = "\n".join(_row(name) for name in SIZE_SOURCES)
    return f"{_HEAD}\n{rows}\n"


def with_table(page: str) -> str:
    """Return the text of a page with the table between its marks."""
    return _TABLE.sub(lambda _: grades_markdown(), page)


def _row(name: str) -> str:
    alone = [f"{_size(g, name)} in `{g.name}`" for g in GRADES.values() if _is_alone(g, name)]
    cells = [
        f"`{name}`",
        Grade.model_fields[name].description or "",
        *(_size(GRADES[grade], name) for grade in ("surveyed", "open")),
        ", ".join(alone) or "-",
        SIZE_SOURCES[name],
    ]
    return f"| {' | '.join(cells)} |"


def _is_alone(grade: Grade, name: str) -> bool:
    return grade.name not in _SURVEYS and name in grade.sizes


def _size(grade: Grade, name: str) -> str:
    size = grade.sizes.get(name, "-")
    return f"{size:g}" if isinstance(size, float) else size


if __name__ == "__main__":
    TARGET.write_text(with_table(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {TARGET}")
