"""The page of a board in a real browser: what it shows, and what it does when it is used."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raymark.benchmark.board import (
    CDF_LEVELS,
    Board,
    Cdf,
    ErrorMap,
    Layout,
    ModelRow,
    SuiteInfo,
    TrackInfo,
    write_board,
)
from raymark.benchmark.board.content import AUDIT_COLUMNS, COMPARISON_COLUMNS
from raymark.benchmark.metrics import METRICS
from raymark.benchmark.publication import layout_of
from raymark.dataset.buildings import HeightMap

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
LIMIT_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="neither chromium nor google-chrome is installed"),
]

SCENES, BANDS = ("street_canyon", "munich"), ("6GHz", "28GHz")
NUM_POINTS = 30
LONG = "A model with a title that is rather long"

SCALES = {"near": 1.0, "far": 4.0, "wide": 2.0, "oracle": 0.25, "bound": 0.01}
"""A model's errors, in units of those of the model `near`."""

COVERAGE = {"near": 0.99, "wide": 0.88}

PRELUDE = """<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) =>
  window.problems.push(String(event.reason)));
window.addEventListener("securitypolicyviolation", (event) =>
  window.problems.push(event.violatedDirective));
for (const level of ["error", "warn"]) console[level] = (...parts) =>
  window.problems.push(parts.join(" "));
</script>"""
"""Runs before all scripts of the page."""

TOOLS = """
const all = (selector) => [...document.querySelectorAll(selector)];
const one = (selector) => { const found = document.querySelector(selector);
  if (!found) throw Error("no " + selector); return found; };
const texts = (selector) => all(selector).map((node) => node.textContent.trim());
const order = () => all("#standings-table tbody:not(.aside) tr[data-model]").map((row) =>
  row.dataset.model);
const choose = (id, value) => { const field = one("#" + id); field.value = value;
  field.dispatchEvent(new Event("change", { bubbles: true })); };
const press = (id, value) => one(`#${id} input[value="${value}"]`).click();
const sortBy = (key) => one(`#standings-table th[data-key="${key}"] button`).click();
const cellOf = (model, key) => {
  const columns = all("#standings-table thead th").map((node) => node.dataset.key);
  return one(`#standings-table tr[data-model="${model}"]`).children[columns.indexOf(key)]; };
const valueOf = (model, key) => cellOf(model, key).firstChild.textContent;
const goTo = async (hash) => { location.hash = hash;
  await new Promise((done) => setTimeout(done, 50)); };
"""

WIDTHS = """
const right = (node) => node.getBoundingClientRect().right;
report.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
const inner = ".scroll, svg, .visually-hidden, [hidden], legend, details:not([open]) > *";
report.outside = all("main *")
  .filter((node) => !node.closest(inner) && right(node) > innerWidth + 1)
  .map((node) => node.tagName + "." + node.className);
report.goesOn = all(".scroll").filter((box) => box.scrollWidth > box.clientWidth + 1).length;
report.hints = all(".scroll-hint").filter((hint) => hint.offsetHeight > 0).length;
"""


def model(name: str, **changes: Any) -> ModelRow:
    plain: dict[str, Any] = {
        "name": name,
        "title": name.capitalize(),
        "kind": "model",
        "is_trajectory": False,
        "summary": "What it does.",
        "card_markdown": f"# {name}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "num_parameters": 12345,
        "fit_s": 0.5,
        "predict_ms_per_point": 0.25,
        "peak_memory_mb": 100.0,
        "verified": True,
    }
    return ModelRow(**(plain | changes))


MODELS = (
    model("bound", kind="bound"),
    model("oracle", kind="reference"),
    model("far", title=LONG),
    model("near", is_trajectory=True, verified=False),
    model("wide"),
)
TRACKS = (
    TrackInfo(name="interpolation", title="Interpolation", description="Easy.", is_ranked=False),
    TrackInfo(name="unseen-nlos", title="Unseen NLOS", description="Hard.", is_ranked=True),
    TrackInfo(
        name="cross-scene", title="Cross scene", description="Far.", is_ranked=True, shots=(0, 10)
    ),
)


