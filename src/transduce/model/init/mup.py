"""Start values under which the best learning rate does not depend on the width.

Tested in tests/model/test_init.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import nn

from transduce.errors import UserError, require_at_least
from transduce.model.init.fan import by_inputs
from transduce.model.init.init import COMMON, InitConfig, Rules, Sizes, normal


@dataclass(frozen=True, kw_only=True)
class MuPInit(InitConfig):
    """Matrices N(0, 1 / in), embeddings N(0, std^2), head N(0, base / width^2).   Yang et al. 2022, arXiv:2203.03466.

    The maximal update parametrisation, table 3, together with optimizer.mup_base_width: the learning rate found at a
    width of base_width is right at every width. Widen by more heads of one size (mixer.size).

    base_width: at which the learning rate was found.
    std: standard deviation of the embeddings.
    """

    kind: ClassVar[str] = "mup"
    base_width: int = 64
    std: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(1, base_width=self.base_width)

    def rules(self, sizes: Sizes, encoder: bool) -> Rules:
        head = normal(self.base_width**0.5 / sizes.width)
        return {**COMMON, "table": normal(self.std), "head": head, "matrix": by_inputs(1.0)}

    def apply(self, model: nn.Module, sizes: Sizes, seed: int) -> None:
        names, unique = ({n for n, _ in model.named_parameters(remove_duplicate=again)} for again in (False, True))
        if any("bands.tables." in name for name in names):
            raise UserError("init=mup does not say how tables of several widths start; use embedding=table")
        if any(name.endswith("head.weight") for name in names - unique):
            raise UserError(
                "init=mup starts and moves the embedding and the head differently, but they share one table; set "
                "model.tie_embeddings to false (decoder) or none (encoder-decoder)"
            )
        for name, module in cast(Iterable[tuple[str, nn.Module]], model.named_modules()):
            if name.endswith("embed") and getattr(module, "scale", 1.0) != 1.0:
                raise UserError(
                    "init=mup has no factor that grows with the width, but embeddings are multiplied by its root; set "
                    "model.scale_embedding=false"
                )
        super().apply(model, sizes, seed)
