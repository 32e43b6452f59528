"""The training loop on a tiny network and made-up links."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from raymark.benchmark import Measurements
from raymark.benchmark.measurements import SiteContext
from raymark.errors import ConfigError
from raymark.models.neural.attention import AttentionPool
from raymark.models.neural.inputs import Batch, BatchSource, Scaler
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.path_sets import NUM_PATH_FEATURES
from raymark.models.neural.recipe import Recipe, Trained
from raymark.models.neural.soft_moe import SlotRouter, SoftMoe
from raymark.models.neural.training import Trainer
from raymark.radio import BAND_PRESETS, Panel

NUM_LINKS, WINDOW = 36, 3
EPOCHS = 6

CPU = torch.device("cpu")

SCALER = Scaler(
    position_mean_m=(0.0, 0.0),
    position_scale_m=50.0,
    profile_db=(0.0, 1.0),
    distance_m=(100.0, 50.0),
    gain_db=(-80.0, 10.0),
    image_floor=1.0,
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of a run; small networks lose by more."""
    with threadpool_limits(1):
        yield


def made_up_source() -> BatchSource:
    """Links in windows of three, with up to four paths."""
    rng = np.random.default_rng(0)
    shape = (NUM_LINKS, 4)
    zeros = np.zeros(NUM_LINKS)
    links = Measurements(
        sites=(SiteContext(name="a/bs0", panel=Panel(), height_m=8.5),),
        bands=(BAND_PRESETS["6GHz"],),
        site_index=zeros.astype("i8"),
        band_index=zeros.astype("i8"),
        window=np.arange(NUM_LINKS) // WINDOW,
        window_step=np.arange(NUM_LINKS) % WINDOW,
        path_range_m=rng.uniform(10, 200, shape),
        path_azimuth_rad=rng.uniform(-1, 1, shape),
        path_zenith_rad=rng.uniform(1.3, 1.8, shape),
        path_power_db=rng.uniform(-100, -80, shape),
        path_mask=np.arange(4) < rng.integers(1, 5, NUM_LINKS)[:, None],
        aoa_profile_db=rng.normal(size=(NUM_LINKS, 64)),
        distance_m=rng.uniform(10, 200, NUM_LINKS),
        gain_db=rng.uniform(-100, -80, NUM_LINKS),
        has_signal=zeros == 0,
        delay_spread_s=zeros,
        azimuth_spread_rad=zeros,
    )
    return BatchSource(links, SCALER, window_size=WINDOW, has_image=False, device=CPU)


SOURCE = made_up_source()
TARGET = torch.randn(NUM_LINKS, 2, generator=torch.Generator().manual_seed(3))