def errors_of(name: str, scene: str, band: str, los: np.ndarray) -> np.ndarray:
    """NLOS errors are ten times those in LOS; `wide` has many small errors and a few large ones."""
    factor = SCALES[name] * (1 + SCENES.index(scene)) * (1 + BANDS.index(band))
    ramp = np.linspace(0.01, 1.0, NUM_POINTS) ** (3 if name == "wide" else 1)
    return factor * ramp * np.where(los == 0, 10.0, 1.0)


def summary_row(name: str, error_m: np.ndarray) -> dict[str, Any]:
    quantiles = {m: np.quantile(error_m, p) for m, p in (("median_m", 0.5), ("p90_m", 0.9))}
    return quantiles | {
        "mse_m2": np.mean(error_m**2) / 2,
        "share_under_1m": np.mean(error_m < 1),
        "coverage_90": COVERAGE.get(name, pd.NA),
        "p90_m_low": quantiles["p90_m"] / 2,
        "p90_m_high": quantiles["p90_m"] * 2,
        "p90_m_std": 0.125,
    }


def cells() -> list[dict[str, Any]]:
    return [
        {"track": track.name, "shots": shots, "scene": scene, "band": band}
        for track in TRACKS
        for shots in track.shots or (None,)
        for scene in SCENES
        for band in BANDS
    ]


def make_board(**changes: Any) -> Board:
    los = np.arange(NUM_POINTS) % 3 - 1
    labels = {"all": los >= 0, "los": los == 1, "nlos": los == 0}
    rows, cdfs, maps, pairs = [], [], [], []
    for where in cells():
        errors = {name: errors_of(name, where["scene"], where["band"], los) for name in SCALES}
        for label, mask in labels.items():
            for name, error_m in errors.items():
                keys = {"label": label, "model": name, "num_points": mask.sum(), "num_blocks": 3}
                rows.append(where | keys | summary_row(name, error_m[mask]))
                curve = np.quantile(error_m[mask], CDF_LEVELS)
                cdfs.append(Cdf(**where, label=label, model=name, error_m=curve))
            pairs += [
                (*where.values(), label, "p90_m", rival, "near", 5.0, low, 9.0, p)
                for rival, low, p in (("far", 1.0, 0.004), ("wide", -1.0, 0.4))
            ]
        x_m = np.linspace(-50.0, 50.0, NUM_POINTS)
        heard = np.arange(NUM_POINTS) % 2 == 0
        maps.append(
            ErrorMap(
                **where,
                x_m=x_m,
                y_m=x_m[::-1].copy(),
                los=los,
                is_detected=heard,
                error_m=errors,
            )
        )
    table = pd.DataFrame(rows).astype({"shots": "Int64", "coverage_90": "Float64"})
    means = []
    for over in (["scene"], ["band"], ["scene", "band"]):
        keys = [k for k in ("track", "shots", "scene", "band", "label", "model") if k not in over]
        numbers = ["num_points", *(name for name in METRICS if name in table)]
        mean = table.groupby(keys, dropna=False, sort=False)[numbers].mean().reset_index()
        means.append(mean.assign(**dict.fromkeys(over, "all")))
    plain: dict[str, Any] = {
        "suite": SuiteInfo(
            name="tiny",
            version=1,
            hash="a" * 64,
            description="A board for tests.",
            dataset_id="tiny",
            content_hash="b" * 64,
            seeds=(0,),
            num_scenes=2,
        ),
        "tracks": TRACKS,
        "models": MODELS,
        "rows": table.assign(task="t", fold=0, gain_db=pd.NA, seed=0),
        "summary": pd.concat([table, *means], ignore_index=True),
        "comparisons": pd.DataFrame(pairs, columns=list(COMPARISON_COLUMNS)),
        "audits": pd.DataFrame(
            [(t.name, s, 0, *range(100, 111)) for t in TRACKS for s in SCENES],
            columns=list(AUDIT_COLUMNS),
        ),
        "cdfs": tuple(cdfs),
        "maps": tuple(maps),
        "layouts": {SCENES[0]: layout()},
        "sites_m": {SCENES[0]: {"corner": (12.0, 30.0)}},
    }
    return Board(**(plain | changes))


