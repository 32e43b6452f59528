"""AMDNLoc: regions of links that look alike, a linear map for each, and a gate between them."""

from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from raymark.benchmark import Labelled, Measurements
from raymark.models.amdnloc.regions import Regions, find_regions
from raymark.models.neural.encoders import ImageEncoder
from raymark.models.neural.link_notes import NotedBatch, NotedLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.single_link import images_of

REGIONS_NAME = "regions.npz"

_UNKNOWN = -1
"""Region of a link that is not learnt from."""

_POWER_EXPONENT = 2.0
"""The house's image of power is log10(1 + power over the floor) divided by this."""


class Amdnloc(nn.Module):
    """position = sum over regions of P(region) (centroid + linear map of the features)."""

    centroid: Tensor

    def __init__(
        self,
        *,
        num_regions: int,
        is_matched: bool,
        width: int,
        image_widths: tuple[int, ...],
        region_weight: float,
    ) -> None:
        """Create the parameters; the centroids are 0 until they are set.

        Args:
            num_regions: Regions, each with a linear map.
            is_matched: Whether the region of every link is among its notes; else it is predicted.
            width: Features of each of the two images.
            image_widths: Channels of the ResNets' stages.
            region_weight: Of the classification of regions among the losses.
        """
        super().__init__()
        self.region_weight = region_weight
        self.cfr = ImageEncoder(width, channels=(0, 1), widths=image_widths)
        self.adp = ImageEncoder(width, channels=(2,), widths=image_widths)
        self.gate = None if is_matched else nn.Linear(2 * width, num_regions)
        self.branches = nn.Linear(2 * width, 2 * num_regions)
        self.register_buffer("centroid", torch.zeros(num_regions, 2))

    def forward(self, batch: NotedBatch) -> NetworkOutput:
        """Locate every link; the notes are the regions, of training links at least."""
        image = as_published(images_of(batch))
        features = torch.cat([self.cfr(image), self.adp(image)], dim=-1)
        located = self.centroid + self.branches(features).unflatten(-1, (-1, 2))
        region = batch.notes[..., 0].long()
        if self.gate is None:
            chosen = F.one_hot(region, len(self.centroid)).to(located.dtype)
            return NetworkOutput(position=(chosen.unsqueeze(-1) * located).sum(-2))
        logits = self.gate(features)
        return NetworkOutput(
            position=(logits.softmax(-1).unsqueeze(-1) * located).sum(-2),
            penalty=self.region_weight * region_loss(logits, region, batch.mask),
        )


def as_published(
    image: Float[Tensor, "b s 3 ant subcarrier"],
) -> Float[Tensor, "b s 3 ant subcarrier"]:
    """Return CFR and amplitude over angle and delay as fractions of their maxima, in 8 bits.

    Args:
        image: As `raymark.models.neural.images.csi_images` makes it.
    """
    cfr = image[:, :, :2]
    power = (10 ** (_POWER_EXPONENT * image[:, :, 2:]) - 1).clamp(min=0)
    cfr = cfr / _largest(cfr.square().sum(dim=2, keepdim=True).sqrt())
    amplitude = power.sqrt() / _largest(power.sqrt())
    return torch.cat([(127.5 * cfr).round() / 127.5, (255 * amplitude).round() / 255], dim=2)


def _largest(
    magnitude: Float[Tensor, "b s 1 ant subcarrier"],
) -> Float[Tensor, "b s 1 1 1"]:
    return magnitude.amax(dim=(-2, -1), keepdim=True).clamp(min=torch.finfo(magnitude.dtype).tiny)


def region_loss(
    logits: Float[Tensor, "b s region"], region: Tensor, mask: Bool[Tensor, "b s"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy of the links whose region is known, 0 without any."""
    target = region.masked_fill(~mask, _UNKNOWN).flatten()
    total = F.cross_entropy(logits.flatten(0, 1), target, ignore_index=_UNKNOWN, reduction="sum")
    return total / (target != _UNKNOWN).sum().clamp(min=1)


class Model(NotedLocalizer):
    """AMDNLoc ([wang2024, wang2024vtc]) with predicted regions, no link dropped."""

    is_matched: ClassVar[bool] = False
    """Whether the region of a link to be located is that of the template which it matches."""

    _regions: Regions
    _centroid_m: Float[np.ndarray, "region 2"]

    def prepare(self, train: Labelled, validation: Labelled) -> None:
        """Find the regions of the training links."""
        del validation
        self._regions, self._region = find_regions(train, seed=self.seed)
        self._centroid_m = np.stack(
            [_mean_m(train.position_m, self._region == i) for i in range(len(self._regions))]
        )

    def notes(
        self, links: Measurements, training: Labelled | None
    ) -> Float[np.ndarray, "link note"]:
        """Return the region of each training link; that of others is matched, or unknown."""
        return self._region_of(links, training)[:, None].astype("f4")

    def _region_of(self, links: Measurements, training: Labelled | None) -> Int[np.ndarray, "link"]:
        if training is not None:
            return self._region
        return self._regions.of(links) if self.is_matched else np.full(len(links), _UNKNOWN)

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        network = self.network_of(
            Amdnloc,
            num_regions=len(self._regions),
            is_matched=self.is_matched,
            **self.settings.network,
        )
        network.centroid.copy_(self.scaler.standardize(torch.from_numpy(self._centroid_m)))
        return network

    def save(self, folder: Path) -> None:
        """Write weights, scaler and regions."""
        super().save(folder)
        arrays = asdict(self._regions)
        np.savez(folder / REGIONS_NAME, allow_pickle=False, centroid_m=self._centroid_m, **arrays)

    def load(self, folder: Path) -> None:
        """Read regions, weights and scaler."""
        with np.load(folder / REGIONS_NAME) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self._centroid_m = arrays.pop("centroid_m")
        self._regions = Regions(**arrays)
        super().load(folder)


def _mean_m(
    position_m: Float[np.ndarray, "link 2"], chosen: Bool[np.ndarray, "link"]
) -> Float[np.ndarray, "2"]:
    """Return the mean position of some links; of all where none is chosen [m]."""
    return position_m[chosen if chosen.any() else slice(None)].mean(axis=0)
