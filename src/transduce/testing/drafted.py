"""The law of drafts: a text is the same with guesses and without, to the last bit of its score."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.draft.draft import MOST, DraftConfig
from transduce.generate.draft.lookup import LookupConfig
from transduce.model.models import Model
from transduce.testing.together import SIZE, Inputs, Numbers, inputs_for

WAYS = (
    GenerateConfig(max_new_tokens=20),
    GenerateConfig(max_new_tokens=20, temperature=0.7, top_k=20),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Known(DraftConfig):
    """Guesses what was written before, but for every n-th token, so that guesses fail at every place.

    texts: by prompt or source. wrong: n. steps: how many guesses it was asked for, each time.
    """

    texts: dict[tuple[int, ...], list[int]]
    wrong: int
    steps: list[int] = field(default_factory=list[int])

    def begin(self, source: Sequence[int] | None, prompt: Sequence[int], most: int) -> "Knowing":
        return Knowing(self, len(prompt), self.texts[tuple(source or prompt)])


class Knowing:
    """`Drafter` that knows the text."""

    def __init__(self, config: Known, start: int, ids: list[int]) -> None:
        self.config, self.start, self.ids = config, start, ids

    def guess(self, text: Sequence[int], most: int) -> list[int]:
        self.config.steps.append(most)
        at = len(text) - self.start
        right = self.ids[at : at + most]
        return [(i + 1) % SIZE if (at + n) % self.config.wrong == 0 else i for n, i in enumerate(right)]


def drafted(model: Model, lengths: Sequence[int] = (1, 13)) -> None:
    """Writes after inputs of several lengths with and without drafts, greedily and by drawing.

    Raises AssertionError where a token or a bit of a score differs, or where good guesses spare no steps. The promise
    is one for CPUs, in float32, for the sizes that `together` names.
    """
    given = inputs_for(model, lengths)
    for way in WAYS:
        plain = decode(model, Numbers(), way, alike=True, **given)
        texts: dict[tuple[int, ...], list[int]] = {}
        for (best,), row in zip(plain, rows_of(given), strict=True):
            end = Numbers().eos
            texts[tuple(row)] = [*best.ids, end]
            texts[(*row, end)] = [*best.ids, end]
        known = [Known(tokens=tokens, texts=texts, wrong=wrong) for tokens, wrong in ((MOST, 1 << 30), (5, 4))]
        for draft in (*known, LookupConfig()):
            others = decode(model, Numbers(), replace(way, draft=draft), **given)
            for (one,), (other,), row in zip(plain, others, rows_of(given), strict=True):
                assert (one.ids, one.score.hex(), one.finished) == (other.ids, other.score.hex(), other.finished), (
                    f"drafted, temperature {way.temperature}, {type(draft).__name__} of {draft.tokens} tokens: after "
                    f"{len(row)} tokens {other} is written, and {one} without a draft"
                )
        steps, written = len(known[0].steps), sum(len(best.ids) for (best,) in plain)
        assert steps <= written // 4 or written < 30, f"drafted: guesses are right and leave {steps} of {written} steps"


def rows_of(given: Inputs) -> list[list[int]]:
    """Returns the inputs of a model: its sources, or else its prompts."""
    rows = given["source"] or given["prompt"]
    assert rows is not None
    return rows
