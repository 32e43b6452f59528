import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import raymark
from raymark.dataset import Dataset, Selection, open_dataset
from raymark.dataset.manifest import write_manifest
from raymark.dataset.shard import read_shard
from raymark.errors import DatasetError, SchemaError

PHASE_REL = 1e-5
"""One batch or several: the same float32 operations in another order of summation."""


@pytest.fixture
def copy(small_dataset: Dataset, tmp_path: Path) -> Path:
    """A copy of the dataset that may be spoilt."""
    return Path(shutil.copytree(small_dataset.folder, tmp_path / "copy"))


def select(dataset: Dataset, band: str = "6GHz") -> Selection:
    return dataset.select(scene="street_canyon", band=band)


def raw(dataset: Dataset, name: str) -> list[np.ndarray]:
    """One array of all shards, read with plain h5py in the order of their names."""
    arrays = []
    for path in (dataset.folder / "paths" / "street_canyon" / "bs0").iterdir():
        with h5py.File(path) as file:
            arrays.append(file[name][()])
    return arrays


def test_package_offers_the_reader_when_imported(small_dataset: Dataset) -> None:
    assert raymark.open_dataset is open_dataset
    assert isinstance(raymark.open_dataset(str(small_dataset.folder)), raymark.Dataset)


def test_dataset_lists_scenes_and_bands_when_opened(small_dataset: Dataset) -> None:
    assert small_dataset.scenes == ("street_canyon",)
    assert small_dataset.bands == ("2.6GHz", "6GHz", "28GHz")
    assert small_dataset.band("28GHz").carrier_hz == 28e9


def test_selection_holds_the_stored_columns_when_shards_are_several(
    small_dataset: Dataset,
) -> None:
    selection = select(small_dataset)

    assert len(selection) == 50
    assert len(small_dataset.manifest.shards) == 5
    for name, column in [
        ("ue/position_m", selection.position_m),
        ("link/los", selection.los),
        ("ue/ue_index", selection.ue_index),
    ]:
        np.testing.assert_array_equal(column, np.concatenate(raw(small_dataset, name)))
    np.testing.assert_array_equal(selection.ue_index, np.arange(50))


def test_index_has_one_row_per_link_when_read(small_dataset: Dataset) -> None:
    index, selection = small_dataset.index, select(small_dataset)

    assert index.columns[:4].tolist() == ["scene", "site", "ue_index", "x_m"]
    np.testing.assert_array_equal(index[["x_m", "y_m", "z_m"]], selection.position_m)
    np.testing.assert_array_equal(index["los"], selection.los)
    for i, band in enumerate(small_dataset.bands):
        power = [
            np.add.reduceat(np.abs(np.append(a[i], 0)) ** 2, o[:-1]) * (np.diff(o) > 0)
            for a, o in zip(
                raw(small_dataset, "path/amplitude"),
                raw(small_dataset, "link/path_offset"),
                strict=True,
            )
        ]
        gain_db = 10 * np.log10(np.concatenate(power))
        np.testing.assert_allclose(index[f"gain_db_{band}"], gain_db, atol=1e-4)


def test_index_opens_elsewhere_when_it_is_plain_parquet(small_dataset: Dataset) -> None:
    table = pd.read_parquet(small_dataset.folder / "index.parquet")

    first = table.iloc[12]
    with h5py.File(small_dataset.folder / first["shard"]) as file:
        assert file["ue/position_m"][first["row"], 0] == first["x_m"]


@pytest.mark.parametrize("band", ["2.6GHz", "6GHz", "28GHz"])
def test_path_table_equals_the_files_when_range_crosses_shards(
    small_dataset: Dataset, band: str
) -> None:
    table = select(small_dataset, band).path_table(7, 33)

    offsets = raw(small_dataset, "link/path_offset")
    counts = np.concatenate([np.diff(offset) for offset in offsets])[7:33]
    np.testing.assert_array_equal(np.diff(table.path_offset), counts)
    first = offsets[0][7]
    rows = slice(first, first + counts.sum())
    for name in ("delay_s", "zenith_bs_rad", "azimuth_ue_rad", "interaction"):
        expected = np.concatenate(raw(small_dataset, f"path/{name}"))[rows]
        np.testing.assert_array_equal(getattr(table, name), expected)
    which = small_dataset.bands.index(band)
    amplitude = np.concatenate([a[which] for a in raw(small_dataset, "path/amplitude")])
    np.testing.assert_array_equal(table.amplitude, amplitude[rows])


