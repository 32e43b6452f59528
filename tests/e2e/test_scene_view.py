"""The 3D page of a scene in a real browser, with WebGL in software; and the command."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from raymark.dataset import Dataset
from raymark.generator.viewer import ViewChoice, view_scene
from raymark.scenes import get_scene
from raymark.viewer import LinkPosteriors, write_view

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LIMIT_S = 120

pytestmark = pytest.mark.slow
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="neither chromium nor google-chrome is installed"
)

PRELUDE = """<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) =>
  window.problems.push(String(event.reason)));
window.addEventListener("securitypolicyviolation", (event) =>
  window.problems.push(event.violatedDirective));
for (const level of ["error", "warn"]) console[level] = (...parts) =>
  window.problems.push(parts.join(" "));
window.requestAnimationFrame = (act) => setTimeout(() => act(performance.now()), 16);
const openContext = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, options) {
  return openContext.call(this, kind, { ...options, preserveDrawingBuffer: true });
};
</script>"""
"""Runs before all scripts of the page; pictures are kept so that they can be read back.

A browser that only dumps the document draws no frames of its own: a timer stands in for them.
"""

TOOLS = """
const all = (selector) => [...document.querySelectorAll(selector)];
const one = (selector) => { const found = document.querySelector(selector);
  if (!found) throw Error("no " + selector); return found; };
const stage = one("#stage"), canvas = one("#canvas");
const frames = async () => { for (let i = 0; i < 4; i += 1)
  await new Promise((done) => requestAnimationFrame(done)); };
const press = async (key, shiftKey = false) => {
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey, cancelable: true }));
  await frames(); };
const choose = async (id, value) => { one(id).value = value;
  one(id).dispatchEvent(new Event("change", { bubbles: true })); await frames(); };
const click = async (selector) => { one(selector).click(); await frames(); };
const shown = () => ({ ue: Number(stage.dataset.ue), paths: Number(stage.dataset.paths),
  rows: all("#path-rows tr").length,
  kinds: Object.fromEntries(all("#kind-legend li").map((item) =>
    [item.dataset.kind, Number(item.dataset.count)])) });
const pixels = () => { const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const pen = copy.getContext("2d"); pen.drawImage(canvas, 0, 0);
  return pen.getImageData(0, 0, copy.width, copy.height).data; };
const count = (r, g, b) => { const data = pixels(); let found = 0;
  for (let i = 0; i < data.length; i += 4)
    if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12)
      found += 1;
  return found; };
const point = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { clientX:
  x + canvas.getBoundingClientRect().left, clientY: y + canvas.getBoundingClientRect().top,
  pointerId: 1, pointerType: "mouse", bubbles: true, buttons: type === "pointerdown" ? 1 : 0 }));
for (let i = 0; i < 100 && !document.body.dataset.ready && one("#notice").hidden; i += 1)
  await new Promise((done) => setTimeout(done, 50));
await frames();
"""


def drive(page: Path, tmp_path: Path, script: str, *, prelude: str = PRELUDE) -> Any:
    """Open a copy of the page, run a script in it, and return what this wrote into `report`."""
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == text.count("</body>") == 1
    test = (
        f"<script>(async () => {{ const report = {{}};"
        f"try {{ {TOOLS} {script} }} catch (error) {{ problems.push(String(error.stack)); }}"
        "report.problems = problems; const told = document.createElement('pre');"
        "told.id = 'test-report'; told.textContent = JSON.stringify(report);"
        "document.body.append(told); })();"
        "</script>"
    )
    copy = tmp_path / "copy.html"
    copy.write_text(
        text.replace("<head>", f"<head>{prelude}").replace("</body>", f"{test}</body>"),
        encoding="utf-8",
    )
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--use-gl=angle",
        "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000",
        "--window-size=1000,800", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=True)
    found = re.search(r'<pre id="test-report">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    assert found is not None, done.stderr.decode()[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, small_dataset: Dataset) -> Path:
    out = tmp_path_factory.mktemp("page") / "canyon.html"
    view_scene(get_scene("street_canyon"), out, ViewChoice(band="28GHz"), dataset=small_dataset)
    return out


def path_kinds(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Number of paths of each link, and of those with reflections and nothing else."""
    table = dataset.select(scene="street_canyon", band="28GHz").path_table(0, 50)
    counts = np.diff(table.path_offset)
    reflected = (table.interaction[:, 0] == 1) & np.isin(table.interaction, (0, 1)).all(axis=1)
    return counts, np.bincount(np.repeat(np.arange(50), counts)[reflected], minlength=50)


