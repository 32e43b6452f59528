"""What networks return, and the loss that they all are trained by."""

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """What a network says of a batch, in units of the position scale.

    Attributes:
        position: Of every vertex.
        centroid: Of every window, if the network has a head for it.
        penalty: Added to the loss once training is under way: experts alike, experts unused.
        diagnostics: Numbers of the batch that its model wants to know, by name.
    """

    position: Float[Tensor, "b s 2"]
    centroid: Float[Tensor, "b 2"] | None = None
    penalty: Float[Tensor, ""] | None = None
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


def trajectory_loss(
    located: Located,
    target: Float[Tensor, "b s 2"],
    mask: Bool[Tensor, "b s"],
    penalty_share: float,
) -> Float[Tensor, ""]:
    """Return the loss: squared errors of vertices and centroid, their agreement, the penalty.

    `models.md`, point 5: 1/2 |p - y|^2 over the vertices + 1/4 |c - mean y|^2
    + 0.1 |c - mean p|^2 + penalty. Windows count by their vertices.
    """
    there = mask.unsqueeze(-1)
    loss = 0.5 * ((located.position - target).square() * there).sum() / mask.sum()
    if located.centroid is not None:
        count = there.sum(dim=1)
        true_mean = (target * there).sum(dim=1) / count
        own_mean = (located.position * there).sum(dim=1) / count
        loss = loss + 0.25 * (located.centroid - true_mean).square().sum(-1).mean()
        loss = loss + 0.1 * (located.centroid - own_mean).square().sum(-1).mean()
    if located.penalty is not None:
        loss = loss + penalty_share * located.penalty
    return loss
