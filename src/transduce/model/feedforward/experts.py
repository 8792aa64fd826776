"""Several feed-forwards, of which each token takes a few."""

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transduce.errors import UserError, require_at_least, require_at_most
from transduce.model.auxiliary import note
from transduce.model.feedforward.feedforward import FeedForwardConfig
from transduce.model.feedforward.gated import GatedConfig


def balance(probabilities: Tensor, counts: Tensor) -> Tensor:
    """Returns E sum_e f_e P_e: 1 where all experts are used alike.   Fedus et al. 2021, arXiv:2101.03961, eqs. 4 to 6.

    probabilities: (S, E) of the router; P_e is their mean. counts: (E,) how often each was taken; f_e is its share.
    """
    tokens, experts = probabilities.shape
    share = counts / counts.sum().clamp(min=1)
    return experts * (share * probabilities.sum(0) / max(tokens, 1)).sum()


class Experts(nn.Module):
    """sum_e p_e expert_e(x) over the `top` experts with the largest p = softmax(router x), and all shared ones.

    Every token gets the experts it asks for, however many others ask for them: nothing depends on the batch. With a
    capacity it is otherwise.
    """

    asks_valid: ClassVar[bool] = True
    multiplied: ClassVar[tuple[str, ...]] = ("router",)

    def __init__(self, config: "ExpertsConfig", width: int) -> None:
        super().__init__()
        self.config = config
        self.router = nn.Linear(width, config.experts, bias=config.router_bias)
        self.experts = nn.ModuleList(config.inner.build(width) for _ in range(config.experts))
        self.shared = nn.ModuleList((config.shared_inner or config.inner).build(width) for _ in range(config.shared))
        self.shared_gate = nn.Linear(width, 1, bias=False) if config.shared_gate else None

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, M), (B, T) bool -> (B, T, M), zeros in padding."""
        slots = valid.flatten().nonzero()[:, 0]
        tokens = x.flatten(0, 1).index_select(0, slots)
        y, gate = self.routed(tokens, slots // x.shape[1]), 1.0
        if self.shared_gate is not None:
            gate = self.shared_gate(tokens).sigmoid()
        for expert in self.shared:
            y = y + gate * expert(tokens)
        return y.new_zeros(valid.numel(), x.shape[2]).index_copy(0, slots, y).view(x.shape)

    def routed(self, tokens: Tensor, rows: Tensor) -> Tensor:
        """(S, M), (S,) -> (S, M): tokens in the order of their experts, one product to an expert, and back."""
        weights, experts, counts = self.route(tokens)
        if self.config.capacity is not None:
            weights = weights * (self.before(experts, rows) < self.config.capacity)
        top = experts.shape[1]
        order = experts.flatten().argsort(stable=True)
        sizes = cast(list[int], counts.tolist())
        parts = tokens.index_select(0, order // top).split_with_sizes(sizes)
        # While learning, an expert that no token takes runs on none: its gradient is zero, not missing.
        all_run = torch.is_grad_enabled() or not len(tokens)
        outputs = [f(part) for f, part in zip(self.experts, parts, strict=True) if len(part) or all_run]
        outputs_by_token = torch.cat(outputs).index_select(0, order.argsort()).view(-1, top, tokens.shape[1])
        return (outputs_by_token * weights.to(outputs_by_token.dtype)[..., None]).sum(1)

    def before(self, experts: Tensor, rows: Tensor) -> Tensor:
        """Returns (S, K): how many of the same row (S,) asked for the expert earlier."""
        group = (rows[:, None] * self.config.experts + experts).flatten()
        order, sizes = group.argsort(stable=True), group.bincount()
        first = (sizes.cumsum(0) - sizes).index_select(0, group)
        return order.argsort().sub(first).view(experts.shape)

    def route(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns weights and numbers (S, K) of each token's experts, and how often each (E,) is taken; in float32."""
        with torch.autocast(tokens.device.type, enabled=False):
            dtype = torch.promote_types(tokens.dtype, torch.float32)
            bias = None if self.router.bias is None else self.router.bias.to(dtype)  # pyright: ignore[reportUnnecessaryComparison]
            logits = F.linear(tokens.to(dtype), self.router.weight.to(dtype), bias)
            probabilities = logits.softmax(-1)
            weights, experts = probabilities.topk(self.config.top)
            counts = experts.flatten().bincount(minlength=self.config.experts)
            note("balance", balance(probabilities, counts), self.config.balance)
            if self.config.z_loss:
                note("router_z", logits.logsumexp(-1).square().sum() / max(len(tokens), 1), self.config.z_loss)
            return weights / weights.sum(-1, keepdim=True) if self.config.normalised else weights, experts, counts


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig(FeedForwardConfig):
    """sum_e p_e f_e(x), p = softmax(W x), over the `top` largest p.   Shazeer et al. 2017; Fedus et al. 2021.

    arXiv:1701.06538, arXiv:2101.03961.

    experts: how many feed-forwards there are to choose from.
    top: how many of them each token takes.
    inner: the kind of each.
    shared: more of them, which every token takes (Dai et al. 2024, arXiv:2401.06066).
    shared_inner: the kind of these (None: as the others).
    shared_gate: what these give is multiplied by sigmoid(u x) (Qwen2-MoE, arXiv:2407.10671).
    normalise: the p of those taken are divided by their sum (None: if there are several).
    router_bias: p = softmax(W x + b).
    capacity: tokens of a row that an expert takes at most, the first ones; others get nothing of it (Fedus et al., sec.
        2.2). What a token gets then depends on those before it that are given at once (None: all are taken).
    balance: weight of the loss E sum_e f_e P_e, f_e the share of tokens that takes expert e and P_e the mean p_e.
    z_loss: weight of the mean of logsumexp(W x)^2 (Zoph et al. 2022, arXiv:2202.08906, eq. 5; there 0.001).
    """

    kind: ClassVar[str] = "experts"
    experts: int = 8
    top: int = 2
    inner: FeedForwardConfig = field(default_factory=GatedConfig)
    shared: int = 0
    shared_inner: FeedForwardConfig | None = None
    shared_gate: bool = False
    normalise: bool | None = None
    router_bias: bool = False
    capacity: int | None = None
    balance: float = 0.01
    z_loss: float = 0.0

    def __post_init__(self) -> None:
        require_at_least(1, experts=self.experts, top=self.top, capacity=self.capacity)
        require_at_least(0, shared=self.shared)
        require_at_most(4096, experts=self.experts, shared=self.shared)
        if self.top > self.experts:
            raise UserError(f"top={self.top} of experts={self.experts} cannot be taken; lower top, or add experts")
        for inner in (self.inner, self.shared_inner or self.inner):
            if inner.absent or isinstance(inner, ExpertsConfig):
                raise UserError(f"an expert cannot be of kind {inner.kind}; use inner=gated or inner=mlp")
        if not self.shared and (self.shared_gate or self.shared_inner is not None):
            raise UserError(
                "shared_gate and shared_inner are about shared experts, of which there are none; set shared=1"
            )
        for name in ("balance", "z_loss"):
            if getattr(self, name) < 0:
                raise UserError(f"{name}={getattr(self, name)} is negative; use 0.01, or 0 for none")

    @property
    def normalised(self) -> bool:
        return self.top > 1 if self.normalise is None else self.normalise

    def build(self, width: int) -> nn.Module:
        return Experts(self, width)