@needs_browser
def test_page_shows_the_paths_of_a_link_when_it_is_chosen(
    page: Path, small_dataset: Dataset, tmp_path: Path
) -> None:
    counts, reflections = path_kinds(small_dataset)
    chosen = int(np.argmax(reflections))

    report = drive(
        page,
        tmp_path,
        f"""
        await click('input[value="hidden"]');
        await click("#show-ues");
        await choose("#choose-link", "{chosen}");
        report.chosen = shown();
        report.orange = count(0xE6, 0x9F, 0x00);
        await choose("#choose-shown", "1");
        report.strongest = shown();
        await choose("#choose-shown", "0");
        await click("#next");
        report.next = shown();
        await press("p"); await press("p");
        report.previous = shown();
        report.address = location.hash;
        """,
    )

    assert report["problems"] == []
    assert report["chosen"]["ue"] == chosen
    assert report["chosen"]["paths"] == report["chosen"]["rows"] == counts[chosen]
    assert report["chosen"]["kinds"]["reflection"] == reflections[chosen] > 0
    assert sum(report["chosen"]["kinds"].values()) == counts[chosen]
    assert report["orange"] > 100
    assert report["strongest"]["paths"] == report["strongest"]["rows"] == 1
    assert report["next"]["ue"] == (chosen + 1) % 50
    assert report["previous"]["ue"] == (chosen - 1) % 50
    assert report["next"]["paths"] == counts[(chosen + 1) % 50]
    assert report["address"] == f"#site=bs0&ue={(chosen - 1) % 50}"


