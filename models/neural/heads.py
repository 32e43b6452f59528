"""Heads: from fused tokens to features of the tasks, which are s vertices and their centroid.

Row j of the features belongs to vertex j and row s to the centroid; rows of masked vertices are
finite and mean nothing. Parameters are shared among the vertices: there are two types of task.
"""

import abc
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from raymark.models.neural.soft_moe import (
    Experts,
    SlotRouter,
    masked_softmax,
    widened,
    zero_masked,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRouting:
    """Who went where in the modality-task mixture.

    Attributes:
        dispatch: Weights of the tokens in the input of each expert's slot for each task; sum to 1
            over vertices and modalities.
        gate: Weights of the experts in each task's features; sum to 1 over experts.
        outputs: What the experts made of their slots.
    """

    dispatch: Float[Tensor, "b s m e task"]
    gate: Float[Tensor, "b task e"]
    outputs: Float[Tensor, "b e task d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOutput:
    """What a head returns: the features of each task, and the routing where there is a router."""

    features: Float[Tensor, "b task d"]
    routing: TaskRouting | None = None


class TaskHead(nn.Module, abc.ABC):
    """Interface of the heads, so that a network takes any of them."""

    @abc.abstractmethod
    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        vertex_embedding: Float[Tensor, "s d"],
    ) -> HeadOutput:
        """Return the features of s + 1 tasks from the tokens of each vertex and modality."""


class SharedHead(TaskHead):
    """No mixture: one network with a residual on the task's own mean token."""

    def __init__(self, width: int, *, hidden: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        vertex_embedding: Float[Tensor, "s d"],
    ) -> HeadOutput:
        """Return the features of the tasks."""
        del vertex_embedding
        inputs = task_inputs(tokens, mask)
        return HeadOutput(features=inputs + self.layers(inputs))


class ModalityTaskMoe(TaskHead):
    """Soft mixture with one slot of each expert for each task ([scadfmoe2025]; sizes are ours).

    The slots see all tokens of all valid vertices, dispatched as in `SoftMoe`. A slot's input is
    its mixed tokens plus the embedding of its task: for vertices the rows of `vertex_embedding`
    that the tokens carry too, so the two are tied, for the centroid one of its own. Each task
    then weighs the experts by a softmax over a linear score of their outputs.

    Args:
        width: Features of a token.
        num_vertices: Vertices of a window, s.
        num_experts: Number of experts.
        hidden: Hidden features of an expert.
        has_residual: Add the task's own mean token to its features.
    """

    def __init__(
        self,
        width: int,
        *,
        num_vertices: int,
        num_experts: int = 8,
        hidden: int = 256,
        has_residual: bool = False,
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.has_residual = has_residual
        self.router = SlotRouter(width, num_experts=num_experts, slots_per_expert=num_vertices + 1)
        self.experts = Experts(width, num_experts=num_experts, hidden=hidden)
        self.centroid_embedding = nn.Parameter(0.02 * torch.randn(1, width))
        self.score = nn.Linear(width, 1, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        vertex_embedding: Float[Tensor, "s d"],
    ) -> HeadOutput:
        """Return the features of the tasks with the routing."""
        tokens = zero_masked(tokens, mask[..., None].expand(tokens.shape[:3]))
        logits = self.router(tokens.flatten(1, 2)).unflatten(1, tokens.shape[1:3])
        valid = mask[..., None, None, None].expand_as(logits)
        dispatch = masked_softmax(logits.flatten(1, 2), valid.flatten(1, 2), dim=1).view_as(logits)
        mixed = torch.einsum("bsmep,bsmd->bepd", dispatch.to(tokens.dtype), tokens)
        outputs = self.experts(mixed + torch.cat([vertex_embedding, self.centroid_embedding]))
        gate = widened(self.score(outputs)).squeeze(-1).softmax(dim=1).transpose(1, 2)
        features = torch.einsum("bpe,bepd->bpd", gate.to(outputs.dtype), outputs)
        if self.has_residual:
            features = features + task_inputs(tokens, mask)
        routing = TaskRouting(dispatch=dispatch, gate=gate, outputs=outputs)
        return HeadOutput(features=features, routing=routing)


class Mmoe(TaskHead):
    """Multi-gate mixture: shared experts, one softmax gate per task type ([ma2018], section 4.2).

    Its input is the task's own mean token; the towers are the position heads that follow.
    """

    def __init__(
        self, width: int, *, num_experts: int = 8, hidden: int = 256, has_residual: bool = False
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.has_residual = has_residual
        self.experts = Experts(width, num_experts=num_experts, hidden=hidden)
        self.vertex_gate = nn.Linear(width, num_experts, bias=False)
        self.centroid_gate = nn.Linear(width, num_experts, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        vertex_embedding: Float[Tensor, "s d"],
    ) -> HeadOutput:
        """Return the features of the tasks."""
        del vertex_embedding
        inputs = task_inputs(tokens, mask)
        outputs = _on_all(self.experts, inputs)
        vertex = _gated(self.vertex_gate, inputs, outputs)
        centroid = _gated(self.centroid_gate, inputs, outputs)
        return HeadOutput(features=_read(vertex, centroid, inputs if self.has_residual else None))


class Ple(TaskHead):
    """Progressive layered extraction: shared and own experts, two layers ([tang2020], section 4).

    Every row of inputs (a task's own mean token) runs through the whole network of both task
    types, and the type that the row stands for is read at the end.
    """

    def __init__(
        self,
        width: int,
        *,
        num_specific: int = 2,
        num_shared: int = 4,
        hidden: int = 256,
        has_residual: bool = False,
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.has_residual = has_residual
        self.first = Extraction(
            width, num_specific=num_specific, num_shared=num_shared, hidden=hidden
        )
        self.last = Extraction(
            width, num_specific=num_specific, num_shared=num_shared, hidden=hidden, is_last=True
        )

    def forward(
        self,
        tokens: Float[Tensor, "b s m d"],
        mask: Bool[Tensor, "b s"],
        vertex_embedding: Float[Tensor, "s d"],
    ) -> HeadOutput:
        """Return the features of the tasks."""
        del vertex_embedding
        inputs = task_inputs(tokens, mask)
        vertex, centroid, _ = self.last(self.first((inputs, inputs, inputs)))
        return HeadOutput(features=_read(vertex, centroid, inputs if self.has_residual else None))


Streams = tuple[Float[Tensor, "b task d"], Float[Tensor, "b task d"], Float[Tensor, "b task d"]]
"""What the vertex type, the centroid type and the shared experts work on."""


class Extraction(nn.Module):
    """One extraction layer: a customised gate control ([tang2020], section 4.2).

    A task type's gate weighs its own experts and the shared ones, the shared gate weighs all. The
    last layer has no shared gate and passes the shared stream on as it is.
    """

    def __init__(
        self, width: int, *, num_specific: int, num_shared: int, hidden: int, is_last: bool = False
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.vertex = Experts(width, num_experts=num_specific, hidden=hidden)
        self.centroid = Experts(width, num_experts=num_specific, hidden=hidden)
        self.shared = Experts(width, num_experts=num_shared, hidden=hidden)
        self.vertex_gate = nn.Linear(width, num_specific + num_shared, bias=False)
        self.centroid_gate = nn.Linear(width, num_specific + num_shared, bias=False)
        self.shared_gate: nn.Linear | None = None
        if not is_last:
            self.shared_gate = nn.Linear(width, 2 * num_specific + num_shared, bias=False)

    def forward(self, streams: Streams) -> Streams:
        """Return the streams of the next layer."""
        vertex, centroid, shared = streams
        of_vertex = _on_all(self.vertex, vertex)
        of_centroid = _on_all(self.centroid, centroid)
        of_shared = _on_all(self.shared, shared)
        vertex = _gated(self.vertex_gate, vertex, torch.cat([of_vertex, of_shared], dim=1))
        centroid = _gated(self.centroid_gate, centroid, torch.cat([of_centroid, of_shared], dim=1))
        if self.shared_gate is not None:
            everything = torch.cat([of_vertex, of_centroid, of_shared], dim=1)
            shared = _gated(self.shared_gate, shared, everything)
        return vertex, centroid, shared


class PositionHead(nn.Module):
    """Position (two coordinates, in the scale of the targets) from the features of a task."""

    def __init__(self, width: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 256), nn.GELU(), nn.Linear(256, 128), nn.GELU(), nn.Linear(128, 2)
        )

    def forward(self, features: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch 2"]:
        """Return the coordinates."""
        position: Tensor = self.layers(features)
        return position


def task_inputs(
    tokens: Float[Tensor, "b s m d"], mask: Bool[Tensor, "b s"]
) -> Float[Tensor, "b s+1 d"]:
    """Return each vertex's mean over modalities, and as last row the mean of the valid vertices."""
    own = zero_masked(tokens.mean(dim=2), mask)
    num_valid = mask.sum(dim=1).clamp_min(1)[:, None, None]
    return torch.cat([own, own.sum(dim=1, keepdim=True) / num_valid], dim=1)


def _on_all(experts: Experts, inputs: Float[Tensor, "b task d"]) -> Float[Tensor, "b e task d"]:
    num_experts = experts.weight_in.shape[0]
    outputs: Tensor = experts(inputs[:, None].expand(-1, num_experts, -1, -1))
    return outputs


def _gated(
    gate: nn.Linear, query: Float[Tensor, "b task d"], outputs: Float[Tensor, "b e task d"]
) -> Float[Tensor, "b task d"]:
    weights = widened(gate(query)).softmax(dim=-1).to(outputs.dtype)
    return torch.einsum("bpe,bepd->bpd", weights, outputs)


def _read(
    vertex: Float[Tensor, "b task d"],
    centroid: Float[Tensor, "b task d"],
    residual: Float[Tensor, "b task d"] | None,
) -> Float[Tensor, "b task d"]:
    """Take the last row of the centroid type and the others of the vertex type."""
    features = torch.cat([vertex[:, :-1], centroid[:, -1:]], dim=1)
    return features if residual is None else features + residual
