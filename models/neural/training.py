"""The one training loop of the models on torch: deterministic on a CPU, resumable."""

import dataclasses
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from raymark.errors import ConfigError, ScoringError, sentence_of
from raymark.models.neural.inputs import Augmentation, Batch, BatchSource, order_windows
from raymark.models.neural.objective import trajectory_loss
from raymark.models.neural.recipe import Recipe, Trained
from raymark.models.neural.soft_moe import routing_parameters
from raymark.seeding import child_generator
from raymark.storage import writing

Progress = Callable[[int, int, str], None]
"""Called with the epochs done, all epochs, and how training stands."""


_STATEFUL = ("network", "average", "optimizer", "schedule")


class Trainer:
    """Fits one network; what it draws depends on the seed and the epoch alone.

    It keeps averaged weights, so a network should not normalise batches: averaged running
    statistics are those of no network.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        seed: int,
        resume_file: Path | None = None,
        key: str = "",
        on_progress: Progress | None = None,
    ) -> None:
        """Make optimizer and averaged weights.

        Args:
            network: What is trained, on its device.
            recipe: How.
            seed: Of every draw.
            resume_file: Where the state is kept after each epoch, and gone on from if it is there.
            key: Names what is trained on what; a kept state of another key is refused.
            on_progress: Told after each epoch.
        """
        self.network, self.recipe, self.seed, self.key = network, recipe, seed, key
        self.device = next(network.parameters()).device
        self.resume_file, self.on_progress = resume_file, on_progress
        self.optimizer = torch.optim.AdamW(
            _groups(network, recipe.weight_decay), lr=recipe.learning_rate, fused=True
        )
        decay = get_ema_multi_avg_fn(recipe.ema_decay)
        self.average = AveragedModel(network, multi_avg_fn=decay, use_buffers=True)
        self.trained, self.next_epoch = Trained(), 0
        self.best: dict[str, Tensor] = {}

    def run(
        self,
        train: BatchSource,
        target: Float[Tensor, "link 2"],
        validation_error_m: Callable[[nn.Module], float],
    ) -> Trained:
        """Train until the last epoch; keep the weights of the best one.

        Args:
            train: Makes the batches of the training links.
            target: Positions of the training links, in units of the position scale.
            validation_error_m: Returns the mean error of a network on validation links [m].

        Raises:
            ConfigError: If the kept state is that of another training.
            ScoringError: If no epoch has a finite validation error.
        """
        self.num_epochs = self.recipe.num_epochs(len(train.rows))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, learning_rate(self.num_epochs, self.recipe.warm_up_share)
        )
        self._resume()
        for epoch in range(self.next_epoch, self.num_epochs):
            loss = self._epoch(epoch, train, target)
            error_m = validation_error_m(self.average.module.eval())
            self._note(epoch, loss, error_m)
        if not self.best:
            raise ScoringError("training diverged: no epoch has a finite error on validation data")
        self._tell_end()
        self.network.load_state_dict(self.best)
        self.network.eval()
        return self.trained

    def _epoch(self, epoch: int, train: BatchSource, target: Float[Tensor, "link 2"]) -> float:
        torch.manual_seed(self._draw("dropout", epoch))
        self.network.train()
        penalty_share = float(epoch >= self.recipe.warm_up_share * self.num_epochs)
        losses, start = [], time.perf_counter()
        for batch, goal in self._batches(epoch, train, target):
            loss = trajectory_loss(self.network(batch), goal, batch.mask, penalty_share)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            self.average.update_parameters(self.network)
            losses.append(loss.detach())
        self.schedule.step()
        mean_loss = float(torch.stack(losses).mean())
        self.trained.total_s += time.perf_counter() - start
        return mean_loss

    def _batches(
        self, epoch: int, train: BatchSource, target: Float[Tensor, "link 2"]
    ) -> Iterator[tuple[Batch, Float[Tensor, "b s 2"]]]:
        rng = child_generator(self.seed, "windows", epoch)
        noise = torch.Generator(self.device).manual_seed(self._draw("noise", epoch))
        recipe = self.recipe
        augmentation = Augmentation(path_dropout=recipe.path_dropout, noise=noise)
        windows = order_windows(train.rows, rng, vertex_dropout=recipe.vertex_dropout)
        for rows in np.array_split(windows, recipe.num_batches(len(windows))):
            start = time.perf_counter()
            batch = train.batch(rows, augmentation)
            goal = target[torch.from_numpy(np.maximum(rows, 0)).to(self.device)]
            self.trained.loading_s += time.perf_counter() - start
            yield batch, goal

    def _note(self, epoch: int, loss: float, error_m: float) -> None:
        trained = self.trained
        trained.history["train_loss"].append(loss)
        trained.history["validation_error_m"].append(error_m)
        if error_m < trained.best_error_m:
            trained.best_epoch, trained.best_error_m = epoch, error_m
            weights = self.average.module.state_dict()
            self.best = {name: value.clone() for name, value in weights.items()}
        if self.resume_file is not None:
            self._keep(self.resume_file, epoch)
        if self.on_progress is not None:
            text = f"validation {error_m:.2f} m, best {trained.best_error_m:.2f} m"
            self.on_progress(epoch + 1, self.num_epochs, text)

    def _tell_end(self) -> None:
        """Say in words which epoch is kept."""
        if self.on_progress is not None:
            best, error_m = self.trained.best_epoch + 1, self.trained.best_error_m
            text = f"best epoch {best} of {self.num_epochs}, validation {error_m:.2f} m"
            self.on_progress(self.num_epochs, self.num_epochs, text)

    def _draw(self, purpose: str, epoch: int) -> int:
        return int(child_generator(self.seed, purpose, epoch).integers(2**62))

    def _keep(self, path: Path, epoch: int) -> None:
        state = {part: getattr(self, part).state_dict() for part in _STATEFUL}
        state |= {"key": self.key, "next_epoch": epoch + 1, "best": self.best}
        state["trained"] = dataclasses.asdict(self.trained)
        with writing(path) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        """Go on from a kept state.

        Raises:
            ConfigError: If it is the state of something else, or cannot be read.
        """
        if self.resume_file is None or not self.resume_file.is_file():
            return
        try:
            state = torch.load(self.resume_file, map_location=self.device, weights_only=True)
        except (OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            raise ConfigError(
                f"{self.resume_file} cannot be read: {sentence_of(error)}; delete it, and the "
                "training begins anew"
            ) from error
        if state["key"] != self.key:
            raise ConfigError(
                f"{self.resume_file} is the unfinished training of another model, task, seed or "
                "configuration; choose another folder, or delete it"
            )
        for part in _STATEFUL:
            getattr(self, part).load_state_dict(state[part])
        self.next_epoch, self.best = state["next_epoch"], state["best"]
        self.trained = Trained(**state["trained"])


def learning_rate(num_epochs: int, warm_up: float) -> Callable[[int], float]:
    """Return the share of the learning rate by epoch: a linear warm-up, then half a cosine.

    Args:
        num_epochs: Of the training.
        warm_up: Share of them in which the rate grows.
    """

    def share(epoch: int) -> float:
        done = epoch / num_epochs
        if done < warm_up:
            return (epoch + 1) / (1 + warm_up * num_epochs)
        return float(0.5 + 0.5 * np.cos(np.pi * (done - warm_up) / (1 - warm_up)))

    return share


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters: those that route, and offsets and gains, are not decayed."""
    routing = {id(parameter) for parameter in routing_parameters(network)}
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in network.parameters():
        is_free = parameter.ndim < 2 or id(parameter) in routing
        (free if is_free else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