def test_detail_table_equals_the_files_when_range_crosses_shards(small_dataset: Dataset) -> None:
    detail = select(small_dataset).detail_table(7, 33)

    counts = np.concatenate([np.diff(o) for o in raw(small_dataset, "link/path_offset")])
    rows = slice(counts[:7].sum(), counts[:33].sum())
    for name in ("vertex_m", "wedge"):
        files = (small_dataset.folder / "detail" / "street_canyon" / "bs0").iterdir()
        expected = np.concatenate([read_shard(file, "detail")[f"path/{name}"] for file in files])
        np.testing.assert_array_equal(getattr(detail, name), expected[rows])


@pytest.mark.parametrize("edges", [[0, 50], [0, 10, 20, 50], [0, 1, 13, 14, 37, 50]])
def test_path_tables_join_to_the_whole_when_cut_anywhere(
    small_dataset: Dataset, edges: list[int]
) -> None:
    selection = select(small_dataset)
    whole = selection.path_table(0, 50)

    parts = [selection.path_table(a, b) for a, b in itertools.pairwise(edges)]

    np.testing.assert_array_equal(np.concatenate([p.delay_s for p in parts]), whole.delay_s)
    counts = np.concatenate([np.diff(p.path_offset) for p in parts])
    np.testing.assert_array_equal(counts, np.diff(whole.path_offset))


@pytest.mark.parametrize("start", [0, 10, 25, 49])
def test_path_table_is_empty_when_range_is(small_dataset: Dataset, start: int) -> None:
    table = select(small_dataset).path_table(start, start)

    assert table.path_offset.tolist() == [0]
    assert len(table.delay_s) == len(table.amplitude) == 0


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 51), (5, 4), (60, 60)])
def test_path_table_raises_when_range_is_not_within(
    small_dataset: Dataset, start: int, stop: int
) -> None:
    with pytest.raises(IndexError, match=f"links {start}:{stop} are not within 0:50"):
        select(small_dataset).path_table(start, stop)


def test_path_batch_equals_path_table_when_padded(small_dataset: Dataset) -> None:
    selection = select(small_dataset)
    table, batch = selection.path_table(5, 45), selection.path_batch(5, 45)

    counts = np.diff(table.path_offset)
    np.testing.assert_array_equal(batch.mask.sum(dim=1).numpy(), counts)
    for name in ("amplitude", "delay_s", "zenith_bs_rad", "azimuth_bs_rad"):
        padded = getattr(batch, name)
        np.testing.assert_array_equal(padded[batch.mask].numpy(), getattr(table, name))
        assert (padded[~batch.mask] == 0).all()
        assert not (batch.mask[:, 1:] & ~batch.mask[:, :-1]).any()  # padding comes last
    num = (table.interaction > 0).sum(axis=1)
    np.testing.assert_array_equal(batch.num_interactions[batch.mask].numpy(), num)
    assert batch.band.name == "6GHz"
    np.testing.assert_allclose(batch.orientation_rad, selection.sites[0].orientation_rad)


@pytest.mark.parametrize("kind", ["oracle", "csi"])
def test_fingerprints_of_small_batches_equal_one_big_batch(
    small_dataset: Dataset, kind: str
) -> None:
    selection = select(small_dataset)
    whole = selection.fingerprints(0, 50, kind="oracle")

    parts = [selection.fingerprints(a, b, kind="oracle") for a, b in selection.ranges(7)]

    names = ("csi",) if kind == "csi" else ("aoa_profile", "distance_m", "gain_db", "has_signal")
    for name in names:
        joined = torch.cat([getattr(part, name) for part in parts]).numpy()
        expected = getattr(whole, name).numpy()
        scale = np.abs(expected).max()
        np.testing.assert_allclose(joined, expected, atol=PHASE_REL * scale)


def test_ranges_cover_all_links_once_when_batch_size_is_any(small_dataset: Dataset) -> None:
    selection = select(small_dataset)

    for size in (1, 7, 50, 64):
        covered = [i for start, stop in selection.ranges(size) for i in range(start, stop)]
        assert covered == list(range(50))
        assert max(stop - start for start, stop in selection.ranges(size)) == min(size, 50)


