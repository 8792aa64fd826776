"""Compares two models on the same ids, layer by layer."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from transduce.errors import UserError
from transduce.exchange import certificate
from transduce.exchange.answers import traced
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer


class Apart(NamedTuple):
    """The difference of two models at a layer.

    largest: the greatest absolute difference; infinite for other shapes.
    scale: the greatest absolute value of the second model.
    """

    name: str
    largest: float
    scale: float

    @property
    def near(self) -> bool:
        return self.largest <= certificate.TOLERANCE * max(1.0, self.scale)


def layer_by_layer(
    first: Model, second: Model, tokenizer: Tokenizer, texts: Sequence[str] = (), source: str = "",
    begins: Sequence[int] = (),
) -> list[Apart]:  # fmt: skip
    """Returns the differences, in order of the model.

    texts: are read by both models, one by one (none: some are made here).
    source: is read by the encoders of both.
    begins: the ids that every answer begins with, or none.
    Raises UserError for models of different kinds or vocabularies, and for texts that are too long.
    """
    if type(first) is not type(second):
        kinds = f"{type(first).__name__}, {type(second).__name__}"
        raise UserError(f"the two are of different kinds ({kinds}); compare like with like")
    if source:
        first.require_source(source)
    marks, apart = tokenizer.marks, dict[str, Apart]()
    if texts or source:
        above = torch.tensor([[*marks.before, *tokenizer.encode(source), *marks.after]]).long()
        answers = [[*marks.opens, *ids] for ids in tokenizer.encode_batch(texts or ("",), answers=True)]
        each = [torch.tensor([row or [tokenizer.bos]]) for row in answers]
        batches = [first.given(row, dense(1, row.shape[1]), above, dense(1, above.shape[1])) for row in each]
        rows = [(batch.inputs, batch.source) for batch in batches]
    else:
        questions = certificate.questions(first, tokenizer, begins, 1)
        rows = [(questions.ids, questions.source)]
    for ids, above in rows:
        for model in (first, second):
            longest = max(ids.shape[1], 0 if above is None else above.shape[1])
            if model.limit is not None and longest > model.limit:
                raise UserError(f"a text has {longest} tokens, but this model can read {model.limit}; shorten it")
        most = int(max(ids.max(), -1 if above is None else above.max()))
        try:
            left, right = (traced(model, ids, above) for model in (first, second))
        except IndexError:
            raise UserError(f"one of the tables ends before id {most}; compare models of one vocabulary") from None
        for name in dict.fromkeys([*left, *right]):
            shared = name in left and name in right
            gap = certificate.difference(left[name], right[name]) if shared else float("inf")
            scale = float(right[name].abs().max()) if name in right else 0.0
            old = apart.get(name, Apart(name, 0.0, 0.0))
            apart[name] = Apart(name, max(old.largest, gap), max(old.scale, scale))
    return list(apart.values())
