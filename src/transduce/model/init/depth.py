"""Start values that know how deep the model is, so that it trains where others of its depth do not.

Tested in tests/model/test_init.py.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import nn

from transduce.model.init.init import COMMON, InitConfig, Initialiser, Rules, Sizes, normal, tables, times, xavier


class DeepNorm(NamedTuple):
    """alpha: how often the stream counts. beta: gain of the matrices that a sublayer's output is linear in."""

    alpha: float
    beta: float


def deep_norm(layers: int, other: int, encoder: bool) -> DeepNorm:
    """Returns the table of Wang et al. 2022, fig. 2.

    layers: of this stack; other: of the other one, 0 if there is none.
    """
    if not other:
        return DeepNorm((2 * layers) ** 0.25, (8 * layers) ** -0.25)
    if encoder:
        depth = (layers**4 * other) ** (1 / 16)
        return DeepNorm(0.81 * depth, 0.87 / depth)
    return DeepNorm((3 * layers) ** 0.25, (12 * layers) ** -0.25)


def gained(gain: float) -> Initialiser:
    """Returns Xavier normal times a gain."""
    return lambda w, g: nn.init.xavier_normal_(w, gain, generator=g)


@dataclass(frozen=True, kw_only=True)
class DeepNormInit(InitConfig):
    """Xavier normal, values, outputs and feed-forwards with gain beta; with residual=deep-norm.   Wang et al. 2022.

    arXiv:2203.00555, fig. 2. Tables as in `xavier`.
    """

    kind: ClassVar[str] = "deep-norm"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        n, m = sizes.encoder_layers, sizes.decoder_layers
        beta = (deep_norm(max(n, 1), m, encoder=True) if encoder else deep_norm(m, n, encoder=False)).beta
        return {**COMMON, **tables(sizes.width**-0.5), "adds": gained(beta), "matrix": gained(1.0)}


@dataclass(frozen=True, kw_only=True)
class TFixupInit(InitConfig):
    """Xavier, tables and what adds to the stream times (9 M)^-1/4; with residual=add.   Huang et al. 2020, T-Fixup.

    M layers in the decoder; values, outputs and feed-forwards of an encoder of N layers times 0.67 N^-1/4. Tables are
    normal(width^-1/2) before that. Without norms and without warm-up; published for an encoder with a decoder.
    """

    kind: ClassVar[str] = "t-fixup"

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        factor = (9 * sizes.decoder_layers) ** -0.25
        table, head = normal(factor * sizes.width**-0.5), normal(sizes.width**-0.5)
        adds = times(0.67 * max(sizes.encoder_layers, 1) ** -0.25 if encoder else factor, xavier)
        return {**COMMON, "table": table, "head": head, "adds": adds, "matrix": xavier}
