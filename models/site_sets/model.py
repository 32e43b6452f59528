"""DeepSets over the union of the paths that all sites estimated of a UE."""

import dataclasses

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from raymark.benchmark import Labelled, Measurements, Prediction, UeLinks
from raymark.benchmark.site_fusion import prior_of
from raymark.errors import ConfigError
from raymark.models.neural.anchoring import gate_of
from raymark.models.neural.encoders import DeepSetsEncoder
from raymark.models.neural.inputs import Batch
from raymark.models.neural.localizer import NeuralLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.path_sets import IS_FIRST
from raymark.models.site_sets.inputs import MOST_SITES, NUM_SITE_FEATURES, UeSource

_NUM_LIKE_ALL = 4.0
"""As many UEs as all count beside those that so many sites hear."""


class _Network(nn.Module):
    """A set of paths to a place: the sites' anchors weighed against a position of its own.

    position = sum_s w_s anchor_s + (1 - sum_s w_s) MLP(set), w_s = g_s / max(1, sum_s g_s), where
    g_s is the gate of the set and of the first path of site s.
    """

    prior_m: Tensor
    spread_m2: Tensor

    def __init__(self, *, width: int, num_layers: int) -> None:
        super().__init__()
        self.encoder = DeepSetsEncoder(width, num_features=NUM_SITE_FEATURES, num_layers=num_layers)
        self.regression = nn.Sequential(
            nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 2)
        )
        self.gate = nn.Sequential(
            nn.Linear(width + NUM_SITE_FEATURES, width), nn.GELU(), nn.Linear(width, 1)
        )
        self.register_buffer("prior_m", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("spread_m2", torch.zeros(MOST_SITES + 1, 2, 2, dtype=torch.float64))

    def forward(self, batch: Batch) -> NetworkOutput:
        mask = batch.path_mask & batch.mask.unsqueeze(-1)
        whole = self.encoder(
            batch.paths.flatten(1, 2).unsqueeze(1), mask.flatten(1, 2).unsqueeze(1)
        )
        first = (
            batch.paths * (batch.paths[..., IS_FIRST : IS_FIRST + 1] * mask.unsqueeze(-1))
        ).sum(2)
        of_site = torch.cat([whole.expand(-1, first.shape[1], -1), first], dim=-1)
        gate = gate_of(self.gate(of_site)) * mask.any(-1, keepdim=True)
        # With a gradient, weights that sum to 1 would do so whatever the gates become.
        weight = gate / gate.sum(dim=1, keepdim=True).clamp(min=1.0).detach()
        anchor = (weight * batch.anchor).sum(dim=1, keepdim=True)
        own = (1 - weight.sum(dim=1, keepdim=True)) * self.regression(whole)
        return NetworkOutput(position=(anchor + own).expand(-1, first.shape[1], -1))


class Model(NeuralLocalizer):
    """DeepSets over the paths of all sites, each with its site's pose; one place for each UE."""

    network: _Network

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(_Network)

    def fit(self, train: Labelled, validation: Labelled) -> None:
        """Train in the common frame; validation tells how wrong it is by the number of sites.

        Raises:
            ConfigError: If there are more sites than it can tell apart.
        """
        num_sites = len(train.measurements.sites)
        if num_sites > MOST_SITES:
            raise ConfigError(
                f"site_sets tells up to {MOST_SITES} sites apart, got {num_sites}; choose a task "
                "of fewer sites, or site_trees"
            )
        prior = prior_of(train)
        known, chosen = _in_common_frame(train), _in_common_frame(validation)
        super().fit(known, chosen)
        self.network.prior_m.copy_(torch.from_numpy(prior.mean_m))
        ues = UeLinks.of(validation.measurements)
        found_m = self._positions_m(self.network, self._source(validation.measurements))
        offset_m = (found_m - chosen.position_m)[ues.first_row]
        spread_m2 = _spreads(offset_m, ues.is_heard.sum(axis=1))
        spread_m2[0] = prior.covariance_m2
        self.network.spread_m2.copy_(torch.from_numpy(spread_m2))

    def predict(self, test: Measurements) -> Prediction:
        """Return the place of each link's UE; of one that nobody hears, the prior."""
        ues = UeLinks.of(test)
        found_m = self._positions_m(self.network, self._source(test))[ues.first_row]
        num_heard = ues.is_heard.sum(axis=1)
        prior_m, spread_m2 = (
            tensor.cpu().numpy() for tensor in (self.network.prior_m, self.network.spread_m2)
        )
        found_m = np.where(num_heard[:, None] > 0, found_m, prior_m)
        return Prediction(
            position_m=ues.positions_of_links(found_m),
            covariance_m2=ues.covariances_of_links(spread_m2[num_heard]),
        )

    def _source(self, links: Measurements, training: Labelled | None = None) -> UeSource:
        """Return what makes the batches of UEs, whose paths alone are looked at."""
        del training
        return UeSource(links, self.scaler, window_size=1, has_image=False, device=self.device)


def _in_common_frame(links: Labelled) -> Labelled:
    ues = UeLinks.of(links.measurements)
    return dataclasses.replace(links, position_m=ues.common_positions(links.position_m))


def _spreads(
    offset_m: Float[np.ndarray, "ue 2"], num_heard: np.ndarray
) -> Float[np.ndarray, "number 2 2"]:
    """Return the mean squared offset of UEs by how many sites hear them, mixed with that of all."""
    squared_m2 = offset_m[:, :, None] * offset_m[:, None, :]
    is_heard = num_heard > 0
    alike_m2 = squared_m2[is_heard].mean(axis=0) if is_heard.any() else np.zeros((2, 2))
    # Two errors on one line, or none at all, are no reason to be sure.
    alike_m2 = alike_m2 + max(1e-2 * np.trace(alike_m2), 1e-6) * np.eye(2)
    found = []
    for number in range(MOST_SITES + 1):
        rows = num_heard == number
        total_m2 = squared_m2[rows].sum(axis=0) + _NUM_LIKE_ALL * alike_m2
        found.append(total_m2 / (rows.sum() + _NUM_LIKE_ALL))
    return np.stack(found)
