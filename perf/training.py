"""Training speed of SCADF-MoE by how its images are made, and by the size of a batch.

    python perf/training.py DATASET [--scene munich] [--band 6GHz] [--steps 40] [--num-links 1000]

The named peer is our own way of before: CSI synthesised anew for each batch of 16 windows. Beside
it stand noiseless CSI that is kept, with fresh noise for each batch, and images that are kept, as
where there is no noise. All train the same network on the same links in one process and thread,
for the same number of gradient steps; validation is outside the clock.
"""

import argparse
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import cast

import numpy as np
import torch

from raymark.benchmark import Labelled
from raymark.benchmark.channels import Channels, channels_of
from raymark.benchmark.measuring import Survey, load_survey, measure
from raymark.benchmark.split_settings import RandomTracks
from raymark.benchmark.splits import make_split
from raymark.dataset import Dataset, open_dataset
from raymark.models import get_model
from raymark.models.neural.inputs import BatchSource, Scaler
from raymark.models.neural.recipe import Recipe
from raymark.models.neural.training import Trainer
from raymark.models.scadf_moe.model import Model

WINDOW_SIZE = 5
WAYS = ("made anew", "clean CSI kept", "images kept")
BATCHES = (16, 64)


class MadeAnew(Channels):
    """Channels that keep no CSI."""

    __slots__ = ()

    def with_clean_csi(self) -> "MadeAnew":
        """Return them as they are."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How long training took.

    Attributes:
        way: How images came to be.
        batch_size: Windows of a batch.
        step_s: Seconds of a gradient step.
        per_1000_s: Seconds for 1,000 links.
    """

    way: str
    batch_size: int
    step_s: float
    per_1000_s: float


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--scene", default=None)
    parser.add_argument("--band", default=None)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--num-links", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = open_dataset(arguments.dataset)
    scene, band = arguments.scene or dataset.scenes[0], arguments.band or dataset.bands[-1]
    with tempfile.TemporaryDirectory() as folder:
        links = links_of(dataset, scene, band, arguments.num_links, Path(folder))
        rows = [time_of(links, way, size, arguments.steps) for way in WAYS for size in BATCHES]
    print(f"{'images':<16}{'windows':>8}{'s / step':>10}{'s / 1,000 links':>17}{'speedup':>9}")
    for row in rows:
        print(
            f"{row.way:<16}{row.batch_size:>8}{row.step_s:>10.3f}{row.per_1000_s:>17.3f}"
            f"{rows[0].per_1000_s / row.per_1000_s:>9.2f}"
        )


def links_of(dataset: Dataset, scene: str, band: str, num_links: int, folder: Path) -> Labelled:
    """Measure links of one scene and band, and return them with their channels."""
    survey = Survey(scene=scene, band=band, seed=0)
    measure(survey, dataset, folder, with_csi=True)
    split = make_split(dataset, scene, RandomTracks(), window_size=WINDOW_SIZE)
    selection = dataset.select(scene=scene, band=band)
    rows = np.arange(min(num_links, len(selection)))
    return Labelled(
        measurements=load_survey(survey, dataset, folder, split, with_csi=True).take(rows),
        position_m=selection.position_m[rows, :2].astype("f8"),
        los=selection.los[rows],
        channels=channels_of(selection).take(rows),
    )


def time_of(links: Labelled, way: str, batch_size: int, num_steps: int) -> Row:
    """Train a fresh network for some steps, after an epoch that warms up."""
    torch.manual_seed(0)
    model = cast(Model, get_model("scadf_moe").create(0))
    model.scaler = Scaler.fit(links, has_image=True)
    channels = links.channels
    if way == WAYS[0] and channels is not None:
        channels = MadeAnew(**{f.name: getattr(channels, f.name) for f in fields(channels)})
    source = BatchSource(
        links.measurements,
        model.scaler,
        window_size=WINDOW_SIZE,
        has_image=True,
        channels=None if way == WAYS[2] else channels,
        device=model.device,
    )
    if way == WAYS[2]:
        source.keep_images()
    target = model.scaler.standardize(torch.from_numpy(links.position_m)).float()
    steps_s: list[float] = []
    for steps in (1, num_steps):
        recipe = Recipe(steps=steps, batch_size=batch_size)
        trained = Trainer(model.make_network(), recipe, seed=0).run(source, target, lambda _: 0.0)
        count = len(trained.history["train_loss"]) * recipe.num_batches(len(source.rows))
        steps_s.append(trained.total_s / count)
    links_a_step = len(links) / recipe.num_batches(len(source.rows))
    return Row(
        way=way,
        batch_size=batch_size,
        step_s=steps_s[-1],
        per_1000_s=1000 * steps_s[-1] / links_a_step,
    )


if __name__ == "__main__":
    main()
