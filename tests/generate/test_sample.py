from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.sample import candidates, draw, name_streams, uniforms

FILTERS = [
    {},
    {"typical_p": 0.7},
    {"epsilon_cutoff": 0.02},
    {"eta_cutoff": 0.05},
    {"top_h": 0.5},
    {
        "top_h": 0.8,
        "top_k": 9,
        "top_p": 0.95,
        "min_p": 0.01,
        "typical_p": 0.9,
        "epsilon_cutoff": 0.01,
        "eta_cutoff": 0.3,
    },
    {"temperature": 0.7},
    {"top_k": 3},
    {"top_p": 0.6},
    {"min_p": 0.2},
    {"temperature": 1.7, "top_k": 5, "top_p": 0.8, "min_p": 0.1},
    {"top_k": 100, "top_p": 1.0},
]


def config(**values: float) -> GenerateConfig:
    return GenerateConfig(**{"temperature": 1.0, **values})


def distribution(logits: Tensor, asked: GenerateConfig) -> Tensor:
    """The probabilities (R, V) of what may be drawn."""
    p, ids = candidates(logits, asked)
    p = p / p.sum(-1, keepdim=True)
    return p if ids is None else torch.zeros_like(logits).scatter_add(1, ids, p)


WARPERS = {
    "temperature": "TemperatureLogitsWarper", "top_h": "TopHLogitsWarper", "top_k": "TopKLogitsWarper",
    "top_p": "TopPLogitsWarper", "min_p": "MinPLogitsWarper", "typical_p": "TypicalLogitsWarper",
    "epsilon_cutoff": "EpsilonLogitsWarper", "eta_cutoff": "EtaLogitsWarper",
}  # fmt: skip


def warped(logits: Tensor, asked: GenerateConfig, warpers: Any) -> Tensor:
    """What transformers makes of logits."""
    for name, warper in WARPERS.items():
        if (value := getattr(asked, name)) is not None:
            logits = getattr(warpers, warper)(value)(None, logits)
    return logits


@pytest.mark.parametrize("values", [{"top_k": 3}, {"top_k": 5, "top_p": 0.5}, {"typical_p": 0.4}])
def test_equal_logits_are_cut_off_as_transformers_cuts_them_off(values: dict):
    warpers = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.tensor([[0.0] * 8, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0, -1, -2, -3, -4]])
    asked = config(**values)
    if "top_p" not in values:  # which of equal tokens it keeps is left open
        torch.testing.assert_close(distribution(logits, asked), warped(logits, asked, warpers).softmax(-1))
    alone = torch.cat([distribution(row[None], asked) for row in logits])
    torch.testing.assert_close(distribution(logits, asked), alone, rtol=0, atol=0)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999])
def test_the_mass_kept_is_the_same_for_a_row_alone_and_beside_flat_and_sharp_ones(top_p: float):
    """In a vocabulary of which only a part is looked at first; logits of few digits, so that many are equal."""
    draw_ = torch.Generator().manual_seed(0)
    sharp, flat = 9 * torch.randn(3, 1500, generator=draw_), (2 * torch.randn(3, 1500, generator=draw_)).round()
    logits, asked = torch.cat([sharp, flat, torch.zeros(1, 1500)]), config(top_p=top_p)
    together, ids = candidates(logits, asked)
    for i in range(len(logits)):
        p, own = candidates(logits[i : i + 1], asked)
        assert torch.equal(together[i, : p.shape[1]], p[0])
        assert not together[i, p.shape[1] :].any()
        assert torch.equal(ids[i, : p.shape[1]], own[0])
        assert (own[0].diff() != 0).all()
        assert (p[0].diff() <= 0).all()
        kept = p[0] > 0
        assert float(p[0][kept].sum()) >= top_p - 1e-5
        assert float(p[0][kept][:-1].sum()) <= top_p + 1e-5
        assert torch.equal(p[0], logits[i].softmax(-1)[own[0]].where(kept, 0.0))


@pytest.mark.parametrize("temperature", [1e-5, 1e-25, 1e-37, 1e-38, 1e-44, 5e-324])
def test_the_colder_the_nearer_to_the_likeliest(markov, letters, temperature: float):
    model = markov(seed=2)
    cold = decode(model, letters, config(temperature=temperature, max_new_tokens=9, top_p=0.9), prompt=[[4], [5, 3]])
    greedy = decode(model, letters, GenerateConfig(max_new_tokens=9), prompt=[[4], [5, 3]])
    assert [h[0].ids for h in cold] == [h[0].ids for h in greedy]
    assert [h[0].score for h in cold] == pytest.approx([h[0].score for h in greedy])


