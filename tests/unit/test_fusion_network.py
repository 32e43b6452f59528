"""The network of SCADF-MoE with every choice that its configuration offers."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from raymark.config import validate
from raymark.errors import ConfigError
from raymark.models import get_model
from raymark.models.neural.inputs import Batch, Modality
from raymark.models.neural.objective import NetworkOutput, trajectory_loss
from raymark.models.neural.path_sets import NUM_PATH_FEATURES
from raymark.models.neural.soft_moe import Film
from raymark.models.scadf_moe.diagnostics import slot_similarity, task_gradient_cosine
from raymark.models.scadf_moe.network import NUM_AZIMUTH_BINS, FusionNetwork, FusionSettings

MODALITIES: tuple[Modality, ...] = ("image", "profile", "distance", "gain", "paths", "ue_angle")
FOUR = MODALITIES[:4]

TINY = {
    "width": 8,
    "image_widths": (4, 4),
    "num_heads": 2,
    "num_blocks": 2,
    "hidden": 8,
    "num_experts": 3,
    "modality_experts": 2,
    "dropout": 0.0,
}

NUM_WINDOWS, NUM_PATHS, SIDE = 4, 3, 16

FOLDERS = (
    "scadf_moe",
    "scadf_moe_paths",
    "path_moe",
    "path_trajectory",
    "trajectory_transformer",
    "concat_mlp",
    "sparse_moe",
    "mmoe",
    "ple",
)

ROUNDING = 1e-5
"""Float32 of values of about 1 through tens of layers."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small networks lose by more."""
    with threadpool_limits(1):
        yield


def random_batch(window_size: int, seed: int = 0) -> Batch:
    """Return windows of one to all vertices, each with one or more paths or none."""
    rng = torch.Generator().manual_seed(seed)
    shape = (NUM_WINDOWS, window_size)
    mask = torch.rand(shape, generator=rng) < 0.7
    mask[:, -1] = True
    path_mask = torch.rand((*shape, NUM_PATHS), generator=rng) < 0.6
    path_mask[0, -1] = False
    paths = torch.randn((*shape, NUM_PATHS, NUM_PATH_FEATURES), generator=rng)
    return Batch(
        mask=mask,
        carrier=torch.linspace(-1, 1, NUM_WINDOWS),
        image=torch.randn((*shape, 3, SIDE, SIDE), generator=rng),
        profile=torch.randn((*shape, NUM_AZIMUTH_BINS), generator=rng),
        distance=torch.randn(shape, generator=rng),
        gain=torch.randn(shape, generator=rng),
        ue_angle=torch.rand(shape, generator=rng),
        paths=paths * path_mask.unsqueeze(-1),
        path_mask=path_mask,
        anchor=torch.randn((*shape, 2), generator=rng),
    )


def network_of(
    modalities: tuple[Modality, ...] = FOUR, window_size: int = 3, **changes: Any
) -> FusionNetwork:
    torch.manual_seed(0)
    settings = validate(FusionSettings, {**TINY, **changes}, where="test")
    return FusionNetwork(modalities, window_size, settings)


def target_of(batch: Batch) -> Tensor:
    return torch.randn((*batch.mask.shape, 2), generator=torch.Generator().manual_seed(9))


def require_learnable(network: FusionNetwork, batch: Batch) -> NetworkOutput:
    """Check shapes, and that all parts of the loss have finite gradients."""
    output: NetworkOutput = network.train()(batch)
    assert output.position.shape == (*batch.mask.shape, 2)
    assert output.centroid is not None
    assert output.centroid.shape == (NUM_WINDOWS, 2)
    assert output.penalty is not None
    assert output.penalty.shape == ()
    loss = trajectory_loss(output, target_of(batch), batch.mask, 1.0)
    loss.backward()
    assert loss.isfinite()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    for encoder in network.encoders.of.values():
        of_encoder = [p.grad for p in encoder.parameters() if p.grad is not None]
        assert any((gradient != 0).any() for gradient in of_encoder)
    return output


@pytest.mark.parametrize("window_size", [1, 3])
@pytest.mark.parametrize("head", ["modality-task", "mmoe", "ple", "shared"])
@pytest.mark.parametrize("fusion", ["soft-moe", "sparse-moe", "dense", "concat"])
def test_network_learns_with_every_fusion_and_head(
    fusion: str, head: str, window_size: int
) -> None:
    network = network_of(window_size=window_size, fusion=fusion, head=head)

    output = require_learnable(network, random_batch(window_size))

    assert ("modality_share" in output.diagnostics) == (fusion == "soft-moe")


