"""A denoiser that is told a caption: its condition by the formula, captions of other lengths, who learns from what."""

from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture.illustrator import IllustratorConfig
from transduce.model.batch import Batch
from transduce.model.condition import CaptionCondition, sinusoid
from transduce.model.illustrator import Illustrator
from transduce.model.layout import dense, right_padded
from transduce.model.process.process import Noisy
from transduce.objectives.denoise import NoiseConfig

SIZES: dict[str, Any] = {
    "width": 12, "layers": 2, "channels": 3, "mixer": {"kind": "attention", "heads": 3}, "frequencies": 8,
    "embedding": {"kind": "patches", "patch": 2, "picture": [6, 4]},
    "head": {"kind": "pixels", "picture": [6, 4], "patch": 2},
    "residual": {"kind": "adaptive", "dropout": 0.0},
}  # fmt: skip


def model(**more: Any) -> Illustrator:
    made = cast(Illustrator, from_data(IllustratorConfig, {**SIZES, **more}).build(23).double().eval())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in made.parameters():
            p += 0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    return made


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def words(rows: int = 4, tokens: int = 7) -> Tensor:
    return torch.randint(0, 23, (rows, tokens), generator=torch.Generator().manual_seed(1))


LENGTHS = (7, 3, 1, 5)


@pytest.mark.parametrize("mixer", ["attention", "lstm", "gated-delta"])
def test_a_caption_among_longer_ones_is_what_it_is_alone_gradients_too(mixer: str) -> None:
    made, x, ids, time = model(mixer={"kind": mixer}), numbers(4, 3, 6, 4), words(), torch.tensor([9.0, 1.0, 50.0, 7.0])
    padded = Batch(x, dense(4, 1), ids[:, 0], source=ids, source_layout=right_padded(torch.tensor(LENGTHS), 7))
    together = made.denoise(x, time.double(), made.request_of(padded), dense(4, 1))
    together.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}
    made.zero_grad()
    for row, length in enumerate(LENGTHS):
        own = ids[row : row + 1, :length]
        one = Batch(x[row : row + 1], dense(1, 1), own[:, 0], source=own, source_layout=dense(1, length))
        alone = made.denoise(one.inputs, time[row : row + 1].double(), made.request_of(one), dense(1, 1))
        torch.testing.assert_close(alone[0], together[row], atol=1e-10, rtol=1e-9)
        alone.square().sum().backward()
    assert any(name.startswith("texts.") for name in gradients)
    for name, p in made.named_parameters():
        if name in gradients:
            torch.testing.assert_close(p.grad, gradients[name], atol=1e-9, rtol=1e-8)


def test_the_condition_is_of_the_time_and_of_the_mean_of_the_tokens() -> None:
    made, ids = model(), words(2, 5)
    layout, time = right_padded(torch.tensor([5, 2]), 5), torch.tensor([3.0, 40.0])
    hidden = made.texts.stack(made.texts.embed(ids, layout), layout)[0]
    head, condition = cast(Any, made.texts.head).output, cast(CaptionCondition, made.condition)
    vectors = torch.stack([hidden[0].mean(0), hidden[1, :2].mean(0)]) @ head.weight.T + head.bias
    torch.testing.assert_close(made.describe(ids, layout), vectors, atol=1e-11, rtol=1e-9)
    h = F.silu(sinusoid(time, 8).double() @ condition.enter.weight.T + condition.enter.bias)
    of_time = h @ condition.out.weight.T + condition.out.bias
    torch.testing.assert_close(condition(time, vectors), F.silu(of_time + vectors), atol=1e-11, rtol=1e-9)
    x, seen = numbers(2, 3, 6, 4), F.silu(of_time + vectors)
    plain = made.stack(made.embed(x, dense(2, 1)), made.embed.arrange(dense(2, 1)), condition=seen)[0]
    batch = Batch(Noisy(x, time, vectors), dense(2, 1), ids[:, 0])
    torch.testing.assert_close(made.features(batch), plain, atol=1e-11, rtol=1e-9)


def test_no_caption_is_a_vector_of_its_own_which_alone_learns_where_none_is_told() -> None:
    made, ids = model().train(), words()
    none = cast(CaptionCondition, made.condition).none
    batch = Batch(numbers(4, 3, 6, 4), dense(4, 1), ids[:, 0], ids, dense(4, 7), examples=(0, 1, 2, 3))
    assert torch.equal(made.request_of(batch._replace(source=None, source_layout=None)), none.expand(4, 12))
    for drop, learning in ((0.0, "texts"), (1 - 1e-9, "none")):
        made.zero_grad()
        NoiseConfig(drop=drop).build_for(made, None)(made, batch).total.backward()
        tokens = sum(float(p.grad.abs().sum()) for p in made.texts.parameters() if p.grad is not None)
        assert (tokens > 0) == (learning == "texts")
        assert (none.grad is not None and bool(none.grad.any())) == (learning == "none")


def test_a_share_of_captions_is_left_out_in_training_and_none_in_validation() -> None:
    made, seen, ids = model().float(), list[Tensor](), words(2000, 3)
    made.condition.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    x = numbers(2000, 3, 6, 4).float()
    batch = Batch(x, dense(2000, 1), ids[:, 0], ids, dense(2000, 3), examples=tuple(range(2000)))
    objective = NoiseConfig(drop=0.3).build_for(made, None)
    torch.manual_seed(0)
    objective(made.train(), batch)
    objective(made.eval(), batch)
    blank = (seen[0] == made.no_request(2000)).all(1)
    assert blank.float().mean().item() == pytest.approx(0.3, abs=0.03)
    vectors = made.describe(ids, dense(2000, 3))
    torch.testing.assert_close(seen[0][~blank], vectors[~blank])
    torch.testing.assert_close(seen[1], vectors)


def test_the_encoder_of_texts_comes_first_and_patches_are_what_is_predicted() -> None:
    made = model(text_layers=1, text_mixer={"kind": "lstm"})
    assert [(tower.name, len(tower.stack.order)) for tower in made.towers()] == [("texts", 1), ("pictures", 2)]
    assert made.arranged(dense(2, 1)).positions.shape == (2, 6)
    assert made.takes_requests
    assert made.guides
    assert made.classes == 0
    assert model(text_positions={"kind": "learned", "limit": 9}).limit == 9


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"channels": None}, "does not know the channels of pictures; set model.channels=3"),
        ({"frequencies": 7}, "frequencies=7 is odd"),
        ({"frequencies": 2}, "frequencies=2"),
        ({"text_residual": "adaptive"}, "residual=adaptive follows a condition"),
    ],
)  # fmt: skip
def test_what_is_no_model_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model(**more)


def test_ids_in_the_place_of_pictures_are_refused() -> None:
    with pytest.raises(UserError, match="this model draws, so it reads pictures, and texts as captions alone"):
        model().features(Batch(words(), dense(4, 7), words()))
