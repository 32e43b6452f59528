from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from raymark.benchmark.audit import (
    MAX_LAG_M,
    audit_suite,
    similarity_range_m,
    splits_of,
    variogram,
)
from raymark.benchmark.splits import PART_NAMES, links_of
from raymark.benchmark.suite_data import Splits
from raymark.benchmark.task import Suite
from raymark.config import validate
from raymark.dataset import Dataset
from raymark.dataset.buildings import HeightMap
from raymark.errors import SplitError
from raymark.plots import plot_split_map

TracePoints = Callable[..., Dataset]

HEIGHTS = HeightMap(
    height_m=np.full((4, 4), 12.0), x_m=np.linspace(-50, 50, 5), y_m=np.linspace(-50, 50, 5)
)


@pytest.fixture(scope="module")
def audited(
    benchmark_suite: Suite, benchmark_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pd.DataFrame, list[str]]:
    """The audit of two tracks: its folder, its table and the names of its splits."""
    folder = tmp_path_factory.mktemp("audit")
    told: list[tuple[str, int, int]] = []
    suite = benchmark_suite.model_copy(update={"tracks": benchmark_suite.tracks[1:3]})
    table = audit_suite(
        suite,
        benchmark_dataset,
        folder,
        progress=lambda *call: told.append(call),
    )
    assert told == [("audit", done, len(table)) for done in range(len(table) + 1)]
    keys = [f"{row.track}/{_fold(row.fold)}{row.scene}" for row in table.itertuples(index=False)]
    return folder, table, keys


def _fold(fold: Any) -> str:
    return "" if pd.isna(fold) else f"fold-{fold}/"


def test_audit_counts_and_measures_what_loops_find_when_repeated_by_hand(
    audited: tuple[Path, pd.DataFrame, list[str]],
    benchmark_suite: Suite,
    benchmark_dataset: Dataset,
    benchmark_splits: Splits,
) -> None:
    tasks = {(t.track, t.scene, t.fold): t for t in splits_of(benchmark_suite)}
    rows: list[Any] = list(audited[1].itertuples())
    for row in rows:
        fold = None if pd.isna(row.fold) else int(row.fold)
        split = benchmark_splits.get(tasks[row.track, row.scene, fold], row.scene)
        links = links_of(benchmark_dataset, row.scene)
        part = split.table["part"].map(PART_NAMES)
        xy_m = {name: links[part == name][["x_m", "y_m"]].to_numpy("f8") for name in set(part)}
        gaps_m = [min(np.hypot(*(p - q)) for q in xy_m["train"]) for p in xy_m["test"]]
        centre_m = xy_m["train"].mean(axis=0)
        from_centre_m = [np.hypot(*(p - centre_m)) for p in xy_m["test"]]

        assert row.num_train == (part == "train").sum()
        assert row.num_validation == (part == "validation").sum()
        assert row.num_test == (part == "test").sum()
        expected = {
            "distance_q10_m": np.quantile(gaps_m, 0.1),
            "distance_q50_m": np.quantile(gaps_m, 0.5),
            "distance_q90_m": np.quantile(gaps_m, 0.9),
            "oracle_nn_median_m": np.median(gaps_m),
            "oracle_nn_p90_m": np.quantile(gaps_m, 0.9),
            "centroid_median_m": np.median(from_centre_m),
            "buffer_m": {"unseen-nlos": 4.0, "unseen-track": 2.0}[row.track],
        }
        for name, value in expected.items():
            assert getattr(row, name) == pytest.approx(value, abs=1e-9), name
        assert min(gaps_m) >= row.buffer_m
        assert row.hash == split.hash


def test_audit_has_a_row_for_every_split_when_a_suite_is_audited(
    audited: tuple[Path, pd.DataFrame, list[str]], benchmark_dataset: Dataset
) -> None:
    _, table, keys = audited
    ranges_m = {
        scene: similarity_range_m(variogram(benchmark_dataset, scene, "2.6GHz"))
        for scene in benchmark_dataset.scenes
    }

    assert keys[:3] == [f"unseen-nlos/fold-{fold}/street_canyon" for fold in range(3)]
    assert keys[6:] == ["unseen-track/street_canyon", "unseen-track/yard"]
    assert len(table) == len(keys) == 8
    assert table["variogram_m"].tolist() == [ranges_m[scene] for scene in table["scene"]]


def test_audit_writes_table_maps_and_curves_when_done(
    audited: tuple[Path, pd.DataFrame, list[str]],
) -> None:
    folder, table, keys = audited
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    maps = {f"maps/{key.replace('/', '__')}.png" for key in keys}
    assert files == maps | {
        "audit.parquet",
        "audit.csv",
        "split_hashes.yaml",
        "variogram.png",
        "variogram.csv",
    }
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "audit.parquet"), table)
    written = pd.read_csv(folder / "audit.csv", dtype={"fold": "Int64"})
    pd.testing.assert_frame_equal(written, table)
    curves = pd.read_csv(folder / "variogram.csv")
    assert set(curves["scene"]) == {"street_canyon", "yard"}


def test_audit_writes_the_hashes_that_a_suite_publishes_when_done(
    audited: tuple[Path, pd.DataFrame, list[str]],
    benchmark_suite: Suite,
    benchmark_dataset: Dataset,
) -> None:
    folder, table, keys = audited
    published = yaml.safe_load((folder / "split_hashes.yaml").read_text(encoding="utf-8"))
    assert published == {"split_hashes": dict(zip(keys, table["hash"], strict=True))}

    settings = {**benchmark_suite.model_dump(mode="json"), **published}
    suite = validate(Suite, settings, where="published")
    splits = Splits(benchmark_dataset, suite.window_size)
    tasks = [task for task in splits_of(suite) if task.track.startswith("unseen")]
    assert all(set(task.split_hashes) == {task.scene} for task in tasks)
    assert [splits.get(task, task.scene).hash for task in tasks] == table["hash"].tolist()


