"""Maps of every mixer: attention's are the weights it used, those of linear memories its exact derivatives."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data, kinds
from transduce.errors import UserError
from transduce.inspect.looking import maps
from transduce.inspect.maps import Call, map_of, run
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.model.block import Block
from transduce.model.layout import dense
from transduce.model.mixers.mixer import Mixer, MixerConfig
from transduce.model.positions.position import Positions

KINDS = [cast(type[MixerConfig], kind) for kind in kinds(MixerConfig.folder).values() if not kind.absent]
CASES = [config for kind in KINDS for config in kind.examples()]
T, WIDTH = 7, 16


def built(config: MixerConfig) -> Mixer:
    mixer = config.build(WIDTH, Positions()).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in mixer.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return mixer


def calls(mixer: Mixer) -> list[Call]:
    x, source = torch.randn(2, 1, T, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64).unbind()
    every = {
        "forward": Call(mixer, "forward", x, dense(1, T)),
        "encode": Call(mixer, "encode", x, dense(1, T)),
        "read": Call(mixer, "read", x[:, :3], dense(1, 3), source, dense(1, T)),
    }
    out = list[Call]()
    for call in every.values():
        try:
            run(call, call.x, call.source)
        except UserError:
            continue
        out.append(call)
    return out


def slopes(call: Call) -> Tensor:
    """(T, N): the norm of d y_t / d x_s by finite differences."""
    given = call.x if call.source is None else call.source
    total = torch.zeros(call.x.shape[1], given.shape[1], dtype=torch.float64)
    for s in range(given.shape[1]):
        for m in range(WIDTH):
            step = torch.zeros_like(given)
            step[0, s, m] = 1e-6
            ahead, back = (
                run(call, call.x if call.source is not None else given + d, None if call.source is None else given + d)
                for d in (step, -step)
            )
            total[:, s] += ((ahead - back) / 2e-6)[0].square().sum(-1)
    return total.sqrt()


@pytest.mark.parametrize("config", CASES, ids=str)
def test_a_map_is_what_the_mixer_does(config: MixerConfig) -> None:
    mixer = built(config)
    checked = calls(mixer)
    assert checked
    for call in checked:
        kind, weights = map_of(call)
        given = call.x if call.source is None else call.source
        assert weights.shape[1:] == (call.x.shape[1], given.shape[1])
        if kind == "gradient":
            with torch.no_grad():
                torch.testing.assert_close(weights[0], slopes(call), atol=1e-5, rtol=1e-5)
        elif call.role == "forward":
            assert not weights.triu(1).any(), "a token takes of those behind it"
        if kind == "weights" and config.kind not in ("differentiable-window",):
            torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        if kind != "gradient":
            as_used(mixer, call, weights)


def as_used(mixer: Any, call: Call, weights: Tensor) -> None:
    """Where a mixer maps values linearly and hands what it found to a last map: the map times the values is that."""
    name = "value" if hasattr(mixer, "value") and isinstance(mixer.value, torch.nn.Linear) else "v"
    if not all(isinstance(getattr(mixer, part, None), torch.nn.Linear) for part in (name, "out")):
        return
    v, y = list[Tensor](), list[Tensor]()
    hooks = [
        getattr(mixer, name).register_forward_hook(lambda _m, _x, out: v.append(out)),
        mixer.out.register_forward_pre_hook(lambda _m, x: y.append(x[0])),
    ]
    finish = vars(mixer).get("finish")
    if hasattr(mixer, "finish") and hasattr(mixer, "rule"):
        mixer.finish = lambda z, _x: z[..., :-1] / (z[..., -1:] + 1e-6) if getattr(mixer, "normalise", False) else z
    with torch.no_grad():
        run(call, call.x, call.source)
    for hook in hooks:
        hook.remove()
    if hasattr(mixer, "rule"):
        del mixer.finish
        assert finish is None
    heads = weights.shape[0]
    size = y[-1].shape[-1] // heads
    values = v[0].unflatten(-1, (-1, size))[0].transpose(0, 1)  # (G, N, E)
    if type(mixer).__name__ == "DifferentiableWindow":
        given = (call.x, call.layout) if call.source is None else (call.source, call.source_layout)
        values = mixer.write(*given).fields[0][0]
    values = values.repeat_interleave(heads // values.shape[0], 0)
    used = y[-1].expand(1, call.x.shape[1], -1)[0]
    torch.testing.assert_close((weights @ values).transpose(0, 1).flatten(1), used, atol=1e-6, rtol=1e-6)


def test_a_state_space_model_by_finite_differences() -> None:
    mixer: Any = built(next(kind for kind in KINDS if kind.kind == "ssm").examples()[0])
    (call,) = [call for call in calls(mixer) if call.role == "forward"]
    inner, before = mixer.inputs, mixer.combine

    def outcome(step: Tensor | None) -> Tensor:
        seen = list[Tensor]()

        def inputs(*given: Any) -> Any:
            terms, past = inner(*given)
            return terms if step is None else terms._replace(x=terms.x + step), past

        def combine(y: Tensor, t: Any, x: Tensor) -> Tensor:
            seen.append(y + mixer.D[:, None, None] * t.x)
            return before(y, t, x)

        mixer.inputs, mixer.combine = inputs, combine
        run(call, call.x, None)
        del mixer.inputs, mixer.combine
        return seen[0]

    with torch.no_grad():
        weights, zero = map_of(call)[1], outcome(None)
        for s in range(T):
            step = torch.zeros_like(zero)
            step[:, :, s, 0] = 1e-3
            torch.testing.assert_close((outcome(step) - zero)[0, :, :, 0] / 1e-3, weights[..., s], atol=1e-5, rtol=1e-5)


NAMES = lambda ids: [str(i) for i in ids]  # noqa: E731


def test_maps_of_a_whole_model_leave_it_as_it_was() -> None:
    model = from_data(EncoderDecoderConfig, {"width": 16, "layers": 2, "mixer": {"heads": 2}}).build(13)
    every = maps(model, [1, 8, 9], NAMES, [4, 5, 6, 2])
    assert [(one.name, one.kind, tuple(one.weights.shape)) for one in every[:2]] == [
        ("encoder layer 1 mix", "weights", (2, 4, 4)), ("encoder layer 2 mix", "weights", (2, 4, 4)),
    ]  # fmt: skip
    crosses = [one for one in every if one.name.endswith("cross")]
    assert [tuple(one.weights.shape) for one in crosses] == [(2, 3, 4)] * 2
    assert crosses[0].columns == ["4", "5", "6", "2"]
    assert model.training
    assert not any(name in vars(mixer) for stack in model.stacks() for block in stack.blocks
                   for mixer in cast(Block, block).children() for name in ("forward", "read", "encode"))  # fmt: skip


@pytest.mark.parametrize("kind", ["lstm", "gated-delta", "attention", "convolution", "ssm"])
def test_a_decoder_and_an_encoder_of_any_mixer_have_maps(kind: str) -> None:
    more = {"width": 16, "layers": 2, "positions": "none", "mixer": kind}
    every = maps(from_data(DecoderConfig, more).build(13), [1, 5, 6], NAMES)
    assert [tuple(one.weights.shape[1:]) for one in every] == [(3, 3)] * 2
    (first, *_) = maps(from_data(EncoderConfig, more).build(13), [1, 5, 6], NAMES)
    assert first.rows == first.columns == ["1", "5", "6"]


def test_token_by_token_is_one_map() -> None:
    more = {"mixer": "gru", "cross_place": "inside", "positions": "none", "cross": "additive"}
    model = from_data(EncoderDecoderConfig, {"width": 16, "layers": 1, **more}).build(13)
    found = [one for one in maps(model, [1, 8, 9], NAMES, [4, 5, 2]) if "decoder" in one.name]
    every = {one.name.rpartition(" ")[2]: one for one in found}
    assert tuple(every["cross"].weights.shape[1:]) == (3, 3)
    assert every["mix"].kind == "gradient"
