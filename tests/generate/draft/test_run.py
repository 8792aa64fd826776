"""Guesses of a smaller model: what it would write itself, whatever was guessed before."""

from dataclasses import replace

import pytest
import torch

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.draft.run import Opened, RunConfig
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.gru import GRUConfig
from transduce.model.models import Model
from transduce.model.positions.absolute import LearnedConfig
from transduce.testing.together import SIZE, Numbers

MIXERS = [AttentionConfig(heads=2), AttentionConfig(heads=2, window=5), GRUConfig()]


def built(width: int, seed: int, **parts) -> Model:
    model = DecoderConfig(width=width, layers=1, **parts).build(SIZE, seed=seed)
    with torch.no_grad():
        model.head.weight.mul_(6)
    return model


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_it_guesses_what_the_model_would_write(mixer):
    """After what was accepted, what was not, and what is longer than it has guessed."""
    model = built(32, 5, mixer=mixer)
    drafter = Opened(model=model).begin(None, [7, 8], 40)
    text = [7, 8, 9]
    for right in (3, 0, 1, 2, 3):
        guesses = drafter.guess(text, 3)
        (best,) = decode(model, Numbers(eos=SIZE), GenerateConfig(max_new_tokens=3), prompt=[text])[0]
        assert guesses == best.ids
        text = [*text, *guesses[:right], (guesses[right] if right < 3 else 5) + 1]
    assert drafter.guess(text, 0) == []


@pytest.mark.parametrize("way", [GenerateConfig(max_new_tokens=12), GenerateConfig(max_new_tokens=12, temperature=1.0)])
@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_the_text_is_that_of_the_large_model(mixer, way: GenerateConfig):
    model, small, prompt = built(64, 1, mixer=MIXERS[0]), built(32, 5, mixer=mixer), [[3], [4, 5, 6]]
    plain = decode(model, Numbers(), way, prompt=prompt, alike=True)
    for guessing in (small, model):
        assert decode(model, Numbers(), replace(way, draft=Opened(model=guessing)), prompt=prompt) == plain


def test_beyond_its_positions_it_guesses_nothing():
    model, small = built(64, 1, mixer=MIXERS[0]), built(32, 5, mixer=MIXERS[0], positions=LearnedConfig(limit=8))
    drafter = Opened(model=small).begin(None, [3] * 6, 20)
    assert [len(drafter.guess([3] * n, 3)) for n in (7, 8, 9)] == [2, 1, 0]
    way = GenerateConfig(max_new_tokens=12)
    for prompt in ([[3]], [[3] * 30]):
        plain = decode(model, Numbers(), way, prompt=prompt, alike=True)
        assert decode(model, Numbers(), replace(way, draft=Opened(model=small)), prompt=prompt) == plain


def test_a_source_is_read_by_both():
    model, small = (
        EncoderDecoderConfig(width=width, layers=1, mixer=MIXERS[0]).build(SIZE, seed=width) for width in (64, 32)
    )
    way, source = GenerateConfig(max_new_tokens=9), [[3, 4, 5], [6]]
    plain = decode(model, Numbers(), way, source=source, alike=True)
    assert decode(model, Numbers(), replace(way, draft=Opened(model=small)), source=source) == plain


def test_a_run_that_nobody_opened_is_refused():
    way = GenerateConfig(draft=RunConfig(run="small"), max_new_tokens=3)
    with pytest.raises(UserError, match=r"the draft of run=small is opened by `td\.load`"):
        decode(built(64, 1, mixer=MIXERS[0]), Numbers(), way, prompt=[[3]])