@pytest.mark.parametrize("window_size", [1, 3])
@pytest.mark.parametrize("modality_experts", [0, 2])
@pytest.mark.parametrize("is_uniform", [False, True])
@pytest.mark.parametrize("diversity", ["mmd", "orthogonality", "none"])
def test_network_learns_with_every_diversity_and_router(
    diversity: str, is_uniform: bool, modality_experts: int, window_size: int
) -> None:
    network = network_of(
        window_size=window_size,
        diversity=diversity,
        is_uniform=is_uniform,
        modality_experts=modality_experts,
    )

    output = require_learnable(network, random_batch(window_size))

    assert output.penalty is not None
    assert (output.penalty.item() > 0) == (diversity != "none")


@pytest.mark.parametrize(
    "modalities",
    [
        chosen
        for count in range(1, len(MODALITIES) + 1)
        for chosen in itertools.combinations(MODALITIES, count)
    ],
    ids="+".join,
)
@pytest.mark.parametrize("window_size", [1, 3])
def test_network_learns_with_every_subset_of_modalities(
    modalities: tuple[Modality, ...], window_size: int
) -> None:
    network = network_of(modalities, window_size=window_size)

    output = require_learnable(network, random_batch(window_size))

    share = output.diagnostics["modality_share"]
    assert share.shape == (NUM_WINDOWS, len(modalities))
    torch.testing.assert_close(share.sum(dim=1), torch.ones(NUM_WINDOWS))
    assert network.is_anchored == ("paths" in modalities)


def test_modality_share_is_equal_when_the_router_is_uniform() -> None:
    output = network_of(is_uniform=True).eval()(random_batch(3))

    share = output.diagnostics["modality_share"]
    torch.testing.assert_close(share, torch.full((NUM_WINDOWS, 4), 0.25))


def test_penalty_is_weighted_by_its_settings() -> None:
    batch = random_batch(3)
    penalty = [
        network_of(diversity_weight=weight)(batch).penalty.item() for weight in (0.0, 0.05, 0.1)
    ]
    balance = [
        network_of(fusion="sparse-moe", head="shared", balance_weight=weight)(batch).penalty.item()
        for weight in (0.0, 0.01, 0.02)
    ]

    for values in (penalty, balance):
        assert values[0] == 0.0
        assert values[2] == pytest.approx(2 * values[1], rel=ROUNDING)
    # The mean of exp(-MMD^2) is at most 1, and the load-balancing loss is 1 at best.
    assert 0 < penalty[2] <= 0.1
    assert balance[2] > 0.015


CONTENTS = ("image", "profile", "distance", "gain", "paths", "ue_angle", "anchor")


