"""Links per second of the torch loader against readers of a materialised file, in the same run.

    python perf/loading.py small [--scene munich] [--band 6GHz] [--kind oracle] [--quick]
    python perf/loading.py small --memory v1

Ours makes CSI from paths, in a new order in each epoch. The peers read the file that `raymark
fingerprints` writes, from a warm page cache; writing it is outside the clock. `per link`:
`file[name][i]` in shuffled order, one link at a time, through a DataLoader, as people do.
`per link, flat`: the same of a copy without chunks and checksums, the best case of that habit.
`ranges`: whole batches of neighbouring links, `file[name][a:b]`, in shuffled order of the batches.
Sides take turns, an epoch each, and medians are compared: in links/s, and in processor time of all
processes, which other work on the machine disturbs less. Each process has one thread, as workers
have. `--memory` tells the peak of one pass.
"""

import argparse
import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import torch
from torch.utils.data import DataLoader, Dataset

from raymark import open_dataset
from raymark.dataset.materialization import materialize
from raymark.loaders import FIELDS, open_links, torch_loader

STORED = {
    name: {"position_m": "ue/", "ue_index": "ue/", "site_index": "ue/", "los": "link/"}.get(
        name, ""
    )
    + name
    for name in FIELDS
}
CSI = ("csi",)
PEERS = ("per link", "per link, flat", "ranges")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one link costs, in time and in processor time of all processes [s]."""

    wall_s: float
    cpu_s: float


class Rows(Dataset[dict[str, torch.Tensor]]):
    """A peer: links of a file, read one by one; each worker opens the file once."""

    def __init__(self, path: Path, fields: Iterable[str]) -> None:
        """Read `fields` of the file at `path`."""
        self.path, self.fields = path, tuple(fields)
        self.file: h5py.File | None = None
        with h5py.File(path) as file:
            self.num_links = len(file["csi"])

    def __len__(self) -> int:
        """Return the number of links."""
        return self.num_links

    def __getitem__(self, index: Any) -> dict[str, torch.Tensor]:
        """Read one link, or the links of a slice."""
        if self.file is None:
            self.file = h5py.File(self.path)
        return {name: torch.as_tensor(self.file[STORED[name]][index]) for name in self.fields}


class Ranges(Rows):
    """Another: batches of neighbouring links."""

    def __init__(self, path: Path, fields: Iterable[str], batch_size: int) -> None:
        """Read `fields` of the file at `path`."""
        super().__init__(path, fields)
        self.batch_size = batch_size

    def __len__(self) -> int:
        """Return the number of batches."""
        return math.ceil(self.num_links / self.batch_size)

    def __getitem__(self, index: Any) -> dict[str, torch.Tensor]:
        """Read one batch."""
        start = index * self.batch_size
        return super().__getitem__(slice(start, start + self.batch_size))


def main() -> None:
    """Run the comparison, or the pass that tells the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--scene", default="munich")
    parser.add_argument("--band", default="6GHz")
    parser.add_argument("--kind", default="measured", choices=["measured", "oracle"])
    parser.add_argument("--quick", action="store_true", help="batches of 64 and fewer epochs")
    parser.add_argument("--memory", type=Path, help="another dataset: peak memory of one pass")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    choice = {"scene": arguments.scene, "band": arguments.band}
    result: dict[str, Any] = {"stages_us": stages(arguments.data, choice, arguments.quick)}
    result["epochs"] = compare(arguments.data, choice | {"kind": arguments.kind}, arguments.quick)
    if arguments.memory:
        result["memory"] = [in_child(arguments.memory, choice, count) for count in (0, 2)]
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def compare(folder: Path, choice: dict[str, Any], quick: bool) -> list[dict[str, Any]]:
    """Time epochs of all sides for each choice of fields, batch size and workers."""
    rows = []
    print(f"\n{'':<22}{'ours':>15}" + "".join(f"{name:>23}" for name in PEERS))
    heads = f"{'links/s':>9}{'x wall':>7}{'x CPU':>7}" * len(PEERS)
    print(f"{'':<22}{'links/s':>8}{'CPU us':>7}{heads}")
    with tempfile.TemporaryDirectory() as scratch:
        chunked = Path(scratch) / "chunked.h5"
        materialize(open_dataset(folder), chunked, **choice)
        flat = flat_copy(chunked)
        for fields in (CSI, FIELDS):
            for batch_size in (64,) if quick else (64, 256):
                for workers in (0, 1, 2):
                    sides = {
                        "ours": torch_loader(
                            folder,
                            batch_size=batch_size,
                            num_workers=workers,
                            fields=fields,
                            **choice,
                        ),
                        "per link": peer(Rows(chunked, fields), batch_size, workers),
                        "per link, flat": peer(Rows(flat, fields), batch_size, workers),
                        "ranges": peer(Ranges(chunked, fields, batch_size), None, workers),
                    }
                    cost = cost_per_link(sides, 2 if quick else 5)
                    label = f"{len(fields)} field(s) b{batch_size} w{workers}"
                    report(label, cost)
                    entry = {name: dataclasses.asdict(value) for name, value in cost.items()}
                    choices = {"fields": fields, "batch": batch_size, "workers": workers}
                    rows.append(choices | entry)
    return rows


