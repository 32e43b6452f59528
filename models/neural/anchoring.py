"""From features to positions, with the first path's virtual point as a candidate."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_STEEPNESS = 4.0
"""Of the gate's logits, so that it reaches 1 within the steps that training has."""


def gate_of(score: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return the hard sigmoid of scores, 0 to 1, with the gradient of the smooth one.

    That is the straight-through estimate of [bengio2013]. The hard sigmoid has no gradient of its
    own at 0 and 1: gates that all were open at once would stay so, and nothing else would be
    trained any more. In float32 the smooth one has none for scores over 4.2.
    """
    logit = _STEEPNESS * score
    smooth = logit.sigmoid()
    return smooth + (functional.hardsigmoid(logit) - smooth).detach()


class AnchoredHead(nn.Module):
    """Weighs the virtual point of the first path against a position of its own.

    position = g anchor + (1 - g) MLP(features), g = `gate_of` a linear score: in line of
    sight the anchor is the UE to centimetres, which no regression reaches, so g must be able to be
    1; elsewhere the anchor is a mirror image.
    """

    def __init__(self, width: int) -> None:
        """Make the head for features of length `width`."""
        super().__init__()
        self.regression = nn.Sequential(
            nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 2)
        )
        self.gate = nn.Linear(width, 1)

    def forward(
        self, features: Float[Tensor, "*n d"], anchor: Float[Tensor, "*n 2"]
    ) -> Float[Tensor, "*n 2"]:
        """Return positions in units of the position scale."""
        return torch.lerp(self.regression(features), anchor, gate_of(self.gate(features)))
