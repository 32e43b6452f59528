"""Sets of estimated paths against the numpy features and naive loops."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raymark.benchmark import Measurements
from raymark.benchmark.features import first_path, path_loss_free_power_db, virtual_points
from raymark.benchmark.measurements import SiteContext
from raymark.models.neural.path_sets import NUM_PATH_FEATURES, PathSet, path_set
from raymark.radio import BAND_PRESETS, Panel

BANDS = tuple(BAND_PRESETS[name] for name in ("2.6GHz", "6GHz", "28GHz"))

NUM_LINKS, NUM_PATHS = 60, 6

FLOAT32_ABS = 1e-4
"""Angles 2 pi x / 8 m of points at some 300 m, in float32; all other features are smaller."""


def random_links(seed: int = 0) -> Measurements:
    """Links of three bands with 0 to 6 paths; zeros where padded, as in what is measured."""
    rng = np.random.default_rng(seed)
    shape = (NUM_LINKS, NUM_PATHS)
    mask = np.arange(NUM_PATHS) < rng.integers(0, NUM_PATHS + 1, NUM_LINKS)[:, None]
    mask[:2] = [[False] * NUM_PATHS, [True] * NUM_PATHS]
    power_db = np.sort(rng.uniform(-130, -80, shape), axis=1)[:, ::-1]
    zeros = np.zeros(NUM_LINKS)
    return Measurements(
        sites=(SiteContext(name="a/bs0", panel=Panel(), height_m=8.5),),
        bands=BANDS,
        site_index=zeros.astype("i8"),
        band_index=rng.integers(0, 3, NUM_LINKS),
        window=np.arange(NUM_LINKS),
        window_step=zeros.astype("i8"),
        path_range_m=np.where(mask, rng.uniform(10, 300, shape), 0.0),
        path_azimuth_rad=np.where(mask, rng.uniform(-1.5, 1.5, shape), 0.0),
        path_zenith_rad=np.where(mask, rng.uniform(1.2, 2.0, shape), 0.0),
        path_power_db=np.where(mask, power_db, -200.0),
        path_mask=mask,
        aoa_profile_db=np.zeros((NUM_LINKS, 64)),
        distance_m=zeros,
        gain_db=zeros,
        has_signal=mask.any(axis=1),
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )


LINKS = random_links()


@pytest.fixture
def paths() -> PathSet:
    return path_set(LINKS)


def reordered(paths: PathSet, order: Tensor) -> PathSet:
    """Change the order of the paths of every link."""
    return dataclasses.replace(
        paths,
        point_m=paths.point_m[..., order, :],
        power_db=paths.power_db[..., order],
        mask=paths.mask[..., order],
    )


def padded(paths: PathSet, *, filler: float) -> PathSet:
    """Fill what is masked with any number, and append two columns of it."""

    def fill(values: Tensor) -> torch.Tensor:
        there = paths.mask.reshape(paths.mask.shape + (1,) * (values.ndim - 2))
        return torch.cat(
            [torch.where(there, values, filler), torch.full_like(values[:, :2], filler)], 1
        )

    return PathSet(
        point_m=fill(paths.point_m),
        power_db=fill(paths.power_db),
        mask=torch.cat([paths.mask, torch.zeros_like(paths.mask[:, :2])], 1),
        height_m=paths.height_m,
    )


def test_path_set_holds_points_and_powers_of_the_shared_features(paths: PathSet) -> None:
    np.testing.assert_allclose(paths.point_m, virtual_points(LINKS), rtol=1e-6)
    np.testing.assert_allclose(paths.power_db, path_loss_free_power_db(LINKS), rtol=1e-6)
    np.testing.assert_array_equal(paths.mask, LINKS.path_mask)
    np.testing.assert_allclose(paths.height_m, LINKS.height_m)


def test_first_is_that_of_the_shared_features_when_links_have_paths(paths: PathSet) -> None:
    column, has_path = first_path(LINKS)

    found = paths.first()

    assert found.shape == (NUM_LINKS, 1)
    np.testing.assert_array_equal(found[has_path, 0], column[has_path])
    assert len(set(column[has_path].tolist())) > 3


def test_first_is_alike_when_links_are_windows(paths: PathSet) -> None:
    rows = torch.arange(NUM_LINKS).reshape(12, 5)

    assert torch.equal(paths.take(rows).first(), paths.first()[rows])
    assert torch.equal(paths.take(rows).features(), paths.features()[rows])
    assert torch.equal(paths.take(rows).anchor_m(), paths.anchor_m()[rows])


def test_anchor_is_the_horizontal_virtual_point_of_the_first_path(paths: PathSet) -> None:
    column, has_path = first_path(LINKS)
    expected = virtual_points(LINKS)[np.arange(NUM_LINKS), column, :2]
    expected[~has_path] = 0.0

    np.testing.assert_allclose(paths.anchor_m(), expected, rtol=1e-6)


def test_anchor_is_zero_when_a_link_has_no_path_whatever_is_padded(paths: PathSet) -> None:
    without = ~paths.mask.any(dim=1)

    assert without.any()
    assert (padded(paths, filler=77.0).anchor_m()[without] == 0).all()


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_thinned_keeps_the_first_and_the_strongest_path_and_adds_none(
    paths: PathSet, probability: float
) -> None:
    torch.manual_seed(0)
    first = paths.first()
    has_path = paths.mask.any(dim=1)
    for _ in range(20):
        mask = paths.thinned(probability).mask
        assert not (mask & ~paths.mask).any()
        assert mask.gather(1, first)[has_path].all()
        assert mask.gather(1, strongest_column(paths))[has_path].all()
        assert torch.equal(dataclasses.replace(paths, mask=mask).first()[has_path], first[has_path])
    if probability == 0:
        assert torch.equal(mask, paths.mask)
    if probability == 1:
        both = 1 + (first != strongest_column(paths)).squeeze(1)
        assert torch.equal(mask.sum(dim=1), both * has_path)


def test_thinned_leaves_out_the_wanted_share_of_the_other_paths(paths: PathSet) -> None:
    torch.manual_seed(0)
    others = paths.mask.clone().scatter_(1, paths.first(), value=False)
    others = others.scatter_(1, strongest_column(paths), value=False)

    masks = [paths.thinned(0.3).mask for _ in range(100)]

    # Some 12,000 draws: a share of 0.3 deviates by 0.0042; five of them.
    kept = torch.stack([mask[others].float().mean() for mask in masks]).mean()
    assert kept.item() == pytest.approx(0.7, abs=0.021)


def test_thinned_changes_neither_points_nor_the_set_itself(paths: PathSet) -> None:
    before = paths.mask.clone()

    thinned = paths.thinned(0.9)

    assert torch.equal(paths.mask, before)
    assert torch.equal(thinned.point_m, paths.point_m)
    assert torch.equal(thinned.power_db, paths.power_db)


def strongest_column(paths: PathSet) -> torch.Tensor:
    power_db = paths.power_db.masked_fill(~paths.mask, -torch.inf)
    return power_db.argmax(dim=1, keepdim=True)


def naive_features(paths: PathSet, link: int) -> np.ndarray:
    """Write out the features of one link's paths, one by one."""
    point = paths.point_m[link].double().numpy()
    power_db = paths.power_db[link].double().numpy()
    there = np.flatnonzero(paths.mask[link])
    first, strongest = int(paths.first()[link]), power_db[there].max()
    rows = np.zeros((len(point), NUM_PATH_FEATURES))
    for i in there:
        x, y, z = point[i]
        range_m, across = np.linalg.norm(point[i]), np.hypot(x, y)
        angle = [2 * np.pi * c / period for c in (x, y) for period in (8, 16, 32, 64, 128, 256)]
        rows[i] = [
            *(point[i] / 100),
            range_m / 100,
            (range_m - np.linalg.norm(point[first])) / 100,
            float(i == first),
            *(x / across, y / across, z / range_m),
            (power_db[i] + 80) / 20,
            (power_db[i] - strongest) / 20,
            float(paths.height_m[link]) / 100,
            *np.sin(angle),
            *np.cos(angle),
        ]
    return rows


