"""Proof that an install without extras reads, gets, verifies, loads, scores and draws a board.

`python tests/small_install.py` runs where nothing but `pip install .` was done; with `--hide` it
runs anywhere, and what the extra `generate` installs cannot be imported. Its dataset is made of
closed forms: UEs in line of sight or not, and a wall that reflects to all of them.
"""

import contextlib
import functools
import http.server
import importlib.util
import io
import shutil
import sys
import tempfile
import threading
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raymark import open_dataset
from raymark.benchmark.board import write_board
from raymark.benchmark.publication import build_board
from raymark.benchmark.run import Runner
from raymark.benchmark.run_cells import RunChoice
from raymark.benchmark.store import RunFolder
from raymark.benchmark.task import Suite
from raymark.catalog import Catalog, Reference, publish_release
from raymark.catalog.cache import DatasetCache
from raymark.cli import main as raymark
from raymark.config import sealed_json, validate
from raymark.dataset.campaign import Campaign
from raymark.dataset.verification import verify_dataset
from raymark.dataset.writing.imported import ImportedSite, write_imported
from raymark.dataset.writing.traced_paths import TracedPaths
from raymark.dataset.writing.ues import SampledUEs
from raymark.loaders import torch_loader
from raymark.models import get_model
from raymark.radio import SPEED_OF_LIGHT_M_S, Site
from raymark.release import About, Release
from raymark.release.hashing import hash_files
from raymark.release.record import RELEASE_NAME, SUMS_NAME, Author, sums_text
from raymark.storage import file_sha256
from raymark.work.executor import ThisMachine

HIDDEN = ("sionna", "mitsuba", "drjit", "osmium", "pyproj", "shapely", "trimesh")
NUM_TRACKS, NUM_STEPS = 16, 5
SITE = Site(name="bs0", position_m=(0.0, 0.0, 10.0), azimuth_deg=0.0)
WALL_Y_M, WALL_REFLECTION = 40.0, -0.5
CARRIERS_HZ = {"2.6GHz": 2.6e9, "6GHz": 6e9}
CAMPAIGN = {
    "name": "wall",
    "scenes": ["wall"],
    "bands": list(CARRIERS_HZ),
    "front_end": {"panel": {"num_rows": 2, "num_cols": 4}},
    "sampling": {"kind": "imported", "source": "closed forms"},
}
SUITE = {
    "name": "wall",
    "version": 1,
    "preset": "none",
    "scenes": ["wall"],
    "bands": ["6GHz"],
    "seeds": [0],
    "tracks": [{"track": "interpolation", "split": {"kind": "random-tracks"}}],
}
NEEDS_EXTRA = 'is not installed; `pip install "raymark[generate]"` adds it'