def report(label: str, cost: dict[str, Cost]) -> None:
    """Print the rates of one choice, and how many times ours is each peer's."""
    ours = cost["ours"]
    text = f"{label:<22}{1 / ours.wall_s:>8.0f}{ours.cpu_s * 1e6:>7.0f}"
    for name in PEERS:
        other = cost[name]
        ratios = other.wall_s / ours.wall_s, other.cpu_s / ours.cpu_s
        text += f"{1 / other.wall_s:>9.0f}{ratios[0]:>7.1f}{ratios[1]:>7.1f}"
    print(text, flush=True)


def flat_copy(path: Path) -> Path:
    """Copy the arrays of a file without chunks and filters."""
    copy = path.with_name("flat.h5")
    with h5py.File(path) as source, h5py.File(copy, "w") as target:
        for name in STORED.values():
            target[name] = source[name][()]
    return copy


def peer(data: Rows, batch_size: int | None, workers: int) -> DataLoader[dict[str, torch.Tensor]]:
    """Return the loader that people write for a dataset."""
    return DataLoader(
        data,
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def cost_per_link(sides: dict[str, Any], epochs: int) -> dict[str, Cost]:
    """Return the median cost of each side; the first epoch starts its workers and is left out."""
    spent: dict[str, list[Cost]] = {name: [] for name in sides}
    for _ in range(1 + epochs):
        for name, loader in sides.items():
            wall_s, cpu_s = time.perf_counter(), cpu_seconds(loader)
            num_links = sum(len(batch["csi"]) for batch in loader)
            wall_s, cpu_s = time.perf_counter() - wall_s, cpu_seconds(loader) - cpu_s
            spent[name].append(Cost(wall_s=wall_s / num_links, cpu_s=cpu_s / num_links))
    return {
        name: Cost(
            wall_s=statistics.median(cost.wall_s for cost in costs[1:]),
            cpu_s=statistics.median(cost.cpu_s for cost in costs[1:]),
        )
        for name, costs in spent.items()
    }


def cpu_seconds(loader: Any) -> float:
    """Return the processor time of this process and of a loader's workers so far (Linux)."""
    total = time.process_time()
    for worker in getattr(loader._iterator, "_workers", []):
        fields = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8").rsplit(")")[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def stages(folder: Path, choice: dict[str, str], quick: bool) -> dict[str, float]:
    """Return what each part of a sample costs in one thread [us per link], by differences."""
    made: dict[str, dict[str, Any]] = {
        "labels": {"fields": ("los", "position_m")},
        "paths and synthesis": {"fields": CSI, "kind": "oracle"},
        "noise": {"fields": CSI},
        "gain_db": {"fields": (*CSI, "gain_db")},
        "distance_m": {"fields": (*CSI, "distance_m", "has_signal")},
        "aoa_profile": {"fields": (*CSI, "aoa_profile")},
    }
    cost = {
        name: microseconds_per_link(folder, {**choice, **fields}, 10 if quick else 50)
        for name, fields in made.items()
    }
    csi = cost["noise"]
    cost["noise"] -= cost["paths and synthesis"]
    for name in ("gain_db", "distance_m", "aoa_profile"):
        cost[name] -= csi
    for name, value in cost.items():
        print(f"{name:<24}{value:>9.1f} us per link")
    return cost


def microseconds_per_link(folder: Path, choice: dict[str, Any], repeats: int) -> float:
    """Return the median processor time of a shuffled batch of 64 links, per link."""
    samples = open_links(folder, **choice)
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).numpy()
    seconds = []
    for _ in range(1 + repeats):
        started = time.thread_time()
        samples.take(order[:64])
        seconds.append(time.thread_time() - started)
    return 1e6 / 64 * statistics.median(seconds[1:])


def in_child(folder: Path, choice: dict[str, str], workers: int) -> dict[str, float]:
    """Make one pass in a fresh process."""
    code = f"import loading; loading.one_pass({str(folder.resolve())!r}, {choice!r}, {workers})"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        check=True,
        capture_output=True,
        text=True,
    )
    row: dict[str, float] = json.loads(result.stdout)
    print("  ".join(f"{name} {value:.0f}" for name, value in row.items()), flush=True)
    return row


def one_pass(folder: str, choice: dict[str, Any], workers: int) -> None:
    """Make all fields of all links once; print the largest resident sizes [MB] (Linux)."""
    imported = peak_mb("self")
    started = time.perf_counter()
    loader = torch_loader(folder, batch_size=256, num_workers=workers, **choice)
    opened_s = time.perf_counter() - started
    num_links = sum(len(batch["csi"]) for batch in loader)
    pids = [worker.pid for worker in getattr(loader._iterator, "_workers", [])]
    row = {
        "workers": workers,
        "links": num_links,
        "open_ms": opened_s * 1e3,
        "imported_mb": imported,
        "peak_mb": peak_mb("self"),
        "peak_worker_mb": max((peak_mb(str(pid)) for pid in pids), default=0.0),
    }
    print(json.dumps(row))


def peak_mb(process: str) -> float:
    """Return the largest resident size that a process ever had [MB] (Linux)."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
