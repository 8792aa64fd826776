"""Two models on the same ids, layer by layer."""

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
    """One layer. largest: absolute difference; infinite for other shapes. scale: greatest value of the second."""

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
    """The differences in order of the model. texts: read by both, one by one; none: some that are made here.

    begins: the ids that every answer begins with, if there are such.

    Raises UserError for models that do not read alike, and for texts that are too long.
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
        asked = certificate.questions(first, tokenizer, begins, 1)
        rows = [(asked.ids, asked.source)]
    for ids, above in rows:
        for model in (first, second):
            longest = max(ids.shape[1], 0 if above is None else above.shape[1])
            if model.limit is not None and longest > model.limit:
                raise UserError(f"a text has {longest} tokens, but this model can read {model.limit}; shorten it")
        most = int(max(ids.max(), -1 if above is None else above.max()))
        try:
            ours, theirs = (traced(model, ids, above) for model in (first, second))
        except IndexError:
            raise UserError(f"one of the tables ends before id {most}; compare models of one vocabulary") from None
        for name in dict.fromkeys([*ours, *theirs]):
            there = name in ours and name in theirs
            gap = certificate.difference(ours[name], theirs[name]) if there else float("inf")
            scale = float(theirs[name].abs().max()) if name in theirs else 0.0
            old = apart.get(name, Apart(name, 0.0, 0.0))
            apart[name] = Apart(name, max(old.largest, gap), max(old.scale, scale))
    return list(apart.values())
