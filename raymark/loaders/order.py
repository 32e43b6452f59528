"""The order in which links are visited, the same for every framework."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from raymark.seeding import child_generator


class LinkOrder:
    """The links of each epoch in order, and which draw of their noise they get.

    It is a sampler of `torch.utils.data`: iterating over it is one epoch, and yields a key (link,
    draw) for every link. As a key says all, workers need to know of no epoch and of no seed.

    Attributes:
        epoch: Number of the next epoch; set it to go on where another process stopped.
    """

    def __init__(
        self, num_links: int, *, seed: int, shuffle: bool = True, fresh_noise: bool = False
    ) -> None:
        """Visit `num_links` links.

        Args:
            num_links: How many there are.
            seed: Root of the order of every epoch.
            shuffle: Visit them in a new order in each epoch; in stored order if not.
            fresh_noise: Number the draws by epoch; draw 0 in each if not.
        """
        self.epoch = 0
        self._num_links, self._seed = num_links, seed
        self._shuffle, self._fresh_noise = shuffle, fresh_noise

    def next_epoch(self) -> tuple[Int[np.ndarray, "link"], int]:
        """Return all links in the order of the next epoch, and the draw of their noise."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        draw = epoch if self._fresh_noise else 0
        if not self._shuffle:
            return np.arange(self._num_links), draw
        rng = child_generator(self._seed, "link order", epoch)
        return rng.permutation(self._num_links), draw

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield the keys of the next epoch."""
        links, draw = self.next_epoch()
        yield from ((link, draw) for link in links.tolist())

    def __len__(self) -> int:
        """Return the number of links."""
        return self._num_links
