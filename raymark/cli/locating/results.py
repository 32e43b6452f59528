"""What locating links on a map leaves on disk: a table, arrays, and what was assumed."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

import raymark
from raymark.dataset.schema import LOS, NLOS, OUTAGE
from raymark.errors import DatasetError
from raymark.models.twin.unlabelled import Locations, MapLocator
from raymark.storage import new_folder, write_text

TABLE_NAME, ARRAYS_NAME, REPORT_NAME = "locations.csv", "locations.npz", "report.json"
PAGE_NAME = "locations.html"
_OURS = (TABLE_NAME, ARRAYS_NAME, REPORT_NAME, PAGE_NAME)
_OF_LINKS = re.compile(r"link-[0-9]+\.(png|npz)")


def figure_name(link: int) -> str:
    """Return the name of the figure of a link; its data stand beside it as `.npz`."""
    return f"link-{link}.png"


def require_out(out: Path, *, overwrite: bool) -> None:
    """Check that results can go into a folder, before they are computed.

    Raises:
        DatasetError: If it is there, unless `overwrite`, or is no folder.
    """
    if out.exists() and not (overwrite and out.is_dir()):
        raise DatasetError(f"{out} exists; choose another folder or add --overwrite")


@contextlib.contextmanager
def results_folder(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a folder that takes the name of `out` in the end; former results go, all else stays.

    Raises:
        DatasetError: If the folder is there, unless `overwrite`, or cannot be written.
    """
    require_out(out, overwrite=overwrite)
    former = None
    if out.exists():
        drawn = {path.name for path in out.iterdir() if _OF_LINKS.fullmatch(path.name)}
        former = drawn.union(_OURS)
    with new_folder(out, replaces=former) as partial:
        yield partial


def write_locations(folder: Path, found: Locations, locator: MapLocator) -> None:
    """Write where links are: a table, the arrays with the posteriors' modes, and a report.

    Args:
        folder: Gets the files.
        found: Where the links are.
        locator: Who found them, on which map and by what assumptions.

    Raises:
        DatasetError: If they cannot be written.
    """
    write_text(folder / TABLE_NAME, found.table().to_csv(index=False))
    arrays = {
        name: getattr(found, name)
        for name in (
            *("position_m", "covariance_m2", "num_paths", "num_explained", "peak_share"),
            *("mode_m", "mode_share"),
        )
    }
    np.savez(folder / ARRAYS_NAME, allow_pickle=False, **arrays)
    report = {
        "raymark": raymark.__version__,
        "site": locator.site.model_dump(mode="json"),
        "map": str(locator.city.manifest.id),
        "spacing_m": locator.spacing_m,
        "receiver": locator.receiver.model_dump(mode="json"),
        "assumptions": asdict(locator.assumptions),
        "licence": locator.site.licence,
        "attribution": locator.site.attribution,
    }
    write_text(folder / REPORT_NAME, json.dumps(report, indent=1) + "\n")


def error_rows(
    found: Locations,
    true_m: Float[np.ndarray, "link 2"],
    los: Int[np.ndarray, "link"] | None = None,
) -> list[dict[str, Any]]:
    """Return how far from the truth links were found, by what they show.

    Args:
        found: Where they were found.
        true_m: Where they are [m].
        los: Their true labels, 1 LOS, 0 NLOS, -1 outage, if they are known.

    Returns:
        Rows with `links`, `number`, `median_m` and `p90_m`, of kinds that there are.
    """
    has_path = found.num_paths > 0
    groups = {"with a path": has_path, "without": ~has_path}
    if los is not None:
        labels = {"LOS": LOS, "NLOS": NLOS, "outage": OUTAGE}
        shown = {f"{name}, with a path": has_path & (los == code) for name, code in labels.items()}
        groups = {**shown, "without": ~has_path}
    error_m = np.linalg.norm(found.position_m - true_m, axis=1)
    return [
        {
            "links": name,
            "number": int(rows.sum()),
            "median_m": float(np.median(error_m[rows])),
            "p90_m": float(np.quantile(error_m[rows], 0.9)),
        }
        for name, rows in groups.items()
        if rows.any()
    ]