@needs_browser
def test_page_shows_where_a_link_may_be_when_it_was_located(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    out, counts = tmp_path / "located.html", np.arange(50) % 4
    scene, choice = get_scene("street_canyon"), ViewChoice(band="28GHz")
    view = view_scene(scene, tmp_path / "x.html", choice, dataset=small_dataset)
    site = view.sites[0]
    posteriors = LinkPosteriors(
        offset=np.concatenate([[0], np.cumsum(counts)]),
        position_m=np.repeat(site.links.position_m, counts, axis=0),
        share=np.full(counts.sum(), 0.25, dtype="f4"),
    )
    located = dataclasses.replace(site, posteriors=posteriors)
    write_view(dataclasses.replace(view, sites=(located,)), out)

    report = drive(
        out,
        tmp_path,
        """
        await choose("#choose-link", "7"); report.three = Number(stage.dataset.cloud);
        await choose("#choose-link", "8"); report.none = Number(stage.dataset.cloud);
        report.note = one("#located-note").textContent;
        """,
    )

    assert report["problems"] == []
    assert (report["three"], report["none"]) == (3, 0)
    assert "Purple points" in report["note"]


@needs_browser
def test_stage_has_no_color_of_paths_when_the_link_has_none(
    page: Path, small_dataset: Dataset, tmp_path: Path
) -> None:
    """The count of pixels above can fail: a link without reflections has none of that colour."""
    _, reflections = path_kinds(small_dataset)
    bare = int(np.flatnonzero(reflections == 0)[0])

    report = drive(
        page,
        tmp_path,
        f"""
        await click('input[value="hidden"]');
        await click("#show-ues");
        await choose("#choose-link", "{bare}");
        report.orange = count(0xE6, 0x9F, 0x00);
        """,
    )

    assert report["problems"] == []
    assert report["orange"] == 0


@needs_browser
def test_ue_is_chosen_when_it_is_clicked(page: Path, tmp_path: Path) -> None:
    report = drive(
        page,
        tmp_path,
        """
        canvas.setPointerCapture = canvas.releasePointerCapture = () => {};
        let found = null;
        const last = stage.dataset.ue;
        for (let y = 60; y < canvas.clientHeight && !found; y += 9)
          for (let x = 10; x < canvas.clientWidth && !found; x += 9) {
            point("pointermove", x, y);
            const match = one("#tip").textContent.match(/^UE (\\d+)/);
            if (match && match[1] !== last) found = { x, y, ue: Number(match[1]) };
          }
        report.found = found;
        point("pointerdown", found.x, found.y);
        point("pointerup", found.x, found.y);
        await frames();
        report.clicked = shown();
        """,
    )

    assert report["problems"] == []
    assert report["clicked"]["ue"] == report["found"]["ue"]
    assert report["clicked"]["paths"] == report["clicked"]["rows"]


@needs_browser
def test_links_of_another_site_are_shown_when_it_is_chosen(
    two_site_dataset: Dataset, tmp_path: Path
) -> None:
    scene = get_scene(two_site_dataset.manifest.campaign.scenes[0].name)
    view_scene(scene, tmp_path / "two.html", dataset=two_site_dataset)

    report = drive(
        tmp_path / "two.html",
        tmp_path,
        """
        report.address = [location.hash];
        await choose("#choose-site", "1");
        report.address.push(location.hash);
        report.active = all(".site-name.active").map((name) => name.textContent);
        report.shown = shown();
        report.distance = one("#link-facts dd").textContent;
        """,
    )

    east = two_site_dataset.select(scene="two_sites", band="2.6GHz", site="east")
    position_m = east.position_m[report["shown"]["ue"]]
    assert report["problems"] == []
    assert [address.split("&")[0] for address in report["address"]] == ["#site=west", "#site=east"]
    assert report["active"] == ["east"]
    assert report["distance"] == f"{np.linalg.norm(position_m - [50, 0, 10]):.1f} m"


@needs_browser
def test_view_turns_and_comes_back_when_keys_are_pressed(page: Path, tmp_path: Path) -> None:
    report = drive(
        page,
        tmp_path,
        """
        const look = () => one("#needle").getAttribute("transform") + one("#scale-text").textContent
          + one(".site-name").style.transform;
        report.looks = [look()];
        for (const [key, shift] of [["ArrowLeft", false], ["ArrowUp", true], ["-", false],
          ["t", false], ["r", false]]) { await press(key, shift); report.looks.push(look()); }
        """,
    )

    assert report["problems"] == []
    assert len(set(report["looks"])) == 5
    assert report["looks"][0] == report["looks"][-1]


@needs_browser
def test_page_says_so_when_there_is_no_webgl(page: Path, tmp_path: Path) -> None:
    off = PRELUDE.replace(
        "return openContext.call", "return /webgl/.test(kind) ? null : openContext.call"
    )

    report = drive(page, tmp_path, "report.said = one('#notice').innerText;", prelude=off)

    assert "WebGL, which this browser does not offer" in report["said"]


@needs_browser
def test_page_has_no_error_when_the_scene_has_no_site(write_scene: Any, tmp_path: Path) -> None:
    box = trimesh.creation.box(bounds=[[-5, -5, 0], [5, 5, 10]])
    folder = write_scene("bare", {"box": (box, "brick")}, [])
    view_scene(get_scene(str(folder)), tmp_path / "bare.html")

    report = drive(
        tmp_path / "bare.html",
        tmp_path,
        "await press('n'); point('pointermove', 50, 50); report.drawn = new Set(pixels()).size;"
        "report.text = one('.panel').innerText;",
    )

    assert report["problems"] == []
    assert report["drawn"] > 8
    assert "no base station" in report["text"]


def test_command_writes_a_page_and_refuses_to_replace_it(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "-c", "from raymark.cli import main; main()"),
        *("scenes", "view", "street_canyon"),
        *("--out", "page.html", "--data", str(small_dataset.folder), "--num-links", "5"),
    ]

    first, second = (
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        for _ in range(2)
    )

    assert first.returncode == 0, first.stderr
    assert "wrote page.html" in first.stdout
    assert second.returncode == 2
    assert "page.html exists" in " ".join(second.stderr.split())
    assert (tmp_path / "page.html").stat().st_size > 100_000