class TinyNetwork(nn.Module):
    """Pooled paths, a routed mixture, dropout and a normalisation with running means."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.Linear(NUM_PATH_FEATURES, 8)
        self.pool = AttentionPool(8, num_heads=2)
        self.norm = nn.BatchNorm1d(8)
        self.dropout = nn.Dropout(0.2)
        self.mixture = SoftMoe(8, num_experts=2, slots_per_expert=1, hidden=8)
        self.position = nn.Linear(8, 2)

    def forward(self, batch: Batch) -> NetworkOutput:
        shape = batch.mask.shape
        pooled = self.pool(self.embed(batch.paths).flatten(0, 1), batch.path_mask.flatten(0, 1))
        tokens = self.dropout(self.norm(pooled)).unflatten(0, shape)
        mixed = self.mixture(tokens, batch.mask)
        return NetworkOutput(
            position=self.position(tokens + mixed.tokens),
            centroid=self.position(mixed.tokens.mean(dim=1)),
            penalty=mixed.tokens.square().mean(),
        )


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"epochs": EPOCHS, "batch_size": 5, "learning_rate": 1e-2, **changes})


@torch.no_grad()
def error_of(network: nn.Module) -> float:
    """The mean error on the training links: anything that depends on the weights."""
    network.eval()
    output = network(SOURCE.batch(SOURCE.rows, None))
    return (output.position - TARGET[torch.from_numpy(SOURCE.rows)]).norm(dim=-1).mean().item()


def trainer_of(*, initial: int = 0, seed: int = 0, **options: Any) -> Trainer:
    return Trainer(TinyNetwork(initial), options.pop("recipe", recipe()), seed=seed, **options)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def scripted(errors: list[float]) -> tuple[Callable[[nn.Module], float], list[dict[str, Tensor]]]:
    """Return a validation that answers the errors, and the weights that it was shown."""
    seen: list[dict[str, Tensor]] = []

    def validation_error_m(network: nn.Module) -> float:
        assert not network.training
        seen.append(weights_of(network))
        return errors[len(seen) - 1]

    return validation_error_m, seen


def test_weights_are_the_same_when_the_seed_is() -> None:
    first, again = trainer_of(), trainer_of()
    trained = first.run(SOURCE, TARGET, error_of)
    torch.rand(17)
    again_trained = again.run(SOURCE, TARGET, error_of)

    assert_same(weights_of(first.network), weights_of(again.network))
    assert trained.history == again_trained.history


def test_weights_differ_when_the_seed_does() -> None:
    first, other = trainer_of(seed=0), trainer_of(seed=1)
    for trainer in (first, other):
        trainer.run(SOURCE, TARGET, error_of)

    assert not torch.equal(first.network.position.weight, other.network.position.weight)


def test_network_learns_when_it_is_trained() -> None:
    trainer = trainer_of(recipe=recipe(epochs=40, ema_decay=0.9))
    before = error_of(trainer.network)

    trained = trainer.run(SOURCE, TARGET, error_of)

    assert trained.best_error_m < 0.9 * before
    assert trained.history["train_loss"][-1] < trained.history["train_loss"][0]
    assert error_of(trainer.network) == trained.best_error_m


def test_history_has_one_number_an_epoch() -> None:
    told: list[tuple[int, int, str]] = []
    trained = trainer_of(on_progress=lambda *args: told.append(args)).run(SOURCE, TARGET, error_of)

    assert {name: len(curve) for name, curve in trained.history.items()} == {
        "train_loss": EPOCHS,
        "validation_error_m": EPOCHS,
    }
    assert all(np.isfinite(curve).all() for curve in trained.history.values())
    epochs = [(i + 1, EPOCHS) for i in range(EPOCHS)]
    assert [(done, total) for done, total, _ in told] == [*epochs, (EPOCHS, EPOCHS)]
    assert trained.best_error_m == min(trained.history["validation_error_m"])
    assert 0 < trained.loading_s < trained.total_s


def test_best_weights_are_kept_when_later_ones_are_worse() -> None:
    errors = [5.0, 4.0, 2.0, 3.0, 2.0, 6.0]
    validation, seen = scripted(errors)
    trainer = trainer_of()

    trained = trainer.run(SOURCE, TARGET, validation)

    # Of two alike the first is kept.
    assert (trained.best_epoch, trained.best_error_m) == (2, 2.0)
    assert trained.history["validation_error_m"] == errors
    assert_same(weights_of(trainer.network), seen[2])
    assert not torch.equal(seen[2]["position.weight"], seen[5]["position.weight"])


def test_training_goes_on_when_its_first_epoch_was_the_best() -> None:
    validation, seen = scripted([1.0, *np.linspace(9, 5, 39).tolist()])

    trained = trainer_of(recipe=recipe(epochs=40)).run(SOURCE, TARGET, validation)

    assert (len(seen), trained.best_epoch) == (40, 0)


def test_end_of_training_tells_which_epoch_is_kept() -> None:
    told: list[tuple[int, int, str]] = []
    validation, _ = scripted([5.0, 6.0, 4.0, 7.0, 8.0, 9.0])
    trainer = trainer_of(on_progress=lambda *args: told.append(args))

    trainer.run(SOURCE, TARGET, validation)

    assert told[-1] == (EPOCHS, EPOCHS, f"best epoch 3 of {EPOCHS}, validation 4.00 m")


class StoppedError(Exception):
    """Stands for a process that ends."""


def run_until(stop_after: int, file: Path, **options: Any) -> None:
    def stop(done: int, _total: int, _text: str) -> None:
        if done == stop_after:
            raise StoppedError

    trainer = trainer_of(resume_file=file, key="a", on_progress=stop, **options)
    with pytest.raises(StoppedError):
        trainer.run(SOURCE, TARGET, error_of)


@pytest.mark.parametrize("stop_after", [1, 3, EPOCHS])
def test_weights_are_those_of_one_run_when_training_is_resumed(
    tmp_path: Path, stop_after: int
) -> None:
    whole = trainer_of()
    expected = whole.run(SOURCE, TARGET, error_of)
    run_until(stop_after, tmp_path / "training.pt")
    # The new process starts from other weights, which the kept state replaces.
    resumed = trainer_of(initial=5, resume_file=tmp_path / "training.pt", key="a")

    trained = resumed.run(SOURCE, TARGET, error_of)

    assert_same(weights_of(resumed.network), weights_of(whole.network))
    assert trained.history == expected.history
    assert trained.best_epoch == expected.best_epoch


def test_weights_are_those_of_one_run_when_training_is_resumed_twice(tmp_path: Path) -> None:
    whole = trainer_of()
    whole.run(SOURCE, TARGET, error_of)
    for stop_after in (2, 4):
        run_until(stop_after, tmp_path / "training.pt")
    resumed = trainer_of(resume_file=tmp_path / "training.pt", key="a")
    resumed.run(SOURCE, TARGET, error_of)

    assert_same(weights_of(resumed.network), weights_of(whole.network))


def test_weights_are_those_of_one_run_when_an_epoch_was_broken_off(tmp_path: Path) -> None:
    whole = trainer_of()
    whole.run(SOURCE, TARGET, error_of)
    calls: list[int] = []

    def breaks(network: nn.Module) -> float:
        calls.append(0)
        if len(calls) == 3:
            raise StoppedError
        return error_of(network)

    broken = trainer_of(resume_file=tmp_path / "training.pt", key="a")
    with pytest.raises(StoppedError):
        broken.run(SOURCE, TARGET, breaks)
    resumed = trainer_of(resume_file=tmp_path / "training.pt", key="a")
    resumed.run(SOURCE, TARGET, error_of)

    assert_same(weights_of(resumed.network), weights_of(whole.network))


def test_no_epoch_is_added_when_training_had_ended(tmp_path: Path) -> None:
    options = {"resume_file": tmp_path / "training.pt", "key": "a"}
    first = trainer_of(**options)
    first_trained = first.run(SOURCE, TARGET, scripted([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])[0])

    again = trainer_of(**options)
    trained = again.run(SOURCE, TARGET, scripted([])[0])

    assert trained.history == first_trained.history
    assert_same(weights_of(again.network), weights_of(first.network))


def test_kept_state_is_refused_when_it_is_of_another_key(tmp_path: Path) -> None:
    run_until(1, tmp_path / "training.pt")
    other = trainer_of(resume_file=tmp_path / "training.pt", key="b")

    with pytest.raises(ConfigError, match=r"training\.pt is the unfinished training of another"):
        other.run(SOURCE, TARGET, error_of)


def test_nothing_but_the_state_is_left_when_training_is_kept(tmp_path: Path) -> None:
    trainer_of(resume_file=tmp_path / "training.pt", key="a").run(SOURCE, TARGET, error_of)

    assert [path.name for path in tmp_path.iterdir()] == ["training.pt"]


def rates_of(chosen: Recipe) -> list[float]:
    rates: list[float] = []
    trainer = trainer_of(recipe=chosen)
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"])
    )
    trainer.run(SOURCE, TARGET, error_of)
    return rates[:: chosen.num_batches(NUM_LINKS // WINDOW)]


def test_learning_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    rates = rates_of(recipe(epochs=10, warm_up_share=0.3, learning_rate=0.02))

    rising = [0.25, 0.5, 0.75]
    falling = [0.5 + 0.5 * np.cos(np.pi * i / 7) for i in range(7)]
    assert rates == pytest.approx([0.02 * share for share in [*rising, *falling]], abs=1e-12)


def test_averaged_weights_are_the_exponential_mean_of_those_after_each_step() -> None:
    decay = 0.8
    chosen = recipe(epochs=2, ema_decay=decay, batch_size=4)
    trainer = trainer_of(recipe=chosen)
    after_step: list[Tensor] = []
    trainer.optimizer.register_step_post_hook(
        lambda *_: after_step.append(trainer.network.position.weight.detach().clone())
    )
    validation, seen = scripted([2.0, 1.0])

    trainer.run(SOURCE, TARGET, validation)

    mean = after_step[0]
    for weights in after_step[1:]:
        mean = decay * mean + (1 - decay) * weights
    assert len(after_step) == 6
    torch.testing.assert_close(seen[1]["position.weight"], mean, rtol=1e-5, atol=1e-6)


def test_routers_offsets_and_gains_are_not_decayed() -> None:
    trainer = trainer_of(recipe=recipe(weight_decay=0.3))
    names = {id(p): name for name, p in trainer.network.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(p)] for p in group["params"]}
        for group in trainer.optimizer.param_groups
    }

    assert groups[0.3] | groups[0.0] == set(names.values())
    assert not groups[0.3] & groups[0.0]
    assert {"embed.weight", "position.weight", "mixture.film.linear.weight"} <= groups[0.3]
    routers = {"mixture.router.phi", "mixture.router.scale"}
    assert routers | {"embed.bias", "norm.weight", "norm.bias"} <= groups[0.0]
    assert isinstance(trainer.network.mixture.router, SlotRouter)


def test_penalty_counts_only_after_the_warm_up() -> None:
    """Its gradient of a million would fill the clipped step with nothing else."""

    class Penalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.there = nn.Parameter(torch.zeros(1, 2))
            self.only_penalty = nn.Parameter(torch.zeros(1, 1))

        def forward(self, batch: Batch) -> NetworkOutput:
            position = self.there.expand(*batch.mask.shape, 2)
            return NetworkOutput(position=position, penalty=1e6 * self.only_penalty.sum())

    network = Penalised()
    chosen = recipe(epochs=4, warm_up_share=0.5, ema_decay=0.0)
    validation, seen = scripted([4.0, 3.0, 2.0, 1.0])

    Trainer(network, chosen, seed=0).run(SOURCE, TARGET, validation)

    moved = [bool((weights["only_penalty"] != 0).any()) for weights in seen]
    assert moved == [False, False, True, True]


def test_trained_is_empty_at_first() -> None:
    first, second = Trained(), Trained()
    first.history["train_loss"].append(1.0)

    assert second.history == {"train_loss": [], "validation_error_m": []}
    assert copy.deepcopy(second) == second


def test_training_takes_the_steps_that_are_asked_for_when_steps_are_given() -> None:
    chosen = recipe(epochs=None, steps=7, batch_size=5)
    num_steps = 0

    def count(*_: object) -> None:
        nonlocal num_steps
        num_steps += 1

    trainer = trainer_of(recipe=chosen)
    trainer.optimizer.register_step_post_hook(count)
    trained = trainer.run(SOURCE, TARGET, error_of)

    # 12 windows are two batches of about five: four epochs hold seven steps, and one more.
    assert num_steps == 8
    assert len(trained.history["train_loss"]) == 4


@pytest.mark.parametrize("length", [{"epochs": 3, "steps": 9}, {"epochs": None, "steps": None}])
def test_recipe_is_refused_when_its_length_is_given_twice_or_never(length: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its epochs or as its steps; give one of them"):
        recipe(**length)