def test_audit_is_refused_when_a_published_split_was_edited(
    benchmark_suite: Suite, benchmark_dataset: Dataset, tmp_path: Path
) -> None:
    update = {
        "split_hashes": {"unseen-track/yard": "0" * 64},
        "tracks": benchmark_suite.tracks[2:3],
        "scenes": ("yard",),
    }

    with pytest.raises(SplitError, match="settings or hash were edited"):
        audit_suite(benchmark_suite.model_copy(update=update), benchmark_dataset, tmp_path)


def image_of(csi: np.ndarray, num_rows: int, num_cols: int) -> np.ndarray:
    """Return |2-D DFT| over columns and tones, rows added in power, with matrices in float64."""
    num_tones = csi.shape[-1]
    angle = np.exp(-2j * np.pi * np.outer(np.arange(num_cols), np.arange(num_cols)) / num_cols)
    delay = np.exp(2j * np.pi * np.outer(np.arange(num_tones), np.arange(num_tones)) / num_tones)
    power = np.zeros((num_cols, num_tones))
    for row in range(num_rows):
        columns = csi[[col * num_rows + row for col in range(num_cols)]].astype("c16")
        power += np.abs(angle @ columns @ delay) ** 2
    image: np.ndarray = np.sqrt(power).ravel()
    return image / np.linalg.norm(image)


@pytest.mark.parametrize("scene", ["street_canyon", "yard"])
def test_variogram_is_the_mean_cosine_of_all_pairs_when_looped_over(
    benchmark_dataset: Dataset, scene: str
) -> None:
    selection = benchmark_dataset.select(scene=scene, band="6GHz")
    panel = benchmark_dataset.manifest.campaign.front_end.panel
    cosines: dict[int, list[float]] = {}
    for start, stop in selection.ranges():  # one range a site
        csi = selection.fingerprints(start, stop, kind="oracle").csi.numpy()
        covered = np.flatnonzero(selection.los[start:stop] >= 0)
        images = {i: image_of(csi[i], panel.num_rows, panel.num_cols) for i in covered}
        xy_m = selection.position_m[start:stop, :2].astype("f8")
        for i in covered:
            for j in covered[covered > i]:
                lag_m = float(np.hypot(*(xy_m[i] - xy_m[j])))
                if lag_m <= MAX_LAG_M:
                    cosines.setdefault(int(lag_m), []).append(float(images[i] @ images[j]))
    curve = variogram(benchmark_dataset, scene, "6GHz")

    assert curve["lag_m"].tolist() == [lag + 0.5 for lag in sorted(cosines)]
    assert curve["num_pairs"].tolist() == [len(cosines[lag]) for lag in sorted(cosines)]
    expected = [np.mean(cosines[lag]) for lag in sorted(cosines)]
    np.testing.assert_allclose(curve["similarity"], expected, atol=1e-5)  # float32 images


def test_variogram_is_one_at_lag_zero_when_points_stand_twice(
    trace_points: TracePoints, far_ground: Path
) -> None:
    """Two places, farther apart than any lag that counts, with two UEs each."""
    twice = np.repeat([[100.0, 0.0, 0.0], [100.0, 90.0, 0.0]], 2, axis=0)
    curve = variogram(trace_points(far_ground, twice), "far_ground", "6GHz")

    assert curve["lag_m"].tolist() == [0.5]
    assert curve["num_pairs"].tolist() == [2]
    assert curve["similarity"].iloc[0] == pytest.approx(1.0, abs=1e-6)  # float32


@pytest.mark.parametrize(("fall_m", "plateau"), [(10.0, 0.2), (30.0, 0.6), (40.0, 0.0)])
def test_similarity_range_is_half_of_the_fall_when_likeness_falls_in_a_line(
    fall_m: float, plateau: float
) -> None:
    lag_m = np.arange(60) + 0.5
    similarity = np.maximum(1 - (1 - plateau) * lag_m / fall_m, plateau)
    range_m = similarity_range_m(pd.DataFrame({"lag_m": lag_m, "similarity": similarity}))

    assert fall_m / 2 <= range_m <= fall_m / 2 + 1.0  # bins of 1 m


def test_similarity_range_is_the_largest_lag_when_likeness_does_not_fall() -> None:
    flat = pd.DataFrame({"lag_m": np.arange(60) + 0.5, "similarity": 1.0})

    assert similarity_range_m(flat) == MAX_LAG_M


@pytest.mark.parametrize("height_map", [None, HEIGHTS], ids=["plain", "buildings"])
def test_split_map_shows_every_part_with_its_count_when_drawn(height_map: Any) -> None:
    parts = ["train"] * 5 + ["test"] * 2 + ["unused"]
    links = pd.DataFrame({"x_m": np.arange(8.0), "y_m": -np.arange(8.0), "part": parts})
    ax = plot_split_map(links, height_map=height_map)

    legend = ax.get_legend()
    assert legend is not None
    shown = {text.get_text() for text in legend.get_texts()}
    parts_shown = {"unused (1)", "train (5)", "validation (0)", "test (2)"}
    assert shown == parts_shown | ({"building"} if height_map else set())
    drawn = {
        str(c.get_label()): np.asarray(c.get_offsets())
        for c in ax.collections
        if "(" in str(c.get_label())
    }
    np.testing.assert_array_equal(drawn["test (2)"], links[["x_m", "y_m"]].iloc[5:7])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("East x [m]", "North y [m]")
    plt.close("all")
