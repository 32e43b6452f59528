"""What the mixtures of a fitted network do: who feeds them, whether slots and tasks agree."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor

from raymark.models.neural.inputs import Batch
from raymark.models.neural.objective import NetworkOutput, centroid_loss, vertex_loss
from raymark.models.neural.soft_moe import SlotRouter
from raymark.models.scadf_moe.network import FusionNetwork


def slot_similarity(network: FusionNetwork) -> float | None:
    """Return the mean absolute cosine between different slots of the fusion blocks' routers.

    Near 1 the slots take the same tokens and the experts are redundant; None without routers.
    """
    routers = [part for part in network.blocks.modules() if isinstance(part, SlotRouter)]
    values = [_mean_cosine(router.phi.detach().flatten(0, 1)) for router in routers]
    return float(torch.stack(values).mean()) if values else None


def task_gradient_cosine(
    network: FusionNetwork, batch: Batch, target: Float[Tensor, "b s 2"]
) -> float:
    """Return the cosine between the gradients of vertex and centroid loss in all shared layers.

    Below 0 the tasks pull against each other.
    """
    output: NetworkOutput = network(batch)
    shared = [
        parameter
        for part in (network.encoders, network.embeddings, network.blocks)
        for parameter in part.parameters()
    ]
    losses = (vertex_loss(output, target, batch.mask), centroid_loss(output, target, batch.mask))
    flat = [_flat_gradient(loss, shared) for loss in losses]
    return float(F.cosine_similarity(flat[0], flat[1], dim=0))


def _flat_gradient(loss: Tensor, parameters: list[torch.nn.Parameter]) -> Float[Tensor, "n"]:
    found = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([gradient.flatten() for gradient in found])


def _mean_cosine(vectors: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    unit = F.normalize(vectors, dim=-1)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    return (unit @ unit.T)[first, second].abs().mean()