def layout() -> Layout:
    edges_m = np.arange(-60.0, 61.0, 40.0)
    return layout_of(HeightMap(x_m=edges_m, y_m=edges_m, height_m=20.0 * np.eye(3)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(make_board(), tmp_path_factory.mktemp("board") / "out")[0]


def drive(page: Path, tmp_path: Path, script: str, *, width: int = 1400, hash_: str = "") -> Any:
    """Open a copy of the page, run a script in it, and return what this wrote into `report`.

    Windows narrower than 500 px do not exist without a head: the copy stands in a frame, which is
    as wide as is asked for, and hands its report to the page around it.
    """
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    assert text.count("</body>") == 1
    test = (
        f"<script>(async () => {{ const report = {{}}; {TOOLS}"
        f"try {{ {script} }} catch (error) {{ window.problems.push(String(error.stack)); }}"
        "report.problems = window.problems; parent.postMessage(JSON.stringify(report), '*');"
        "})();</script>"
    )
    inner = text.replace("<head>", f"<head>{PRELUDE}").replace("</body>", f"{test}</body>")
    (tmp_path / "inner.html").write_text(inner, encoding="utf-8")
    (tmp_path / "outer.html").write_text(
        "<!DOCTYPE html><pre id='test-report'></pre><script>addEventListener('message', (event) =>"
        " document.getElementById('test-report').textContent = event.data)</script>"
        f"<iframe src='inner.html{html.escape(hash_)}' style='border:0;width:{width}px;"
        "height:1800px'></iframe>",
        encoding="utf-8",
    )
    command = [
        str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
        f"--window-size={max(width, 500) + 40},2000", (tmp_path / "outer.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=True)
    found = re.search(r'<pre id="test-report">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    assert found is not None, done.stderr.decode()[-2000:]
    assert found[1], "the page wrote no report"
    return json.loads(html.unescape(found[1]))


def test_page_shows_the_headline_when_it_opens(page: Path, tmp_path: Path) -> None:
    report = drive(
        page,
        tmp_path,
        """
        report.order = order();
        report.ranks = texts("#standings-table tbody:not(.aside) .rank");
        report.aside = all("#standings-table tbody.aside tr[data-model]").map((row) =>
          row.dataset.model);
        report.chosen = all("form :checked").map((node) => node.value);
        report.best = all("#standings-table td.best.chosen").map((node) =>
          node.parentNode.dataset.model);
        report.p90 = valueOf("near", "p90_m");
        report.ratio = valueOf("far", "ratio");
        report.curves = all("#cdf-chart polyline").map((node) => node.dataset.model);
        report.legend = texts("#cdf-legend li");
        report.ticks = texts("#cdf-chart text");
        report.matrix = all("#matrix tbody button").map((node) => node.textContent);
        report.rows = texts("#matrix tbody th");
        report.maps = texts("#maps figcaption b");
        report.mapLegend = texts("#map-legend span");
        const pixels = (canvas) => canvas.getContext("2d")
          .getImageData(0, 0, canvas.width, canvas.height).data;
        report.drawn = all("#maps canvas").map((canvas) => new Set(pixels(canvas)).size > 8);
        report.differences = texts("#differences tbody tr td:last-child");
        report.audit = all("#audit tbody tr").length;
        report.cards = texts(".card-title");
        report.text = document.body.innerText;
        """,
    )

    assert report["problems"] == []
    assert report["order"] == ["near", "wide", "far"]
    assert report["ranks"] == ["1", "2", "3"]
    assert report["aside"] == ["oracle", "bound"]
    assert report["chosen"][:1] == ["unseen-nlos"]
    assert {"nlos", "all"} <= set(report["chosen"])
    assert report["best"] == ["near"]
    summary = make_board().summary.set_index("model")
    row = summary.query("track == 'unseen-nlos' and scene == 'all' and band == 'all'")
    near = row[row["label"] == "nlos"].loc["near", "p90_m"]
    assert report["p90"] == f"{near:.1f}"
    assert report["ratio"] == "×4.00"
    assert set(report["curves"]) == set(SCALES)
    assert report["legend"] == ["Near", "Wide", LONG, "Oracle", "Bound"]
    assert {"0.1", "1", "10"} <= set(report["ticks"])
    assert len(report["matrix"]) == 9
    assert report["matrix"][0] == report["p90"]
    assert report["rows"] == ["all", "street canyon", "munich"]
    assert report["maps"] == ["Near", "Wide"]
    assert report["mapLegend"][-1] == "base station"
    assert report["drawn"] == [True, True]
    assert report["differences"] == ["differs", "not told apart"]
    assert report["audit"] == 2
    assert report["cards"] == [LONG, "Near", "Wide", "Oracle", "Bound"]
    assert "fallen half-way" in report["text"]
    assert "Independent scenes: 2" in report["text"]


def test_table_is_sorted_when_a_heading_is_chosen(page: Path, tmp_path: Path) -> None:
    report = drive(
        page,
        tmp_path,
        """
        const state = () => all("#standings-table th[aria-sort]").map((node) =>
          node.dataset.key + " " + node.ariaSort);
        report.before = [order(), state()];
        sortBy("median_m"); report.median = [order(), state()];
        sortBy("median_m"); report.reversed = [order(), state()];
        sortBy("share_under_1m"); report.share = [order(), state(), valueOf("wide",
          "share_under_1m")];
        press("choose-columns", "doubt");
        sortBy("coverage_90"); report.coverage = [order(), state(), valueOf("wide", "coverage_90")];
        report.bold = all("#standings-table tbody:not(.aside) tr").filter((row) =>
          cellOf(row.dataset.model, "coverage_90").classList.contains("best")).map((row) =>
          row.dataset.model);
        press("choose-columns", "main"); sortBy("model"); report.names = order();
        report.focus = (() => { const button = one('th[data-key="mse_m2"] button'); button.focus();
          button.click(); return document.activeElement.dataset.focus; })();
        report.isButton = all("#standings-table th button").every((button) =>
          button.tabIndex === 0 && button.tagName === "BUTTON");
        report.hash = location.hash;
        """,
    )

    assert report["problems"] == []
    assert report["before"] == [["near", "wide", "far"], ["p90_m ascending"]]
    # `wide` has a third power of a ramp: the smallest median, but not the smallest P90.
    assert report["median"] == [["wide", "near", "far"], ["median_m ascending"]]
    assert report["reversed"] == [["far", "near", "wide"], ["median_m descending"]]
    assert report["share"][:2] == [["wide", "near", "far"], ["share_under_1m descending"]]
    assert 1 < float(report["share"][2]) <= 100
    # 88 % is nearer to 90 % than 99 % is; `far` states no uncertainty and stands last.
    assert report["coverage"] == [["wide", "near", "far"], ["coverage_90 ascending"], "88.0"]
    assert report["bold"] == ["wide"]
    assert report["names"] == ["far", "near", "wide"]
    assert report["focus"] == "sort-mse_m2"
    assert report["isButton"]
    assert "sort=mse_m2" in report["hash"]


def test_everything_follows_the_controls(page: Path, tmp_path: Path) -> None:
    report = drive(
        page,
        tmp_path,
        """
        const wheres = () => all(".where").map((node) => node.textContent);
        press("choose-track", "cross-scene"); report.shotsShown = !one("#field-shots").hidden;
        choose("choose-shots", "10"); press("choose-label", "los");
        choose("choose-scene", "munich"); choose("choose-band", "28GHz");
        report.wheres = wheres();
        report.fine = cellOf("near", "p90_m").textContent;
        report.losP90 = valueOf("near", "p90_m");
        report.maps = one("#maps canvas").ariaLabel;
        press("choose-label", "all"); report.both = one("#maps canvas").ariaLabel;
        press("choose-label", "los");
        report.pressed = all('#matrix button[aria-pressed="true"]').map((node) => node.ariaLabel);
        choose("choose-metric", "coverage_90");
        report.matrixModel = one("#choose-model").selectedOptions[0].textContent;
        report.otherPairs = one("#differences-where").textContent;
        choose("choose-metric", "p90_m"); choose("choose-model", "far");
        choose("choose-left", "bound"); choose("choose-right", "none");
        report.panels = texts("#maps figcaption b");
        report.farCell = one('#matrix button[aria-pressed="true"]').textContent;
        one('[data-focus="cell-all-6GHz"]').click();
        report.afterCell = [one("#choose-scene").value, one("#choose-band").value];
        press("choose-scale", "linear"); report.linear = texts("#cdf-chart text");
        one('[data-focus="line-far"]').click(); report.curves = all("#cdf-chart polyline").length;
        one("#cdf-chart").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight",
          cancelable: true }));
        report.readout = one("#cdf-readout").textContent;
        report.shares = texts("#cdf-legend .value");
        report.disabled = all("#choose-label input:disabled").map((node) => node.value);
        one('#standings-table tr[data-model="far"] a').click();
        report.open = texts(".card[open] .card-title");
        report.hash = location.hash;
        """,
    )

    assert report["problems"] == []
    assert report["shotsShown"]
    cell_title = "Cross scene · 10 shots · munich · 28 GHz"
    named = [where for where in report["wheres"] if where.startswith(cell_title)]
    assert len(named) == 4  # standings, curves, map and differences
    los = np.arange(NUM_POINTS) % 3 - 1
    expected = np.quantile(errors_of("near", "munich", "28GHz", los)[los == 1], 0.9)
    assert report["losP90"] == f"{expected:.2f}"
    assert report["fine"] == f"{expected:.2f}{expected / 2:.2f}–{expected * 2:.2f}±0.13"
    assert "errors of 10 points over the layout of munich" in report["maps"]
    assert "errors of 20 points" in report["both"]  # outage is apart, here as in the tables
    assert report["pressed"] == [f"munich scene, 28 GHz band: {expected:.2f} m"]
    assert report["matrixModel"] == "Wide"
    assert "P90 [m] · against Near" in report["otherPairs"]
    assert report["panels"] == ["Bound"]
    assert report["farCell"] == f"{4 * expected:.1f}"
    assert report["afterCell"] == ["all", "6GHz"]
    assert "0.1" not in report["linear"]
    assert report["curves"] == len(SCALES) - 1
    assert report["readout"].startswith("Share of points within")
    assert all(re.fullmatch(r"\d+ %", share) for share in report["shares"])
    assert report["disabled"] == ["detectable", "blind", "outage"]
    assert report["open"] == [LONG]
    for part in ("track=cross-scene", "shots=10", "label=los", "model=far", "scale=linear"):
        assert part in report["hash"]


def test_address_holds_the_state_when_it_is_opened_again(page: Path, tmp_path: Path) -> None:
    where = "#track=cross-scene&shots=10&scene=munich&band=28GHz&label=los&metric=median_m"
    more = "&model=far&left=bound&right=near&sort=mse_m2&desc=true&scale=linear"
    look = """
        const look = () => ({ where: one("#standings-where").textContent, order: order(),
          hash: location.hash,
          sort: one("#standings-table th[aria-sort]").dataset.key,
            maps: texts("#maps figcaption b"),
          model: one("#choose-model").value, scale: one("#choose-scale input:checked").value });
        report.opened = look();
    """
    report = drive(
        page,
        tmp_path,
        look
        + f"""
        await goTo("#track=nonsense&band=1THz&scene=&metric=p1_m&shots=x&sort=zzz&left=nobody");
        report.nonsense = look();
        await goTo({json.dumps(where + more)}); report.again = look();
        """,
        hash_=where + more,
    )

    assert report["problems"] == []
    assert report["opened"] == report["again"]
    assert report["opened"]["hash"] == where + more
    assert report["opened"]["where"].startswith("Cross scene · 10 shots · munich · 28 GHz")
    assert report["opened"]["order"] == ["far", "wide", "near"]
    assert report["opened"]["sort"] == "mse_m2"
    assert report["opened"]["maps"] == ["Bound", "Near"]
    assert (report["opened"]["model"], report["opened"]["scale"]) == ("far", "linear")
    assert report["nonsense"]["where"].startswith("Unseen NLOS · all scenes · all bands")


def test_page_tells_what_shows_a_path_when_that_is_known(tmp_path: Path) -> None:
    board = make_board()
    table = board.summary
    skill = 1 - table["p90_m"] / 50
    table = table.assign(skill=skill, skill_low=skill - 0.1, skill_high=skill + 0.1, win_rate=0.5)
    nlos = table[table["label"] == "nlos"]
    summary = [
        table.assign(detectable_share=table["label"].map({"nlos": 0.684})),
        nlos.assign(label="detectable", detectable_share=1.0),
        nlos.assign(label="blind", detectable_share=0.0, nll_nat=-3.5, area_90_m2=90.0),
    ]
    pairs = board.comparisons[board.comparisons["label"] == "nlos"].assign(label="detectable")
    curve = [
        {"track": "unseen-nlos", "shots": pd.NA, "scene": "all", "band": "all", "label": label}
        | {"model": name, "gain_db": gain_db, "detectable_share": share, "p90_m": 30.0 - gain_db}
        for label in ("nlos", "detectable")
        for name in ("near", "far", "oracle")
        for gain_db, share in ((-10.0, 0.4), (0.0, 0.684), (20.0, 0.9))
    ]
    made = dataclasses.replace(
        board,
        summary=pd.concat(summary, ignore_index=True),
        comparisons=pairs,
        budgets=pd.DataFrame(curve).astype({"shots": "Int64"}),
    )

    report = drive(
        write_board(made, tmp_path / "out")[0],
        tmp_path,
        f"""
        report.headline = one(".wide dd").textContent;
        report.where = one("#standings-where").textContent;
        const heads = () => all("#standings-table th[data-key]").map((node) => node.dataset.key);
        report.heads = heads();
        report.skill = cellOf("near", "skill").textContent;
        report.pairs = one("#differences-where").textContent;
        report.map = one("#maps canvas").ariaLabel;
        report.budget = texts("#budget-chart text");
        report.curves = all("#budget-chart polyline").map((node) => node.dataset.model);
        press("choose-label", "blind"); report.noCurve = texts("#budget-chart");
        press("choose-label", "blind"); press("choose-columns", "doubt");
        report.doubt = heads();
        report.blind = [valueOf("near", "nll_nat"), valueOf("near", "area_90_m2")];
        report.blindMap = one("#maps canvas").ariaLabel;
        press("choose-columns", "cost"); report.cost = heads();
        report.hash = location.hash;
        {WIDTHS}
        press("choose-track", "interpolation"); report.noBudget = one("#budget").hidden;
        """,
    )

    assert report["problems"] == []
    assert report["headline"] == "Unseen NLOS, NLOS points that show a path: Skill"
    assert "68 % of the NLOS points show a path" in report["where"]
    first = ["rank", "model", "skill"]
    shown = ["win_rate", "median_m", "p90_m", "share_under_1m", "mse_m2"]
    assert report["heads"] == [*first, *shown]
    (near,) = nlos.query(
        "track == 'unseen-nlos' and model == 'near' and scene == 'all' and band == 'all'"
    ).to_dict("records")
    ends = [f"{100 * near[name]:.1f}" for name in ("skill", "skill_low", "skill_high")]
    assert report["skill"] == "{}{}–{}".format(*ends).replace("-", "−")
    assert "P90 [m]" in report["pairs"]
    # Of 30 points every third is NLOS, and of those every second shows a path.
    assert "errors of 5 points" in report["map"]
    shown = ["−10 dB", "40 %", "0 dB", "68 %", "+20 dB", "90 %"]
    assert [text for text in report["budget"] if text in shown] == shown
    assert {"10.0", "20.0"} <= set(report["budget"])
    assert set(report["curves"]) == {"near", "far"}
    assert report["noCurve"] == ["No curve is stored for these points."]
    assert report["noBudget"]
    assert report["doubt"] == [*first, "median_m", "coverage_90", "nll_nat", "area_90_m2"]
    assert report["blind"] == ["−3.50", "90.0"]
    assert "errors of 10 points" in report["blindMap"]  # LOS and NLOS
    assert report["cost"][3:] == [
        "num_parameters", "fit_s", "predict_ms_per_point", "peak_memory_mb"
    ]  # fmt: skip
    assert "columns=cost" in report["hash"]
    assert report["overflow"] == report["goesOn"] == 0


@pytest.mark.parametrize("width", [1400, 390])
def test_body_does_not_overflow_and_wide_tables_say_so(
    page: Path, tmp_path: Path, width: int
) -> None:
    report = drive(page, tmp_path, f"report.width = innerWidth; {WIDTHS}", width=width)

    assert report["problems"] == []
    assert report["width"] == width
    assert report["overflow"] == 0
    assert report["outside"] == []
    assert report["hints"] == report["goesOn"]
    assert (report["goesOn"] > 0) == (width == 390)


@pytest.mark.parametrize(
    "changes",
    [
        {"tracks": (), "models": (), "layouts": {}},
        {"models": ()},
        {"models": MODELS[3:4]},
        {"layouts": {}, "audits": pd.DataFrame()},
    ],
    ids=["empty", "no models", "one model", "no layouts"],
)
def test_page_has_no_error_when_the_board_has_little_to_show(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    full = make_board()
    tracks = {track.name for track in changes.get("tracks", TRACKS)}
    models = {m.name for m in changes.get("models", MODELS)}
    summary = full.summary
    board = make_board(
        **changes,
        summary=summary[summary["track"].isin(tracks) & summary["model"].isin(models)],
        comparisons=full.comparisons if len(models) > 1 else full.comparisons[:0],
        cdfs=tuple(c for c in full.cdfs if c.track in tracks and c.model in models),
        maps=() if len(models) < 2 else full.maps,
    )

    report = drive(
        write_board(board, tmp_path / "out")[0],
        tmp_path,
        'all(".segments input:not(:disabled)").forEach((input) => input.click());'
        "report.text = document.body.innerText;",
    )

    assert report["problems"] == []
    assert ("no results yet" in report["text"]) == (not tracks or not models)


def test_driver_sees_a_problem_when_the_page_has_one(page: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    text = page.read_text(encoding="utf-8").replace("\nstart();\n", "\nstart(); gone();\n")
    broken.write_text(text, encoding="utf-8")

    report = drive(broken, tmp_path, 'console.warn("careful"); one("#nothing");')

    assert any("gone is not defined" in problem for problem in report["problems"])
    assert any("careful" in problem for problem in report["problems"])
    assert any("no #nothing" in problem for problem in report["problems"])
