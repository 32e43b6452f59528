"""Draw docs/figures/architecture.png: the packages on their floors, and the way of the data.

Floors are those of `pyproject.toml`; arrows are the imports in the sources, without those that
follow from others. What is drawn is saved beside it as `architecture.json`.

Run it from anywhere: `python docs/figures/architecture.py`. With `--check` nothing is written, and
the exit code is 1 if the drawing is stale.
"""

import ast
import json
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from raymark.plots import house_style, save_figure

ROOT = Path(__file__).parents[2]
TARGET = Path(__file__).with_name("architecture.png")
DATA = TARGET.with_suffix(".json")

FOLDERS = {
    "raymark": "raymark",
    "raymark.scenes": "scenes",
    "raymark.generator": "generator",
    "raymark.benchmark": "benchmark",
    "raymark.models": "models",
}
GROUND = "ground"
"""The modules that all others stand on, as one."""

KERNEL, CLIENT, WIRING = "#d6e6f2", "#fbe3d2", "#e6e6e6"
EDGE, WAY = "#666666", "#D55E00"

_ASIDE = 0.3
"""From an edge to where an arrow to the side begins or ends."""

ROOMS = {
    "raymark.cli": (0, 6, "the command line: parses, calls one function, prints"),
    "raymark.models": (2, 3, "one folder each"),
    "raymark.generator": (3.2, 5, "campaign → paths; its tracing/\nalone knows Sionna"),
    "raymark.benchmark": (2, 3.3, "paths → scores:\ntasks, runs, board"),
    "raymark.scenes": (4.2, 6, "what stands there; maps\nthat are read in"),
    "raymark.interop": (0, 1, "DeepMIMO,\nSionna PHY and RT"),
    "raymark.loaders": (1, 2, "torch, TensorFlow,\npandas, HF"),
    "raymark.release": (2, 2.9, "documents, checks,\nreproducible bytes"),
    "raymark.catalog": (1, 2, "index of releases,\ndownloads, cache"),
    "raymark.viewer": (3.2, 4.1, "a scene as a\n3D page"),
    "raymark.plots": (2.95, 4.1, "figures, from values alone"),
    "raymark.dataset": (
        0,
        4.1,
        "campaign, schema, shards, manifest, reader;\nwriting/ makes one of paths",
    ),
    "raymark.work": (0, 1.3, "executors: here, processes,\nclusters"),
    "raymark.fields": (
        1.5,
        4.6,
        "fields of paths from their geometry;\nmaterials, wedges, gradients",
    ),
    "raymark.radio": (1.5, 4.6, "bands, sites, frames; CSI of paths,\nfingerprints, estimation"),
    "raymark.storage": (4.7, 6, "places, here or remote;\nfiles appear whole"),
    GROUND: (
        0,
        6,
        "errors · config · registry · seeding · extras · presenting · progress · keywords",
    ),
}
"""Left and right edge in columns, and what each package holds."""

WAY_OF_DATA = (
    ("a scene", "raymark.scenes.scene.Scene"),
    ("its paths", "raymark.dataset.writing.traced_paths.TracedPaths"),
    ("a dataset", "raymark.dataset.reader.Dataset"),
    ("fingerprints", "raymark.radio.fingerprints.Fingerprints"),
    ("a task", "raymark.benchmark.task.Task"),
    ("predictions", "raymark.benchmark.localizer.Prediction"),
    ("the board", "raymark.benchmark.board.content.Board"),
)
"""What the data is at each step, and the class that holds it."""

MADE_BY = ("generator", "dataset.writing", "radio", "benchmark", "models", "benchmark.board")
"""Who turns one step into the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is drawn.

    Attributes:
        floors: Packages by floor, the highest first.
        arrows: Who imports whom, without what follows from other arrows and without the ground.
        way: Each step of the data with its class.
    """

    floors: list[list[str]]
    arrows: list[list[str]]
    way: list[list[str]]


def read_plan() -> Plan:
    """Read floors, imports and steps from the checkout."""
    floors = _floors()
    imports = _imports(floors)
    return Plan(
        floors=floors,
        arrows=sorted([a, b] for a in imports for b in _direct(imports, a) if b != GROUND),
        way=[[step, _existing_class(name)] for step, name in WAY_OF_DATA],
    )


def _floors() -> list[list[str]]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contract = tomllib.loads(text)["tool"]["importlinter"]["contracts"][0]
    floors = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [floor for floor in floors if not _is_ground(floor)] + [[GROUND]]


def _is_ground(floor: list[str]) -> bool:
    return all((ROOT / f"{name.replace('.', '/')}.py").is_file() for name in floor)


def _imports(floors: list[list[str]]) -> dict[str, set[str]]:
    rooms = {room for floor in floors for room in floor}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for module, path in _modules():
        for name in _imported(path):
            here, there = _room_of(module, rooms), _room_of(name, rooms)
            if here and there and here != there:
                found[here].add(there)
    return found


