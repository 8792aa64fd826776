import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from transduce.generate import packed
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.packed import give_up, reader
from transduce.generate.score import score
from transduce.model.architecture import DecoderConfig
from transduce.model.layout import dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.precision import packed as layout
from transduce.precision.packed import Packed
from transduce.tune.adapters import adapters
from transduce.tune.lora import LoRA
from transduce.tune.tuning import merge

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 33), (5, 33), (2, 7, 33), (1, 1, 33)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_a_linear_map(shape: tuple[int, ...], bias: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layout, "WORTH", 0)
    x, linear = torch.randn(shape), nn.Linear(33, 50, bias=bias)
    torch.testing.assert_close(Packed(linear.weight, linear.bias)(x), F.linear(x, linear.weight, linear.bias))


@needs_onednn
def test_decoding_is_the_same_packed_and_not(translator, letters, monkeypatch: pytest.MonkeyPatch):
    config, source = GenerateConfig(beam_size=3, max_new_tokens=8), [[3, 4], [5], [4, 4, 4]]
    monkeypatch.setattr(layout, "WORTH", 0)
    fast = decode(translator, letters, config, source=source)
    assert any(isinstance(m, Packed) for m in reader(translator).modules())
    monkeypatch.setattr(packed, "packable", lambda weights: False)
    plain = decode(translator, letters, config, source=source)
    assert not any(isinstance(m, Packed) for m in reader(translator).modules())
    assert [[h.ids for h in row] for row in fast] == [[h.ids for h in row] for row in plain]


@needs_onednn
def test_the_copy_is_kept_until_the_weights_change(decoder):
    first = reader(decoder)
    assert reader(decoder) is first
    assert not first.training
    with torch.no_grad():
        decoder.stacks()[0].blocks[0].mix.q.weight.add_(1.0)
    assert reader(decoder) is not first


def test_the_copy_shares_weights_and_modules_that_were_shared(decoder):
    copy = reader(decoder)
    assert {p.data_ptr() for p in copy.parameters()} <= {p.data_ptr() for p in decoder.parameters()}
    assert copy is not decoder
    positions = [m for name, m in copy.named_modules(remove_duplicate=False) if name.endswith("positions")]
    theirs = [m for name, m in decoder.named_modules(remove_duplicate=False) if name.endswith("positions")]
    assert len(set(map(id, positions))) == len(set(map(id, theirs)))


def test_what_is_not_float32_on_a_cpu_is_not_packed(decoder):
    assert not packed.packable(list(decoder.double().parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        assert not packed.packable(list(decoder.float().parameters()))


def test_a_hooked_map_is_left_alone_so_that_its_hook_still_sees_it(decoder):
    mixer, seen = decoder.stacks()[0].blocks[0].mix, []
    mixer.q.register_forward_hook(lambda *_: seen.append(1))
    copy = reader(decoder)
    copy.step(torch.tensor([[4]]), dense(1, 1), copy.init_state(1, 2))
    assert seen


@needs_onednn
def test_weights_in_bfloat16_are_those_of_autocast(decoder) -> None:
    low, x = reader(decoder, torch.bfloat16), torch.randn(3, 7, decoder.stack.blocks[0].mix.q.in_features)
    linear, packed = (model.stack.blocks[0].mix.q for model in (decoder, low))
    assert isinstance(packed, Packed)
    assert packed.weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected = linear(x)
    torch.testing.assert_close(packed(x), expected, atol=1e-2, rtol=1e-2)
    assert linear.weight.dtype == torch.float32


@needs_onednn
@pytest.mark.parametrize("tie", [True, False])
def test_giving_up_what_is_packed_changes_no_bit(tie: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.generate.packed.FEW", 1 << 20)  # bytes, of which this model has more
    config = DecoderConfig(width=768, layers=1, mixer=AttentionConfig(heads=4), tie_embeddings=tie)
    model, prompt = config.build(1000, seed=1).eval(), [[5, 6, 7], [8, 9]]
    how = GenerateConfig(beam_size=2, nbest=2, max_new_tokens=5)
    before = decode(model, Ids(), how, prompt=prompt)
    texts = score(model, Ids(), prompts=prompt, targets=[[4, 5], [6]])
    numbers = sum(p.numel() for p in model.parameters())
    give_up(model)
    assert sum(p.numel() for p in model.parameters()) < numbers / 2
    assert not any(type(m) is nn.Linear and m.weight.numel() >= layout.WORTH for m in model.modules())
    after = decode(model, Ids(), how, prompt=prompt)
    assert [[(h.ids, h.score) for h in row] for row in after] == [[(h.ids, h.score) for h in row] for row in before]
    assert score(model, Ids(), prompts=prompt, targets=[[4, 5], [6]]) == texts
    feed = model.stack.blocks[0].feed.up
    assert isinstance(feed, Packed)
    assert feed.weight.isnan().all()


def test_a_small_model_gives_up_nothing(decoder) -> None:
    before = list(decoder.modules())
    give_up(decoder)
    assert all(a is b for a, b in zip(decoder.modules(), before, strict=True))


class Ids:
    """A vocabulary of ids alone."""

    bos, eos = 1, 2

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


def test_weights_under_adapters_are_read_as_the_adapters_make_them(decoder, letters):
    LoRA(rank=2, targets=("*",)).adapt(decoder, torch.Generator())
    with torch.no_grad():
        for adapter in adapters(decoder):
            adapter.B.normal_()
    copy = reader(decoder)
    assert not any(parametrize.is_parametrized(module) for module in copy.modules())
    assert any(parametrize.is_parametrized(module) for module in decoder.modules())
    config, prompt = GenerateConfig(max_new_tokens=8), [[3, 4], [5]]
    before = decode(decoder, letters, config, prompt=prompt)
    merge(decoder)
    after = decode(decoder, letters, config, prompt=prompt)
    assert [[h.ids for h in row] for row in before] == [[h.ids for h in row] for row in after]
