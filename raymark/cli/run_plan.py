"""What a run of the benchmark would do, printed before it begins."""

import os
from pathlib import Path
from typing import Any

from raymark.cli.console import out
from raymark.cli.tables import Column, print_rows
from raymark.errors import counted


def print_plan(suite: Any, dataset: Any, folder: Path, choice: Any, *, jobs: int) -> None:
    """Print the cells and hours of a run (`raymark.benchmark.run_plan.plan_run`).

    Args:
        suite: What would be run.
        dataset: Its dataset.
        folder: Where the run is, or would be.
        choice: Which models, tracks and seeds.
        jobs: Processes; as many as cores if 0.
    """
    from raymark.benchmark.run_plan import plan_run  # noqa: PLC0415

    plan = plan_run(suite, dataset, folder, choice)
    rows = [
        {
            "model": model.name,
            "cells": model.num_cells,
            "finished": model.num_finished,
            "fit_s": model.fit_s,
            "hours": None if model.core_s is None else model.core_s / 3600,
        }
        for model in plan.models
    ]
    columns = [
        Column(heading="model", key="model"),
        Column(heading="cells", key="cells"),
        Column(heading="finished", key="finished"),
        Column(heading="a fit [s]", key="fit_s", show=_number),
        Column(heading="core hours left", key="hours", show=_number),
    ]
    print_rows(rows, columns)
    processes = jobs or len(os.sched_getaffinity(0))
    hours = plan.core_s / 3600 / processes
    left = plan.num_surveys - plan.num_measured
    out.print(f"{counted(left, 'survey')} of {plan.num_surveys} to be measured")
    if plan.core_s or not plan.unknown:
        out.print(f"about {hours:.2g} h in {counted(processes, 'process', 'processes')}")
    if plan.unknown:
        out.print(f"hours not known, and not counted: {', '.join(plan.unknown)}", soft_wrap=True)
    out.print("nothing was run")


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
