"""Whole models in fewer bits: which matrices are exchanged, and that everything that reads goes on reading."""

from typing import Any, cast

import pytest
import torch
from torch import nn

from transduce.config import kinds
from transduce.errors import Notice, UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.packed import reader
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.feedforward.experts import ExpertsConfig
from transduce.model.layout import dense
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.precision import measure
from transduce.precision.convert import LEAST, Precision, convert, matrices
from transduce.precision.maps import Map, MapHead
from transduce.runs.quantised import FULL, read_in

KINDS = ("bf16", "int8", "int4")
SOURCE, PROMPT = [[4, 5, 6], [7, 8], [9, 4, 4, 4, 6]], [[4, 5], [7], [9, 4, 4]]


class Ids:
    """A vocabulary of ids alone."""

    bos, eos = 1, 2

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


def mixers() -> list[Any]:
    found = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values() if not kind.absent]
    return [pytest.param(kind, id=kind.kind) for kind in found]


def logits(model: Model) -> torch.Tensor:
    ids = torch.tensor([[4, 5, 6, 7, 8, 9, 4]])
    source = (ids, dense(1, 7)) if model.takes_source else (None, None)
    with torch.inference_mode():
        return model.token_head(model.features(Batch(ids, dense(1, 7), ids, *source)))


def model_of(mixer: MixerConfig | None = None, **options: Any) -> Model:
    mixer = AttentionConfig(heads=4) if mixer is None else mixer
    return DecoderConfig(width=32, layers=2, mixer=mixer, **options).build(40, seed=1).eval()


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("kind", mixers())
def test_a_model_with_any_mixer_reads_and_writes_in_fewer_bits(kind: type[MixerConfig], precision: Precision) -> None:
    for config in kind.examples():
        try:
            model = model_of(config)
        except UserError:  # this kind needs another model
            continue
        parts = len(matrices(model, 0))
        before = logits(model) if "forward" not in model.stacks()[0].blocks[0].mix.cannot else None
        share = convert(model, precision, least=0)
        assert sum(isinstance(m, Map) for m in model.modules()) == parts
        assert 0 < share.low <= share.all
        assert not matrices(model, 0)
        if before is None:
            continue
        after = logits(model)
        assert after.isfinite().all()
        assert float((after - before).square().mean()) < 0.1 * float(before.square().mean())
        rows = decode(model, Ids(), GenerateConfig(max_new_tokens=4), prompt=PROMPT)
        assert len(rows) == 3


@pytest.mark.parametrize("precision", KINDS)
def test_an_input_is_answered_alike_alone_and_among_others(precision: Precision) -> None:
    model = EncoderDecoderConfig(width=32, layers=1, mixer=AttentionConfig(heads=4)).build(40, seed=1).eval()
    with torch.no_grad():
        model.token_head.weight.mul_(6)
    convert(model, precision, least=0)
    config = GenerateConfig(beam_size=3, max_new_tokens=6)
    together = decode(model, Ids(), config, source=SOURCE)
    alone = [decode(model, Ids(), config, source=[row])[0] for row in SOURCE]
    assert [[h.ids for h in row] for row in together] == [[h.ids for h in row] for row in alone]


def test_the_router_and_small_matrices_stay() -> None:
    model = model_of(feedforward=ExpertsConfig(experts=3, top=2))
    names = matrices(model, 0)
    assert not any("router" in name for name in names)
    assert any("experts" in name for name in names)
    assert all(part.weight.numel() >= LEAST for part in matrices(model).values())


def test_a_matrix_that_is_shared_is_exchanged_once_and_stays_shared() -> None:
    model = model_of()
    first, second = (block.feed for block in model.stacks()[0].blocks)
    second.up = first.up
    convert(model, "int8", least=0)
    assert isinstance(first.up, Map)
    assert second.up is first.up


def test_a_hooked_map_stays_so_that_its_hook_still_sees_it() -> None:
    model, seen = model_of(), []
    model.stacks()[0].blocks[0].mix.q.register_forward_hook(lambda *_: seen.append(1))
    convert(model, "int8", least=0)
    logits(model)
    assert seen


def test_the_head_has_eight_bits_and_the_table_stays_in_float32() -> None:
    model = model_of()
    table = model.embed.weight.clone()
    convert(model, "int4", least=0)
    assert isinstance(model.head, MapHead)
    assert type(model.head.map).__name__ == "Int8Map"
    assert torch.equal(model.embed.weight, table)
    q = model.stacks()[0].blocks[0].mix.q
    assert (q.weight.shape, q.weight.dtype) == ((32, 32), torch.float32)
    assert nn.functional.linear(torch.randn(1, 32), q.weight).isnan().all()  # numbers that are not there show


def test_what_decoding_packs_is_not_what_is_in_fewer_bits() -> None:
    model = model_of()
    convert(model, "int8", least=0)
    assert torch.equal(logits(model), logits(reader(model)))


def test_fp32_is_the_model_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of()
    before, state = logits(model), [*model.modules()]
    assert read_in(model, "fp32") is FULL
    assert all(a is b for a, b in zip(model.modules(), state, strict=True))
    assert torch.equal(logits(model), before)


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ({"bf16": (0.5, 0.2), "int8": (2.0, 3.0)}, "int8"), ({"bf16": (2.5, 3.0), "int8": (2.0, 3.0)}, "bf16"),
        ({"bf16": (0.5, 0.2), "int8": (0.9, 1.1)}, "fp32"), ({"bf16": (1.0, 1.0), "int8": (1.01, 1.01)}, "fp32"),
    ],
)  # fmt: skip
def test_auto_takes_the_fastest_and_says_what_it_found(
    found: dict[Precision, tuple[float, float]], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {kind: measure.Speed(*pair) for kind, pair in found.items()}
    monkeypatch.setattr("transduce.runs.quantised.speeds", lambda model, kinds: {k: speeds[k] for k in kinds})
    model = model_of(mixer=AttentionConfig(heads=4), feedforward=ExpertsConfig(experts=2, top=1))
    monkeypatch.setattr("transduce.runs.quantised.matrices", lambda model: matrices(model, 0))
    reading = read_in(model, "auto")
    assert reading.precision == chosen
    assert reading.line.startswith(f"precision auto: {chosen}")


def test_who_asks_for_a_slower_precision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transduce.runs.quantised.speeds", lambda model, kinds: {"int4": measure.Speed(0.6, 0.5)})
    monkeypatch.setattr("transduce.runs.quantised.matrices", lambda model: matrices(model, 0))
    with pytest.warns(Notice, match="slower than fp32 on this machine"):
        reading = read_in(model_of(), "int4")
    assert reading.precision == "int4"
    assert "slower than fp32 on this machine" in reading.line


def test_a_model_without_matrices_stays_as_it_is_and_says_so() -> None:
    model = DecoderConfig(width=8, layers=1, mixer=AttentionConfig(heads=2)).build(10, seed=0).eval()
    reading = read_in(model, "int8")
    assert reading.precision == "fp32"
    assert "no matrix" in reading.line


def test_what_is_measured_is_every_shape_in_every_precision() -> None:
    found = measure.speeds(DecoderConfig(width=64, layers=1, mixer=AttentionConfig(heads=2)).build(70), KINDS)
    assert set(found) == set(KINDS)
    assert all(speed.alone > 0 and speed.together > 0 for speed in found.values())
