"""How like an answer is to the expected one, as the reward.

Tested in tests/tasks/test_explore.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal
from unicodedata import normalize

from sacrebleu.metrics.bleu import BLEU

from transduce.tasks.rewards.source import RewardSource


@dataclass(frozen=True, kw_only=True)
class MeasureReward(RewardSource):
    """Each answer measured against the expected one of the data, from 0 to 1.

    name: exact: 1 where both are the same text but for white space at the ends, else 0; bleu: BLEU of the sentence,
        with effective order.
    """

    kind: ClassVar[str] = "measure"
    name: Literal["exact", "bleu"] = "exact"

    def given(self, prompts: Sequence[str], answers: Sequence[str], expected: Sequence[str]) -> Iterable[Any]:
        pairs = zip(answers, expected, strict=True)
        if self.name == "exact":
            return [float(normalize("NFC", a).strip() == normalize("NFC", e).strip()) for a, e in pairs]
        bleu = BLEU(effective_order=True)
        return [bleu.sentence_score(a, [e]).score / 100 for a, e in pairs]
