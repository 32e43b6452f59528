"""Pages of the site that are made from sources: no public name, command or thing is left out."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer.main
import yaml
from website import public_names
from website.checks import Site
from website.commands import commands_page
from website.links import ROOT, place_of, with_site_links
from website.public_names import package_folders, reference_pages
from website.registries import registry_pages

from raymark.cli import app
from raymark.models import model_names
from raymark.radio import BAND_PRESETS
from raymark.scenes import get_scene, scene_names

ENTRY = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
CROSS_REFERENCE = re.compile(r"\]\[([\w.]+)\]")
IMPORTS = re.compile(r"^ *from (raymark[\w.]*) import ([\w, ]+)$", re.MULTILINE)


def all_of(package: Path) -> list[str]:
    """What `__all__` of a package lists, read by a way of its own."""
    found = re.search(
        r"^__all__ = (\[.*?\])$", package.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    return list(ast.literal_eval(found[1])) if found else []


def sources() -> dict[str, Path]:
    """Every package of the product, also one that the installation forgets, by its full name."""
    found: dict[str, Path] = {}
    for name, folder in package_folders().items():
        for path in sorted((ROOT / folder).rglob("__init__.py")):
            inner = path.parent.relative_to(ROOT / folder).parts
            found[".".join([name, *inner])] = path
    return found


def missing_names(pages: dict[str, str], packages: dict[str, Path]) -> list[str]:
    """Names that no page has an entry of, or that its package's page does not lead to."""
    entries = {name for page in pages.values() for name in ENTRY.findall(page)}
    missing = []
    for package, path in packages.items():
        page = pages.get(f"api/{package}.md", "")
        led_to = {name for name in CROSS_REFERENCE.findall(page) if name in entries}
        shown = {*ENTRY.findall(page), *(f"{package}.{x.rsplit('.')[-1]}" for x in led_to)}
        missing += [f"{package}.{x}" for x in all_of(path) if f"{package}.{x}" not in shown]
    return missing


def test_every_public_name_has_an_entry_in_the_reference() -> None:
    packages = sources()

    assert sum(len(all_of(path)) for path in packages.values()) > 150
    assert missing_names(reference_pages(), packages) == []


def test_missing_entry_is_seen_when_a_package_has_one(tmp_path: Path) -> None:
    """The rule above can fail: by a name, by a package, and by a link to an entry that is gone."""
    package = tmp_path / "__init__.py"
    package.write_text('__all__ = [\n    "Band",\n    "Bend",\n]\n', encoding="utf-8")
    pages = {**reference_pages(), "api/raymark.dataset.md": "# raymark.dataset\n"}
    packages = {"raymark.radio": package, "raymark.new": package}

    missing = missing_names(pages, packages | {"raymark": sources()["raymark"]})

    assert missing[:3] == ["raymark.radio.Bend", "raymark.new.Band", "raymark.new.Bend"]
    assert missing[3:] == ["raymark.Dataset", "raymark.Selection", "raymark.open_dataset"]


def test_what_pages_import_has_an_entry() -> None:
    entries = {name for page in reference_pages().values() for name in ENTRY.findall(page)}
    imported = [
        f"{module}.{name.strip()}"
        for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
        for module, names in IMPORTS.findall(page.read_text(encoding="utf-8"))
        for name in names.split(",")
    ]

    assert len(imported) > 20
    assert set(imported) - entries == set()


def test_module_without_all_shows_what_it_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "from os import sep\nA, _B = 1, 2\nC: int = 3\ndef f(): ...\nclass _D: ...\n"
    monkeypatch.setattr(public_names, "_parsed", lambda _: ast.parse(source))

    assert public_names._module("any").names == ("A", "C", "f")


def test_commands_page_has_every_command_and_option() -> None:
    page = commands_page()
    stack = [("raymark", typer.main.get_command(app))]
    while stack:
        name, command = stack.pop()
        section = page.partition(f" {name}\n\n```text\n{name} ")[2].partition("\n#")[0]
        assert section, name
        options = [x for param in command.params for x in param.opts if x.startswith("--")]
        assert [x for x in options if x != "--help" and x not in section] == [], name
        stack += [(f"{name} {x}", inner) for x, inner in getattr(command, "commands", {}).items()]
    assert "\\[default: " in page  # a bracket alone would be a link


def test_pages_have_every_model_scene_band_preset_and_suite() -> None:
    pages = registry_pages()

    for folder, names in {"models": model_names(), "scenes": scene_names()}.items():
        for name in names:
            card = (ROOT / folder / name / "card.md").read_text(encoding="utf-8")
            assert card.splitlines()[0] in pages[f"{folder}/{name}.md"]
            assert f"[`{name}`]({name}.md)" in pages[f"{folder}/index.md"]
    assert all(f"| `{name}` | " in pages["bands.md"] for name in BAND_PRESETS)
    for page, folder in {
        "presets.md": "generator/presets",
        "suites.md": "benchmark/suites",
    }.items():
        for path in (ROOT / folder).glob("*.yaml"):
            assert f"## {path.stem}\n" in pages[page]


