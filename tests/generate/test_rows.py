"""Requests that come and go while others write: each gets what `decode` gives it alone, to the last bit."""

from dataclasses import fields, replace
from typing import Any, cast

import pytest
import torch

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.lane import Lane, put
from transduce.generate.rows import Growing, Request, Rows
from transduce.generate.sample import name_streams
from transduce.generate.score import score
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.models import Model
from transduce.testing.together import SIZE, Numbers

WIDTH = 64
MIXERS = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values() if not kind.absent]
WAYS = (
    GenerateConfig(max_new_tokens=9),
    GenerateConfig(max_new_tokens=24, temperature=1.0, top_k=30, top_p=0.95, seed=3),
    GenerateConfig(max_new_tokens=7, beam_size=3, nbest=2),
    GenerateConfig(max_new_tokens=12, repetition_penalty=1.5, no_repeat_ngram=2),
    GenerateConfig(max_new_tokens=11, stop=("7",)),
    GenerateConfig(max_new_tokens=6, temperature=0.5, seed=4),
)
LENGTHS = (1, 37, 16, 5, 70, 33, 2, 64)


def built(config: DecoderConfig | EncoderDecoderConfig) -> Model | None:
    """The model with numbers that hide nothing; None where there is none."""
    try:
        model = config.build(SIZE)
    except UserError:
        return None
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def requests(model: Model, lengths: tuple[int, ...] = LENGTHS) -> list[Request]:
    generator = torch.Generator().manual_seed(1)
    out = list[Request]()
    for number, length in enumerate(lengths):
        ids = torch.randint(3, SIZE, (length,), generator=generator).tolist()
        way = WAYS[number % len(WAYS)]
        source, prompt = ([*ids, 2], [1]) if model.takes_source else (None, ids)
        ((stream,),) = name_streams([(source or prompt, prompt)], 1, way.seed)
        out.append(Request(prompt, way, way.max_new_tokens, source, stream, look=2))
    return out


def through(rows: Rows, wanted: list[Request], gap: int = 1) -> list[Growing]:
    """All requests, a new one every `gap` steps, as far as there are rows for them."""
    waiting, out, step = list(wanted), list[Growing](), 0
    while waiting or not rows.idle:
        while waiting and rows.used + waiting[0].config.beam_size <= rows.most and step % gap == 0:
            out.append(rows.admit(waiting.pop(0)))
        rows.step()
        step += 1
    return out


def as_alone(model: Model) -> None:
    """Raises AssertionError where a request gets other ids or bits beside others than alone, or than `decode` gives."""
    wanted = requests(model)
    rows = Rows(model, Numbers(), most=7)
    together = through(rows, wanted)
    assert rows.lane.state is None
    assert rows.used == 0
    for request, one in zip(wanted, together, strict=True):
        assert one.error is None
        (alone,) = through(Rows(model, Numbers()), [request])
        source = None if request.source is None else [request.source]
        (plain,) = decode(model, Numbers(), request.config, source=source, prompt=[request.prompt], alike=True)
        bits = [[(h.ids, h.score.hex()) for h in many] for many in (one.hypotheses, alone.hypotheses, plain)]
        assert bits[0] == bits[1] == bits[2], f"{request.config}, {len(request.prompt)} tokens"
        assert one.take() == alone.take()


def even(kind: type[MixerConfig]) -> MixerConfig:
    heads = {"heads": 2} if "heads" in {field.name for field in fields(kind)} else {}
    return kind(**heads, **({"normalise": False} if kind.kind == "linear" else {}))


@pytest.mark.parametrize("kind", MIXERS, ids=lambda kind: kind.kind)
def test_every_mixer_in_a_decoder_writes_as_alone(kind: type[MixerConfig]) -> None:
    model = built(replace(from_data(DecoderConfig, {"width": WIDTH, "layers": 2}), mixer=even(kind)))
    if model is None:
        pytest.skip("does not stand in a decoder")
    as_alone(model)


