"""The tour: a small dataset, its figures, and a board of models on it, in one call.

It uses generator, benchmark and models, which only the command line may; it prints nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raymark.benchmark.publication import PublishedBoard
    from raymark.benchmark.run import RunReport

CAMPAIGN = "mini"
TRACKS = ("interpolation", "unseen-nlos")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartReport:
    """What the tour has made.

    Attributes:
        dataset: Folder of the dataset.
        figures: The drawn figures.
        suite: Name of the suite.
        num_models: How many models were compared.
        run: How the run of the models went.
        board: The board, and where it lies.
        is_published: Whether the dataset is the published one; other software, or a processor
            other than x86-64, makes another, whose board compares with no other.
    """

    dataset: Path
    figures: tuple[Path, ...]
    suite: str
    num_models: int
    run: "RunReport"
    board: "PublishedBoard"
    is_published: bool


def quickstart(
    folder: Path,
    *,
    overwrite: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> QuickstartReport:
    """Make the `mini` dataset, draw it, and compare the models that are not expensive on it.

    The same call goes on where an interrupted one stopped.

    Args:
        folder: Gets `dataset`, `figures`, `runs` and `board`.
        overwrite: Delete another dataset that lies there.
        progress: Told how far each stage is.

    Raises:
        DatasetError: If the folder of the dataset holds something else or is in use.
        ConfigError: If the folder of the run holds another one.
    """
    from raymark.benchmark import load_suite  # noqa: PLC0415
    from raymark.benchmark.publication import publish_board  # noqa: PLC0415
    from raymark.benchmark.run_cells import RunChoice  # noqa: PLC0415
    from raymark.benchmark.suite_data import bound_to  # noqa: PLC0415
    from raymark.benchmark.suite_run import run_suite  # noqa: PLC0415
    from raymark.dataset import open_dataset  # noqa: PLC0415
    from raymark.generator.generate import generate_dataset  # noqa: PLC0415
    from raymark.generator.plan import load_campaign  # noqa: PLC0415
    from raymark.models import choose_models  # noqa: PLC0415
    from raymark.plots.inspection import inspect_dataset, num_figures  # noqa: PLC0415

    generate_dataset(
        load_campaign(CAMPAIGN), folder / "dataset", overwrite=overwrite, progress=progress
    )
    dataset = open_dataset(folder / "dataset")
    drawn, total = count(1), num_figures(dataset)
    figures = inspect_dataset(
        dataset,
        folder / "figures",
        overwrite=True,
        progress=lambda _path: progress("figures", next(drawn), total),
    )
    own = load_suite(CAMPAIGN)
    suite = bound_to(own, dataset)
    choice = RunChoice(models=tuple(choose_models()), tracks=TRACKS)
    runs = folder / "runs"
    run = run_suite(suite, dataset, runs, choice, progress=progress)
    board = publish_board(
        runs, folder / "board", dataset=dataset, overwrite=True, progress=progress
    )
    return QuickstartReport(
        dataset=folder / "dataset",
        figures=tuple(figures),
        suite=suite.name,
        num_models=len(choice.models),
        run=run,
        board=board,
        is_published=suite is own,
    )