@pytest.mark.parametrize(
    ("origin", "link", "moved"),
    [
        ("docs/benchmark.md", "[a](../benchmark/suites)", "[a](suites.md)"),
        ("docs/map_aware.md", "[a](../models/twin_match/card.md#b)", "[a](models/twin_match.md#b)"),
        ("models/scadf_moe_paper/card.md", "[a](../scadf_moe/card.md)", "[a](scadf_moe.md)"),
        ("README.md", "[tests](tests/physics) [l](LICENSE)", "tests [l](LICENSE.txt)"),
        ("README.md", "[a](https://x.y/docs/z.md) [b](#c)", "[a](https://x.y/docs/z.md) [b](#c)"),
        ("README.md", "[a](raymark/errors.py)", "[a](raymark/errors.py)"),  # the build fails on it
        ("README.md", "```\n[a](LICENSE)\n```\n", "```\n[a](LICENSE)\n```\n"),
    ],
)
def test_links_lead_to_places_on_the_site(origin: str, link: str, moved: str) -> None:
    place = place_of(origin)

    assert place is not None
    assert with_site_links(link, origin=origin, place=place) == moved


def write_site(folder: Path, body: str) -> Site:
    (folder / "api").mkdir()
    (folder / "other.html").write_text('<h2 id="here">x</h2>', encoding="utf-8")
    (folder / "index.html").write_text(f"<html>{body}</html>", encoding="utf-8")
    (folder / "api" / "raymark.x.html").write_text('<h2 id="raymark.x.A">A</h2>', encoding="utf-8")
    return Site(folder)


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ('<a href="other.html#here">x</a><a href="https://x.y">z</a>', None),
        ('<a href="other.html#there">x</a>', "other.html#there"),
        ('<a href="gone.html">x</a>', "gone.html"),
        ('<a href="../outside.html">x</a>', "../outside.html"),
        ('<a href="#nowhere">x</a>', "#nowhere"),
        ('<img src="gone.png">', "gone.png"),
        ('<img src="https://x.y/a.png">', "loads https://x.y/a.png"),
        ('<script src="//x.y/a.js"></script>', "loads //x.y/a.js"),
        ('<link rel="stylesheet" href="http://x.y/a.css">', "loads http://x.y/a.css"),
    ],
)
def test_fault_of_a_built_page_is_seen(tmp_path: Path, tag: str, fault: str | None) -> None:
    (tmp_path / "outside.html").write_text("x", encoding="utf-8")
    (tmp_path / "site").mkdir()

    faults = [x.partition("index.html: ")[2] for x in write_site(tmp_path / "site", tag).faults()]

    assert (faults[0] if fault else faults) == (fault or [])


def test_built_site_without_pages_or_entries_is_refused(tmp_path: Path) -> None:
    names = {"raymark.x": ["raymark.x.A", "raymark.x.B"], "raymark.y": ["raymark.y.C"]}

    assert list(Site(tmp_path / "none").faults()) == [f"{tmp_path / 'none'}: no page"]
    assert list(write_site(tmp_path, "").missing_entries(names)) == [
        "raymark.x.B: no entry in the reference",
        "raymark.y.C: no entry in the reference",
    ]


def test_navigation_names_every_page_of_docs_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"[\w/-]+\.md", yaml.safe_dump(yaml.safe_load(f"nav:\n{text}")))

    assert len(named) == len(set(named))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(named)


def other_on_the_site(text: str) -> list[str]:
    """Lines that GitHub reads otherwise than the site: inner lists, lists after text, bare tags."""
    found, before = [], ""
    for line in re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        begins = re.match(r"( *)([-*]|\d+\.) ", line)
        is_first = begins is not None and not re.match(r"$|\s|([-*]|\d+\.) ", before)
        is_tag = re.search(r"<(?!/?div|https?:)[A-Za-z]", re.sub(r"`[^`]*`", "", line))
        if (begins and 0 < len(begins[1]) < 4) or is_first or (is_tag and line[:4] != " " * 4):
            found.append(line)
        before = line
    return found


def test_pages_read_the_same_in_the_repository_and_on_the_site() -> None:
    cards = [path for folder in ("models", "scenes") for path in (ROOT / folder).glob("*/card.md")]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *cards]
    faults = [line for path in pages for line in other_on_the_site(path.read_text("utf-8"))]

    assert len(pages) > 40
    assert faults == []
    text = "A <noise>:\n- b\n  - c\n\n- d `<e>`\n    - f\n\n    <code>\n"
    assert other_on_the_site(text) == ["A <noise>:", "- b", "  - c"]


def test_landing_picture_is_of_the_scene_as_it_is() -> None:
    data, picture = (ROOT / "docs" / "figures" / f"landing.{x}" for x in ("json", "png"))
    paths = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]

    assert {tuple(path["point_m"][0]) for path in paths} == {
        get_scene("munich").sites[0].position_m
    }
    assert {path["kind"] for path in paths} == {"line of sight", "reflected", "diffracted"}
    assert picture.stat().st_size < 300_000


@pytest.mark.needs("griffe")
def test_reference_tells_fields_constants_and_examples(tmp_path: Path) -> None:
    import griffe
    from website.sources import OurSources

    (tmp_path / "probe.py").write_text(
        'A, B = 1e8, 3e11\n\nclass C:\n    x_m: float = Field(gt=0, description="How long [m]")\n'
        '    """Not lost."""\n    y_s: float = Field(description="How " "late [s]")\n\n'
        'def f():\n    """Do.\n\n    Example:\n        >>> 1\n        1\n    """\n',
        encoding="utf-8",
    )
    extensions = griffe.load_extensions(OurSources)
    probe = griffe.load("probe", search_paths=[tmp_path], extensions=extensions)

    assert float(str(probe["B"].value)) == 3e11
    assert probe["C.x_m"].docstring.value == "Not lost."
    assert probe["C.y_s"].docstring.value == "How late [s]"
    kinds = [section.kind.value for section in probe["f"].docstring.parse("google")]
    assert kinds == ["text", "examples"]