def test_features_are_those_of_each_path_when_written_out(paths: PathSet) -> None:
    features = paths.features()

    assert features.shape == (NUM_LINKS, NUM_PATHS, NUM_PATH_FEATURES)
    for link in np.flatnonzero(LINKS.path_mask.any(axis=1))[:10]:
        np.testing.assert_allclose(
            features[link], naive_features(paths, int(link)), atol=FLOAT32_ABS
        )


def test_features_are_zero_where_masked_and_finite(paths: PathSet) -> None:
    features = paths.features()

    assert (features[~paths.mask] == 0).all()
    assert features.isfinite().all()


def test_features_do_not_depend_on_padding(paths: PathSet) -> None:
    expected = paths.features()

    for filler in (0.0, -45.0, 1e4):
        found = padded(paths, filler=filler).features()
        assert torch.equal(found[:, :NUM_PATHS], expected)
        assert (found[:, NUM_PATHS:] == 0).all()


@pytest.mark.parametrize("of", [PathSet.features, PathSet.anchor_m])
def test_features_follow_their_paths_when_the_order_changes(
    paths: PathSet, of: Callable[[PathSet], Tensor]
) -> None:
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    expected: Any = of(paths)

    found = of(reordered(paths, order))

    assert torch.equal(found, expected[:, order] if found.ndim == 3 else expected)


def test_features_are_finite_when_no_link_has_a_path(paths: PathSet) -> None:
    empty = dataclasses.replace(paths, mask=torch.zeros_like(paths.mask))

    for one in (empty, empty.thinned(0.5)):
        assert (one.features() == 0).all()
        assert (one.anchor_m() == 0).all()
        assert not one.mask.any()


def test_features_compare_over_bands_when_a_path_has_the_same_length() -> None:
    """Friis: the gain falls by the square of the carrier, and nothing else changes."""
    gain_db = 20 * np.log10([b.wavelength_m / (4 * np.pi * 50) for b in BANDS])
    links = LINKS.take(np.array([1, 1, 1]))
    links = dataclasses.replace(
        links,
        band_index=np.arange(3),
        path_power_db=np.repeat(gain_db[:, None], NUM_PATHS, axis=1),
    )

    features = path_set(links).features()

    torch.testing.assert_close(features[1], features[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(features[2], features[0], rtol=0, atol=1e-5)
