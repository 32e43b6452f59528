import copy
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from raymark.benchmark import Labelled, Task
from raymark.benchmark.task_data import TaskData
from raymark.models import get_model
from raymark.models.amdnloc.model import Model as AmdnlocModel
from raymark.models.amdnloc.model import region_loss
from raymark.models.gaussian_process.model import drawn_rows
from raymark.models.neural.attention import SelfAttention
from raymark.models.neural.encoders import AngleEncoder, ImageEncoder, ScalarEncoder
from raymark.models.neural.inputs import Batch
from raymark.models.neural.link_notes import NotedBatch
from raymark.models.neural.objective import trajectory_loss
from raymark.models.neural.path_sets import NUM_PATH_FEATURES
from raymark.models.neural.single_link import power_of
from raymark.models.wknn.model import Model as Wknn
from raymark.models.wknn_residual.model import Model as WknnResidualModel

PATH_MODELS = ("path_transformer", "wknn_residual")
IMAGE_MODELS = (
    "csi_mlp",
    "csi_transformer",
    "resnet_cfr",
    "resnet_adp",
    "resnet_both",
    "amdnloc",
    "amdnloc_matched",
)
MODELS = (*PATH_MODELS, *IMAGE_MODELS)

NUM_LINKS, NUM_PATHS, NUM_REGIONS = 16, 5, 16

SCALE_M = 60.0
"""Standard deviation of the positions of a real site, so that errors read in metres."""

ROUNDING = 1e-4
"""Float32 of values of about 1 through tens of layers; bfloat16 rounds each link alike."""

NUM_STEPS = 150
"""Enough for every network to remember 16 links."""

SIDE = 32
"""Side of the images, smaller than real ones for speed."""