class Without:
    """Finds what another finder does, but for the hidden packages."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.partition(".")[0] in HIDDEN:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def walking_ues() -> SampledUEs:
    """Straight tracks in front of the wall."""
    rng = np.random.default_rng(0)
    start_m = rng.uniform([20, -30], [90, 30], (NUM_TRACKS, 1, 2))
    plane_m = (start_m + np.arange(NUM_STEPS)[:, None] * [1.0, 0.5]).reshape(-1, 2)
    return SampledUEs(
        position_m=np.column_stack([plane_m, np.full(len(plane_m), 1.5)]).astype("f4"),
        track_id=np.repeat(np.arange(NUM_TRACKS, dtype="i4"), NUM_STEPS),
        track_step=np.tile(np.arange(NUM_STEPS, dtype="i4"), NUM_TRACKS),
    )


def traced(ues: SampledUEs) -> TracedPaths:
    """The line of sight of two tracks in three, and for all UEs the path over the wall."""
    site_m, ue_m = np.array(SITE.position_m), ues.position_m.astype("f8")
    image_m = np.array([site_m[0], 2 * WALL_Y_M - site_m[1], site_m[2]])
    share = (image_m[1] - WALL_Y_M) / (image_m[1] - ue_m[:, 1:2])
    in_sight = np.flatnonzero(ues.track_id % 3 > 0)
    ue_index = np.concatenate([in_sight, np.arange(len(ues))])
    is_reflected = np.arange(len(ue_index)) >= len(in_sight)
    point_m = np.concatenate([ue_m[in_sight], image_m + share * (ue_m - image_m)])
    origin_m = np.where(is_reflected[:, None], image_m, site_m)  # whence the UE sees it come
    length_m = np.linalg.norm(ue_m[ue_index] - origin_m, axis=1)
    gain = np.where(is_reflected, WALL_REFLECTION, 1) * SPEED_OF_LIGHT_M_S / (4 * np.pi * length_m)
    none = np.full((len(ue_index), 1), -1)
    return TracedPaths(
        ue_index=ue_index,
        delay_s=(length_m / SPEED_OF_LIGHT_M_S).astype("f4"),
        direction_bs=unit(point_m - site_m),
        direction_ue=unit(origin_m - ue_m[ue_index]),
        interaction=is_reflected[:, None].astype("u1"),
        vertex_m=np.where(is_reflected[:, None], point_m, 0.0)[:, None].astype("f4"),
        object_index=none.astype("i2"),
        primitive=none.astype("i4"),
        wedge=np.zeros((len(ue_index), 13), dtype="f4"),
        amplitude=np.stack([gain / hertz for hertz in CARRIERS_HZ.values()]).astype("c8"),
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")


def write_dataset(folder: Path) -> None:
    """Write the dataset through the real schema, without a ray tracer."""
    ues = walking_ues()
    rights = {"licence": "CC0-1.0", "attribution": "none"}
    site = ImportedSite(scene="wall", site=SITE, ues=ues, paths=traced(ues), **rights)
    write_imported(folder, validate(Campaign, CAMPAIGN, where="wall"), [site], notes=())


def check_reading(folder: Path) -> None:
    """Open, verify, synthesise and load."""
    links = open_dataset(folder).select(scene="wall", band="6GHz")
    batch = links.fingerprints(0, len(links), generator=torch.Generator().manual_seed(0))
    loaded = next(iter(torch_loader(folder, scene="wall", band="6GHz", batch_size=8)))

    assert verify_dataset(folder) == []
    assert len(links) == NUM_TRACKS * NUM_STEPS
    assert set(links.los.tolist()) == {0, 1}
    assert batch.csi.isfinite().all()
    assert len(loaded["csi"]) == 8


def check_scoring(data: Path, folder: Path) -> None:
    """Run two models on a suite, and write the board."""
    dataset = open_dataset(data)
    bound = {**SUITE, "content_hash": dataset.manifest.content_hash}
    runner = Runner(validate(Suite, bound, where="wall"), dataset, folder / "runs")
    models = RunChoice(models=tuple(get_model(name) for name in ("train_centroid", "wknn")))
    report = runner.run(models, executor=ThisMachine(1))
    write_board(build_board(RunFolder(folder / "runs")), folder / "board")

    assert (report.num_run, report.failures) == (2, ())
    assert get_model("wknn").info.title in (folder / "board" / "board.md").read_text("utf-8")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing; it knows no ranges."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def write_release(data: Path, folder: Path) -> None:
    """Write the record and the sums of a release; what else it has needs an extra."""
    shutil.copytree(data, folder)
    dataset = open_dataset(folder)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    record = Release(
        version="1.0.0",
        date="2026-01-01",
        about=About(title="Wall", authors=(Author(name="nobody"),)),
        tier=None,
        licence="CC0-1.0",
        dataset_id=dataset.manifest.id,
        content_hash=str(dataset.manifest.content_hash),
        left_out=(),
        materialized=(),
        benchmark=None,
        code_version="0",
        files=hash_files(folder, names),
    )
    (folder / RELEASE_NAME).write_text(sealed_json(record), encoding="utf-8")
    sums = sums_text(record, file_sha256(folder / RELEASE_NAME))
    (folder / SUMS_NAME).write_text(sums, encoding="utf-8")


def check_names(data: Path, folder: Path) -> None:
    """Publish into a folder, and get what is there over HTTP and from the folder itself."""
    site = folder / "site"
    write_release(data, folder / "release")
    publish_release(folder / "release", str(site / "wall"), str(site / "index.json"))
    handler = functools.partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}/index.json"
        for i, index in enumerate((address, str(site / "index.json"))):
            cache = DatasetCache(folder=folder / f"cache-{i}")
            held = Catalog(cache=cache, address=index).get(Reference(name="wall"))
            assert verify_dataset(held.folder) == []
            held.let_go()
        server.shutdown()
        thread.join()


def check_command(*arguments: object, code: int, says: str) -> None:
    """Run a command line, which ends with a code and says something."""
    sys.argv = ["raymark", *map(str, arguments)]
    printed, ended = io.StringIO(), 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            raymark()
        except SystemExit as end:
            ended = int(end.code or 0)
    said = " ".join(printed.getvalue().split())
    assert (ended, says in said) == (code, True), f"{arguments} ended with {ended} and said: {said}"


def check_commands(data: Path, folder: Path) -> None:
    """Commands that read go on; those that need the extra say so in one sentence."""
    check_command("verify", data, code=0, says="are right")
    check_command("scenes", "list", code=0, says="street_canyon")
    check_command("doctor", code=1, says=NEEDS_EXTRA)
    check_command("generate", "mini", "--out", folder / "x", code=2, says=NEEDS_EXTRA)
    check_command("plan", "mini", code=2, says=NEEDS_EXTRA)
    check_command("quickstart", "--out", folder / "x", code=2, says=NEEDS_EXTRA)
    check_command("scenes", "import", "x.osm", "--name", "x", code=2, says=NEEDS_EXTRA)
    check_command("scenes", "preview", "munich", "--out", "x.png", code=2, says=NEEDS_EXTRA)
    check_command("locate", "--scene", "munich", "--csi", "x.npz", code=2, says=NEEDS_EXTRA)
    assert not (folder / "x").exists()


def main(arguments: Sequence[str]) -> None:
    """Check everything in a folder that is removed again."""
    if "--hide" in arguments:
        sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
    found = [name for name in HIDDEN if importlib.util.find_spec(name) is not None]
    assert not found, f"this is no install without extras: there is {', '.join(found)}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dataset(folder / "data")
        check_reading(folder / "data")
        check_scoring(folder / "data", folder)
        check_names(folder / "data", folder)
        check_commands(folder / "data", folder)
    print("an install without extras reads, verifies, loads, scores and draws a board")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
