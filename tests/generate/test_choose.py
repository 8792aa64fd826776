"""What is never chosen, and what that changes."""

from dataclasses import replace

import pytest
import torch

from transduce.errors import UserError
from transduce.generate.choose import Sampling, best_of_all
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.search import Search

PROMPTS = [[4], [5, 3], [3, 3, 4]]
WAYS = [
    GenerateConfig(max_new_tokens=9),
    GenerateConfig(max_new_tokens=9, repetition_penalty=1.1),
    GenerateConfig(max_new_tokens=9, beam_size=3, nbest=3),
    GenerateConfig(max_new_tokens=9, beam_size=3, nbest=3, early_stopping="heuristic"),
    GenerateConfig(max_new_tokens=9, temperature=1.0, nbest=3),
    GenerateConfig(max_new_tokens=9, temperature=1.0, nbest=3, top_k=1),
    GenerateConfig(max_new_tokens=9, temperature=1.0, nbest=3, top_p=0.3, no_repeat_ngram=3),
]


def barring(letters, ids: tuple[int, ...]):
    """The same vocabulary, some of whose ids no text has."""
    return type("Barring", (type(letters),), {"barred": frozenset(ids)})()


@pytest.mark.parametrize("config", WAYS)
def test_what_no_text_has_is_never_chosen(markov, letters, config: GenerateConfig):
    for seed in range(6):
        model = markov(vocab_size=8, seed=seed)
        model.table[..., [0, 1]] += 3.0
        found = decode(model, barring(letters, (0, 1)), config, prompt=PROMPTS)
        assert not {0, 1} & {i for row in found for h in row for i in h.ids}
        assert {0, 1} & {i for row in decode(model, letters, config, prompt=PROMPTS) for h in row for i in h.ids}


@pytest.mark.parametrize("config", WAYS)
def test_where_it_would_not_have_been_chosen_nothing_changes(markov, letters, config: GenerateConfig):
    for seed in range(6):
        model = markov(vocab_size=8, seed=seed)
        plain = decode(model, letters, config, prompt=PROMPTS)
        untouched = tuple({*range(8)} - {2} - {i for row in plain for h in row for i in h.ids})
        if config.beam_size == 1:  # a beam may have gone on from one for a while
            assert decode(model, barring(letters, untouched), config, prompt=PROMPTS) == plain
        assert decode(model, barring(letters, ()), config, prompt=PROMPTS) == plain


def test_the_share_of_what_is_barred_goes_to_the_others_in_proportion():
    """2e5 numbers, evenly spread: what is drawn is as frequent as the rest of the distribution says."""
    logits = torch.tensor([[1.5, 0.0, 0.5, -1.0, 0.3]])
    count = 200_000
    uniform = (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) / count
    drawn = Sampling(GenerateConfig(temperature=0.8), uniform.numpy(), None, (0, 3)).draw(
        logits.expand(count, -1), uniform
    )
    logits[0, [0, 3]] = -torch.inf
    share = drawn.flatten().bincount(minlength=5) / count
    torch.testing.assert_close(share, (logits / 0.8).softmax(-1)[0], atol=2e-4, rtol=0)


@pytest.mark.parametrize("config", WAYS)
def test_where_all_is_forbidden_that_is_said(markov, letters, config: GenerateConfig):
    with pytest.raises(UserError, match="every token is forbidden"):
        decode(markov(), letters, replace(config, suppress=tuple(range(6))), prompt=PROMPTS)


def test_of_equal_continuations_the_first_place_and_the_likeliest_id_come_first():
    rows = Search(GenerateConfig(beam_size=3, nbest=3), torch.tensor([9]).numpy(), 2)
    rows.scores = torch.tensor([[-1.0, -1.0, -1.0]]).double().numpy()
    scores = torch.tensor([[-5.0, -5.0, -1.0, -5.0], [-5.0, -1.0, -5.0, -5.0], [-1.0, -5.0, -5.0, -5.0]])
    parents, ids, sums = best_of_all(scores, rows)
    assert parents.tolist() == [[0, 1, 2]]
    assert ids.tolist() == [[2, 1, 0]]
    assert sums.tolist() == [[-2.0, -2.0, -2.0]]
