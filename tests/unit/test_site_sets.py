"""DeepSets over all sites: order makes no difference, absent sites, and what nobody hears."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from jaxtyping import Float
from threadpoolctl import threadpool_limits
from two_sites import UE_M, in_frames_of, links_at_sites

from raymark.benchmark.measurements import Labelled, Measurements
from raymark.benchmark.ue_links import UeLinks
from raymark.errors import ConfigError
from raymark.models.neural.inputs import Scaler
from raymark.models.site_sets.inputs import NUM_SITE_FEATURES, UeSource, site_paths
from raymark.models.site_sets.model import Model

TRAIN_M, VALIDATION_M = (
    np.random.default_rng(seed).uniform(0, 60, (num, 2)) for seed, num in ((0, 160), (1, 30))
)
CONFIG = {
    "modalities": ["paths"],
    "training": {"epochs": 15, "batch_size": 16, "ema_decay": 0.9},
    "network": {"width": 16, "num_layers": 1},
}
SAME_M = 1e-3


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks lose by more."""
    with threadpool_limits(1):
        yield


def labelled(ue_m: Float[np.ndarray, "ue 2"], links: Measurements | None = None) -> Labelled:
    links = links_at_sites(ue_m) if links is None else links
    return Labelled(
        measurements=links,
        position_m=in_frames_of(links, ue_m),
        los=np.ones(len(links), dtype="i8"),
    )


@pytest.fixture(scope="module")
def model() -> Model:
    fitted = Model(CONFIG, seed=0)
    fitted.fit(labelled(TRAIN_M), labelled(VALIDATION_M))
    return fitted


def with_echo(links: Measurements) -> Measurements:
    """Add a later, weaker path to every link."""
    changed = {name: getattr(links, name).copy() for name in ("path_range_m", "path_azimuth_rad")}
    changed["path_range_m"][:, 1] = links.path_range_m[:, 0] + 12.0
    changed["path_azimuth_rad"][:, 1] = links.path_azimuth_rad[:, 0] + 0.4
    power_db = links.path_power_db.copy()
    power_db[:, 1] = power_db[:, 0] - 9.0
    return dataclasses.replace(
        links, **changed, path_power_db=power_db, path_mask=np.ones_like(links.path_mask)
    )


def test_ue_is_located_when_both_sites_see_it(model: Model) -> None:
    links = links_at_sites()

    told = model.predict(links)

    error_m = np.linalg.norm(told.position_m - in_frames_of(links, UE_M), axis=1)
    centroid_m = np.linalg.norm(UE_M - TRAIN_M.mean(axis=0), axis=1)
    assert error_m.max() < 0.5 * centroid_m.min()
    np.testing.assert_allclose(error_m[:3], error_m[3:], atol=SAME_M)


def test_answer_is_the_same_when_links_come_in_another_order(model: Model) -> None:
    links = with_echo(links_at_sites())
    order = np.array([4, 0, 2, 5, 3, 1])

    whole, mixed = model.predict(links), model.predict(links.take(order))

    np.testing.assert_allclose(mixed.position_m, whole.position_m[order], atol=SAME_M)
    assert whole.covariance_m2 is not None
    assert mixed.covariance_m2 is not None
    np.testing.assert_allclose(mixed.covariance_m2, whole.covariance_m2[order], rtol=1e-9)


def untrained(model: Model, links: Measurements, *, backwards: bool = False) -> np.ndarray:
    """Return what a network of random weights says of each UE: it leans on every path."""
    torch.manual_seed(0)
    source = UeSource(links, model.scaler, window_size=1, has_image=False, device=model.device)
    rows = source.rows[:, ::-1].copy() if backwards else source.rows
    output = model.make_network().to(model.device)(source.batch(rows, None))
    return output.position[:, 0].detach().cpu().numpy()


def test_answer_is_the_same_when_sites_or_paths_are_listed_in_another_order(model: Model) -> None:
    links = with_echo(links_at_sites())
    names = [field.name for field in dataclasses.fields(links) if field.name.startswith("path_")]
    swapped = dataclasses.replace(links, **{x: getattr(links, x)[:, ::-1].copy() for x in names})

    found = untrained(model, links)

    np.testing.assert_allclose(untrained(model, links, backwards=True), found, atol=1e-5)
    np.testing.assert_allclose(untrained(model, swapped), found, atol=1e-5)
    assert np.abs(untrained(model, links_at_sites()) - found).max() > 1e-3


def test_site_that_hears_nothing_is_as_if_it_had_no_link(model: Model) -> None:
    deaf = links_at_sites(deaf=((0, 1), (1, 1), (2, 1)))
    alone = deaf.take(np.arange(3))

    found = untrained(model, deaf)

    np.testing.assert_allclose(untrained(model, alone), found, atol=1e-5)
    assert np.abs(untrained(model, links_at_sites()) - found).max() > 1e-3


def test_ue_that_nobody_hears_gets_mean_and_spread_of_training(model: Model) -> None:
    links = links_at_sites(deaf=((2, 0), (2, 1)))

    told = model.predict(links)

    expected_m = np.tile(TRAIN_M.mean(axis=0), (3, 1))
    np.testing.assert_allclose(told.position_m[[2, 5]], in_frames_of(links, expected_m)[[2, 5]])
    assert told.covariance_m2 is not None
    np.testing.assert_allclose(told.covariance_m2[5], np.cov(TRAIN_M.T, bias=True), rtol=1e-5)
    assert np.linalg.det(told.covariance_m2[0]) < np.linalg.det(told.covariance_m2[2])


def test_features_are_of_the_common_frame_when_a_site_looks_elsewhere() -> None:
    links = links_at_sites()

    paths = site_paths(links)

    # In line of sight the virtual point of the first path is the UE, whichever site saw it.
    np.testing.assert_allclose(paths.anchor_m().numpy(), np.tile(UE_M, (2, 1)), atol=1e-3)
    assert paths.features().shape == (6, 2, NUM_SITE_FEATURES)
    assert UeLinks.of(links).row.shape == (3, 2)


def test_model_is_refused_when_there_are_more_sites_than_it_tells_apart() -> None:
    known = labelled(TRAIN_M)
    many = dataclasses.replace(known.measurements, sites=known.measurements.sites * 5)

    with pytest.raises(ConfigError, match=r"site_sets tells up to 8 sites apart, got 10"):
        Model(CONFIG, seed=0).fit(dataclasses.replace(known, measurements=many), known)


@pytest.mark.parametrize("bias", [0.0, 1.5])
@pytest.mark.parametrize("sites", [[0], [0, 1]], ids=["one site", "two sites"])
def test_gates_are_trained_when_they_are_open(sites: list[int], bias: float) -> None:
    links = links_at_sites()
    heard = links.take(np.flatnonzero(np.isin(links.site_index, sites)))
    model = Model(CONFIG, seed=0)
    model.scaler = Scaler.fit(labelled(UE_M), has_image=False)
    network = model.make_network()
    gate = network.gate[-1]
    torch.nn.init.zeros_(gate.weight)
    torch.nn.init.constant_(gate.bias, bias)
    source = model._source(heard)

    network(source.batch(source.rows, None)).position.square().sum().backward()

    assert gate.bias.grad.item() != 0
