"""What networks return, and the loss that they all are trained by."""

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOutput:
    """What a network says of a batch, in units of the position scale.

    Attributes:
        position: Of every vertex.
        centroid: Of every window, if the network has a head for it.
        penalty: Added to the loss once training is under way: experts alike, experts unused.
        diagnostics: Numbers of each window that its model wants to know, by name.
    """

    position: Float[Tensor, "b s 2"]
    centroid: Float[Tensor, "b 2"] | None = None
    penalty: Float[Tensor, ""] | None = None
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


def trajectory_loss(
    output: NetworkOutput,
    target: Float[Tensor, "b s 2"],
    mask: Bool[Tensor, "b s"],
    penalty_share: float,
) -> Float[Tensor, ""]:
    """Return the loss: squared errors of vertices and centroid, their agreement, the penalty.

    1/2 |p - y|^2, mean over the vertices that are there, + 1/4 |c - mean y|^2 + 0.1 |c - mean p|^2,
    mean over windows, + the penalty.

    Args:
        output: What the network says.
        target: True positions of the vertices.
        mask: Which vertices are there.
        penalty_share: Weight of the penalty, 0 to 1.
    """
    loss = vertex_loss(output, target, mask)
    if output.centroid is not None:
        own_mean = masked_mean(output.position, mask)
        loss = loss + centroid_loss(output, target, mask)
        loss = loss + 0.1 * (output.centroid - own_mean).square().sum(-1).mean()
    if output.penalty is not None:
        loss = loss + penalty_share * output.penalty
    return loss


def vertex_loss(
    output: NetworkOutput, target: Float[Tensor, "b s 2"], mask: Bool[Tensor, "b s"]
) -> Float[Tensor, ""]:
    """Return half the mean squared error of the vertices."""
    squared = (output.position - target).square().sum(dim=-1)
    return 0.5 * (squared * mask).sum() / mask.sum()


def centroid_loss(
    output: NetworkOutput, target: Float[Tensor, "b s 2"], mask: Bool[Tensor, "b s"]
) -> Float[Tensor, ""]:
    """Return a quarter of the mean squared error of the centroids.

    Raises:
        ValueError: If the network locates none.
    """
    if output.centroid is None:
        raise ValueError("the network has no head for the centroid")
    return 0.25 * (output.centroid - masked_mean(target, mask)).square().sum(-1).mean()


def masked_mean(values: Float[Tensor, "b s d"], mask: Bool[Tensor, "b s"]) -> Float[Tensor, "b d"]:
    """Return the mean over the vertices of each window that are there."""
    there = mask.unsqueeze(-1)
    return (values * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