EXTREMES = [
    {"top_h": 0.05},
    {"typical_p": 0.01},
    {"epsilon_cutoff": 0.99},
    {"eta_cutoff": 0.99},
    {"min_p": 1.0},
    {"top_k": 1},
]


@pytest.mark.parametrize("sharp", [0.5, 2.0, 3.0, 9.0])
@pytest.mark.parametrize("values", FILTERS + EXTREMES)
def test_the_candidates_are_those_of_transformers(values: dict, sharp: float):
    warpers = pytest.importorskip("transformers.generation.logits_process")
    size = 37 if sharp == 2 else 3000
    logits, asked = sharp * torch.randn(50, size, generator=torch.Generator().manual_seed(1)), config(**values)
    logits = logits.double()  # in float32, whose rounding differs between processors, tokens may be equally near
    scores = warped(logits, asked, warpers)
    torch.testing.assert_close(distribution(logits, asked), scores.softmax(-1))


@pytest.mark.parametrize("values", FILTERS)
def test_what_is_drawn_is_as_frequent_as_the_distribution_says(markov, letters, values: dict):
    """Pearson's chi-square on the first token, against its 99 % quantile by Wilson and Hilferty 1931."""
    model, asked = markov(vocab_size=9, seed=5), config(max_new_tokens=1, **values)
    drawn = decode(model, letters, asked, prompt=[[4, 5]] * 4000, batch_size=500)
    count = Counter(h[0].ids[0] if h[0].ids else letters.eos for h in drawn)
    p = distribution(model.table[4, 5][None], asked)[0].double().numpy()
    assert all(p[token] > 0 for token in count)
    seen, expected = np.array([count[i] for i in np.flatnonzero(p)]), 4000 * p[p > 0]
    free = len(seen) - 1
    quantile = free * (1 - 2 / (9 * free) + 2.326 * (2 / (9 * free)) ** 0.5) ** 3 if free else 1e-9
    assert ((seen - expected) ** 2 / expected).sum() <= quantile


@pytest.mark.parametrize("values", FILTERS)
def test_a_row_draws_the_same_alone_in_a_batch_and_in_any_order(markov, letters, values: dict):
    model, asked = markov(seed=2, reads=True), config(max_new_tokens=9, nbest=2, **values)
    sources, prompts = [[3], [4, 4, 5], [5, 3], [3, 3, 3, 3, 3], [4]], [[], [4], [], [5, 5], [3]]
    together = decode(model, letters, asked, source=sources, prompt=prompts)
    backwards = decode(model, letters, asked, source=sources[::-1], prompt=prompts[::-1], batch_size=2)[::-1]
    alone = [decode(model, letters, asked, source=[s], prompt=[p])[0] for s, p in zip(sources, prompts, strict=True)]
    assert together == alone == backwards


def test_the_same_question_asked_again_gets_another_answer(markov, letters):
    asked = config(max_new_tokens=20, nbest=2)
    drawn = decode(markov(seed=2, sharp=0.1), letters, asked, prompt=[[4]] * 3)
    assert len({tuple(h.ids) for row in drawn for h in row}) >= 5
    assert drawn[0] == decode(markov(seed=2, sharp=0.1), letters, asked, prompt=[[4]])[0]


def test_the_seed_decides(markov, letters):
    first, again, other = (
        decode(markov(sharp=0.1), letters, config(max_new_tokens=20, seed=seed), prompt=[[4]]) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_longer_stream_begins_like_a_shorter_one():
    names = name_streams([((4,),), ((5,),)], 2, seed=0)
    assert len({name for row in names for name in row}) == 4
    np.testing.assert_array_equal(uniforms(names, 100)[:, :, :37], uniforms(names, 37))


def test_what_has_no_probability_is_never_drawn():
    p = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]])
    numbers = torch.tensor([[0.0], [0.2999999], [0.3000001], [1 - 2**-53]], dtype=torch.float64)
    assert draw(p.expand(4, 5), numbers).flatten().tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize(
    ("tokens", "top_p", "kept"), [(2, 0.5, 1), (4, 0.5, 2), (4, 0.51, 3), (4, 0.75, 3), (8, 0.125, 1)]
)
def test_top_p_takes_the_fewest_that_reach_it(tokens: int, top_p: float, kept: int):
    p, _ = candidates(torch.zeros(3, tokens), GenerateConfig(temperature=1.0, top_p=top_p))
    assert (p > 0).sum(1).tolist() == [kept] * 3


def test_the_score_is_that_of_the_model_whatever_was_cut_off(markov, letters):
    model = markov(seed=1)
    for (h,) in decode(model, letters, config(max_new_tokens=1, top_k=2, temperature=0.3), prompt=[[4, 5]] * 5):
        token = h.ids[0] if h.ids else letters.eos
        assert h.score == pytest.approx(float(model.table[4, 5].log_softmax(-1)[token]))