LoadTask = Callable[[Task], TaskData]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small networks lose by more."""
    with threadpool_limits(1):
        yield


def network_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: Any = get_model(name).create(0)
    if name.startswith("amdnloc"):
        model.scaler = SimpleNamespace(standardize=lambda position_m: position_m)
        model._regions = range(NUM_REGIONS)
        model._centroid_m = np.random.default_rng(0).normal(size=(NUM_REGIONS, 2))
    network: nn.Module = model.make_network()
    return network


def random_batch() -> tuple[NotedBatch, Tensor]:
    """Return links whose positions can be read from paths, image and notes, and the positions."""
    rng = torch.Generator().manual_seed(1)
    position = torch.randn(NUM_LINKS, 1, 2, generator=rng)
    mix = torch.randn(2, NUM_PATH_FEATURES, generator=rng)
    paths = torch.randn(NUM_LINKS, 1, NUM_PATHS, NUM_PATH_FEATURES, generator=rng)
    mask = torch.rand(NUM_LINKS, 1, NUM_PATHS, generator=rng) < 0.6
    mask[..., 0] = True
    image = torch.randn(NUM_LINKS, 1, 3, SIDE, SIDE, generator=rng)
    scalar = torch.randn(NUM_LINKS, 1, generator=rng)
    batch = NotedBatch(
        mask=torch.ones(NUM_LINKS, 1, dtype=torch.bool),
        carrier=torch.zeros(NUM_LINKS),
        image=image,
        profile=torch.zeros(NUM_LINKS, 1, 64),
        distance=scalar,
        gain=scalar,
        ue_angle=torch.zeros_like(scalar),
        paths=(paths + (position @ mix).unsqueeze(2)) * mask.unsqueeze(-1),
        path_mask=mask,
        anchor=position + 0.5 * torch.randn(NUM_LINKS, 1, 2, generator=rng),
        notes=position + 0.5 * torch.randn(NUM_LINKS, 1, 2, generator=rng),
    )
    return batch, position


def batch_for(name: str) -> tuple[NotedBatch, Tensor]:
    batch, position = random_batch()
    if name.startswith("amdnloc"):
        region = torch.arange(NUM_LINKS).float().reshape(-1, 1, 1)
        batch = dataclasses.replace(batch, notes=region)
    return batch, position


def located(network: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        position: Tensor = network.eval()(batch).position
    return position


def rows_of(batch: NotedBatch, rows: Tensor) -> NotedBatch:
    values = {f.name: getattr(batch, f.name)[rows] for f in dataclasses.fields(batch)}
    return NotedBatch(**values)


@pytest.mark.parametrize("name", MODELS)
def test_network_returns_one_finite_position_per_link(name: str) -> None:
    batch, position = batch_for(name)

    found = located(network_of(name), batch)

    assert found.shape == position.shape
    assert found.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_network_answers_a_link_alike_when_others_are_taken_away(name: str) -> None:
    batch, _ = batch_for(name)
    network = network_of(name)
    rows = torch.tensor([3, 11, 0])

    part = located(network, rows_of(batch, rows))

    torch.testing.assert_close(part, located(network, batch)[rows], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", PATH_MODELS)
def test_path_network_answers_alike_when_paths_are_in_another_order(name: str) -> None:
    batch, _ = batch_for(name)
    network = network_of(name)
    order = torch.tensor([4, 2, 0, 3, 1])
    shuffled = dataclasses.replace(
        batch, paths=batch.paths[:, :, order], path_mask=batch.path_mask[:, :, order]
    )

    torch.testing.assert_close(
        located(network, shuffled), located(network, batch), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("name", PATH_MODELS)
def test_path_network_does_not_read_paths_that_are_not_there(name: str) -> None:
    batch, _ = batch_for(name)
    network = network_of(name)
    noise = torch.randn(batch.paths.shape) * ~batch.path_mask.unsqueeze(-1)

    changed = located(network, dataclasses.replace(batch, paths=batch.paths + noise))

    torch.testing.assert_close(changed, located(network, batch), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", PATH_MODELS)
def test_path_network_is_finite_when_a_link_has_no_path(name: str) -> None:
    batch, _ = batch_for(name)
    empty = dataclasses.replace(batch, path_mask=torch.zeros_like(batch.path_mask))

    assert located(network_of(name), empty).isfinite().all()


@pytest.mark.parametrize(
    ("name", "unread"), [("resnet_cfr", (2,)), ("resnet_adp", (0, 1)), ("resnet_both", ())]
)
def test_resnet_reads_the_channels_that_its_name_says(name: str, unread: tuple[int, ...]) -> None:
    batch, _ = batch_for(name)
    network = network_of(name)
    base = located(network, batch)
    assert batch.image is not None

    for channel in range(3):
        image = batch.image.clone()
        image[:, :, channel] = 1 - image[:, :, channel]
        is_same = torch.equal(located(network, dataclasses.replace(batch, image=image)), base)
        assert is_same == (channel in unread)


def test_resnet_refuses_images_when_a_gradient_would_be_of_unwritten_memory() -> None:
    batch, _ = random_batch()
    assert batch.image is not None
    small = dataclasses.replace(batch, image=batch.image[..., :16])

    with pytest.raises(ValueError, match="16 delay bins, but 4 stages need at least 20"):
        network_of("resnet_both")(small)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_network_remembers_sixteen_links_when_trained_on_them(name: str) -> None:
    batch, position = batch_for(name)
    network = network_of(name)
    # Dropout is off, for it is there to prevent what is tested here.
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, SelfAttention):
            module.dropout = 0.0
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=NUM_STEPS)

    network.train()
    for _ in range(NUM_STEPS):
        predicted = network(batch)
        error_m = SCALE_M * (predicted.position - position).norm(dim=-1)
        if error_m.mean() < 1.0:
            break
        loss = trajectory_loss(predicted, position, batch.mask, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    assert error_m.mean() < 1.0


def test_power_is_the_mean_over_delay_bins_of_a_group() -> None:
    batch, _ = random_batch()
    image = torch.randn(NUM_LINKS, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = image[:, :, 2].unflatten(-1, (16, 4)).mean(-1)

    power = power_of(dataclasses.replace(batch, image=image), 16)

    torch.testing.assert_close(power, expected)


def test_power_is_refused_when_there_is_no_image() -> None:
    batch, _ = random_batch()

    with pytest.raises(ValueError, match="add 'image' to `modalities`"):
        power_of(dataclasses.replace(batch, image=None), 16)


def test_region_loss_is_the_cross_entropy_of_links_whose_region_is_known() -> None:
    logits = torch.randn(4, 1, 3, generator=torch.Generator().manual_seed(0))
    region = torch.tensor([[2], [-1], [0], [1]])
    mask = torch.tensor([[True], [True], [True], [False]])

    expected = F.cross_entropy(logits[[0, 2], 0], torch.tensor([2, 0]))

    torch.testing.assert_close(region_loss(logits, region, mask), expected)


def test_region_loss_is_zero_when_no_region_is_known() -> None:
    region = torch.full((4, 1), -1)

    loss = region_loss(torch.zeros(4, 1, 3), region, torch.ones(4, 1, dtype=torch.bool))

    assert loss.item() == 0.0


@pytest.fixture(scope="module")
def data(benchmark_task: Callable[..., Task], load_benchmark_task: LoadTask) -> TaskData:
    return load_benchmark_task(benchmark_task("interpolation", "yard"))


def prepared(name: str, data: TaskData, train: Labelled) -> Any:
    model: Any = get_model(name).create(0)
    model.prepare(train, data.validation)
    return model


def test_amdnloc_knows_the_regions_of_training_links_alone(data: TaskData) -> None:
    train = data.train
    model = prepared("amdnloc", data, train)

    region = model.notes(train.measurements, train)[:, 0].astype(int)

    assert isinstance(model, AmdnlocModel)
    assert set(region) == set(range(len(model._regions)))
    for index in range(len(model._regions)):
        mean_m = train.position_m[region == index].mean(axis=0)
        np.testing.assert_allclose(model._centroid_m[index], mean_m, atol=1e-6)
    assert (model.notes(data.test, None) == -1).all()


def test_amdnloc_matched_gives_links_to_locate_a_region_by_themselves(data: TaskData) -> None:
    model = prepared("amdnloc_matched", data, data.train)

    region = model.notes(data.test, None)[:, 0]
    alone = model.notes(data.test.take(np.array([3])), None)[:, 0]

    assert set(region) <= set(range(len(model._regions)))
    assert len(set(region)) > 1
    assert alone[0] == region[3]


def test_amdnloc_locates_by_the_map_of_the_region_that_is_told_or_by_all_that_are_likely() -> None:
    batch, _ = batch_for("amdnloc")
    told, predicted = network_of("amdnloc_matched"), network_of("amdnloc")
    moved = dataclasses.replace(batch, notes=batch.notes.flip(0))

    assert not torch.allclose(located(told, moved), located(told, batch))
    torch.testing.assert_close(located(predicted, moved), located(predicted, batch))


def test_wknn_prior_of_training_links_does_not_depend_on_their_own_window(data: TaskData) -> None:
    train = data.train
    model = prepared("wknn_residual", data, train)
    window = train.measurements.window
    own = np.flatnonzero(window == window[0])
    moved_m = train.position_m.copy()
    moved_m[own] += 1000.0

    other = get_model("wknn_residual").create(0)
    assert isinstance(other, WknnResidualModel)
    other._trial = model._trial
    changed_m = other._out_of_part(dataclasses.replace(train, position_m=moved_m))

    np.testing.assert_array_equal(changed_m[own], model._own_m[own])
    assert (changed_m != model._own_m).any()


def without_paths(labelled: Labelled, rows: np.ndarray) -> Labelled:
    links = labelled.measurements
    mask = links.path_mask.copy()
    mask[rows] = False
    return dataclasses.replace(labelled, measurements=dataclasses.replace(links, path_mask=mask))


@pytest.mark.parametrize("num_blind", [0, 3])
def test_wknn_puts_links_without_a_path_where_such_links_trained_or_in_the_middle(
    data: TaskData, num_blind: int
) -> None:
    heard = data.train.take(np.flatnonzero(data.train.measurements.path_mask.any(axis=1)))
    train = without_paths(heard, np.arange(num_blind))
    expected_m = train.position_m[: num_blind or None].mean(axis=0)
    blind = without_paths(heard, np.arange(2)).measurements
    config = {"width_bins": [1.0], "num_neighbours": [4]}
    for gain_weight in (0.0, 0.01):
        model = Wknn({**config, "gain_weight": [gain_weight]}, seed=0)
        model.fit(train, data.validation)

        gap_m = np.linalg.norm(model.predict(blind).position_m - expected_m, axis=1)

        is_middle = num_blind > 0 or gain_weight == 0  # else the weakest links are the nearest
        assert (gap_m[:2] < 1e-9).all() == is_middle
        assert gap_m[2:].min() > 1e-3


@pytest.mark.parametrize(
    ("counts", "limit", "expected"),
    [
        ((50, 40), 100, (50, 40)),
        ((50, 40), 40, (20, 20)),
        ((900, 10, 300), 100, (45, 10, 45)),
        ((900, 10, 30), 100, (60, 10, 30)),
    ],
)
def test_gaussian_process_keeps_small_sites_whole_when_links_are_drawn(
    counts: tuple[int, ...], limit: int, expected: tuple[int, ...]
) -> None:
    site_index = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))

    rows = drawn_rows(site_index, limit, np.random.default_rng(1))

    assert len(np.unique(rows)) == len(rows)
    assert tuple(np.bincount(site_index[rows])) == expected


def test_wknn_prior_of_other_links_is_that_of_wknn(data: TaskData) -> None:
    model = prepared("wknn_residual", data, data.train)
    model.scaler = SimpleNamespace(standardize=lambda position_m: position_m)
    wknn = Wknn(dict(get_model("wknn").info.config), seed=0)
    wknn.fit(data.train, data.validation)

    expected_m = wknn.predict(data.test).position_m

    np.testing.assert_array_equal(model.notes(data.test, None), expected_m)


@pytest.mark.parametrize("name", ["wknn_residual", "amdnloc", "amdnloc_matched"])
def test_model_predicts_alike_when_it_was_saved_and_loaded(
    name: str, data: TaskData, tmp_path: Path
) -> None:
    folder = get_model(name)
    config = copy.deepcopy(folder.info.config)
    config["training"] |= {"epochs": 1, "steps": None}
    fitted = folder.with_config(config).create(0)
    fitted.fit(data.train, data.validation)
    fitted.save(tmp_path)

    loaded = folder.with_config(config).create(0)
    loaded.load(tmp_path)

    expected_m = fitted.predict(data.test).position_m
    np.testing.assert_array_equal(loaded.predict(data.test).position_m, expected_m)


def test_features_of_an_image_are_the_same_in_every_company_when_trained() -> None:
    batch, _ = batch_for("resnet_both")
    assert batch.image is not None
    encoder = ImageEncoder(8, channels=(0, 1, 2), widths=(4, 8)).train()

    together, alone = encoder(batch.image), encoder(batch.image[:1])

    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-2)  # bfloat16
    assert (together[1:] - alone).abs().amax() > 0.1


def test_feature_of_an_angle_is_the_same_after_a_whole_turn() -> None:
    encoder = AngleEncoder(8)

    ends = encoder(torch.tensor([[-1.0, 1.0, 0.0]]))[0]

    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-5)
    assert (ends[0] - ends[2]).abs().amax() > 0.05


def test_feature_of_a_number_hardly_moves_when_the_number_hardly_does() -> None:
    torch.manual_seed(0)
    encoder = ScalarEncoder(64)
    value = torch.linspace(-2, 2, 401)[None]

    feature = encoder(value)[0]

    step = feature.diff(dim=0).norm(dim=1)
    assert step.amax() < 0.02 * (feature[0] - feature[-1]).norm()
