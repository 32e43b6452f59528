"""Shared scenes and datasets, made by scripts through the real schema; nothing is checked in.

Fixtures import what they need: a test that asks for none of them loads no ray tracer. What takes
seconds to make is made once, and shared by the workers of pytest-xdist.
"""

import importlib.util
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checked_calls  # noqa: F401 - before raymark, whose functions it decorates
import numpy as np
import pytest
import yaml
from filelock import FileLock
from hypothesis import settings

from raymark.extras import EXTRA_OF
from raymark.work.threads import ONE_THREAD

if TYPE_CHECKING:
    import trimesh

    from raymark.benchmark.run import Runner
    from raymark.benchmark.store import RunFolder
    from raymark.benchmark.suite_data import Splits
    from raymark.benchmark.task import Suite, Task
    from raymark.benchmark.task_data import TaskData
    from raymark.dataset import Dataset
    from raymark.release import BuildSettings

settings.register_profile("raymark", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("raymark")

WriteScene = Callable[..., Path]
MakeOnce = Callable[[str, Callable[[Path], None]], Path]
TracePoints = Callable[..., "Dataset"]
FindTask = Callable[..., "Task"]
LoadTask = Callable[["Task"], "TaskData"]

FEW_RAYS = {
    "discovery_rays": 30_000,
    "edge_points": 0.5,
    "cone_rays": 16,
    "refinements": 1,
    "dense_cone_rays": None,
    "num_witnesses": 0,
}
"""Enough for scenes of a few planes, and for tests that do not ask for every path."""

SMALL_CAMPAIGN: dict[str, Any] = {
    "name": "small-canyon",
    "seed": 7,
    "scenes": [
        {"name": "street_canyon", "params": {"num_blocks_x": 4, "num_blocks_y": 4, "seed": 3}}
    ],
    "bands": ["2.6GHz", "6GHz", "28GHz"],
    "sampling": {"kind": "tracks", "num_ues": 50, "steps_per_track": 5, "max_range_m": 120.0},
    "tracer": {"max_depth": 3, "diffraction": True, "discovery": FEW_RAYS},
}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process for files that are named, else one for each core and at most four."""
    if any(".py" in argument for argument in config.args):
        return 0
    return min(len(os.sched_getaffinity(0)), 4)


def pytest_configure() -> None:
    """Let the workers of pytest-xdist, which inherit this, compute with one thread each."""
    os.environ.update(ONE_THREAD)


def pytest_collection_finish() -> None:
    """Let the ray tracer, which tests have loaded by now, compute with one thread as well."""
    if backend := sys.modules.get("raymark.generator.tracing.backend"):
        backend.use_one_thread()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a check that has run README's first command not run it a second time."""
    parser.addoption(
        "--quickstart", type=Path, help="the folder that `raymark quickstart` has made"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose mark `needs` names a package that is not installed."""
    for mark in item.iter_markers("needs"):
        for package in mark.args:
            if importlib.util.find_spec(package) is None:
                extra = EXTRA_OF.get(package, "dev")
                pytest.skip(f"{package} is not installed: pip install '.[{extra}]'")


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Make a folder once for all workers of pytest-xdist: the first that asks fills it."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, finished = root / name, root / f"{name}.finished"
        root.mkdir(exist_ok=True)
        with FileLock(root / f"{name}.lock"):
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                finished.touch()
        return folder

    return make


def rectangle(corner: Any, edge_1: Any, edge_2: Any) -> "trimesh.Trimesh":
    """Two triangles; the normal is edge_1 x edge_2."""
    import trimesh

    a, u, v = (np.asarray(x, dtype=float) for x in (corner, edge_1, edge_2))
    return trimesh.Trimesh(
        vertices=[a, a + u, a + u + v, a + v], faces=[[0, 1, 2], [0, 2, 3]], process=False
    )


def ground(height_m: float, half_width_m: float = 2000.0) -> "trimesh.Trimesh":
    """A horizontal square around the origin."""
    side = 2 * half_width_m
    return rectangle((-half_width_m, -half_width_m, height_m), (side, 0, 0), (0, side, 0))


@pytest.fixture(scope="session")
def valid_arrays() -> Callable[[], dict[str, np.ndarray]]:
    """Make all arrays of a `paths` file: three links, LOS, NLOS and outage, of two bands."""

    def make() -> dict[str, np.ndarray]:
        distance_m = np.array([100.0, 120.0, 60.0])
        wavelength_m = 299_792_458.0 / np.array([[2.6e9], [28e9]])
        return {
            "bs/position_m": np.array([0, 0, 10], dtype="f4"),
            "bs/orientation_rad": np.array([0.5, 0.1, 0], dtype="f4"),
            "ue/position_m": np.array([[100, 0, 10], [0, 50, 10], [30, 30, 10]], dtype="f4"),
            "ue/ue_index": np.arange(3, dtype="i8"),
            "ue/track_id": np.full(3, -1, dtype="i4"),
            "ue/track_step": np.full(3, -1, dtype="i4"),
            "link/path_offset": np.array([0, 2, 3, 3], dtype="i8"),
            "link/los": np.array([1, 0, -1], dtype="i1"),
            "link/truncated_power_db": np.full((2, 3), -200, dtype="f4"),
            "link/saturated": np.zeros(3, dtype=bool),
            "path/delay_s": (distance_m / 299_792_458.0).astype("f4"),
            "path/zenith_bs_rad": np.full(3, 1.5, dtype="f4"),
            "path/azimuth_bs_rad": np.array([0, 0.3, 1.6], dtype="f4"),
            "path/zenith_ue_rad": np.full(3, 1.6, dtype="f4"),
            "path/azimuth_ue_rad": np.array([3.1, 2.8, -1.5], dtype="f4"),
            "path/interaction": np.array([[0, 0], [1, 0], [1, 1]], dtype="u1"),
            "path/num_interactions": np.array([0, 1, 2], dtype="u1"),
            "path/amplitude": (0.9 * wavelength_m / (4 * np.pi * distance_m)).astype("c8"),
        }

    return make


@pytest.fixture(scope="session")
def write_scene(tmp_path_factory: pytest.TempPathFactory) -> WriteScene:
    """Write a scene folder of `files` geometry: meshes by name, each with its ITU material."""

    def write(
        name: str,
        meshes: dict[str, tuple["trimesh.Trimesh", str]],
        sites: list[dict[str, Any]],
        *,
        thickness_m: float = 3.0,
        scattering: float = 0.0,
    ) -> Path:
        folder = tmp_path_factory.mktemp("scene") / name
        return fill_scene(folder, meshes, sites, thickness_m=thickness_m, scattering=scattering)

    return write


def fill_scene(
    folder: Path,
    meshes: dict[str, tuple["trimesh.Trimesh", str]],
    sites: list[dict[str, Any]],
    *,
    thickness_m: float = 3.0,
    scattering: float = 0.0,
) -> Path:
    """Write a scene into a folder, which gives it its name."""
    from raymark.scenes.scene_files import write_geometry

    scatters = dict.fromkeys(meshes, scattering)
    write_geometry(folder, meshes, thickness_m=thickness_m, scattering=scatters)
    settings_ = {
        "title": folder.name,
        "geometry": "files",
        "source": "made by a test",
        "licence": "CC0-1.0",
        "attribution": "none",
        "materials": sorted({material for _, material in meshes.values()}),
        "extent_m": [-100.0, -100.0, 100.0, 100.0],
        "sites": sites,
    }
    (folder / "scene.yaml").write_text(yaml.safe_dump(settings_), encoding="utf-8")
    (folder / "card.md").write_text(f"# {folder.name}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def make_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "Dataset"]:
    """Generate a campaign, given as plain data, into a fresh folder."""

    def make(data: dict[str, Any], *, shard_size: int = 1000) -> "Dataset":
        return fill_dataset(tmp_path_factory.mktemp("dataset") / "data", data, shard_size)

    return make


def fill_dataset(folder: Path, data: dict[str, Any], shard_size: int) -> "Dataset":
    """Generate a campaign, given as plain data."""
    from raymark.config import validate
    from raymark.dataset import open_dataset
    from raymark.dataset.campaign import Campaign
    from raymark.generator.generate import generate
    from raymark.generator.plan import make_plan

    generate(make_plan(validate(Campaign, data, where="test")), folder, shard_size=shard_size)
    return open_dataset(folder)


@pytest.fixture(scope="session")
def trace_points(
    tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., "Dataset"]
) -> TracePoints:
    """Generate the dataset of given UE positions [m] in a scene folder.

    One isotropic element and long unambiguous range, so that closed forms apply directly.
    """
    count = itertools.count()

    def trace(
        scene: Path,
        position_m: Any,
        *,
        bands: Any = ("2.6GHz", "6GHz", "28GHz"),
        front_end: dict[str, Any] | None = None,
        **tracer: Any,
    ) -> "Dataset":
        points = tmp_path_factory.mktemp("points") / "ue.npy"
        np.save(points, np.asarray(position_m, dtype="f8"))
        iso = {"num_rows": 1, "num_cols": 1, "element_pattern": "iso"}
        return make_dataset(
            {
                "name": f"points-{next(count)}",
                "scenes": [{"name": str(scene)}],
                "bands": [wide(band) if isinstance(band, str) else band for band in bands],
                "front_end": {"panel": iso} if front_end is None else front_end,
                "sampling": {"kind": "positions", "files": {scene.name: str(points)}},
                "tracer": {
                    "discovery": FEW_RAYS,
                    "max_depth": 2,
                    "kept_power_share": None,
                    "max_num_paths": 1000,
                    "max_path_length_m": 3000.0,
                    **tracer,
                },
            }
        )

    return trace


def wide(name: str) -> dict[str, Any]:
    """A preset's carrier with tones so dense that 3 km are unambiguous."""
    carrier_hz = float(name.removesuffix("GHz")) * 1e9
    return {"name": name, "carrier_hz": carrier_hz, "bandwidth_hz": 5e6, "num_subcarriers": 64}


@pytest.fixture(scope="session")
def far_ground(write_scene: WriteScene) -> Path:
    """An empty scene but for a ground 500 m below the site at the origin."""
    site = {"name": "bs0", "position_m": [0.0, 0.0, 0.0], "azimuth_deg": 0.0}
    return write_scene("far_ground", {"ground": (ground(-500.0), "concrete")}, [site])


@pytest.fixture(scope="session")
def flat_ground(write_scene: WriteScene) -> Path:
    """A concrete half space with one site 10 m above it."""
    site = {"name": "bs0", "position_m": [0.0, 0.0, 10.0], "azimuth_deg": 0.0}
    return write_scene("flat_ground", {"ground": (ground(0.0), "concrete")}, [site])


@pytest.fixture(scope="session")
def ground_and_wall(write_scene: WriteScene) -> Path:
    """Ground at z = 0, a wall in the plane y = 30 m, and a tilted, turned site."""
    wall = rectangle((-300, 30, 0), (600, 0, 0), (0, 0, 60))
    site = {
        "name": "bs0",
        "position_m": [0.0, 0.0, 10.0],
        "azimuth_deg": 25.0,
        "downtilt_deg": 8.0,
    }
    meshes = {"ground": (ground(0.0), "concrete"), "wall": (wall, "brick")}
    return write_scene("ground_and_wall", meshes, [site])


@pytest.fixture(scope="session")
def small_dataset(make_once: MakeOnce) -> "Dataset":
    """50 UEs in a street canyon, three bands, five shards; read it, never write to it."""
    from raymark.dataset import open_dataset

    def fill(folder: Path) -> None:
        fill_dataset(folder / "data", SMALL_CAMPAIGN, shard_size=10)

    return open_dataset(make_once("small_dataset", fill) / "data")


@pytest.fixture(scope="session")
def small_campaign() -> dict[str, Any]:
    """The campaign of `small_dataset` as plain data."""
    return SMALL_CAMPAIGN


@pytest.fixture(scope="session")
def two_site_dataset(write_scene: WriteScene, make_dataset: Callable[..., "Dataset"]) -> "Dataset":
    """Two sites that look at each other over flat ground, 7 UEs each."""
    sites = [
        {"name": "west", "position_m": [-50.0, 0.0, 10.0], "azimuth_deg": 0.0},
        {"name": "east", "position_m": [50.0, 0.0, 10.0], "azimuth_deg": 180.0},
    ]
    scene = write_scene("two_sites", {"ground": (ground(0.0), "concrete")}, sites)
    return make_dataset(
        {
            "name": "two-sites",
            "scenes": [{"name": str(scene)}],
            "bands": ["2.6GHz", "6GHz"],
            "sampling": {"kind": "uniform", "num_ues": 7, "max_range_m": 90.0},
            "tracer": {"max_depth": 1, "discovery": FEW_RAYS},
        },
        shard_size=5,
    )


@pytest.fixture(scope="session")
def benchmark_dataset(make_once: MakeOnce) -> "Dataset":
    """Tracks in a canyon (one site) and in a yard of three walls (two sites), at three bands."""
    from raymark.dataset import open_dataset

    return open_dataset(make_once("benchmark_dataset", fill_benchmark_dataset) / "data")


@pytest.fixture(scope="session")
def shared_dataset(make_once: MakeOnce, benchmark_dataset: "Dataset") -> "Dataset":
    """The yard of that dataset alone, whose two sites see the same UEs."""
    from raymark.dataset import open_dataset

    def fill(folder: Path) -> None:
        data = benchmark_dataset.manifest.campaign.model_dump(mode="json")
        changes = {"name": "shared", "scenes": data["scenes"][1:], "shared_ues": True}
        fill_dataset(folder / "data", data | changes, shard_size=1000)

    return open_dataset(make_once("shared_dataset", fill) / "data")


@pytest.fixture(scope="session")
def benchmark_maps(make_once: MakeOnce, benchmark_dataset: "Dataset") -> Path:
    """The folder of two maps of that dataset's scenes: `exact`, and `pose` with the seed 1."""

    def fill(folder: Path) -> None:
        from raymark.generator.city_maps import make_map
        from raymark.scenes.degrading import get_grade

        for name, seed in (("exact", 0), ("pose", 1)):
            grade = get_grade(name)
            make_map(benchmark_dataset, folder / "maps", grade=grade, seed=seed, spacing_m=8.0)

    return make_once("benchmark_maps", fill) / "maps"


def fill_benchmark_dataset(folder: Path) -> None:
    """Write the scene and the dataset of the benchmark's tests."""
    import trimesh

    walls = {
        f"wall_{i}": (trimesh.creation.box(bounds=[[x, y, 0], [x + 2, y + 30, 25]]), "concrete")
        for i, (x, y) in enumerate([(-20.0, -20.0), (0.0, -15.0), (20.0, -10.0)])
    }
    sites = [
        {"name": "west", "position_m": [-60.0, 3.0, 10.0], "azimuth_deg": 5.0, "downtilt_deg": 4.0},
        {"name": "east", "position_m": [60.0, -3.0, 10.0], "azimuth_deg": 170.0},
    ]
    yard = fill_scene(folder / "yard", {"ground": (ground(0.0), "concrete"), **walls}, sites)
    canyon = {"name": "street_canyon", "params": SMALL_CAMPAIGN["scenes"][0]["params"]}
    campaign = {
        **SMALL_CAMPAIGN,
        "name": "benchmark",
        "scenes": [canyon, {"name": str(yard)}],
        "front_end": {"panel": {"num_rows": 4, "num_cols": 4}},
        "sampling": {"kind": "tracks", "num_ues": 80, "steps_per_track": 5, "max_range_m": 110.0},
        "tracer": {**SMALL_CAMPAIGN["tracer"], "max_depth": 2},
    }
    fill_dataset(folder / "data", campaign, shard_size=40)


BENCHMARK_SUITE: dict[str, Any] = {
    "name": "tests",
    "version": 1,
    "preset": "none",
    "scenes": ["street_canyon", "yard"],
    "bands": ["2.6GHz", "6GHz", "28GHz"],
    "seeds": [0],
    "window_size": 4,
    "tracks": [
        {"track": "interpolation", "split": {"kind": "random-tracks"}},
        {
            "track": "unseen-nlos",
            "split": {"kind": "nlos-blocks", "buffer_m": 4.0, "num_folds": 3},
            "folds": [0, 1, 2],
        },
        {"track": "unseen-track", "split": {"kind": "crossing-tracks"}},
        {"track": "cross-band", "split": {"kind": "random-tracks"}},
        {"track": "cross-scene", "split": {"kind": "random-tracks"}, "shots": [0, 5, 20]},
        {
            "track": "impaired",
            "split": {"kind": "random-tracks"},
            "conditions": {
                "impairments": {"clock_offset_std_s": 1e-8, "random_phase": True},
                "power_change_db": -10.0,
                "blockage_probability": 0.3,
            },
        },
    ],
}


@pytest.fixture(scope="session")
def small_release(make_once: MakeOnce) -> Path:
    """A release of two scenes at two bands, made of closed forms; read it, never write to it."""

    def fill(folder: Path) -> None:
        from published import write_release

        write_release(folder / "release")

    return make_once("small_release", fill) / "release"


@pytest.fixture(scope="session")
def benchmark_suite(benchmark_dataset: "Dataset") -> "Suite":
    """Every track of the benchmark, three folds and three numbers of shots, on that dataset."""
    from raymark.benchmark.task import Suite
    from raymark.config import validate

    content_hash = benchmark_dataset.manifest.content_hash
    return validate(Suite, {**BENCHMARK_SUITE, "content_hash": content_hash}, where="test")


@pytest.fixture(scope="session")
def benchmark_task(benchmark_suite: "Suite") -> FindTask:
    """Return the task of a track, scene, band, and any other fields, of that suite."""

    def find(track: str, scene: str, band: str = "6GHz", **fields: Any) -> "Task":
        wanted = {"track": track, "scene": scene, "band": band, **fields}
        return next(
            task
            for task in benchmark_suite.tasks()
            if all(getattr(task, name) == value for name, value in wanted.items())
        )

    return find


@pytest.fixture(scope="session")
def benchmark_splits(benchmark_dataset: "Dataset", benchmark_suite: "Suite") -> "Splits":
    """Make the splits of that suite when they are asked for."""
    from raymark.benchmark.suite_data import Splits

    return Splits(benchmark_dataset, benchmark_suite.window_size)


@pytest.fixture(scope="session")
def benchmark_measurements(make_once: MakeOnce) -> Path:
    """Where `load_benchmark_task` keeps measurements, for all workers of pytest-xdist."""
    import torch

    # The matrices are small: more threads only wait for each other.
    torch.set_num_threads(1)
    return make_once("measurements", lambda _folder: None)


@pytest.fixture(scope="session")
def load_benchmark_task(
    benchmark_dataset: "Dataset", benchmark_splits: "Splits", benchmark_measurements: Path
) -> LoadTask:
    """Measure what a task needs, once a session and with CSI, and load it with seed 0."""
    from raymark.benchmark.measuring import measure
    from raymark.benchmark.task_data import load_task
    from raymark.benchmark.task_links import surveys_of

    def load(task: "Task") -> "TaskData":
        folder = benchmark_measurements
        for survey in surveys_of(task, 0):
            measure(survey, benchmark_dataset, folder, with_csi=True)
        return load_task(task, 0, benchmark_dataset, benchmark_splits, folder, with_csi=True)

    return load


@pytest.fixture(scope="session")
def yard_suite(benchmark_suite: "Suite") -> "Suite":
    """Two seeds of two tracks in one scene at one band: a task, and three folds of another."""
    update = {"scenes": ("yard",), "bands": ("6GHz",), "seeds": (0, 1)}
    return benchmark_suite.model_copy(update={**update, "tracks": benchmark_suite.tracks[:2]})


@pytest.fixture(scope="session")
def benchmark_run(
    make_once: MakeOnce, benchmark_dataset: "Dataset", yard_suite: "Suite"
) -> "RunFolder":
    """The folder of a run of two models on `yard_suite`; read it, never write to it."""
    from raymark.benchmark.run import Runner
    from raymark.benchmark.run_cells import RunChoice
    from raymark.benchmark.store import RunFolder
    from raymark.models import get_model
    from raymark.work.executor import ThisMachine

    def fill(folder: Path) -> None:
        models = RunChoice(models=tuple(get_model(name) for name in ("train_centroid", "wknn")))
        runner = Runner(yard_suite, benchmark_dataset, folder / "runs")
        report = runner.run(models, executor=ThisMachine(1))
        assert (report.num_run, report.failures) == (2 * 4 * 2, ())

    return RunFolder(make_once("benchmark_run", fill) / "runs")


@pytest.fixture(scope="session")
def measured_run(
    benchmark_dataset: "Dataset", benchmark_run: "RunFolder"
) -> Callable[["Suite", Path], "Runner"]:
    """Begin a run that has what `benchmark_run` has measured, and goes on with its models."""
    from raymark.benchmark.run import Runner

    def begin(suite: "Suite", folder: Path) -> "Runner":
        runner = Runner(suite, benchmark_dataset, folder)
        shutil.copytree(benchmark_run.measurements, runner.folder.measurements)
        return runner

    return begin


@pytest.fixture(scope="session")
def release_settings(yard_suite: "Suite", benchmark_run: "RunFolder") -> "BuildSettings":
    """All that a release can hold: fingerprints, splits, predictions, board."""
    from raymark.benchmark.release_part import SuiteFiles
    from raymark.release import About, BuildSettings
    from raymark.release.record import Author

    about = About(title="Canyon and yard", authors=(Author(name="Doe, Jane"),))
    return BuildSettings(
        version="1.0.0",
        about=about,
        materialized=(("yard", "6GHz"), ("street_canyon", "28GHz")),
        benchmark=SuiteFiles(suite=yard_suite, runs=benchmark_run.root),
    )


@pytest.fixture(scope="session")
def benchmark_release(
    make_once: MakeOnce,
    benchmark_dataset: "Dataset",
    release_settings: "BuildSettings",
) -> Path:
    """A release of `benchmark_dataset` with everything; read it, never write to it."""
    from raymark.release import build_release

    def fill(folder: Path) -> None:
        build_release(benchmark_dataset.folder, folder / "release", release_settings)

    return make_once("benchmark_release", fill) / "release"
