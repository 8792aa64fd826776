"""The condition of a denoiser: who is given it, how often it is computed, and that nothing is changed at the start."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig, ModelConfig
from transduce.model.architecture.denoiser import DenoiserConfig
from transduce.model.batch import Batch
from transduce.model.condition import Condition, sinusoid
from transduce.model.denoiser import Denoiser
from transduce.model.layout import dense, right_padded
from transduce.model.process.process import Noisy
from transduce.model.residual.adaptive import AdaptiveConfig

SMALL: dict[str, Any] = {
    "width": 12, "layers": 2, "mixer": {"heads": 3}, "embedding": "vectors", "head": {"kind": "numbers", "size": 5},
    "classes": 3, "frequencies": 8, "residual": {"kind": "adaptive", "dropout": 0.0},
}  # fmt: skip


def model(moved: float = 0.0, **more: Any) -> Denoiser:
    made = cast(Denoiser, from_data(DenoiserConfig, {**SMALL, **more}).build(5).double().eval())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():
            p += moved * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return made


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(x: Tensor, time: list[float], given: list[int]) -> Batch:
    classes = torch.tensor(given)
    return Batch(Noisy(x, torch.tensor(time), classes), dense(*x.shape[:2]), classes)


def test_a_stack_begins_as_the_identity_to_the_bit_whatever_the_condition() -> None:
    made, x = model(), numbers(2, 4, 5)
    h = made.embed(x, dense(2, 4))
    assert torch.equal(made.stack(h, dense(2, 4), condition=numbers(2, 12))[0], made.stack.leave.norm(h))  # type: ignore[union-attr]
    block = next(iter(made.stack))
    assert torch.equal(block(h, dense(2, 4), condition=numbers(2, 12))[0], h)


def test_the_gates_learn_at_once_and_all_else_after_them() -> None:
    made = model().train()
    for step in range(2):
        made.zero_grad()
        made.features(batch(numbers(3, 4, 5), [1.0, 50.0, 7.0], [0, 1, -1])).square().sum().backward()
        for name, p in made.named_parameters():
            assert name.startswith("head") or p.grad is not None, name
        with torch.no_grad():
            for p in made.parameters():
                p -= 0.1 * (p.grad if p.grad is not None else 0)
        moved = [n for n, p in made.named_parameters() if p.grad is not None and p.grad.any()]
        assert any("modulate.weight" in name for name in moved), step
    assert any(name.startswith("stack.blocks.0.mix.") for name in moved)
    assert "condition.classes.weight" in moved


def test_a_layer_is_the_formula_of_the_paper() -> None:
    """Peebles & Xie 2022, fig. 3, with one map for both sublayers: [shift, scale, gate] twice."""
    made, x = model(moved=0.3), numbers(2, 4, 5)
    block: Any = next(iter(made.stack))
    h, c, layout = made.embed(x, dense(2, 4)), numbers(2, 12, seed=4), dense(2, 4)

    def plain(v: Tensor) -> Tensor:
        v = v - v.mean(-1, keepdim=True)
        return v / (v.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    expected = h
    for residual, f in (
        (block.mix_residual, lambda v: block.mix.encode(v, layout)), (block.feed_residual, block.feed),
    ):  # fmt: skip
        six = c @ residual.modulate.weight.T + residual.modulate.bias
        shift, scale, gate = (part[:, None] for part in six.split(12, -1))
        expected = expected + gate * f(plain(expected) * (1 + scale) + shift)
    torch.testing.assert_close(block(h, layout, condition=c)[0], expected, atol=1e-11, rtol=1e-9)


def test_the_condition_is_of_the_time_and_of_the_class() -> None:
    condition = Condition(12, 8, 3, True)
    times, given = torch.tensor([0.0, 5.0, 5.0, 5.0]), torch.tensor([0, 0, 2, -1])
    rows = condition(times, given)
    assert len({tuple(row) for row in rows.tolist()}) == 4
    silu, out = torch.nn.functional.silu, condition.out(torch.nn.functional.silu(condition.enter(sinusoid(times, 8))))
    assert condition.classes is not None
    torch.testing.assert_close(rows[3], silu(out + condition.classes.weight[3])[3])  # the row for none is the last
    without = Condition(12, 8, 0, True)
    assert torch.equal(without(times, given), without(times, given - 1))
    assert without.classes is None


def test_sines_are_those_of_the_released_code() -> None:
    time = torch.tensor([0.0, 3.0, 999.0])
    rates = 10_000.0 ** (-torch.arange(4) / 4)
    expected = torch.cat([(time[:, None] * rates).cos(), (time[:, None] * rates).sin()], 1)
    torch.testing.assert_close(sinusoid(time, 8), expected, atol=1e-4, rtol=1e-4)
    assert sinusoid(time, 8, ends=True)[1, 3].item() == pytest.approx(torch.tensor(3e-4).cos().item())
    assert sinusoid(time, 8, ends=True)[1, 7].item() == pytest.approx(3e-4, rel=1e-3)


@pytest.mark.parametrize("residual", ["adaptive", "pre-norm", "post-norm", "residual-dual"])
@pytest.mark.parametrize("mixer", [{"kind": "attention", "heads": 3}, {"kind": "lstm"}, {"kind": "none"}], ids=str)
def test_every_residual_and_mixer_hears_of_the_time_and_the_class(residual: str, mixer: dict[str, Any]) -> None:
    made, x = (
        model(moved=0.2, residual={"kind": residual, "dropout": 0.0}, mixer=mixer, positions="none"),
        numbers(1, 4, 5),
    )
    rows = [made.features(batch(x, [t], [c])) for t, c in ((1.0, 0), (1.0, 1), (900.0, 0), (1.0, -1))]
    for i, one in enumerate(rows):
        assert all((one - other).abs().max() > 1e-3 for other in rows[:i])


def test_it_is_computed_once_for_a_batch() -> None:
    made, calls = model(), []
    made.condition.register_forward_hook(lambda *_: calls.append(1))
    made.features(batch(numbers(2, 4, 5), [1.0, 2.0], [0, 1]))
    assert len(calls) == 1


def test_rows_are_alike_alone_and_together_padded_or_not() -> None:
    made, x = model(moved=0.2), numbers(3, 4, 5)
    whole = batch(x, [1.0, 2.0, 300.0], [0, -1, 2])
    together = made.features(whole._replace(layout=right_padded(torch.tensor([4, 2, 4]), 4)))
    for i, (t, c, n) in enumerate(((1.0, 0, 4), (2.0, -1, 2), (300.0, 2, 4))):
        alone = made.features(batch(x[i : i + 1, :n], [t], [c]))
        torch.testing.assert_close(together[i, :n], alone[0], atol=1e-10, rtol=1e-9)


def test_plain_inputs_are_data_of_no_class() -> None:
    made, x = model(moved=0.2), numbers(2, 4, 5)
    clean = made.features(Batch(x, dense(2, 4), x))
    assert torch.equal(clean, made.features(batch(x, [0.0, 0.0], [-1, -1])))
    with pytest.raises(UserError, match="no row for no class"):
        model(none=False).features(Batch(x, dense(2, 4), x))


@pytest.mark.parametrize("kind", [DecoderConfig, EncoderConfig, EncoderDecoderConfig])
def test_a_model_without_a_condition_is_refused(kind: type[ModelConfig]) -> None:
    with pytest.raises(UserError, match=r"residual=adaptive follows a condition.*use model.kind=denoiser"):
        kind(width=12, residual=AdaptiveConfig()).build(7)
    with pytest.raises(UserError, match="not told how noisy its inputs are"):
        kind(width=12).build(7).denoise(numbers(1, 1), torch.ones(1), torch.ones(1), dense(1, 1))


def test_odd_frequencies_are_refused() -> None:
    with pytest.raises(UserError, match="frequencies=7 is odd"):
        DenoiserConfig(frequencies=7)
