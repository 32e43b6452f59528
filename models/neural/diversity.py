"""Losses that keep experts apart: maximum mean discrepancy and orthogonality of their outputs."""

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor

from raymark.models.neural.soft_moe import widened

MAX_ROWS = 32
"""Rows of each expert that a loss looks at: the first ones, a random sample in shuffled batches."""

MEDIAN_ROWS = 16
"""Rows of each expert that set the bandwidths: a median needs no more, and sorting all is slow."""

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the kernels relative to the median distance."""

MIN_BANDWIDTH = 1e-2
"""For points that coincide; well above the rounding of distances in float32 (some 3e-4)."""

DiversityKind = Literal["mmd", "orthogonality", "none"]


def mmd_squared(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], bandwidths: Float[Tensor, "k"]
) -> Float[Tensor, ""]:
    """Return the squared maximum mean discrepancy between two samples ([gretton2012], eq. 5).

    It is the biased estimate, so a sample is at exactly 0 from itself. The kernel is the mean of
    Gaussian ones, exp(-|x - y|^2 / (2 bandwidth^2)).
    """
    own, other = _kernel(x, x, bandwidths).mean(), _kernel(y, y, bandwidths).mean()
    return own + other - 2 * _kernel(x, y, bandwidths).mean()


@torch.no_grad()
def median_bandwidths(
    points: Float[Tensor, "n d"], factors: tuple[float, ...] = FACTORS
) -> Float[Tensor, "k"]:
    """Return multiples of the median distance of distinct points ([gretton2012], section 8).

    No gradient flows through them, else a loss could widen its kernels instead of moving points.
    """
    squared = _squared_distance(points, points)
    rows, columns = torch.triu_indices(len(points), len(points), 1, device=points.device)
    median = squared[rows, columns].median().sqrt()
    return median.clamp_min(MIN_BANDWIDTH) * torch.tensor(factors).to(squared)


def diversity_loss(outputs: Float[Tensor, "b e p d"], kind: DiversityKind) -> Float[Tensor, ""]:
    """Return a loss that falls as the experts' outputs move apart, 0 for a lone expert.

    Outputs are normalised to unit length, and only the first `MAX_ROWS` of each expert count. For
    "mmd" it is the mean over pairs of exp(-MMD^2), whose minimum has the discrepancies large; for
    "orthogonality" the mean over pairs of the squared cosine between outputs of the same row.
    """
    if kind == "none" or outputs.shape[1] < 2:
        return widened(outputs.new_zeros(()))
    with torch.autocast(outputs.device.type, enabled=False):
        rows = widened(outputs).transpose(0, 1).flatten(1, 2)[:, :MAX_ROWS]
        rows = F.normalize(rows, dim=-1, eps=1e-6)
        alike = _alike_by_mmd(rows) if kind == "mmd" else _alike_by_cosine(rows)
        first, second = torch.triu_indices(len(alike), len(alike), 1, device=alike.device)
        return alike[first, second].mean()


def _alike_by_mmd(rows: Float[Tensor, "e n d"]) -> Float[Tensor, "e e"]:
    """All pairs by one kernel matrix, whose blocks are averaged."""
    points = rows.flatten(0, 1)
    kernel = _kernel(points, points, median_bandwidths(rows[:, :MEDIAN_ROWS].flatten(0, 1)))
    blocks = kernel.view(*rows.shape[:2], *rows.shape[:2]).mean(dim=(1, 3))
    own = blocks.diagonal()
    return torch.exp(2 * blocks - own[:, None] - own[None, :])


def _alike_by_cosine(rows: Float[Tensor, "e n d"]) -> Float[Tensor, "e e"]:
    return torch.einsum("ind,knd->ikn", rows, rows).square().mean(dim=-1)


def _kernel(
    x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], bandwidths: Float[Tensor, "k"]
) -> Float[Tensor, "n m"]:
    squared = _squared_distance(x, y)
    total = torch.zeros_like(squared)
    for bandwidth in bandwidths:
        total = total + torch.exp(-squared / (2 * bandwidth**2))
    return total / len(bandwidths)


def _squared_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """By products, which needs no array of all differences; rounding must not make it negative."""
    length = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)[None, :]
    return (length - 2 * x @ y.T).clamp_min(0.0)