@pytest.mark.parametrize("head", ["modality-task", "mmoe", "ple", "shared"])
@pytest.mark.parametrize("fusion", ["soft-moe", "sparse-moe", "dense", "concat"])
def test_masked_vertices_do_not_change_the_others(fusion: str, head: str) -> None:
    network = network_of(MODALITIES, fusion=fusion, head=head).eval()
    batch, other = random_batch(3), random_batch(3, seed=1)
    assert not batch.mask.all()
    mixed = {
        name: torch.where(
            batch.mask.reshape(batch.mask.shape + (1,) * (getattr(batch, name).ndim - 2)),
            getattr(batch, name),
            100 * getattr(other, name),
        )
        for name in CONTENTS
    }
    path_mask = torch.where(batch.mask.unsqueeze(-1), batch.path_mask, other.path_mask)

    with torch.no_grad():
        expected = network(batch)
        found = network(dataclasses.replace(batch, path_mask=path_mask, **mixed))

    torch.testing.assert_close(
        found.position[batch.mask], expected.position[batch.mask], rtol=0, atol=ROUNDING
    )
    torch.testing.assert_close(found.centroid, expected.centroid, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(found.penalty, expected.penalty, rtol=0, atol=ROUNDING)


def test_windows_do_not_change_each_other() -> None:
    network, batch = network_of(MODALITIES).eval(), random_batch(3)
    rows = torch.tensor([2, 0])
    part = Batch(**{f.name: getattr(batch, f.name)[rows] for f in dataclasses.fields(batch)})

    with torch.no_grad():
        expected, found = network(batch), network(part)

    torch.testing.assert_close(found.position, expected.position[rows], rtol=0, atol=ROUNDING)
    torch.testing.assert_close(found.centroid, expected.centroid[rows], rtol=0, atol=ROUNDING)


def test_vertices_change_each_other_when_they_are_in_one_window() -> None:
    """The canary of the tests above: what is there does have an effect."""
    batch = dataclasses.replace(random_batch(3), mask=torch.ones(NUM_WINDOWS, 3, dtype=torch.bool))
    distance = batch.distance.clone()
    distance[:, 0] += 1.0
    network = network_of().eval()

    with torch.no_grad():
        moved = network(dataclasses.replace(batch, distance=distance)).position
        difference = (moved - network(batch).position).abs().amax(dim=-1)

    assert (difference[:, 1:] > ROUNDING).all()


def dispatch_of(network: FusionNetwork, carrier: float) -> list[Tensor]:
    """Return the dispatch weights of each block for the same tokens at a carrier."""
    tokens = torch.randn(2, 6, TINY["width"], generator=torch.Generator().manual_seed(5))
    band = network.embeddings.band(torch.full((2, 1), carrier))
    mask = torch.ones(2, 6, dtype=torch.bool)
    with torch.no_grad():
        return [block(tokens, mask, band).routing.dispatch for block in network.blocks]


def test_band_conditions_the_router_when_film_is_no_longer_the_identity() -> None:
    network = network_of().eval()
    films = [part for part in network.blocks.modules() if isinstance(part, Film)]
    assert len(films) == TINY["num_blocks"]

    for low, high in zip(dispatch_of(network, -1.0), dispatch_of(network, 1.0), strict=True):
        assert torch.equal(low, high)
    for film in films:
        torch.nn.init.normal_(film.linear.weight)
    for low, high in zip(dispatch_of(network, -1.0), dispatch_of(network, 1.0), strict=True):
        assert (low - high).abs().max() > 0.01


def test_film_of_every_router_gets_a_gradient_so_that_the_band_can_move_it() -> None:
    network = network_of()

    require_learnable(network, random_batch(3))

    films = [part for part in network.modules() if isinstance(part, Film)]
    assert len(films) == TINY["num_blocks"] + len(FOUR)
    for film in films:
        assert film.linear.weight.grad is not None
        assert (film.linear.weight.grad != 0).any()


def test_centroid_and_vertices_are_tied_to_the_anchor_only_when_paths_are_seen() -> None:
    batch = random_batch(3)
    moved = dataclasses.replace(batch, anchor=batch.anchor + 10.0)
    with torch.no_grad():
        for modalities in (FOUR, MODALITIES):
            network = network_of(modalities).eval()
            is_same = torch.equal(network(batch).position, network(moved).position)
            assert is_same == ("paths" not in modalities)


def test_slot_similarity_is_one_when_slots_are_alike_and_zero_when_orthogonal() -> None:
    network = network_of()
    routers = [block.feed.router for block in network.blocks]
    for router in routers:
        torch.nn.init.ones_(router.phi)
    assert slot_similarity(network) == pytest.approx(1.0)

    for router in routers:
        # 3 experts x 2 slots are fewer than the 8 features.
        router.phi.data = 3 * torch.eye(6, 8).reshape(3, 2, 8)
    assert slot_similarity(network) == pytest.approx(0.0, abs=ROUNDING)


@pytest.mark.parametrize("fusion", ["sparse-moe", "dense", "concat"])
def test_slot_similarity_is_none_when_there_are_no_slots(fusion: str) -> None:
    assert slot_similarity(network_of(fusion=fusion)) is None


def test_task_gradient_cosine_is_that_of_gradients_taken_one_by_one() -> None:
    network, batch = network_of().eval(), random_batch(3)
    target = target_of(batch)
    found = task_gradient_cosine(network, batch, target)
    shared = [*network.encoders.parameters(), *network.embeddings.parameters()]
    shared += network.blocks.parameters()

    def gradient(is_vertex: bool) -> Tensor:
        network.zero_grad()
        output = network(batch)
        there = batch.mask.unsqueeze(-1)
        mean = (target * there).sum(1) / there.sum(1)
        error = (output.position - target) * there if is_vertex else output.centroid - mean
        error.square().sum().backward()
        flat = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
        return torch.cat([part.flatten().double() for part in flat])

    vertex, centroid = gradient(True), gradient(False)
    expected = (vertex @ centroid / vertex.norm() / centroid.norm()).item()
    # bfloat16 of the image encoder's gradients.
    assert found == pytest.approx(expected, abs=1e-2)
    assert -1 <= found <= 1


def num_parameters(name: str) -> int:
    model: Any = get_model(name).create(0)
    return sum(parameter.numel() for parameter in model.make_network().parameters())


def test_rivals_have_parameters_within_a_factor_of_four() -> None:
    counts = {name: num_parameters(name) for name in FOLDERS}

    assert max(counts.values()) <= 4 * min(counts.values()), counts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusions": "dense"}, "unknown key at config: network: fusions"),
        ({"fusion": "gated"}, "config: network: fusion"),
        ({"width": 0}, "config: network: width"),
        ({"num_blocks": "two"}, "config: network: num_blocks"),
        ({"dropout": 1.0}, "config: network: dropout"),
    ],
)
def test_settings_are_refused_when_a_key_or_value_is_wrong(
    changes: dict[str, Any], message: str
) -> None:
    folder = get_model("scadf_moe")
    model: Any = folder.with_config({**folder.info.config, "network": changes}).create(0)

    with pytest.raises(ConfigError, match=message):
        model.make_network()
