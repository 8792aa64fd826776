"""A mixture of denoisers: each text says which of them it is, and is parted or corrupted so."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transduce.errors import UserError
from transduce.objectives.corruption import Corruption, Ids, Restoration, ids, require_sentinels
from transduce.objectives.prefix import parted
from transduce.objectives.restoring import RestoringConfig
from transduce.objectives.spans import hidden_spans, named
from transduce.text.tokenizer import Tokenizer


class Denoiser(NamedTuple):
    """mode: the token in front of the text. fraction, mean: as in span corruption; mean None: the rest is written."""

    mode: str
    fraction: float
    mean: float | None


# Tay et al. 2022, table 1: each is as likely.
DENOISERS = (
    Denoiser("[R]", 0.15, 3.0), Denoiser("[R]", 0.15, 8.0), Denoiser("[S]", 0.25, None), Denoiser("[X]", 0.5, 3.0),
    Denoiser("[X]", 0.5, 8.0), Denoiser("[X]", 0.15, 64.0), Denoiser("[X]", 0.5, 64.0),
)  # fmt: skip
MODES = ("[R]", "[S]", "[X]")


@dataclass(frozen=True, kw_only=True)
class MixtureConfig(RestoringConfig):
    """-log p(what is written | mode, the text as one of seven denoisers leaves it).   Tay et al. 2022.

    arXiv:2205.05131, sec. 3.1 and table 1: span corruption of few short spans (R), of long ones or many tokens (X), and
    the last quarter of a text, in the mean, from what is before it (S); each of the seven is as likely. The tokeniser
    has sentinels and the tokens [R], [S] and [X].
    """

    kind: ClassVar[str] = "mixture"
    decoders: ClassVar[bool] = True

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        modes = {mode: i for mode in MODES if (i := tokenizer.tokenizer.token_to_id(mode)) is not None}
        if missing := [mode for mode in MODES if mode not in modes]:
            raise UserError(
                f"objective=mixture puts a token in front of each text that says how it was changed, but the tokeniser "
                f"has no {missing[0]}; set tokenizer.specials=[{', '.join(repr(mode) for mode in MODES)}]"
            )
        sentinels = tokenizer.sentinels
        require_sentinels(2, sentinels, self.kind)

        def corrupt(tokens: Ids, rng: np.random.Generator) -> Restoration:
            if not len(tokens):
                return Restoration(tokens, tokens)
            mode, fraction, mean = DENOISERS[int(rng.integers(len(DENOISERS)))]
            if mean is None:
                changed = parted(tokens, rng, 2 * fraction)
            else:
                spans = hidden_spans(len(tokens), fraction, mean, rng)
                require_sentinels(len(spans) + 1, sentinels, self.kind)
                changed = named(tokens, spans, sentinels)
            return Restoration(ids([modes[mode]], changed.source), changed.target)

        return corrupt