def test_measured_fingerprints_are_the_same_when_the_generator_is(small_dataset: Dataset) -> None:
    selection = select(small_dataset)

    first, second, third = (
        selection.fingerprints(0, 8, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )

    assert torch.equal(first.csi, second.csi)
    assert not torch.equal(first.csi, third.csi)


def test_measured_fingerprints_raise_when_there_is_no_generator(small_dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"need a torch\.Generator"):
        select(small_dataset).fingerprints(0, 3)


def test_selection_goes_site_by_site_when_scene_has_two(two_site_dataset: Dataset) -> None:
    both = two_site_dataset.select(scene="two_sites", band="6GHz")
    east = two_site_dataset.select(scene="two_sites", band="6GHz", site="east")

    assert [site.site for site in both.sites] == ["west", "east"]
    assert both.site_index.tolist() == [0] * 7 + [1] * 7
    np.testing.assert_array_equal(both.position_m[7:], east.position_m)
    np.testing.assert_array_equal(
        both.path_batch(7, 14).amplitude.numpy(), east.path_batch(0, 7).amplitude.numpy()
    )


def test_ranges_stop_at_the_site_when_scene_has_two(two_site_dataset: Dataset) -> None:
    both = two_site_dataset.select(scene="two_sites", band="6GHz")

    assert list(both.ranges(4)) == [(0, 4), (4, 7), (7, 11), (11, 14)]
    assert list(both.ranges(100)) == [(0, 7), (7, 14)]


def test_path_batch_raises_when_it_spans_two_sites(two_site_dataset: Dataset) -> None:
    both = two_site_dataset.select(scene="two_sites", band="6GHz")

    with pytest.raises(DatasetError, match=r"links 5:9 belong to several sites; select one site"):
        both.path_batch(5, 9)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"band": "28Gz"}, r"has no band '28Gz'; did you mean '28GHz'\? \(it has: 2\.6GHz, 6GHz"),
        ({"scene": "street_cannon"}, r"has no scene 'street_cannon'; did you mean 'street_canyon'"),
        ({"site": "bs1"}, r"has no site 'bs1'; did you mean 'bs0'\? \(it has: bs0\)"),
    ],
)
def test_select_offers_the_nearest_when_a_name_is_unknown(
    small_dataset: Dataset, choice: dict[str, str], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        small_dataset.select(**({"scene": "street_canyon", "band": "6GHz"} | choice))


@pytest.mark.parametrize("written", ["28 GHz", "28ghz", "28e9"])
def test_band_is_found_when_it_is_written_as_people_do(
    written: str, small_dataset: Dataset
) -> None:
    selection = small_dataset.select(scene="street_canyon", band=written)

    assert (selection.band.name, selection.band_index) == ("28GHz", 2)


def test_open_dataset_raises_when_folder_holds_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        open_dataset(tmp_path)


def test_open_dataset_raises_when_generation_is_not_finished(
    copy: Path, small_dataset: Dataset
) -> None:
    write_manifest(copy, small_dataset.manifest.model_copy(update={"state": "incomplete"}))

    with pytest.raises(DatasetError, match=r"is not finished; run the same `raymark generate`"):
        open_dataset(copy)


def test_reader_raises_when_a_shard_is_missing(copy: Path) -> None:
    (copy / "paths/street_canyon/bs0/part-0002.h5").unlink()
    selection = select(open_dataset(copy))

    assert len(selection.path_table(0, 20).path_offset) == 21  # the others can be read
    with pytest.raises(SchemaError, match=r"part-0002\.h5: the file is missing"):
        selection.path_table(15, 25)


@pytest.mark.parametrize("place", [100, -100])
def test_reader_raises_when_a_byte_of_a_shard_has_changed(copy: Path, place: int) -> None:
    path = copy / "paths/street_canyon/bs0/part-0001.h5"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)

    with pytest.raises(SchemaError, match=r"part-0001\.h5: the file differs from the manifest"):
        select(open_dataset(copy)).path_table(10, 12)


def test_reader_raises_when_a_shard_was_exchanged_for_another(copy: Path) -> None:
    folder = copy / "paths/street_canyon/bs0"
    shutil.copy(folder / "part-0003.h5", folder / "part-0001.h5")

    with pytest.raises(SchemaError, match=r"part-0001\.h5: the file differs from the manifest"):
        select(open_dataset(copy)).path_table(10, 12)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"PAR1")])
def test_index_raises_when_it_is_missing_or_changed(
    copy: Path, damage: Callable[[Path], Any]
) -> None:
    damage(copy / "index.parquet")

    with pytest.raises(
        SchemaError, match=r"index\.parquet: the file (is missing|differs from the manifest)"
    ):
        _ = open_dataset(copy).index
