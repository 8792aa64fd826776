"""Gap sentences: those that say most of a text are hidden, and written."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from transduce.objectives.corruption import Corruption, Ids, Restoration, ids
from transduce.objectives.restoring import RestoringConfig, require_share
from transduce.objectives.sentences import endings, sentences
from transduce.text.tokenizer import Tokenizer


def rouge(sentence: Ids, rest: Counter[int]) -> float:
    """Returns ROUGE-1 F1 of a sentence and the rest of its text, both as counts of tokens, 0 to 1."""
    own, size = Counter[int](sentence.tolist()), sum(rest.values())
    both = sum((own & rest).values())
    return 2 * both / max(len(sentence) + size, 1)


def chosen(whole: Sequence[Ids], count: int, choose: str, rng: np.random.Generator) -> list[int]:
    """Returns the numbers of `count` sentences, in the order of the text."""
    if choose == "lead":
        return [*range(count)]
    if choose == "random":
        return sorted(rng.choice(len(whole), count, replace=False).tolist())
    every = Counter[int](token for sentence in whole for token in sentence.tolist())
    scores = [rouge(sentence, every - Counter[int](sentence.tolist())) for sentence in whole]
    return sorted(sorted(range(len(whole)), key=lambda i: -scores[i])[:count])


@dataclass(frozen=True, kw_only=True)
class GapSentencesConfig(RestoringConfig):
    """-log p(hidden sentences | the text with a mask in the place of each).   Zhang et al. 2019, arXiv:1912.08777.

    Sec. 3.1. A text of one sentence is hidden whole.

    fraction: of the sentences of a text that are hidden, at least one.
    choose: principal: those with the highest ROUGE-1 F1 to the rest of the text, each scored alone; random; lead: the
        first.
    """

    kind: ClassVar[str] = "gap-sentences"
    fraction: float = 0.3
    choose: Literal["principal", "random", "lead"] = "principal"

    def __post_init__(self) -> None:
        require_share(fraction=self.fraction)

    def corruption(self, tokenizer: Tokenizer) -> Corruption:
        mask, ends = tokenizer.mask, endings(tokenizer)

        def corrupt(tokens: Ids, rng: np.random.Generator) -> Restoration:
            if not len(tokens):
                return Restoration(tokens, tokens)
            whole = sentences(tokens, ends)
            gaps = chosen(whole, min(max(round(len(whole) * self.fraction), 1), len(whole)), self.choose, rng)
            source = (ids([mask]) if i in gaps else sentence for i, sentence in enumerate(whole))
            return Restoration(ids(*source), ids(*(whole[i] for i in gaps)))

        return corrupt
