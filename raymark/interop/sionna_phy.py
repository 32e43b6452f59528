"""Links of a dataset as a channel model of Sionna PHY: the UEs send, the base stations receive.

Sionna itself is not imported: its channels take any callable that returns `(a, tau)`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from raymark.dataset import Selection
from raymark.errors import ConfigError, DatasetError
from raymark.radio import Panel
from raymark.radio.synthesis import PathBatch, array_response

Coefficients = Complex[Tensor, "batch rx rx_ant tx tx_ant path time"]
Delays = Float[Tensor, "batch rx tx path"]

_ITEMS_PER_READ = 64


def sionna_cir(
    selection: Selection, start: int, stop: int, *, num_paths: int | None = None
) -> tuple[Coefficients, Delays]:
    """Return coefficients and delays [s] of UEs `start:stop` as Sionna PHY wants them.

    One UE is one example of the batch, with one transmitter of one antenna; every site of the
    selection is a receiver. `a` holds carrier phase and array response, so that
    `cir_to_ofdm_channel(frequencies, a, tau)` is `synthesize_csi`: noiseless, without impairments.
    Delays are absolute. Where there is no path, both are 0.

    Args:
        selection: One site of a scene, or all where they share their UEs.
        start: First UE.
        stop: One past the last UE.
        num_paths: Length of the path axis: shorter lists are padded, longer ones lose their
            weakest paths at the first band. The longest list of these UEs if not given.

    Raises:
        DatasetError: If the selection has several sites that do not share their UEs.
        ConfigError: If `num_paths` is not positive.
        IndexError: If the range is not within the UEs.
    """
    if num_paths is not None and num_paths < 1:
        raise ConfigError(f"num_paths must be positive, got {num_paths}")
    num_ues = _num_ues(selection)
    if not 0 <= start <= stop <= num_ues:
        raise IndexError(f"UEs {start}:{stop} are not within 0:{num_ues}")
    batches = _batches(selection, num_ues, start, stop)
    length = num_paths or max(batch.mask.shape[1] for batch in batches)
    return _impulse_responses(batches, selection.front_end.panel, length)


class SionnaChannel:
    """Draws UEs of a dataset for `OFDMChannel` and its kin, or yields them for `CIRDataset`.

    The paths of all UEs are kept in memory, some 30 bytes a path. The channel stands still over
    the time steps of an example.

    Attributes:
        num_rx: Base stations.
        num_rx_ant: Antennas of each, in the panel's order.
        num_tx: UEs that send together in one example.
        num_tx_ant: 1.
        num_paths: Length of the path axis.
        num_time_steps: Of the items for `CIRDataset`.
    """

    num_tx_ant = 1

    def __init__(
        self,
        selection: Selection,
        *,
        generator: torch.Generator,
        ues: Sequence[int] | Int[np.ndarray, "ue"] | None = None,
        num_tx: int = 1,
        num_time_steps: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        """Read the paths of a selection.

        Args:
            selection: One site of a scene, or all where they share their UEs.
            generator: Source of the draws, on the CPU.
            ues: UEs to draw from, such as those of a training part; all if not given.
            num_tx: UEs that send together.
            num_time_steps: OFDM symbols or samples of each item for `CIRDataset`.
            device: Where the channel is wanted: Sionna does not move it.

        Raises:
            DatasetError: If the selection has several sites that do not share their UEs.
            ConfigError: If there are fewer UEs than `num_tx`, or one that does not exist.
        """
        num_ues = _num_ues(selection)
        self._ues = torch.as_tensor(np.arange(num_ues) if ues is None else np.asarray(ues))
        if not 1 <= num_tx <= len(self._ues):
            raise ConfigError(
                f"num_tx must be from 1 to the number of UEs ({len(self._ues)}), got {num_tx}"
            )
        wrong = self._ues[(self._ues < 0) | (self._ues >= num_ues)]
        if len(wrong):
            raise ConfigError(f"ues: there is no UE {int(wrong[0])}; the selection has {num_ues}")
        self._batches = [batch.to(device) for batch in _batches(selection, num_ues, 0, num_ues)]
        self._panel = selection.front_end.panel
        self._generator = generator
        self.num_rx = len(self._batches)
        self.num_rx_ant = self._panel.num_antennas
        self.num_tx = num_tx
        self.num_paths = max(batch.mask.shape[1] for batch in self._batches)
        self.num_time_steps = num_time_steps

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that `CIRDataset` asks for, by the names of its arguments."""
        names = ("num_rx", "num_rx_ant", "num_tx", "num_tx_ant", "num_paths", "num_time_steps")
        return {name: getattr(self, name) for name in names}

    def __call__(
        self,
        batch_size: int | None = None,
        num_time_steps: int | None = None,
        sampling_frequency: float | None = None,  # noqa: ARG002 - nothing moves
    ) -> tuple[Coefficients, Delays]:
        """Draw examples; within one no UE comes twice.

        Args:
            batch_size: Examples; 1 if not given.
            num_time_steps: Steps over which the channel stands still; 1 if not given.
            sampling_frequency: Not used: nothing moves.
        """
        draws = [
            torch.randperm(len(self._ues), generator=self._generator)[: self.num_tx]
            for _ in range(batch_size or 1)
        ]
        return self._responses(self._ues[torch.stack(draws)], num_time_steps or 1)

    def items(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(a, tau)` without the batch axis, `num_tx` UEs at a time, in order, once.

        Hand the method itself to `CIRDataset`, which calls it anew for every pass. UEs left over
        at the end are not yielded.
        """
        groups = self._ues[: len(self._ues) // self.num_tx * self.num_tx].view(-1, self.num_tx)
        for part in groups.split(_ITEMS_PER_READ):
            yield from zip(*self._responses(part, self.num_time_steps), strict=True)

    def _responses(
        self, ues: Int[Tensor, "batch tx"], num_time_steps: int
    ) -> tuple[Coefficients, Delays]:
        """Return the responses of groups of UEs."""
        batches = [batch.take(ues.flatten()) for batch in self._batches]
        a, tau = _impulse_responses(batches, self._panel, self.num_paths)
        # From one UE an example to one group an example: the UE becomes the axis of transmitters.
        a = a.unflatten(0, ues.shape).squeeze(4).movedim(1, 3)
        tau = tau.unflatten(0, ues.shape).squeeze(3).movedim(1, 2)
        return a.expand(*a.shape[:-1], num_time_steps), tau


def _num_ues(selection: Selection) -> int:
    """Return the number of UEs, each of which all sites of the selection see."""
    num_sites = len(selection.sites)
    if num_sites > 1 and not selection.dataset.manifest.campaign.sites_share_ues:
        names = ", ".join(site.site for site in selection.sites)
        raise DatasetError(
            f"{selection.dataset.folder}: the sites {names} have UEs of their own, so no UE sends "
            "to all of them; select one site, or generate with `shared_ues: true`"
        )
    return len(selection) // num_sites


def _batches(selection: Selection, num_ues: int, start: int, stop: int) -> list[PathBatch]:
    """Return the paths of the same UEs at each site."""
    firsts = range(0, len(selection), num_ues)
    return [selection.path_batch(first + start, first + stop) for first in firsts]


def _impulse_responses(
    batches: Sequence[PathBatch], panel: Panel, num_paths: int
) -> tuple[Coefficients, Delays]:
    """Return coefficients and delays of the same UEs at each site, paths cut or padded."""
    a = [_fit(array_response(batch, panel), num_paths) for batch in batches]
    tau = [_fit(batch.delay_s, num_paths) for batch in batches]
    # [ue, site, path, ant] and [ue, site, path]
    coefficients, delays = torch.stack(a, dim=1), torch.stack(tau, dim=1)
    return coefficients.transpose(2, 3)[:, :, :, None, None, :, None], delays[:, :, None]


def _fit(values: Tensor, num_paths: int) -> Tensor:
    """Cut or pad the path axis, which is the second one."""
    values = values[:, :num_paths]
    padding = values.new_zeros(len(values), num_paths - values.shape[1], *values.shape[2:])
    return torch.cat([values, padding], dim=1)
