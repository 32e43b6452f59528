"""A dataset in a session or a notebook: names, texts, tables and figures of its values."""

import io
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from rich.console import Console

import raymark
import raymark.dataset
from raymark import loaders, plots
from raymark.benchmark import Suite, Task
from raymark.benchmark.task_data import TaskData
from raymark.dataset import Dataset, PathTable, Selection
from raymark.dataset.link_statistics import link_table
from raymark.loaders import load_numpy, open_links, torch_dataset, torch_loader
from raymark.progress import progress_bars

CANYON = {"scene": "street_canyon", "band": "28GHz"}


@pytest.fixture(scope="module")
def links(small_dataset: Dataset) -> Selection:
    return small_dataset.select(**CANYON)


@pytest.mark.parametrize("module", [raymark, raymark.dataset], ids=lambda module: module.__name__)
def test_package_lists_its_names_when_they_are_imported_on_first_use(module: ModuleType) -> None:
    assert "Dataset" not in vars(module)
    assert set(module.__all__) <= set(dir(module))


def test_values_are_told_by_facts_when_they_are_shown(
    small_dataset: Dataset, links: Selection
) -> None:
    table = links.path_table(0, 7)
    shown = {
        "dataset": repr(small_dataset),
        "links": repr(links),
        "paths": repr(table),
        "points": repr(links.detail_table(0, 7)),
        "samples": repr(torch_dataset(small_dataset.folder, fields="csi", **CANYON)),
    }

    assert all(len(text) < 400 and "\n" not in text for text in shown.values())
    assert "links 50; scenes street_canyon (bs0); bands 2.6GHz, 6GHz, 28GHz" in shown["dataset"]
    assert str(small_dataset.manifest.content_hash) in shown["dataset"]
    assert shown["links"] == "<Selection: scene street_canyon; sites bs0; band 28GHz; links 50>"
    assert shown["paths"].startswith(f"<PathTable: links 7; paths {len(table.delay_s)}; ")
    assert "kind measured; seed 7; fields csi" in shown["samples"]


def test_path_table_is_told_when_it_holds_nothing(links: Selection) -> None:
    assert repr(links.path_table(3, 3)).startswith("<PathTable: links 0; paths 0; ")


def test_notebook_shows_a_table_and_no_markup_of_a_strangers(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "<td style='text-align:left'>50</td>" in small_dataset._repr_html_()

    monkeypatch.setattr(Dataset, "facts", lambda _self: {"name": "<script>"})
    assert "&lt;script&gt;" in small_dataset._repr_html_()
    assert "<script>" not in small_dataset._repr_html_()


def test_questions_are_told_by_facts_when_they_are_shown(
    benchmark_suite: Suite,
    benchmark_task: Callable[..., Task],
    load_benchmark_task: Callable[[Task], TaskData],
) -> None:
    task = benchmark_task("interpolation", "yard")
    data = load_benchmark_task(task)

    assert repr(benchmark_suite).startswith("<Suite: name tests@1; tracks interpolation, unseen-")
    assert str(task) == repr(task)
    assert "located yard 6GHz; split random-tracks; seeds 0>" in repr(task)
    num_train = len(data.train.measurements)
    assert repr(data).startswith(f"<TaskData: training {num_train} links; validation ")
    assert f"test {len(data.asked)} links, whose positions are not here" in repr(data)
    assert f"<td style='text-align:left'>{num_train} links</td>" in data._repr_html_()


def test_notebook_shows_figures_that_pyplot_does_not_know(links: Selection) -> None:
    ax = links.plot_gain_vs_distance()
    figure, axes = plots.new_figure(1, 2)

    assert ax._repr_png_()[:4] == figure._repr_png_()[:4] == b"\x89PNG"
    assert axes[0]._repr_png_() == axes[1]._repr_png_() == figure._repr_png_()
    shown = image.imread(io.BytesIO(ax._repr_png_()))
    assert len(np.unique(shown.reshape(-1, shown.shape[-1]), axis=0)) > 10


def test_bars_tell_each_stage_once_it_has_begun() -> None:
    console = Console(file=io.StringIO(), width=80)

    with progress_bars("UEs", console=console) as progress:
        progress("first [bold]", 1, 2)
        progress("first [bold]", 2, 2)
        progress("second", 0, 7)

    lines = console.file.getvalue().splitlines()
    assert [line[:12].strip() for line in lines] == ["first [bold]", "second"]
    assert "2/2" in lines[0]
    assert "0/7" in lines[1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda data: data.select(scen="x", band="28GHz"),
            r"select\(\) takes no .*'scen'; did you mean 'scene'\? \(it takes: scene, band, site\)",
        ),
        (lambda data: data.select(band="28GHz"), r"select\(\) needs scene"),
        (
            lambda data: data.select(**CANYON).fingerprints(0, 1, knd="oracle"),
            r"fingerprints\(\) takes no .*'knd'; did you mean 'kind'\?",
        ),
        (
            lambda data: torch_loader(data.folder, batchsize=4, **CANYON),
            r"torch_loader\(\) takes no .*'batchsize'; did you mean 'batch_size'\? \(it takes: "
            r"folder, batch_size, .*, method\)",
        ),
        (
            lambda data: load_numpy(data.folder, scene="street_canyon", bands="28GHz"),
            r"load_numpy\(\) takes no .*'bands'; did you mean 'band'\?",
        ),
        (lambda data: torch_dataset(data.folder), r"torch_dataset\(\) needs scene and band"),
        (lambda data: open_links(data.folder, band="28GHz"), r"open_links\(\) needs scene"),
    ],
)
def test_unknown_keyword_is_refused_in_the_name_of_the_called_function(
    call: Callable[[Dataset], object], message: str, small_dataset: Dataset
) -> None:
    with pytest.raises(TypeError, match=message):
        call(small_dataset)


