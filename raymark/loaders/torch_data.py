"""Links for PyTorch: a map-style dataset that makes a batch at once, and a loader of it."""

from collections.abc import Sequence
from typing import Unpack, overload

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raymark.loaders.choice import LinkChoice, loader, open_links
from raymark.loaders.order import LinkOrder
from raymark.loaders.samples import LinkSamples
from raymark.presenting import Presented
from raymark.storage import PlaceLike

Key = int | tuple[int, int]
"""A link, or a link and the draw of its noise (0 if not given)."""


class LinkBatch(Sequence[dict[str, Tensor]]):
    """The samples of a batch, which look like a list but are kept as whole arrays.

    torch's own collation can stack them again; `as_arrays` takes them as they are.

    Attributes:
        arrays: Tensors of the whole batch by field.
    """

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        """Hold a batch."""
        self.arrays = arrays

    def __len__(self) -> int:
        """Return the number of links."""
        return len(next(iter(self.arrays.values())))

    @overload
    def __getitem__(self, index: int) -> dict[str, Tensor]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Tensor]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Return one sample, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return {name: values[index] for name, values in self.arrays.items()}


class TorchLinks(Presented, Dataset[dict[str, Tensor]]):
    """Links as a map-style dataset; it holds paths, and makes CSI when a batch is fetched.

    A key is a link, or (link, draw) for another draw of its noise. It serves any sampler,
    any number of workers, and both ways of starting them.

    Attributes:
        samples: Where the samples come from.
    """

    def __init__(self, samples: LinkSamples) -> None:
        """Serve `samples`."""
        self.samples = samples

    def facts(self) -> dict[str, str]:
        """Return which links these are, and how their samples are made."""
        return self.samples.facts()

    def __len__(self) -> int:
        """Return the number of links."""
        return len(self.samples)

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        """Make one sample.

        Raises:
            IndexError: If there is no such link.
        """
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[Key]) -> LinkBatch:
        """Make the samples of a batch at once (torch calls this when it is there).

        Raises:
            IndexError: If there is no such link.
        """
        pairs = [key if isinstance(key, tuple) else (key, 0) for key in keys]
        links, draws = np.array(pairs, dtype="i8").reshape(-1, 2).T
        return LinkBatch(self.samples.take(links, draws))


def as_arrays(batch: LinkBatch) -> dict[str, Tensor]:
    """Collate a batch of `TorchLinks` without a copy; the `collate_fn` of `torch_loader`."""
    return batch.arrays


@loader
def torch_dataset(folder: PlaceLike, **choice: Unpack[LinkChoice]) -> TorchLinks:
    """Return the links of a dataset folder for PyTorch; see `LinkChoice` for the choices.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If a choice is not possible.
    """
    return TorchLinks(open_links(folder, **choice))


@loader
def torch_loader(
    folder: PlaceLike,
    *,
    batch_size: int = 64,
    shuffle: bool = True,
    num_workers: int = 0,
    fresh_noise: bool = False,
    **choice: Unpack[LinkChoice],
) -> DataLoader[dict[str, Tensor]]:
    """Return a loader of batches: dictionaries of tensors by field.

    The batches depend on the seed alone: neither on the number of workers nor on torch's global
    seed. `loader.sampler` is a `LinkOrder`; set its `epoch` to resume.

    Args:
        folder: Dataset folder.
        batch_size: Links in a batch.
        shuffle: Visit the links in a new order in each epoch; in stored order if not.
        num_workers: Processes that make batches; in this process if 0.
        fresh_noise: Draw the noise anew in each epoch; the same in each if not.
        **choice: Which links and fields, see `LinkChoice`.

    Raises:
        DatasetError: If the folder holds no finished dataset, or has no such scene, band or site.
        ConfigError: If a choice is not possible.
    """
    data = torch_dataset(folder, **choice)
    return DataLoader(
        data,
        batch_size=batch_size,
        sampler=LinkOrder(
            len(data), seed=data.samples.seed, shuffle=shuffle, fresh_noise=fresh_noise
        ),
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        collate_fn=as_arrays,  # type: ignore[arg-type] # torch passes on what `__getitems__` gave
    )
