"""A model that hears: positions that stay, keys without a bias, and sounds that say themselves where they end."""

import pytest
import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.model.architecture import EncoderDecoderConfig
from transduce.model.architecture.listener import ListenerConfig
from transduce.model.batch import Batch
from transduce.model.embed.frames import FramesConfig
from transduce.model.layout import dense, right_padded
from transduce.model.listener import Listener, marked, unmarked
from transduce.model.mixers.attention import Attention, AttentionConfig
from transduce.model.mixers.unbiased_keys import UnbiasedKeysConfig
from transduce.model.positions.absolute import LearnedConfig
from transduce.model.positions.fixed import FixedConfig
from transduce.model.positions.position import Positions

SMALL = ListenerConfig(
    width=16, layers=1, mixer=UnbiasedKeysConfig(heads=2), source_vocab=5, positions=LearnedConfig(limit=9),
    source_positions=FixedConfig(limit=20),
)  # fmt: skip


def built() -> Listener:
    model = SMALL.build(11).double().eval()
    assert isinstance(model, Listener)
    return model


def test_sounds_that_say_where_they_end_give_what_they_give_alone() -> None:
    model, generator = built(), torch.Generator().manual_seed(0)
    sounds = [torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (13, 40, 1)]
    ids = torch.randint(11, (3, 6), generator=generator)
    source = torch.stack([marked(x, 40) for x in sounds])
    frames, layout = unmarked(source)
    assert layout.lengths is not None
    assert layout.lengths.tolist() == [13, 40, 1]
    assert torch.equal(frames[0, :13], sounds[0])
    together = model.features(Batch(ids, dense(3, 6), ids, source, dense(3, 1)))
    for row, sound in enumerate(sounds):
        one = ids[row : row + 1]
        alone = model.features(Batch(one, dense(1, 6), one, sound[None], dense(1, len(sound))))
        torch.testing.assert_close(together[row], alone[0], atol=1e-12, rtol=1e-12)
        by_mark = model.features(Batch(one, dense(1, 6), one, marked(sound, len(sound))[None], dense(1, 1)))
        assert torch.equal(by_mark, alone)


def test_tokens_are_refused() -> None:
    with pytest.raises(UserError, match=r"hears frames of sound, but its source is tokens; use objective=translation"):
        built().remember(torch.zeros(1, 3, dtype=torch.int64), dense(1, 3))


def test_a_padded_sound_gives_its_gradient_alone() -> None:
    model, generator = built(), torch.Generator().manual_seed(1)
    sound, ids = torch.randn(7, 5, generator=generator, dtype=torch.float64), torch.tensor([[1, 4, 2]])
    grads = list[dict[str, torch.Tensor]]()
    padded = F.pad(sound, (0, 0, 0, 6), value=9.0)
    for frames, layout in ((sound, dense(1, 7)), (padded, right_padded(torch.tensor([7]), 13))):
        model.zero_grad()
        model.features(Batch(ids, dense(1, 3), ids, frames[None], layout)).square().sum().backward()
        grads.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    assert "encoder.embed.positions.weight" not in grads[0], "positions that are kept have no gradient"
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, atol=1e-10, rtol=1e-10)


def test_positions_are_the_sinusoids_of_the_paper_and_stay() -> None:
    weight = built().encoder.embed.positions.weight
    times = torch.arange(20, dtype=torch.float64)[:, None] * 10_000 ** (-torch.arange(8, dtype=torch.float64) / 7)
    torch.testing.assert_close(weight.detach(), torch.cat([times.sin(), times.cos()], 1), atol=1e-6, rtol=0)
    assert not weight.requires_grad
    assert SMALL.body().positions == FixedConfig(limit=20)


def test_keys_without_a_bias_are_attention_to_the_bit() -> None:
    """A bias of keys changes nothing, whatever it is: the softmax takes it away."""
    mixer = UnbiasedKeysConfig(heads=2).build(16, Positions()).double()
    whole = AttentionConfig(heads=2).build(16, Positions()).double()
    assert isinstance(mixer, Attention)
    assert mixer.k.bias is None
    whole.load_state_dict({**mixer.state_dict(), "k.bias": torch.randn(16, dtype=torch.float64)})
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    for one in ("forward", "encode"):
        y, z = (getattr(m, one)(x, dense(2, 5)) for m in (mixer, whole))
        y, z = (out[0] if one == "forward" else out for out in (y, z))
        torch.testing.assert_close(y, z, atol=1e-12, rtol=1e-12)
    with pytest.raises(UserError, match="heads=0"):
        UnbiasedKeysConfig(heads=0)


def test_any_encoder_decoder_becomes_one_that_hears() -> None:
    of = ListenerConfig.of(EncoderDecoderConfig(width=16, layers=1, embedding=FramesConfig(), tie_embeddings="none"))
    assert (of.width, of.layers, of.tie_embeddings) == (16, 1, "none")
    assert of.source_positions is None