def test_every_loader_names_its_own_keywords_when_one_is_unknown() -> None:
    functions = [getattr(loaders, name) for name in loaders.__all__]
    takes_links = [f for f in functions if "choice" in getattr(f, "__annotations__", {})]

    assert len(takes_links) == 5
    for function in takes_links:
        with pytest.raises(TypeError, match=rf"{function.__name__}\(\) takes no .*'sede'"):
            function("nowhere", sede=1, **CANYON)


def test_summary_holds_shares_and_medians_of_every_band(
    small_dataset: Dataset, links: Selection
) -> None:
    summary = small_dataset.summary()

    assert list(summary["band"]) == ["2.6GHz", "6GHz", "28GHz"]
    last = summary.iloc[2]
    assert last["los_share"] == pytest.approx(np.mean(links.los == 1))
    nlos_db = links.table()["gain_db"][links.los == 0]
    assert last["median_gain_nlos_db"] == pytest.approx(np.median(nlos_db))
    late = links.table()["late_share"][links.los == 0]
    assert last["late_share_nlos"] == pytest.approx(late.mean())
    behind = links.table()["behind_share"][links.los == 0]
    assert last["behind_share_nlos"] == pytest.approx(behind.mean())


FIGURES = [name for name in dir(Selection) if name.startswith("plot_")]


@pytest.mark.parametrize("name", FIGURES)
def test_links_draw_what_the_library_draws_of_their_values(name: str, links: Selection) -> None:
    covered = int(np.flatnonzero(links.los >= 0)[0])
    is_of_one = name in {"plot_csi_magnitude", "plot_angle_delay_profile"}

    axes = getattr(links, name)(*([covered] if is_of_one else []))

    assert isinstance(axes, Axes)
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    assert hasattr(plots, name)


def test_links_draw_on_given_axes_when_there_are_some(links: Selection) -> None:
    (axes,) = plots.new_figure()[1]

    assert links.plot_gain_vs_distance(ax=axes) is axes
    drawn = sum(len(points.get_offsets()) for points in axes.collections)
    assert drawn == (link_table(links)["los"] >= 0).sum()


def test_path_table_counts_its_links(links: Selection) -> None:
    table = links.path_table(4, 9)

    assert isinstance(table, PathTable)
    assert len(table) == 5
