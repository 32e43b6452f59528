import dataclasses
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
import torch

from raymark.dataset import Dataset, Selection
from raymark.dataset.manifest import read_manifest, write_manifest
from raymark.dataset.materialization import materialize
from raymark.dataset.shard import read_shard
from raymark.errors import ConfigError, DatasetError, RaymarkError, SchemaError
from raymark.loaders import (
    FIELDS,
    LinkSamples,
    arrays,
    huggingface_dataset,
    load_index,
    load_numpy,
    open_index,
    open_links,
    samples,
    tf_dataset,
    torch_dataset,
    torch_loader,
)
from raymark.radio.fingerprints import estimated_fingerprints, measured_csi
from raymark.seeding import child_generator

FLOAT32_REL = 1e-5
"""The same sums in float32 over other padding, in another order; relative to the largest."""

POWER_REL = 4 * FLOAT32_REL
"""The square of a sum of such values, relative to the largest of a link."""

GAIN_ABS_DB = 1e-3
"""Power less noise is not let below 1/64 of the noise; float32 leaves about 1e-4 of that."""

CANYON = {"scene": "street_canyon", "band": "6GHz"}
SITES = {"scene": "two_sites", "band": "6GHz"}
DOCS = Path(__file__).parents[2] / "docs" / "loaders.md"
Arrays = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    # The matrices are small: more threads only wait for each other.
    torch.set_num_threads(1)