def _modules() -> Iterator[tuple[str, Path]]:
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            if inner == ("__main__",):  # the command, too: as ground it would turn all arrows round
                inner = ("cli", *inner)
            yield ".".join([package, *inner]).removesuffix(".__init__"), path


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _room_of(module: str, rooms: set[str]) -> str | None:
    """Return the package of a module; the names in `raymark/__init__.py` belong to none."""
    inside = [room for room in rooms if f"{module}.".startswith(f"{room}.")]
    if inside or not module.startswith("raymark."):
        return max(inside, key=len, default=None)
    return GROUND if (ROOT / "raymark" / f"{module.split('.')[1]}.py").is_file() else None


def _direct(imports: dict[str, set[str]], room: str) -> set[str]:
    """Return what a package imports and no other of its imports reaches."""
    others = {other: _reached(imports, other) for other in imports[room]}
    return {to for to in others if not any(to in far for o, far in others.items() if o != to)}


def _reached(imports: dict[str, set[str]], room: str) -> set[str]:
    found: set[str] = set()
    left = [room]
    while left:
        new = imports[left.pop()] - found
        found |= new
        left += new
    return found


def _existing_class(name: str) -> str:
    """Return a class's name, if its module defines it."""
    module, _, class_name = name.rpartition(".")
    tree = ast.parse(dict(_modules())[module].read_text(encoding="utf-8"))
    if class_name not in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}:
        raise SystemExit(f"{module} has no class {class_name}; see WAY_OF_DATA in {__file__}")
    return name


@house_style()
def draw(plan: Plan) -> Figure:
    """Return the figure: floors above, the way of the data below."""
    figure = Figure(figsize=(11.0, 11.4))
    upper, lower = figure.subplots(2, 1, height_ratios=[9.6, 1.5])
    for ax in (upper, lower):
        ax.set_axis_off()
    _draw_floors(upper, plan)
    _draw_way(lower, plan)
    return figure


def _draw_floors(ax: Axes, plan: Plan) -> None:
    heights = {room: -i for i, floor in enumerate(plan.floors) for room in floor}
    for room, height in heights.items():
        left, right, holds = ROOMS[room]
        _box(ax, (left + 0.06, height), right - left - 0.12, room, holds)
    for here, there in plan.arrows:
        start, end = _ends(ROOMS[here], ROOMS[there])
        style = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        top, bottom = (end, heights[there] + 0.31), (start, heights[here] - 0.31)
        ax.annotate("", top, bottom, arrowprops=style, zorder=1)
    ax.set(xlim=(0, 6), ylim=(-len(plan.floors) + 0.6, 0.45))
    ax.set_title(
        "Blue: the kernel. Orange: its clients. An arrow: imports; what follows from other arrows "
        "is not drawn, nor that all stand on the ground"
    )


def _ends(here: tuple[float, float, str], there: tuple[float, float, str]) -> tuple[float, float]:
    """Return where an arrow starts and ends: straight down where one stands above the other."""
    low, high = max(here[0], there[0]), min(here[1], there[1])
    if low < high:
        return (low + high) / 2, (low + high) / 2
    aside = _ASIDE if here[1] <= there[0] else -_ASIDE
    return high - aside, low + aside


def _box(ax: Axes, at: tuple[float, float], width: float, name: str, holds: str) -> None:
    short = name.removeprefix("raymark.")
    color = WIRING if short == "cli" else CLIENT if short in FOLDERS.values() else KERNEL
    style = "round,pad=0,rounding_size=0.05"
    x, y = at
    ax.add_patch(
        FancyBboxPatch((x, y - 0.31), width, 0.62, boxstyle=style, fc=color, ec=EDGE, lw=0.9)
    )
    middle = x + width / 2
    ax.text(middle, y + 0.14, short, ha="center", va="center", fontweight="bold")
    ax.text(middle, y - 0.11, holds, ha="center", va="center", fontsize=8, linespacing=1.05)


def _draw_way(ax: Axes, plan: Plan) -> None:
    for i, (step, name) in enumerate(plan.way):
        *_, module, class_name = name.split(".")
        ax.text(i, 0, step, ha="center", va="center", fontweight="bold", color=WAY)
        ax.text(i, -0.45, f"{module}.\n{class_name}", ha="center", va="center", fontsize=7.5)
    for i, maker in enumerate(MADE_BY):
        style = {"arrowstyle": "-|>", "color": WAY, "lw": 1.4}
        ax.annotate("", (i + 0.68, 0), (i + 0.36, 0), arrowprops=style)
        ax.text(i + 0.5, 0.3, maker, ha="center", va="center", fontsize=8)
    ax.set(xlim=(-0.5, len(plan.way) - 0.5), ylim=(-0.8, 0.7))
    ax.set_title("The way of the data, and who makes each step")


def main() -> None:
    """Draw, or check."""
    text = json.dumps(asdict(read_plan()), indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        save_figure(draw(read_plan()), TARGET)
        DATA.write_text(text, encoding="utf-8")
    elif not DATA.is_file() or DATA.read_text(encoding="utf-8") != text:
        sys.exit("the drawing is stale; run `python docs/figures/architecture.py`")


if __name__ == "__main__":
    main()
