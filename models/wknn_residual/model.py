"""WKNN, and a network that corrects it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from raymark.benchmark import Labelled, Measurements
from raymark.benchmark.measurements import ARRAY_NAMES, SiteContext
from raymark.models.neural.anchoring import AnchoredHead
from raymark.models.neural.encoders import DeepSetsEncoder
from raymark.models.neural.link_notes import NotedBatch, NotedLocalizer
from raymark.models.neural.objective import NetworkOutput
from raymark.models.neural.path_sets import NUM_PATH_FEATURES
from raymark.models.wknn.model import Model as Wknn
from raymark.radio import Band, Panel
from raymark.seeding import child_generator

NEIGHBOURS_NAME, CONTEXT_NAME = "neighbours.npz", "neighbours.json"

_TRIAL_NAMES = ("width_bins", "num_neighbours", "gain_weight")


class WknnResidual(nn.Module):
    """position = prior + (1 - g) correction + g (anchor - prior), all from the paths and the prior.

    With g = 0 it is the corrected WKNN, with g = 1 the virtual point of the first path.
    """

    def __init__(self, *, width: int, num_layers: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.encoder = DeepSetsEncoder(width, num_features=NUM_PATH_FEATURES, num_layers=num_layers)
        self.place = nn.Linear(4, width)
        self.head = AnchoredHead(width)

    def forward(self, batch: NotedBatch) -> NetworkOutput:
        """Locate every link; the notes are the WKNN position."""
        prior = batch.notes
        gap = batch.anchor - prior
        features = self.encoder(batch.paths, batch.path_mask)
        features = features + self.place(torch.cat([prior, gap], dim=-1))
        return NetworkOutput(position=prior + self.head(features, gap))


class Model(NotedLocalizer):
    """WKNN with a residual network."""

    def __init__(self, config: dict[str, Any], *, seed: int) -> None:
        """Take the grid of WKNN out of the network's choices."""
        super().__init__(config, seed=seed)
        self._choices = {**self.settings.network}
        self._grid = {name: self._choices.pop(name) for name in _TRIAL_NAMES}
        self._num_parts = self._choices.pop("num_parts")

    def prepare(self, train: Labelled, validation: Labelled) -> None:
        """Choose a WKNN on validation data and find each training link's place without it."""
        chooser = Wknn(self._grid, seed=self.seed)
        chooser.fit(train, validation)
        self._trial = {name: [chooser.choices[name]] for name in _TRIAL_NAMES}
        self._set_neighbours(train)
        self._own_m = self._out_of_part(train)

    def notes(
        self, links: Measurements, training: Labelled | None
    ) -> Float[np.ndarray, "link note"]:
        """Return the WKNN positions, of training links from those of other windows."""
        position_m = self._wknn.predict(links).position_m if training is None else self._own_m
        return self.scaler.standardize(torch.from_numpy(position_m)).numpy()

    def make_network(self) -> nn.Module:
        """Return the network of `config: network:`."""
        return self.network_of(WknnResidual, **self._choices)

    def save(self, folder: Path) -> None:
        """Write weights, scaler, and the links among which neighbours are sought."""
        super().save(folder)
        links = self._neighbours.measurements
        arrays = {name: getattr(links, name) for name in ARRAY_NAMES}
        np.savez(folder / NEIGHBOURS_NAME, position_m=self._neighbours.position_m, **arrays)
        sites = [{**asdict(x), "panel": x.panel.model_dump(mode="json")} for x in links.sites]
        bands = [band.model_dump(mode="json") for band in links.bands]
        context = {"sites": sites, "bands": bands, "trial": self._trial}
        (folder / CONTEXT_NAME).write_text(json.dumps(context), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what `save` has written."""
        super().load(folder)
        context = json.loads((folder / CONTEXT_NAME).read_text(encoding="utf-8"))
        with np.load(folder / NEIGHBOURS_NAME) as stored:
            arrays = dict(stored)
        position_m = arrays.pop("position_m")
        sites = [SiteContext(**{**x, "panel": Panel(**x["panel"])}) for x in context["sites"]]
        bands = tuple(Band(**x) for x in context["bands"])
        links = Measurements(sites=tuple(sites), bands=bands, **arrays)
        unknown = np.full(len(links), -1)
        self._trial = context["trial"]
        self._set_neighbours(Labelled(measurements=links, position_m=position_m, los=unknown))

    def _set_neighbours(self, links: Labelled) -> None:
        self._neighbours = links
        self._wknn = self._fitted(links)

    def _fitted(self, links: Labelled) -> Wknn:
        """Return the chosen WKNN on some links; there is one trial, so that one link decides."""
        wknn = Wknn(self._trial, seed=self.seed)
        wknn.fit(links, links.take(np.arange(1)))
        return wknn

    def _out_of_part(self, train: Labelled) -> Float[np.ndarray, "link 2"]:
        """Return the WKNN position of each link from those of other parts: no window is split."""
        window = np.unique(train.measurements.window, return_inverse=True)[1]
        parts = child_generator(self.seed, "parts").permutation(window.max() + 1)[window]
        parts %= self._num_parts
        position_m = np.tile(train.position_m.mean(axis=0), (len(train), 1))
        for part in np.unique(parts):
            own, others = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            if len(others):
                wknn = self._fitted(train.take(others))
                position_m[own] = wknn.predict(train.measurements.take(own)).position_m
        return position_m
