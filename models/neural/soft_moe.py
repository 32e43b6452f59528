"""Feed-forward layers over masked sets of tokens: soft, sparse and no mixture of experts."""

import abc
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Who went where in a soft mixture; 0 for masked tokens.

    Attributes:
        dispatch: Weights of the tokens in each slot's input; sum to 1 over tokens.
        combine: Weights of the slots in each token's output; sum to 1 over all slots.
        outputs: What the experts made of their slots.
    """

    dispatch: Float[Tensor, "b t e p"]
    combine: Float[Tensor, "b t e p"]
    outputs: Float[Tensor, "b e p d"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOutput:
    """What a feed-forward layer returns.

    Attributes:
        tokens: New tokens; 0 where masked.
        routing: The weights of a soft mixture, None for other layers.
        balance_loss: The load-balancing loss of a sparse mixture, None for other layers.
    """

    tokens: Float[Tensor, "b t d"]
    routing: Routing | None = None
    balance_loss: Float[Tensor, ""] | None = None


class Feed(nn.Module, abc.ABC):
    """Interface of the feed-forward layers, so that a block takes any of them."""

    @abc.abstractmethod
    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return new tokens; only the soft mixture makes use of the condition."""


class FeedForward(Feed):
    """A two-layer GELU network on every token."""

    def __init__(self, width: int, *, hidden: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return new tokens."""
        del condition
        return FeedOutput(tokens=zero_masked(self.layers(tokens), mask))


class Experts(nn.Module):
    """Independent two-layer GELU networks, each on its own slots, as batched matrix products."""

    def __init__(self, width: int, *, num_experts: int, hidden: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.weight_in = _uniform(num_experts, width, hidden, fan_in=width)
        self.bias_in = _uniform(num_experts, 1, hidden, fan_in=width)
        self.weight_out = _uniform(num_experts, hidden, width, fan_in=hidden)
        self.bias_out = _uniform(num_experts, 1, width, fan_in=hidden)

    def forward(self, slots: Float[Tensor, "b e p d"]) -> Float[Tensor, "b e p d"]:
        """Return each expert's output for its slots."""
        by_expert = slots.transpose(0, 1)
        rows = by_expert.flatten(1, 2)
        hidden = F.gelu(torch.baddbmm(self.bias_in, rows, self.weight_in))
        outputs = torch.baddbmm(self.bias_out, hidden, self.weight_out)
        return outputs.view(by_expert.shape).transpose(0, 1)


class SlotRouter(nn.Module):
    """Scaled cosines between tokens and the learned vectors of the slots.

    Both sides are normalised, with a learned scale ([puigcerver2023], section 2.3), for the logits
    only. The logits are computed in float32 whatever the precision around them.
    """

    def __init__(
        self, width: int, *, num_experts: int, slots_per_expert: int, initial_scale: float = 8.0
    ) -> None:
        """Create the parameters."""
        super().__init__()
        phi = torch.randn(num_experts, slots_per_expert, width) / math.sqrt(width)
        self.phi = nn.Parameter(phi)
        self.scale = nn.Parameter(torch.tensor(float(initial_scale)))

    def forward(self, queries: Float[Tensor, "b t d"]) -> Float[Tensor, "b t e p"]:
        """Return the logits of every token and slot."""
        with torch.autocast(queries.device.type, enabled=False):
            query = F.normalize(widened(queries), dim=-1, eps=1e-6)
            phi = F.normalize(self.phi, dim=-1, eps=1e-6)
            return self.scale * torch.einsum("btd,epd->btep", query, phi)


class Film(nn.Module):
    """Gain and shift per feature, linear in a condition ([perez2018], eq. 2), at first identity."""

    def __init__(self, width: int) -> None:
        """Create the parameters."""
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, tokens: Float[Tensor, "b t d"], condition: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b t d"]:
        """Return the modulated tokens."""
        gain, shift = self.linear(condition)[:, None].chunk(2, dim=-1)
        return (1 + gain) * tokens + shift


class SoftMoe(Feed):
    """Soft mixture of experts ([puigcerver2023], sections 2.1 and 2.3).

    With logits L = scale * normalise(FiLM(X)) . normalise(Phi), dispatch D = softmax of L over the
    tokens, and combine C = softmax of L over all slots, the layer returns C f(D^T X). X itself is
    mixed as it is: normalisation and FiLM act on the routing alone, so a condition moves the
    router and nothing else.

    Args:
        width: Features of a token.
        num_experts: Number of experts.
        slots_per_expert: Slots of each expert.
        hidden: Hidden features of an expert.
        initial_scale: Start of the learned scale; at 1 the routing of a few tokens is near uniform.
        is_uniform: Ablation without a router: every slot gets the mean of the valid tokens, every
            token the mean of all slots.
    """

    def __init__(
        self,
        width: int,
        *,
        num_experts: int,
        slots_per_expert: int,
        hidden: int,
        initial_scale: float = 8.0,
        is_uniform: bool = False,
    ) -> None:
        """Create the parameters."""
        super().__init__()
        self.num_experts = num_experts
        self.slots_per_expert = slots_per_expert
        self.experts = Experts(width, num_experts=num_experts, hidden=hidden)
        self.film: Film | None = None
        self.router: SlotRouter | None = None
        if not is_uniform:
            self.film = Film(width)
            self.router = SlotRouter(
                width,
                num_experts=num_experts,
                slots_per_expert=slots_per_expert,
                initial_scale=initial_scale,
            )

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return the mixed tokens and the routing; a condition of None skips FiLM."""
        tokens = zero_masked(tokens, mask)
        logits = self._logits(tokens, condition)
        dispatch = masked_softmax(logits, mask[:, :, None, None], dim=1)
        combine = logits.flatten(2).softmax(dim=-1).view_as(logits) * mask[:, :, None, None]
        slots = torch.einsum("btep,btd->bepd", dispatch.to(tokens.dtype), tokens)
        outputs: Tensor = self.experts(slots)
        mixed = torch.einsum("btep,bepd->btd", combine.to(outputs.dtype), outputs)
        routing = Routing(dispatch=dispatch, combine=combine, outputs=outputs)
        return FeedOutput(tokens=mixed, routing=routing)

    def _logits(
        self, tokens: Float[Tensor, "b t d"], condition: Float[Tensor, "b d"] | None
    ) -> Float[Tensor, "b t e p"]:
        if self.film is None or self.router is None:
            shape = (*tokens.shape[:2], self.num_experts, self.slots_per_expert)
            return widened(tokens.new_zeros(shape))
        queries = tokens if condition is None else self.film(tokens, condition)
        logits: Tensor = self.router(queries)
        return logits


class SparseMoe(Feed):
    """Mixture of the k experts that each token chooses ([shazeer2017], section 2.1, noise-free).

    The gate is the softmax over the chosen experts. Every expert is evaluated on every token, with
    weight 0 where not chosen: at a few experts and tens of tokens that is faster than gathering,
    and the result is the same.
    """

    def __init__(self, width: int, *, num_experts: int, hidden: int, num_chosen: int = 2) -> None:
        """Create the parameters."""
        super().__init__()
        self.num_experts = num_experts
        self.num_chosen = num_chosen
        self.experts = Experts(width, num_experts=num_experts, hidden=hidden)
        self.gate = nn.Linear(width, num_experts, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "b t d"],
        mask: Bool[Tensor, "b t"],
        condition: Float[Tensor, "b d"] | None = None,
    ) -> FeedOutput:
        """Return the mixed tokens and the load-balancing loss."""
        del condition
        tokens = zero_masked(tokens, mask)
        with torch.autocast(tokens.device.type, enabled=False):
            logits = F.linear(widened(tokens), self.gate.weight)
            top, chosen = logits.topk(self.num_chosen, dim=-1)
            weights = torch.zeros_like(logits).scatter(-1, chosen, top.softmax(dim=-1))
            loss = balance_loss(logits.softmax(dim=-1), chosen, mask)
        outputs = self.experts(tokens[:, None].expand(-1, self.num_experts, -1, -1))
        mixed = torch.einsum("bte,betd->btd", weights.to(outputs.dtype), outputs)
        return FeedOutput(tokens=zero_masked(mixed, mask), balance_loss=loss)


def balance_loss(
    probabilities: Float[Tensor, "b t e"], chosen: Int[Tensor, "b t k"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Return the loss that is 1 where all experts have equal loads ([fedus2022], eqs. 4-6).

    Args:
        probabilities: Softmax of the gate over all experts; the gradient flows through these.
        chosen: Indices of the experts that each token goes to.
        mask: True for the tokens that count.
    """
    valid = mask.to(probabilities.dtype)
    share = (valid / valid.sum().clamp_min(1))[..., None]
    assigned = torch.zeros_like(probabilities).scatter(-1, chosen, 1 / chosen.shape[-1])
    load, probability = ((share * each).sum(dim=(0, 1)) for each in (assigned, probabilities))
    return probabilities.shape[-1] * (load * probability).sum()


def routing_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return the slot vectors and scales of all routers in a module; they get no weight decay."""
    routers = [part for part in module.modules() if isinstance(part, SlotRouter)]
    return [parameter for router in routers for parameter in (router.phi, router.scale)]


def zero_masked(tokens: Float[Tensor, "*t d"], mask: Bool[Tensor, "*t"]) -> Float[Tensor, "*t d"]:
    """Return the tokens with zeros where the mask is False, whatever was there."""
    return tokens.masked_fill(~mask[..., None], 0.0)


def masked_softmax(
    logits: Float[Tensor, "..."], mask: Bool[Tensor, "..."], dim: int
) -> Float[Tensor, "..."]:
    """Return a softmax that is exactly 0 where a mask is False, and everywhere if it is all False.

    Args:
        logits: Any shape.
        mask: True where an entry takes part; broadcast against the logits.
        dim: The axis that sums to 1.
    """
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~mask, lowest).softmax(dim=dim) * mask


def widened(values: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return values of at least float32: softmaxes are not left to half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _uniform(*shape: int, fan_in: int) -> nn.Parameter:
    """Start as `nn.Linear` does."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
