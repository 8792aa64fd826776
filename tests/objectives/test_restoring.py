"""Objectives that restore a text: which models may learn them, and that what is measured depends on nothing else."""

import pytest
import torch

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.objective import ObjectiveConfig
from transduce.objectives.restoring import RestoringConfig
from transduce.text.byte import Byte
from transduce.text.tokenizer import Tokenizer

SMALL = {"width": 12, "layers": 1, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}}
KINDS = [one for one in kinds(ObjectiveConfig.folder).values() if issubclass(one, RestoringConfig)]


def model(kind: type, tokenizer: Tokenizer) -> Model:
    return from_data(kind, SMALL).build(tokenizer.vocab_size)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_who_may_learn_it(kind: type[RestoringConfig], tokenizer: Tokenizer) -> None:
    kind().build_for(model(EncoderDecoderConfig, tokenizer), tokenizer)
    with pytest.raises(UserError, match=f"objective={kind.kind} .*model.kind=encoder-decoder"):
        kind().build_for(model(EncoderConfig, tokenizer), tokenizer)
    if not kind.decoders:
        with pytest.raises(UserError, match=f"objective={kind.kind} .*model.kind=encoder-decoder"):
            kind().build_for(model(DecoderConfig, tokenizer), tokenizer)
    with pytest.raises(UserError, match=f"objective={kind.kind} .*no tokeniser"):
        kind().build_for(model(EncoderDecoderConfig, tokenizer), None)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_measured_alone_or_together_it_is_the_same(kind: type[RestoringConfig], tokenizer: Tokenizer) -> None:
    made = model(EncoderDecoderConfig, tokenizer).double().eval()
    objective = kind().build_for(made, tokenizer)
    ids = torch.randint(5, 300, (4, 30), generator=torch.Generator().manual_seed(0))
    batch = Batch(ids, dense(4, 30), ids, examples=(3, 9, 4, 2))
    alone = [
        Batch(ids[[i]], dense(1, 30), ids[[i]], examples=(batch.examples[i],)) for i in range(4)
    ]  # fmt: skip
    together, parts = objective(made, batch), [objective(made, one) for one in alone]
    assert int(together.count) == sum(int(one.count) for one in parts) > 0
    torch.testing.assert_close(together.total, sum(one.total for one in parts), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match=r"batch.carry=false"):
        objective(made, batch._replace(offset=0))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_bytes_serve_where_no_special_token_is_needed(kind: type[RestoringConfig]) -> None:
    tokenizer = Byte().train([])
    made = model(EncoderDecoderConfig, tokenizer)
    if kind.kind in ("denoising", "gap-sentences", "prefix-lm"):
        kind().build_for(made, tokenizer)
    else:
        with pytest.raises(UserError, match=f"objective={kind.kind} .*set tokenizer."):
            kind().build_for(made, tokenizer)
