"""AMDNLoc: regions found by clustering, a linear regression for each, and a gate between them."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float
from sklearn.cluster import KMeans
from torch import Tensor, nn

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.features import first_path, virtual_points
from raymark.models.neural.encoders import ImageEncoder
from raymark.models.neural.link_notes import NotedBatch, NotedLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.single_link import images_of

_UNKNOWN = -1
"""Region of a link that is not learnt from."""


class Amdnloc(nn.Module):
    """position = sum over regions of P(region) (centroid + linear function of the features)."""

    centroid: Tensor

    def __init__(
        self,
        *,
        width: int,
        num_regions: int,
        image_widths: tuple[int, ...],
        region_weight: float,
    ) -> None:
        """Create the parameters; the centroids are 0 until they are set.

        Args:
            width: Features of a link.
            num_regions: Regions, each with a branch.
            image_widths: Channels of the ResNet's stages.
            region_weight: Of the classification among the losses.
        """
        super().__init__()
        self.region_weight = region_weight
        self.encoder = ImageEncoder(width, channels=(0, 1, 2), widths=image_widths)
        self.gate = nn.Linear(width, num_regions)
        self.branches = nn.Linear(width, 2 * num_regions)
        self.register_buffer("centroid", torch.zeros(num_regions, 2))

    def forward(self, batch: NotedBatch) -> NetworkOutput:
        """Locate every link; the notes are the regions of training links."""
        features = torch.relu(self.encoder(images_of(batch)))
        logits = self.gate(features)
        offset = self.branches(features).unflatten(-1, (-1, 2))
        position = (logits.softmax(-1).unsqueeze(-1) * (self.centroid + offset)).sum(-2)
        region = batch.notes[..., 0].long()
        return NetworkOutput(
            position=position,
            penalty=self.region_weight * region_loss(logits, region, batch.mask),
        )


def region_loss(
    logits: Float[Tensor, "b s region"], region: Tensor, mask: Bool[Tensor, "b s"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the links whose region is known, 0 without any."""
    target = region.masked_fill(~mask, _UNKNOWN).flatten()
    total = F.cross_entropy(logits.flatten(0, 1), target, ignore_index=_UNKNOWN, reduction="sum")
    return total / (target != _UNKNOWN).sum().clamp(min=1)


class Model(NotedLocalizer):
    """AMDNLoc ([wang2024]) with predicted regions, none of them dropped."""

    def prepare(self, train: Labelled, validation: Labelled) -> None:
        """Cluster the training links by position and first path."""
        del validation
        count = min(int(self.settings.network["num_regions"]), len(train))
        points_m = np.hstack([train.position_m, _first_points_m(train.measurements)])
        clusters = KMeans(count, n_init=4, random_state=self.seed).fit(points_m)
        self._region, self._centroid_m = clusters.labels_, clusters.cluster_centers_[:, :2]

    def notes(
        self, links: Measurements, training: Labelled | None
    ) -> Float[np.ndarray, "link note"]:
        """Return the region of each training link; that of others is to be predicted."""
        region = np.full(len(links), _UNKNOWN) if training is None else self._region
        return region[:, None].astype("f4")

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        network = self.network_of(Amdnloc)
        centroid = self.scaler.standardize(torch.from_numpy(self._centroid_m)).float()
        network.centroid[: len(centroid)] = centroid
        return network

    def load(self, folder: Path) -> None:
        """Read the weights, which hold the centroids, and the scaler."""
        self._centroid_m = np.zeros((0, 2))
        super().load(folder)


def _first_points_m(links: Measurements) -> Float[np.ndarray, "link 2"]:
    """Return the horizontal virtual point of each first path, 0 without paths [m]."""
    column = first_path(links)[0]
    return virtual_points(links)[np.arange(len(links)), column, :2]
