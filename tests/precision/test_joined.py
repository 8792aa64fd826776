"""Maps of the same input are one product, and give what they give alone."""

import copy

import pytest
import torch

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.architecture.base import ModelConfig
from transduce.model.feedforward.gated import GatedConfig
from transduce.model.layout import one_each
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.delta import GatedDeltaConfig
from transduce.precision.convert import Precision, convert, exchange, lowered, matrices
from transduce.precision.joined import Joint, Part
from transduce.testing.together import SIZE, Numbers, inputs_for

KINDS: dict[str, ModelConfig] = {
    "attention": DecoderConfig(width=128, layers=2, mixer=AttentionConfig(heads=4, kv_heads=2)),
    "delta, gated": DecoderConfig(width=64, layers=2, mixer=GatedDeltaConfig(), feedforward=GatedConfig()),
    "with a source": EncoderDecoderConfig(width=64, layers=1),
}


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
@pytest.mark.parametrize("kind", KINDS)
def test_joined_maps_give_what_each_gives(kind: str, precision: Precision) -> None:
    joined = KINDS[kind].build(SIZE, seed=1).eval()
    apart = copy.deepcopy(joined)
    for part in list(matrices(apart).values()):
        exchange(apart, part, lowered(part, precision))
    convert(joined, precision)
    parts = [part for part in joined.modules() if isinstance(part, Part)]
    assert len(parts) >= 3
    crossing = [name for name, part in joined.named_modules() if isinstance(part, Part) and name.endswith("cross.q")]
    assert not crossing, "the queries of a mixer that reads a source have another input than its keys"
    with torch.inference_mode():
        one, other = (
            decode(model, Numbers(), GenerateConfig(max_new_tokens=3, nbest=1), **inputs_for(model, (3, 9)))
            for model in (joined, apart)
        )
    tolerance = 3e-2 if precision == "bf16" else 1e-4
    for mine, theirs in zip(one, other, strict=True):
        assert mine[0].ids == theirs[0].ids
        assert mine[0].score == pytest.approx(theirs[0].score, abs=tolerance)


def test_the_product_is_made_once_and_not_kept() -> None:
    calls = list[int]()

    class Product(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return torch.cat([x, 2 * x], -1)

    joint = Joint(Product(), 2)
    first, second = Part(joint, 0, 3, 3), Part(joint, 3, 6, 3)
    x, z = torch.ones(1, 3), torch.zeros(1, 3)
    assert first(x).tolist() == [[1, 1, 1]]
    assert second(x).tolist() == [[2, 2, 2]]
    assert len(calls) == 1
    assert not vars(joint.last)
    assert first(x).tolist() == [[1, 1, 1]]
    assert second(z).tolist() == [[0, 0, 0]], "another input is multiplied anew"
    assert len(calls) == 3


def test_one_each_knows_where_rows_stand() -> None:
    assert one_each(torch.tensor([[4], [4]])).start == 4
    assert one_each(torch.tensor([[4], [3]])).start is None
    assert one_each(torch.tensor([[-1], [-1]])).start is None
