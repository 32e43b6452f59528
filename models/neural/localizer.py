"""The localizer around every network: configuration, data, training, prediction, weights."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, create_model
from torch import Tensor, nn

from raymark.benchmark import Labelled, Localizer, Measurements, Prediction
from raymark.benchmark.localizer import mean_error_m
from raymark.config import Strict, config_hash, validate
from raymark.models.neural.inputs import BatchSource, Modality, Scaler
from raymark.models.neural.recipe import Recipe, Trained
from raymark.models.neural.training import Trainer

WEIGHTS_NAME, TRAINING_NAME = "weights.pt", "training.pt"

_PREDICTION_BATCH = 64

N = TypeVar("N", bound=nn.Module)


class NeuralConfig(Strict):
    """The `config` of a neural model's `model.yaml`."""

    window_size: int = Field(default=1, gt=0, description="Vertices of a trajectory")
    modalities: tuple[Modality, ...] = Field(min_length=1)
    training: Recipe
    network: dict[str, Any] = Field(default_factory=dict, description="Sizes and choices")


class NeuralLocalizer(Localizer):
    """A localizer whose model is a torch network; a subclass makes the network."""

    def __init__(self, config: dict[str, Any], *, seed: int) -> None:
        """Check the configuration.

        Raises:
            ConfigError: If a key or value is wrong.
        """
        super().__init__(config, seed=seed)
        self.settings = validate(NeuralConfig, config, where="config of the model")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.modalities = self._modalities_with(ue_angle=False)

    @abstractmethod
    def make_network(self) -> nn.Module:
        """Return a fresh network: from a `Batch` to a `NetworkOutput`."""

    def _modalities_with(self, *, ue_angle: bool) -> tuple[Modality, ...]:
        """Return the modalities of the configuration that a track hands out."""
        return tuple(x for x in self.settings.modalities if x != "ue_angle" or ue_angle)

    @property
    def has_image(self) -> bool:
        """Whether the network looks at the CSI itself."""
        return "image" in self.settings.modalities

    def network_of(self, kind: Callable[..., N], **choices: Any) -> N:
        """Return a network made with the arguments of `config: network:`.

        Args:
            kind: Makes the network; its signature says which keys and values are right.
            choices: Taken in place of `config: network:`.

        Raises:
            ConfigError: If a key or value is wrong.
        """
        fields: dict[str, Any] = {
            name: (
                argument.annotation,
                ... if argument.default is argument.empty else argument.default,
            )
            for name, argument in inspect.signature(kind).parameters.items()
        }
        settings = create_model("network", __base__=Strict, **fields)
        chosen = validate(settings, choices or self.settings.network, where="config: network")
        return kind(**dict(chosen))

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Train; the epoch that is best on validation data is kept."""
        torch.manual_seed(self.seed)
        self.modalities = self._modalities_with(
            ue_angle=train.measurements.ue_azimuth_rad is not None
        )
        self.scaler = Scaler.fit(train, has_image=self.has_image)
        self.network = self.make_network().to(self.device)
        source = self._source(train.measurements, train)
        if train.channels is None:
            source.keep_images()
        held_out = self._source(validation.measurements)
        held_out.keep_images()
        target = self.scaler.standardize(torch.from_numpy(train.position_m)).float().to(self.device)
        trainer = Trainer(
            self.network,
            self.settings.training,
            seed=self.seed,
            resume_file=self.resume_folder / TRAINING_NAME if self.resume_folder else None,
            key=config_hash([type(self).__module__, self.config, self.seed, asdict(self.scaler)]),
            on_progress=self.on_progress,
        )
        trained = trainer.run(
            source,
            target,
            lambda network: mean_error_m(self._positions_m(network, held_out), validation),
        )
        self._report(trained)
        self.diagnostics |= self.diagnose(source, target, held_out)

    def diagnose(
        self, train: BatchSource, target: Float[Tensor, "link 2"], held_out: BatchSource
    ) -> dict[str, Any]:
        """Return plain numbers about the fitted network; a subclass may have some.

        Args:
            train: Training links.
            target: Their positions, in units of the position scale.
            held_out: Validation links.
        """
        del train, target, held_out
        return {}

    def predict(self, test: Measurements) -> Prediction:
        """Locate links, window by window."""
        return Prediction(position_m=self._positions_m(self.network, self._source(test)))

    def save(self, folder: Path) -> None:
        """Write the weights and the scaler."""
        state = {"network": self.network.state_dict(), "scaler": asdict(self.scaler)}
        torch.save(state, folder / WEIGHTS_NAME)

    def load(self, folder: Path) -> None:
        """Read the weights and the scaler."""
        state = torch.load(folder / WEIGHTS_NAME, map_location=self.device, weights_only=True)
        self.scaler = Scaler(**state["scaler"])
        self.network = self.make_network().to(self.device)
        self.network.load_state_dict(state["network"])

    def _source(self, links: Measurements, training: Labelled | None = None) -> BatchSource:
        """Return what makes the batches of links; of training links the labels are given, too."""
        return BatchSource(
            links,
            self.scaler,
            window_size=self.settings.window_size,
            has_image=self.has_image,
            channels=training.channels if training is not None else None,
            device=self.device,
        )

    def batches(self, source: BatchSource) -> list[Int[np.ndarray, "b s"]]:
        """Return the windows of a source in pieces that fit into memory."""
        return np.array_split(source.rows, max(1, len(source.rows) // _PREDICTION_BATCH))

    @torch.no_grad()
    def _positions_m(self, network: nn.Module, source: BatchSource) -> Float[np.ndarray, "link 2"]:
        """Return the position of every link of a source [m]."""
        network.eval()
        position_m = np.zeros((len(source), 2))
        for rows in self.batches(source):
            scaled = network(source.batch(rows, None)).position.double()
            position_m[rows[rows >= 0]] = self.scaler.restore(scaled).cpu().numpy()[rows >= 0]
        return position_m

    def _report(self, trained: Trained) -> None:
        self.num_parameters = sum(p.numel() for p in self.network.parameters())
        self.history = trained.history
        self.choices = {
            "best_epoch": trained.best_epoch,
            "epochs": len(trained.history["train_loss"]),
            "validation_error_m": trained.best_error_m,
        }
        self.diagnostics = {"loading_share": trained.loading_s / max(trained.total_s, 1e-9)}