@pytest.mark.parametrize("more", [{}, {"cross": "additive"}, {"mixer": {"window": 20, "sinks": 2}}, {"mixer": "gru"}])
def test_an_encoder_and_a_decoder_write_as_alone(more: dict[str, Any]) -> None:
    model = built(from_data(EncoderDecoderConfig, {"width": WIDTH, "layers": 2, **more}))
    assert model is not None
    as_alone(model)


@pytest.fixture(scope="module")
def decoder() -> Model:
    model = built(from_data(DecoderConfig, {"width": WIDTH, "layers": 2}))
    assert model is not None
    return model


def test_log_p_of_every_token_and_the_likeliest_in_its_place(decoder: Model) -> None:
    request = Request(list(range(3, 60)), WAYS[0], 9, look=3, echo=True)
    (one,) = through(Rows(decoder, Numbers()), [request])
    tokens = one.take()
    assert [t.id for t in tokens][: len(one.hypotheses[0].ids)] == one.hypotheses[0].ids
    assert sum(t.log_p or 0 for t in tokens) == pytest.approx(one.hypotheses[0].score, abs=1e-4)
    assert all(t.top[0] == (t.id, t.log_p) for t in tokens), "greedy takes the likeliest"
    assert [t.id for t in one.prompt] == request.prompt
    assert one.prompt[0].log_p is None
    (whole,) = score(decoder, Numbers(), prompts=[request.prompt[:1]], targets=[request.prompt[1:]], ends=False)
    assert [t.log_p for t in one.prompt[1:]] == pytest.approx(whole.tokens, abs=1e-5)


def test_a_request_that_writes_nothing_is_scored(decoder: Model) -> None:
    rows = Rows(decoder, Numbers())
    one = rows.admit(Request([4, 5, 6], WAYS[0], 0, look=1, echo=True))
    assert rows.step() == [one]
    assert one.over
    assert one.hypotheses == []
    assert len(one.prompt) == 3


def test_who_leaves_frees_its_rows_and_changes_nobody(decoder: Model) -> None:
    wanted = requests(decoder, (40, 3, 5))
    alone = [through(Rows(decoder, Numbers()), [request])[0].hypotheses for request in wanted]
    for leaving in range(3):
        for after in (0, 1, 3):
            rows = Rows(decoder, Numbers())
            ones = [rows.admit(request) for request in wanted]
            for _ in range(after):
                rows.step()
            rows.drop(ones[leaving])
            rows.drop(ones[leaving])
            while not rows.idle:
                rows.step()
            assert rows.used == 0
            assert rows.lane.nbytes == 0
            assert [one.hypotheses for i, one in enumerate(ones) if i != leaving] == [
                hypotheses for i, hypotheses in enumerate(alone) if i != leaving
            ]


def test_an_error_is_that_of_one_request(decoder: Model) -> None:
    wanted = requests(decoder, (5, 3))
    broken = wanted[0]._replace(config=GenerateConfig(suppress=tuple(range(SIZE))))
    one, other = through(Rows(decoder, Numbers()), [broken, wanted[1]])
    assert "finite probability" in str(one.error)
    assert other.error is None
    assert other.hypotheses


def test_a_long_prompt_is_read_in_chunks_while_others_write(decoder: Model) -> None:
    rows = Rows(decoder, Numbers())
    short = rows.admit(Request([5], WAYS[0], 9))
    rows.step()
    long = rows.admit(Request([4] * 320, WAYS[0], 9))
    for _ in range(4):
        rows.step()
    assert short.written >= 5
    assert long.written == 0
    assert 4 / len(decoder.towers()[-1].stack.order) * 32 <= long.at <= 4 * 32, "a block a step at least"


def test_a_lane_makes_room_for_rows_and_tokens() -> None:
    x = put(torch.arange(6).view(2, 3), 2, torch.tensor([[7, 8, 9, 10]]))
    assert x.tolist() == [[0, 1, 2, -1], [3, 4, 5, -1], [7, 8, 9, 10], [-1] * 4]
    assert put(x, 0, torch.tensor([[5]]))[0].tolist() == [5, -1, -1, -1]
    assert Lane().nbytes == 0