def assert_same(found: Arrays, expected: Arrays, names: Any = FIELDS) -> None:
    assert set(found) == set(names)
    for name in names:
        one, other = np.asarray(found[name]), np.asarray(expected[name])
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        if name == "csi":
            scale = np.abs(other).max(axis=(1, 2), keepdims=True)
            assert (np.abs(one - other) <= FLOAT32_REL * scale).all()
        elif name == "aoa_profile":
            power, true = 10 ** (one.astype("f8") / 10), 10 ** (other.astype("f8") / 10)
            assert (np.abs(power - true) <= POWER_REL * true.max(axis=1, keepdims=True)).all()
        elif name == "gain_db":
            np.testing.assert_allclose(one, other, rtol=0, atol=GAIN_ABS_DB, err_msg=name)
        elif name == "distance_m":  # a root of differences in dB
            np.testing.assert_allclose(one, other, rtol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(one, other, err_msg=name)


def joined(batches: Any) -> Arrays:
    parts = [{name: np.asarray(v) for name, v in batch.items()} for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_of(arrays: Arrays, rows: Any) -> Arrays:
    return {name: values[rows] for name, values in arrays.items()}


def labels_of(selection: Selection) -> Arrays:
    return {
        "position_m": selection.position_m,
        "ue_index": selection.ue_index,
        "site_index": selection.site_index.astype("i2"),
        "los": selection.los,
    }


def made_of(prints: Any) -> Arrays:
    names = ("csi", "aoa_profile", "distance_m", "gain_db", "has_signal")
    return {name: getattr(prints, name).numpy() for name in names}


def noise_of(selection: Selection, link: int, seed: int, draw: int = 0) -> torch.Generator:
    """The documented contract: a start for each seed, site, band and draw, plus the UE."""
    key = selection.sites[int(selection.site_index[link])].key
    rng = child_generator(seed, key, selection.band.name, "link noise", draw)
    start = int(rng.integers(2**32))
    return torch.Generator().manual_seed((start + int(selection.ue_index[link])) % 2**32)


def naive(
    selection: Selection, kind: str, links: Any = None, *, seed: int = 0, draw: int = 0
) -> Arrays:
    """Every link alone, through the reader."""
    rows = range(len(selection)) if links is None else links
    made = joined(
        made_of(
            selection.fingerprints(
                i, i + 1, kind=kind, generator=noise_of(selection, i, seed, draw)
            )
        )
        for i in rows
    )
    return {**rows_of(labels_of(selection), list(rows)), **made}


def select(dataset: Dataset, **choice: Any) -> Selection:
    return dataset.select(**{"scene": dataset.scenes[0], "band": "6GHz", **choice})


def links_of(dataset: Dataset, **choice: Any) -> LinkSamples:
    return open_links(
        dataset.folder, **{"scene": dataset.scenes[0], "band": "6GHz", "seed": 0, **choice}
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["measured", "oracle"])
@pytest.mark.parametrize("name", ["small_dataset", "two_site_dataset"])
def test_sample_is_that_of_the_link_alone_when_taken_in_any_company(
    request: pytest.FixtureRequest, name: str, kind: str
) -> None:
    dataset = request.getfixturevalue(name)
    expected, links = naive(select(dataset), kind), links_of(dataset, kind=kind)
    rng = np.random.default_rng(0)

    assert len(links) == len(select(dataset))
    for rows in (np.arange(len(links)), rng.integers(len(links), size=90), np.array([3])):
        assert_same(links.take(rows), rows_of(expected, rows))
    assert_same(links.take(np.array([-1, 0])), rows_of(expected, [-1, 0]))


def test_paths_are_those_of_the_reader_when_a_range_is_taken(two_site_dataset: Dataset) -> None:
    links, selection = links_of(two_site_dataset), select(two_site_dataset)
    expected = selection.path_batch(8, 12)

    found = links.table.batch(
        np.arange(8, 12), links.band, np.asarray(selection.sites[1].orientation_rad)
    )

    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(one) is type(other)
        assert np.array_equal(one, other) if hasattr(one, "shape") else one == other


def test_samples_are_of_the_right_shape_when_none_is_taken(two_site_dataset: Dataset) -> None:
    links = links_of(two_site_dataset)

    found = links.take(np.arange(0))

    shapes = {name: ((0, *shape), dtype) for name, (shape, dtype) in links.shapes().items()}
    assert {n: (tuple(v.shape), v.numpy().dtype) for n, v in found.items()} == shapes
    assert shapes["csi"] == ((0, 64, 64), np.dtype("c8"))


@pytest.mark.slow
def test_sample_is_another_draw_when_seed_draw_or_band_is_another(small_dataset: Dataset) -> None:
    selection, rows = select(small_dataset), [7, 8]
    links = links_of(small_dataset, fields=("csi",))
    cases = [
        (links_of(small_dataset, fields=("csi",), seed=5), 0, selection, {"seed": 5}),
        (links, 3, selection, {"draw": 3}),
        (
            links_of(small_dataset, fields=("csi",), band="28GHz"),
            0,
            select(small_dataset, band="28GHz"),
            {},
        ),
    ]

    for other, draw, its_selection, its_noise in cases:
        expected = naive(its_selection, "measured", rows, **its_noise)
        assert_same(other.take(np.array(rows), draw), expected, ["csi"])


def test_each_link_gets_its_own_draw_when_draws_sites_and_links_are_mixed(
    two_site_dataset: Dataset,
) -> None:
    """More links than are made at once."""
    links, rng = links_of(two_site_dataset, fields=("csi",)), np.random.default_rng(0)
    rows, draws = rng.integers(14, size=90), rng.integers(3, size=90)
    alone = {
        (row, draw): links.take(np.array([row]), draw) for row in range(14) for draw in range(3)
    }

    found = links.take(rows, draws)

    expected = joined(alone[key] for key in zip(rows.tolist(), draws.tolist(), strict=True))
    assert_same(found, expected, ["csi"])


def test_sample_is_the_same_when_its_site_is_chosen_alone(two_site_dataset: Dataset) -> None:
    both, east = links_of(two_site_dataset), links_of(two_site_dataset, site="east")
    rows = np.arange(7)
    expected = {name: values.numpy() for name, values in both.take(rows + 7).items()}

    assert_same(east.take(rows), {**expected, "site_index": np.zeros(7, dtype="i2")})


def test_noise_is_white_and_of_the_right_power_when_links_and_draws_differ(
    small_dataset: Dataset,
) -> None:
    links = links_of(small_dataset, fields=("csi",))
    clean = links_of(small_dataset, fields=("csi",), kind="oracle").take(np.arange(50))["csi"]
    noise = [
        (links.take(np.arange(50), draw)["csi"] - clean).numpy().reshape(50, -1).astype("c16")
        for draw in (0, 1)
    ]
    rows = np.concatenate(noise)
    rows /= np.sqrt(links.front_end.noise_variance(links.band))

    power = (np.abs(rows) ** 2).mean()
    assert power == pytest.approx(1, abs=5 / np.sqrt(rows.size) + 1e-3)
    correlation = np.abs(rows @ rows.conj().T) / rows.shape[1]
    np.fill_diagonal(correlation, 0)
    # |z|^2 of 4950 pairs is exponential: 4950 exp(-20) = 1e-5 pairs lie beyond 20.
    assert correlation.max() ** 2 * rows.shape[1] < 20


def test_no_two_links_share_their_noise_when_all_are_drawn(small_dataset: Dataset) -> None:
    links = links_of(small_dataset)
    rows = np.arange(50)
    seeds = links._noise_seeds(0, rows, np.zeros(50, dtype="i8"))

    assert len(set(seeds)) == 50
    assert all(0 <= seed < 2**32 for seed in seeds)
    # This is why numbers in a row are used: torch sees 32 bits of a seed.
    same = [torch.randn(3, generator=torch.Generator().manual_seed(s)) for s in (7, 7 + 2**32)]
    assert torch.equal(*same)


def test_impairments_are_those_of_each_link_alone_when_the_front_end_has_them(
    two_site_dataset: Dataset,
) -> None:
    links, selection = links_of(two_site_dataset), select(two_site_dataset)
    impairments = links.front_end.impairments.model_copy(
        update={"clock_offset_std_s": 2e-8, "random_phase": True, "quantization_bits": 12}
    )
    front_end = links.front_end.model_copy(update={"impairments": impairments})
    gains = tuple(np.full(64, 1j * (i + 2), dtype="c8") for i in range(2))
    worse = dataclasses.replace(links, front_end=front_end, calibrations=gains)
    rows = np.array([9, 2, 13, 0])

    expected = joined(
        made_of(
            estimated_fingerprints(
                measured_csi(
                    selection.path_batch(i, i + 1),
                    front_end,
                    generator=noise_of(selection, i, 0),
                    calibration=torch.from_numpy(gains[int(i >= 7)]),
                ),
                selection.band,
                front_end,
            )
        )
        for i in rows.tolist()
    )
    found = worse.take(rows)
    # A value at the edge of a step may fall to either side of it: one of 2^12 steps.
    step = 2 * np.abs(expected["csi"].view("f4")).max() / 2**12
    assert np.abs(found["csi"].numpy() - expected["csi"]).max() < 1.5 * step
    equal = np.isclose(found["csi"].numpy(), expected["csi"], rtol=1e-4, atol=0)
    assert equal.mean() > 0.999
    np.testing.assert_allclose(found["gain_db"], expected["gain_db"], atol=1e-2)


@pytest.mark.parametrize(
    ("dataset_name", "choice"), [("small_dataset", CANYON), ("two_site_dataset", SITES)]
)
def test_arrays_equal_the_materialised_file_when_kind_is_oracle(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dataset_name: str,
    choice: dict[str, str],
) -> None:
    monkeypatch.setattr(arrays, "_BATCH_SIZE", 9)
    dataset = request.getfixturevalue(dataset_name)
    materialize(dataset, tmp_path / "a.h5", kind="oracle", **choice)
    stored = read_shard(tmp_path / "a.h5", "fingerprints")

    found = load_numpy(dataset.folder, kind="oracle", **choice)

    assert list(found) == list(FIELDS)
    assert_same(found, {name.split("/")[-1]: values for name, values in stored.items()})


def test_arrays_are_another_draw_than_the_materialised_file_when_kind_is_measured(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    """Labels are equal; the noise is of the same power, and independent."""
    materialize(small_dataset, tmp_path / "a.h5", **CANYON)
    stored = read_shard(tmp_path / "a.h5", "fingerprints")
    clean = load_numpy(small_dataset.folder, kind="oracle", **CANYON)["csi"]

    found = load_numpy(small_dataset.folder, **CANYON)

    for name in ("ue/position_m", "ue/ue_index", "ue/site_index", "link/los"):
        np.testing.assert_array_equal(found[name.split("/")[-1]], stored[name])
    ours, theirs = ((csi - clean).ravel().astype("c16") for csi in (found["csi"], stored["csi"]))
    norms = np.linalg.norm(ours), np.linalg.norm(theirs)
    assert norms[0] == pytest.approx(norms[1], rel=0.02)
    assert abs(np.vdot(ours, theirs)) / norms[0] / norms[1] < 5 / np.sqrt(len(ours))


def test_seed_is_that_of_the_campaign_when_none_is_given(small_dataset: Dataset) -> None:
    with_default = load_numpy(small_dataset.folder, fields=("csi",), **CANYON)
    given = load_numpy(small_dataset.folder, fields=("csi",), seed=7, **CANYON)

    np.testing.assert_array_equal(with_default["csi"], given["csi"])


def test_nothing_else_is_computed_when_fields_are_chosen(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    rows = np.arange(5)
    for name in (
        "estimate_aoa_profile",
        "estimate_distance",
        "estimate_gain",
        "oracle_fingerprints",
    ):
        monkeypatch.setattr(samples, name, refuse)
    for kind in ("measured", "oracle"):
        assert list(links_of(small_dataset, kind=kind, fields="csi").take(rows)) == ["csi"]
    monkeypatch.setattr(samples, "synthesize_csi", refuse)
    wanted = ("los", "position_m")
    assert tuple(links_of(small_dataset, fields=wanted).take(rows)) == wanted
    with pytest.raises(AssertionError):
        links_of(small_dataset, fields=("csi",)).take(rows)


@pytest.mark.parametrize("kind", ["measured", "oracle"])
@pytest.mark.parametrize("field", FIELDS)
def test_field_is_the_same_when_it_is_asked_for_alone(
    two_site_dataset: Dataset, field: str, kind: str
) -> None:
    rows = np.array([2, 12, 5])
    expected = links_of(two_site_dataset, kind=kind).take(rows)

    found = links_of(two_site_dataset, kind=kind, fields=(field,)).take(rows)

    assert_same(found, expected, [field])


def test_profile_is_that_of_the_method_when_one_is_chosen(small_dataset: Dataset) -> None:
    selection = select(small_dataset)
    prints = selection.fingerprints(4, 5, generator=noise_of(selection, 4, 0), method="capon")

    found = links_of(small_dataset, method="capon").take(np.array([4]))

    np.testing.assert_allclose(found["aoa_profile"], prints.aoa_profile, atol=1e-2)


def test_samples_are_finite_when_links_are_in_outage(
    make_dataset: Callable[..., Dataset], small_campaign: dict[str, Any]
) -> None:
    data = make_dataset({**small_campaign, "tracer": {"max_depth": 0}})
    for kind in ("measured", "oracle"):
        found = load_numpy(data.folder, kind=kind, **CANYON)
        assert set(found["los"]) == {-1, 1}
        for values in found.values():
            assert np.isfinite(values).all()
    assert (found["csi"][found["los"] == -1] == 0).all()


def test_links_are_compact_when_held_and_pickled(small_dataset: Dataset) -> None:
    links = links_of(small_dataset)
    columns = [getattr(links.table, field.name) for field in dataclasses.fields(links.table)]
    pickled = pickle.dumps(links)

    assert sum(c.nbytes for c in [*columns, *links.labels.values()]) < 1_000 * len(links)
    assert len(pickled) < 1_000 * len(links) + 10_000  # campaign-wide settings, once
    back = pickle.loads(pickled)  # noqa: S301 - our own
    assert_same(back.take(np.array([5])), links.take(np.array([5])))


def test_arrays_are_refused_with_their_sizes_when_they_exceed_the_limit(
    small_dataset: Dataset,
) -> None:
    csi, rest = 50 * 64 * 64 * 8, 50 * (12 + 8 + 2 + 1 + 64 * 4 + 4 + 4 + 1)
    found = load_numpy(small_dataset.folder, limit_bytes=csi + rest, **CANYON)
    assert sum(values.nbytes for values in found.values()) == csi + rest

    with pytest.raises(ConfigError, match=r"50 links take 0\.00165 GB, of which 'csi' 0\.00164 GB"):
        load_numpy(small_dataset.folder, limit_bytes=csi + rest - 1, **CANYON)
    load_numpy(small_dataset.folder, limit_bytes=rest, fields=("los",), **CANYON)


def test_index_is_that_of_the_folder_when_loaded_or_opened(small_dataset: Dataset) -> None:
    expected = pd.read_parquet(small_dataset.folder / "index.parquet")

    pd.testing.assert_frame_equal(load_index(small_dataset.folder), expected)
    index = open_index(small_dataset.folder)
    found = index.to_table(
        columns=["ue_index", "x_m"], filter=pyarrow.dataset.field("los") == 0
    ).to_pandas()
    wanted = expected.loc[expected["los"] == 0, ["ue_index", "x_m"]]
    pd.testing.assert_frame_equal(found, wanted.reset_index(drop=True))
    assert 0 < len(found) < 50


@pytest.fixture
def copy(small_dataset: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "copy"))


def test_index_is_refused_when_it_was_changed(copy: Path) -> None:
    with (copy / "index.parquet").open("ab") as file:
        file.write(b"x")

    for load in (load_index, open_index):
        with pytest.raises(
            SchemaError, match=r"index\.parquet: the file (is missing|differs from the manifest)"
        ):
            load(copy)


ALL: dict[str, Callable[..., Any]] = {
    "numpy": load_numpy,
    "torch dataset": torch_dataset,
    "torch loader": lambda folder, **choice: torch_loader(folder, num_workers=2, **choice),
    "index": lambda folder, **_: load_index(folder),
    "open index": lambda folder, **_: open_index(folder),
}


@pytest.mark.parametrize("name", ALL)
def test_loader_refuses_at_once_when_the_dataset_is_not_finished(copy: Path, name: str) -> None:
    write_manifest(copy, read_manifest(copy).model_copy(update={"state": "incomplete"}))

    with pytest.raises(DatasetError, match="is not finished; run the same `raymark generate`"):
        ALL[name](copy, **CANYON)


@pytest.mark.parametrize("name", ALL)
def test_loader_refuses_when_the_folder_holds_no_dataset(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"holds no dataset \(dataset\.json is missing\)"):
        ALL[name](tmp_path, **CANYON)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scene": "street_canyn"}, "no scene 'street_canyn'; did you mean 'street_canyon'"),
        ({"band": "5GHz"}, "no band '5GHz'; did you mean '6GHz'"),
        ({"site": "bs1"}, "no site 'bs1'; did you mean 'bs0'"),
        ({"kind": "measurd"}, "unknown kind 'measurd'; did you mean 'measured'"),
        ({"method": "capn"}, "unknown method 'capn'; did you mean 'capon'"),
        ({"fields": ("csi", "posit_m")}, "unknown field 'posit_m'; did you mean 'position_m'"),
        ({"fields": "cs"}, "unknown field 'cs'; did you mean 'csi'"),
        ({"fields": ()}, r"no fields were asked for \(there are: position_m, ue_index"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_loader_refuses_when_a_choice_is_wrong(
    small_dataset: Dataset, wrong: dict[str, Any], message: str
) -> None:
    for load in (load_numpy, torch_dataset, torch_loader):
        with pytest.raises(RaymarkError, match=message):
            load(small_dataset.folder, **{**CANYON, **wrong})


@pytest.mark.parametrize(
    ("load", "module", "extra"),
    [(tf_dataset, "tensorflow", "tensorflow"), (huggingface_dataset, "datasets", "huggingface")],
)
def test_one_sentence_says_how_to_get_an_extra_when_it_is_missing(
    small_dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    load: Callable[..., Any],
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(ConfigError, match=rf'not installed; `pip install "raymark\[{extra}\]"`'):
        load(small_dataset.folder, **CANYON)


@pytest.mark.slow
def test_no_framework_but_torch_is_loaded_when_the_loaders_are_imported() -> None:
    code = (
        "import sys, raymark.loaders; print({'tensorflow', 'datasets', 'sionna'} & {*sys.modules})"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "set()"
