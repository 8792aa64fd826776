"""Texts whose tokens do not simply see what came before: prefixes, and blanks that are filled behind a text."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, View, dense, infilling, left_padded, packed, prefixed, right_padded
from transduce.model.models import Decoder, Model

VOCAB, TOKENS = 19, 13


def decoder(**keys: Any) -> Decoder:
    data = {"width": 12, "layers": 2, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}, **keys}
    model = from_data(DecoderConfig, data).build(VOCAB).double()
    assert isinstance(model, Decoder)
    return model


def ids(rows: int = 2, tokens: int = TOKENS) -> Tensor:
    return torch.randint(0, VOCAB, (rows, tokens), generator=torch.Generator().manual_seed(0))


def run(model: Model, tokens: Tensor, layout: Layout) -> Tensor:
    return model.features(Batch(tokens, layout, tokens))


def prefix_of(layout: Layout, size: int) -> Layout:
    return prefixed(layout, torch.full_like(layout.positions, size))


def by_hand(model: Decoder, tokens: Tensor, seen: Tensor) -> Tensor:
    """Attention written out, of a model without positions. seen: (T, T) bool."""
    x = model.embed(tokens, dense(*tokens.shape))
    for block in model.stack.blocks:
        mixer, feed = block.mix, block.feed
        y = block.residuals[0].norm(x)
        q, k, v = (f(y).unflatten(-1, (3, 4)).transpose(1, 2) for f in (mixer.q, mixer.k, mixer.v))
        weights = (q @ k.mT / 2).masked_fill(~seen, -torch.inf).softmax(-1)
        x = x + mixer.out((weights @ v).transpose(1, 2).flatten(2))
        x = x + feed(block.residuals[1].norm(x))
    return model.stack.leave(x)


@pytest.mark.parametrize("prefix", [0, 1, 5, TOKENS])
def test_a_prefix_is_its_mask(prefix: int) -> None:
    model, tokens = decoder(positions="none"), ids()
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    seen[:prefix, :prefix] = True
    y = run(model, tokens, prefix_of(dense(2, TOKENS), prefix))
    torch.testing.assert_close(y, by_hand(model, tokens, seen), atol=1e-12, rtol=0)


KINDS = ["none", "sinusoidal", "rotary", "alibi", "t5", "transformer-xl"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mixer", [{}, {"window": 7}, {"window": 6, "sinks": 1}, {"kv_heads": 1}], ids=str)
def test_any_chunking_that_keeps_the_prefix_whole_gives_the_same(kind: str, mixer: dict[str, Any]) -> None:
    model, tokens = decoder(positions=kind, mixer={"heads": 3, **mixer}), ids()
    layout = prefix_of(dense(2, TOKENS), 5)
    with torch.no_grad():
        whole = run(model, tokens, layout)
        for sizes in ([5, *[1] * 8], [13], [7, 6], [5, 3, 5]):
            state, start, parts = model.init_state(2, TOKENS), 0, list[Tensor]()
            for size in sizes:
                part = layout.slice(start, start + size)
                y, state = model.step(tokens[:, start : start + size], part, state)
                parts.append(y)
                start += size
            torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-10, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_packing_change_nothing(kind: str) -> None:
    model, lengths = decoder(positions=kind), [TOKENS, 9, 6]
    tokens = ids(3)
    for make in (right_padded, left_padded):
        layout = make(torch.tensor(lengths), TOKENS)
        y = run(model, tokens, prefix_of(layout, 4))
        for row, n in enumerate(lengths):
            alone = run(model, tokens[row][layout.valid[row]][None], prefix_of(dense(1, n), 4))
            torch.testing.assert_close(y[row][layout.valid[row]], alone[0], atol=1e-10, rtol=0)
    layout = packed([[6, 7]], TOKENS)
    y = run(model, tokens[:1], prefixed(layout, torch.tensor([[4] * 6 + [2] * 7])))[0]
    for start, stop, prefix in ((0, 6, 4), (6, 13, 2)):
        alone = run(model, tokens[:1, start:stop], prefix_of(dense(1, stop - start), prefix))[0]
        torch.testing.assert_close(y[start:stop], alone, atol=1e-10, rtol=0)


def test_the_source_of_a_decoder_with_a_prefix_is_read_whole() -> None:
    data = {"width": 12, "encoder_layers": 1, "decoder_layers": 2, "mixer": {"heads": 3}, "residual": {"dropout": 0.0}}
    model, tokens = from_data(EncoderDecoderConfig, data).build(VOCAB).double(), ids()
    source, around = ids(2, 9), dense(2, 9)
    plain = model.features(Batch(tokens, dense(2, TOKENS), tokens, source, around))
    y = model.features(Batch(tokens, prefix_of(dense(2, TOKENS), 1), tokens, source, around))
    torch.testing.assert_close(y, plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mixer", ["delta", "gru", "convolution"])
def test_a_mixer_that_cannot_refuses(mixer: str) -> None:
    with pytest.raises(UserError, match="sees tokens in their order only"):
        run(decoder(mixer=mixer, positions="none"), ids(), prefix_of(dense(2, TOKENS), 3))


# --- GLM: a text of 6 tokens with blanks at 2 and 4; the second is filled first

LAYOUT = infilling([(6, [(4, 3), (2, 4)]), (5, [(1, 2)])], TOKENS)


def test_blanks_have_two_positions_and_see_what_came_before() -> None:
    assert LAYOUT.places is not None
    assert LAYOUT.inner is not None
    assert LAYOUT.places[0].tolist() == [0, 1, 2, 3, 4, 5, 4, 4, 4, 2, 2, 2, 2]
    assert LAYOUT.inner[0].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 1, 2, 3, 4]
    assert LAYOUT.places[1].tolist() == [0, 1, 2, 3, 4, 1, 1, *[-1] * 6]
    model, tokens = decoder(positions={"kind": "learned", "limit": 8, "inner": 5}, layers=1), ids()
    positions = model.embed.positions
    x = 12**0.5 * model.embed.weight[tokens[0]] + positions.weight[LAYOUT.places[0]] + positions.inner[LAYOUT.inner[0]]
    torch.testing.assert_close(model.embed(tokens, LAYOUT)[0], x)
    base, grads = run(model, tokens, LAYOUT), list[Tensor]()
    for t in range(TOKENS):
        changed = tokens.clone()
        changed[0, t] = (changed[0, t] + 1) % VOCAB
        grads.append((run(model, changed, LAYOUT) - base)[0].abs().amax(-1) > 1e-12)
    seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
    seen[:6, :6] = True
    assert torch.equal(torch.stack(grads, 1), seen)


@pytest.mark.parametrize("kind", ["rotary", "alibi", "t5", "transformer-xl"])
def test_places_are_what_relative_positions_see(kind: str) -> None:
    """All in one, with places: as if each token stood there, in whatever slot it is."""
    model, tokens, order = decoder(positions=kind), ids(1), torch.randperm(TOKENS)
    plain = dense(1, TOKENS)
    moved = Layout(order[None], view=View(order[None], order[None]))
    y, z = run(model, tokens, plain), run(model, tokens[:, order], moved)
    torch.testing.assert_close(z, y[:, order], atol=1e-10, rtol=0)


def test_a_state_knows_no_places() -> None:
    model, layout = decoder(positions="alibi"), LAYOUT.slice(0, 6)._replace(lengths=None)
    with pytest.raises(UserError, match="do not know the places of earlier tokens"):
        model.step(ids()[:, :6], layout, model.init_state(2, TOKENS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: decoder(positions={"kind": "learned", "inner": -1}), "inner=-1 must be at least 0"),
        (lambda: run(decoder(positions="learned"), ids(), LAYOUT), "positions.inner=0 has no vectors"),
    ],
)
def test_what_has_no_meaning_is_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
