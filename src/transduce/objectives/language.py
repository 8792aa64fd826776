"""Predicting the next token."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from transduce.errors import UserError
from transduce.model.models import Model
from transduce.objectives.objective import Objective, ObjectiveConfig, token_loss
from transduce.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class NextTokenConfig(ObjectiveConfig):
    """-log p(token | tokens before).   Bengio et al. 2003.

    label_smoothing: probability that is spread over all tokens instead of given to the target.
    """

    kind: ClassVar[str] = "next-token"
    mute: ClassVar[tuple[str, ...]] = ()
    label_smoothing: float = 0.0

    def build(self) -> Objective:
        return partial(token_loss, smoothing=checked(self.label_smoothing))

    def build_for(self, model: Model, tokenizer: Tokenizer | None) -> Objective:
        if not model.writes:
            raise UserError(
                "objective=next-token asks for the token after each, which an encoder sees; use objective=masked-lm, "
                "or model.kind=decoder"
            )
        return super().build_for(model, tokenizer)


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(ObjectiveConfig):
    """-log p(target token | target before, source), label-smoothed.   Vaswani et al. 2017, sec. 5.4.

    label_smoothing: probability that is spread over all tokens instead of given to the target.
    """

    kind: ClassVar[str] = "translation"
    label_smoothing: float = 0.1

    def build(self) -> Objective:
        return partial(token_loss, smoothing=checked(self.label_smoothing))


def checked(smoothing: float) -> float:
    if not 0.0 <= smoothing < 1.0:
        raise UserError(f"label_smoothing={smoothing} is not in [0, 1); use 0.1, or 0 for none")
    return smoothing
