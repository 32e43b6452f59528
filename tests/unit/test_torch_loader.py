from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from raymark.dataset import Dataset
from raymark.loaders import (
    LinkOrder,
    TorchLinks,
    as_arrays,
    load_numpy,
    open_links,
    torch_dataset,
    torch_loader,
)

FLOAT32_REL = 1e-5
"""The same sums in float32 in other company; relative to the largest."""

FIELDS = ("csi", "gain_db", "position_m", "ue_index", "site_index")
CANYON = {"scene": "street_canyon", "band": "6GHz", "fields": FIELDS}
SITES = {"scene": "two_sites", "band": "6GHz", "fields": FIELDS}
Arrays = dict[str, Any]

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
"""Python from 3.12 on warns of the way in which torch starts workers."""


def assert_same(found: Arrays, expected: Arrays) -> None:
    assert list(found) == list(expected)
    for name in found:
        one, other = np.asarray(found[name]), np.asarray(expected[name])
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name
        scale = 1 if other.dtype.kind in "i" else np.abs(other).max()
        assert (np.abs(one - other) <= FLOAT32_REL * scale).all(), name


def joined(batches: Any) -> Arrays:
    parts = [{name: v.numpy() for name, v in batch.items()} for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rows_of(arrays: Arrays, rows: Any) -> Arrays:
    return {name: values[rows] for name, values in arrays.items()}


def test_loader_gives_each_link_once_in_a_new_order_when_an_epoch_passes(
    two_site_dataset: Dataset,
) -> None:
    expected = load_numpy(two_site_dataset.folder, **SITES)
    loader = torch_loader(two_site_dataset.folder, batch_size=4, **SITES)

    assert [len(batch["csi"]) for batch in loader] == [4, 4, 4, 2]
    assert len(loader) == 4
    first, second = joined(loader), joined(loader)
    keys = expected["site_index"] * 100 + expected["ue_index"]
    for epoch in (first, second):
        rows = [np.flatnonzero(keys == k)[0] for k in epoch["site_index"] * 100 + epoch["ue_index"]]
        assert sorted(rows) == list(range(14))
        assert_same(epoch, rows_of(expected, rows))
    assert not np.array_equal(first["position_m"], second["position_m"])


def test_loader_repeats_an_epoch_when_it_is_made_again_or_resumed(
    two_site_dataset: Dataset,
) -> None:
    first, again = (torch_loader(two_site_dataset.folder, **SITES) for _ in range(2))
    epochs = [joined(first) for _ in range(3)]

    torch.manual_seed(99)  # of no concern
    assert_same(joined(again), epochs[0])
    again.sampler.epoch = 2
    assert_same(joined(again), epochs[2])
    other = joined(torch_loader(two_site_dataset.folder, seed=4, **SITES))
    assert not np.array_equal(other["position_m"], epochs[0]["position_m"])


def test_loader_keeps_the_stored_order_when_it_does_not_shuffle(small_dataset: Dataset) -> None:
    loader = torch_loader(small_dataset.folder, batch_size=16, shuffle=False, **CANYON)

    assert_same(joined(loader), load_numpy(small_dataset.folder, **CANYON))


def test_noise_is_that_of_the_epoch_when_it_is_fresh(small_dataset: Dataset) -> None:
    loader = torch_loader(small_dataset.folder, shuffle=False, fresh_noise=True, **CANYON)
    links = open_links(small_dataset.folder, **CANYON)
    first, second = joined(loader), joined(loader)

    assert_same(first, load_numpy(small_dataset.folder, **CANYON))
    assert_same(second, links.take(np.arange(50), 1))
    assert not np.array_equal(first["csi"], second["csi"])


def test_batches_are_the_same_when_workers_make_them(two_site_dataset: Dataset) -> None:
    def loader(num_workers: int) -> Any:
        return torch_loader(
            two_site_dataset.folder,
            batch_size=3,
            num_workers=num_workers,
            fresh_noise=True,
            **SITES,
        )

    alone, helped = loader(0), loader(2)
    for _ in range(2):  # epochs: the workers of the first serve the second
        for one, other in zip(alone, helped, strict=True):
            assert_same(one, other)


@pytest.mark.slow
def test_batches_are_the_same_when_workers_are_spawned(two_site_dataset: Dataset) -> None:
    data = torch_dataset(two_site_dataset.folder, **SITES)
    spawned = DataLoader(
        data,
        batch_size=7,
        sampler=LinkOrder(len(data), seed=data.samples.seed),
        num_workers=1,
        collate_fn=as_arrays,
        multiprocessing_context="spawn",
    )
    expected = torch_loader(two_site_dataset.folder, batch_size=7, **SITES)

    assert_same(joined(spawned), joined(expected))


def test_batches_are_the_same_when_torch_collates_them(two_site_dataset: Dataset) -> None:
    data = torch_dataset(two_site_dataset.folder, **SITES)

    found = joined(DataLoader(data, batch_size=4))

    assert_same(found, load_numpy(two_site_dataset.folder, **SITES))


def test_dataset_gives_single_links_when_indexed(two_site_dataset: Dataset) -> None:
    data = torch_dataset(two_site_dataset.folder, **SITES)
    links = open_links(two_site_dataset.folder, **SITES)
    expected = links.take(np.array([9, 9]), np.array([0, 4]))

    assert isinstance(data, TorchLinks)
    assert len(data) == 14
    for key, row in ((9, 0), ((9, 4), 1), (-5, 0)):
        single = {name: values[None] for name, values in data[key].items()}
        assert_same(single, rows_of({n: v.numpy() for n, v in expected.items()}, [row]))
    batch = data.__getitems__([1, (2, 3)])
    assert len(batch) == len(list(batch)) == 2
    assert [int(sample["ue_index"]) for sample in batch[0:2]] == [1, 2]
    for key in (14, -15):
        with pytest.raises(IndexError, match="out of bounds"):
            data[key]


def test_order_is_a_permutation_with_the_draw_of_its_epoch_when_iterated() -> None:
    fresh, fixed = LinkOrder(9, seed=1, fresh_noise=True), LinkOrder(9, seed=1)
    epochs = [list(fresh) for _ in range(3)]

    assert [sorted(epoch) for epoch in epochs] == [[(i, e) for i in range(9)] for e in range(3)]
    assert len(fresh) == 9
    for epoch in epochs:
        assert list(fixed) == [(link, 0) for link, _ in epoch]
    assert epochs[0] != [(link, 0) for link, _ in epochs[1]]
    assert list(LinkOrder(3, seed=1, shuffle=False)) == [(0, 0), (1, 0), (2, 0)]
