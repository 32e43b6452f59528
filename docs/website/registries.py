"""Pages of what ships as files: models, scenes, bands, presets and suites."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from raymark.radio import BAND_PRESETS, Band
from website.links import ROOT, with_site_links


def registry_pages() -> dict[str, str]:
    """Return the pages by their place on the site."""
    return {
        **_cards("models", "model.yaml", _MODELS, ("model", "", "inputs"), _model_row),
        **_cards("scenes", "scene.yaml", _SCENES, ("scene", "", "size", "licence"), _scene_row),
        "bands.md": _bands(),
        "presets.md": _files(_PRESETS, ROOT / "generator" / "presets"),
        "suites.md": _files(_SUITES, ROOT / "benchmark" / "suites"),
    }


_MODELS = """# Models

A folder of `models` each, with its code, settings and card. `raymark bench run --models NAME` runs
one; those that are *expensive* run when they are named, or with `--models all`. Those whose inputs
have a `map` need one ([Localizers that know the city](../map_aware.md)).
"""

_SCENES = """# Scenes

A folder of `scenes` each, with geometry, materials, sites and card. `raymark scenes view NAME --out
page.html` shows one in 3D; [a map of your own](../new_scene.md) becomes a scene, too.
"""

_BANDS = """# Bands

Names that stand for a carrier; any other carrier is a band as well (`39GHz`), and a mapping sets
the rest ([keys](settings.md#band)). Made from `raymark.radio.BAND_PRESETS`.
"""

_PRESETS = """# Presets

Campaigns that ship with raymark. `raymark generate NAME --out DIR` makes one,
`raymark presets show NAME` prints it as a start for your own;
[Keys of the YAML files](settings.md#campaign) has every key.
"""

_SUITES = """# Suites

The tasks of the benchmark, each suite on one dataset; [The benchmark](benchmark.md) has the
protocol, [Keys of the YAML files](settings.md#suite) every key. Each file ends with the hashes of
its splits, which are left out here.
"""


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def _cards(
    folder: str, settings: str, head: str, headings: Sequence[str], row: Any
) -> dict[str, str]:
    """Return a page for each thing that is a folder, and the table of all."""
    found = {path.parent.name: path for path in sorted((ROOT / folder).glob(f"*/{settings}"))}
    rows = [
        [f"[`{name}`]({name}.md)", *row(yaml.safe_load(path.read_text(encoding="utf-8")))]
        for name, path in found.items()
    ]
    pages = {f"{folder}/{name}.md": _card(name, path) for name, path in found.items()}
    return {f"{folder}/index.md": f"{head}\n{table(headings, rows)}", **pages}


def _model_row(info: dict[str, Any]) -> list[str]:
    expensive = " *Expensive.*" if info.get("is_expensive") else ""
    return [f"{info['title']}. {info['summary']}{expensive}", ", ".join(info["inputs"])]


def _scene_row(info: dict[str, Any]) -> list[str]:
    if "extent_m" not in info:
        return [info["title"], "any", info["licence"]]
    x_min, y_min, x_max, y_max = info["extent_m"]
    return [info["title"], f"{x_max - x_min:.0f} m x {y_max - y_min:.0f} m", info["licence"]]


def _card(name: str, settings: Path) -> str:
    origin = (settings.parent / "card.md").relative_to(ROOT).as_posix()
    text = with_site_links(
        (ROOT / origin).read_text(encoding="utf-8"),
        origin=origin,
        place=f"{settings.parent.parent.name}/{name}.md",
    )
    parts = [text, f"## Settings of `{name}`\n", fenced("yaml", settings)]
    bibliography = settings.with_name("references.bib")
    if bibliography.is_file():
        parts += ["## After\n", fenced("bibtex", bibliography)]
    return "\n".join(parts)


def fenced(language: str, path: Path) -> str:
    """Return a file as a block of code."""
    return f"```{language}\n{path.read_text(encoding='utf-8').strip()}\n```\n"


def _bands() -> str:
    rows = [_band_row(band) for band in BAND_PRESETS.values()]
    headings = (
        "band",
        "carrier [GHz]",
        "bandwidth [MHz]",
        "tones",
        "noise figure [dB]",
        "unambiguous up to [m]",
    )
    return f"{_BANDS}\n{table(headings, rows)}"


def _band_row(band: Band) -> list[str]:
    return [
        f"`{band.name}`",
        f"{band.carrier_hz / 1e9:g}",
        f"{band.bandwidth_hz / 1e6:g}",
        str(band.num_subcarriers),
        f"{band.noise_figure_db:g}",
        f"{band.unambiguous_range_m:.0f}",
    ]


def _files(head: str, folder: Path) -> str:
    parts = [head]
    for path in sorted(folder.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        description = yaml.safe_load(text)["description"]
        shown = text.partition("\nsplit_hashes:")[0].strip()
        parts.append(
            f"## {path.stem}\n\n{textwrap.fill(description, 100)}\n\n```yaml\n{shown}\n```\n"
        )
    return "\n".join(parts)
