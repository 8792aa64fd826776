"""What stands before and behind a stack, where models of others have something of their own."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.objectives.objective import token_loss

SMALL: dict[str, Any] = {"width": 12, "layers": 2, "mixer": {"heads": 3}}


def test_a_projection_is_linear_so_the_mean_may_come_before_or_after() -> None:
    model = from_data(EncoderConfig, {**SMALL, "head": {"kind": "projection", "size": 7}}).build(11)
    hidden = torch.randn(2, 5, 12)
    torch.testing.assert_close(model.head(hidden).mean(1), model.head(hidden.mean(1)))
    assert model.head(hidden).shape == (2, 5, 7)
    assert [name for name, _ in model.head.named_parameters()] == ["out.weight"]
    with pytest.raises(UserError, match="size=0"):
        from_data(EncoderConfig, {**SMALL, "head": {"kind": "projection", "size": 0}})


@pytest.mark.parametrize("config", [DecoderConfig, EncoderDecoderConfig, EncoderConfig])
def test_what_is_embedded_has_a_deviation_of_one(config: type[ModelConfig]) -> None:
    """By default, before positions are added."""
    model = cast(Any, from_data(config, {"layers": 1, "positions": "none"}).build(2000)).eval()
    ids = torch.randint(0, 2000, (8, 200), generator=torch.Generator().manual_seed(0))
    for side in (model.encoder, model.decoder) if config is EncoderDecoderConfig else (model,):
        assert 0.9 < side.embed(ids, dense(8, 200)).std() < 1.1


def test_deep_norm_may_end_in_one_more_norm() -> None:
    residual = {"kind": "deep-norm", "alpha": 1.5}
    plain, ended = (
        from_data(DecoderConfig, {**SMALL, "residual": {**residual, "final_norm": final}}).build(11).eval()
        for final in (False, True)
    )
    assert isinstance(plain.stacks()[0].leave, nn.Identity)
    plain.load_state_dict(ended.state_dict(), strict=False)
    ids = torch.randint(0, 11, (2, 5))
    batch = Batch(ids, dense(2, 5), ids)
    torch.testing.assert_close(ended.features(batch), ended.stacks()[0].leave(plain.features(batch)))


@pytest.mark.parametrize("tie", ["all", "inputs", "output", "none"])
def test_a_target_may_be_embedded_otherwise_than_its_source(tie: str) -> None:
    embedding = {"kind": "table", "types": 2, "norm": True}
    data = {**SMALL, "embedding": embedding, "decoder_embedding": {"kind": "table"}, "tie_embeddings": tie}
    model = cast(Any, from_data(EncoderDecoderConfig, data).build(11))
    assert model.encoder.embed.types.shape == (2, 12)
    assert model.decoder.embed.types is None
    assert (model.encoder.embed.weight is model.decoder.embed.weight) == (tie in ("all", "inputs"))
    ids = torch.randint(0, 11, (2, 5))
    token_loss(model, Batch(ids, dense(2, 5), ids, ids, dense(2, 5)), 0.0).total.backward()
    assert all(p.grad is not None for p in model.parameters())
