from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.score import score

SOURCES, PROMPTS = [[3], [4, 4, 5], [5, 3], [3, 3, 3, 3, 3], [4]], [[], [4], [3], [5, 5], [3, 4, 3]]
GREEDY, BEAM = GenerateConfig(max_new_tokens=9), GenerateConfig(max_new_tokens=9, beam_size=4, nbest=3)


class Several(NamedTuple):
    """A vocabulary with more than one end."""

    bos: int = 1
    eos: int = 2
    ends: tuple[int, ...] = (4, 5)

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


def rows(model, index=slice(None)) -> dict:
    """The inputs of the tests, for a model that reads a source or for one that does not."""
    return {"source": SOURCES[index] if model.takes_source else None, "prompt": PROMPTS[index]}


def same(a, b) -> None:
    """Equal, but for the rounding of scores."""
    assert [[(h.ids, h.finished) for h in row] for row in a] == [[(h.ids, h.finished) for h in row] for row in b]
    torch.testing.assert_close(
        torch.tensor([h.score for row in a for h in row]), torch.tensor([h.score for row in b for h in row])
    )


def test_greedy_takes_the_likeliest_token_of_what_was_read_from_the_start(model, letters, log_p):
    for i, (best,) in enumerate(decode(model, letters, GREEDY, **rows(model))):
        source = [*SOURCES[i], letters.eos] if model.takes_source else None
        ids, total = [letters.bos, *PROMPTS[i]] if model.takes_source else PROMPTS[i] or [letters.bos], 0.0
        for token in [*best.ids, letters.eos][: best.length]:
            p = log_p(model, ids, source)
            assert int(p.argmax()) == token
            ids, total = [*ids, token], total + float(p[token])
        assert best.score == pytest.approx(total, abs=1e-4)
        assert best.finished or len(best.ids) == 9


@pytest.mark.parametrize("config", [GREEDY, BEAM, GenerateConfig(max_new_tokens=9, temperature=1.0)])
def test_a_row_is_the_same_alone_and_in_any_batch(model, letters, config: GenerateConfig):
    together = decode(model, letters, config, **rows(model))
    same(together, [decode(model, letters, config, **rows(model, slice(i, i + 1)))[0] for i in range(len(SOURCES))])
    same(together[::-1], decode(model, letters, config, batch_size=2, **rows(model, slice(None, None, -1))))


@pytest.mark.parametrize("config", [GREEDY, BEAM, replace(GREEDY, suppress=(9,)), replace(BEAM, suppress=(9,))])
def test_of_several_ends_the_one_that_was_written_is_known_and_counted(markov, letters, config: GenerateConfig):
    vocabulary, prompt, written = Several(), [[7, 8]], set[int]()
    for seed in range(8):
        model = markov(vocab_size=10, seed=seed, sharp=3.0)
        (found,) = decode(model, vocabulary, config, prompt=prompt)
        last = [[vocabulary.eos if h.end is None else h.end] if h.finished else [] for h in found]
        targets = [[*h.ids, *end] for h, end in zip(found, last, strict=True)]
        again = score(model, letters, targets=targets, prompts=prompt * len(found), ends=False)
        assert [h.score for h in found] == pytest.approx([s.total for s in again], abs=1e-4)
        assert not {i for h in found for i in h.ids} & {vocabulary.eos, *vocabulary.ends}
        written |= {i for end in last for i in end}
    assert written == {vocabulary.eos, *vocabulary.ends}


@pytest.mark.parametrize("config", [GREEDY, BEAM])
def test_the_score_is_that_of_score(model, letters, config: GenerateConfig):
    given = rows(model)
    for i, found in enumerate(decode(model, letters, config, **given)):
        again = score(
            model, letters, targets=[h.ids for h in found], ends=[h.finished for h in found],
            sources=given["source"] and [given["source"][i]] * len(found), prompts=[given["prompt"][i]] * len(found),
        )  # fmt: skip
        assert [h.score for h in found] == pytest.approx([s.total for s in again], abs=1e-4)


def test_the_n_best_are_sorted_and_distinct(model, letters):
    for found in decode(model, letters, BEAM, **rows(model)):
        ranks = [h.normalised(BEAM.length_penalty) for h in found]
        assert len(found) == 3
        assert ranks == sorted(ranks, reverse=True)
        assert len({(tuple(h.ids), h.finished) for h in found}) == 3


@pytest.mark.parametrize("a", [-1.0, 0.0, 0.6, 3.0])
@pytest.mark.parametrize("reads", [False, True])
def test_a_wide_beam_finds_what_trying_everything_finds(markov, letters, everything, a: float, reads: bool):
    model = markov(vocab_size=5, seed=7, reads=reads)
    config = GenerateConfig(beam_size=400, nbest=341, max_new_tokens=4, length_penalty=a)
    (found,) = decode(model, letters, config, source=[[3]] if reads else None, prompt=[[1]])
    expected = everything(model, [1], [3, letters.eos] if reads else None, 4, a)
    assert len(found) == len(expected) == 1 + 4 + 16 + 64 + 256
    assert [h.normalised(a) for h in found] == pytest.approx([h.normalised(a) for h in expected], abs=1e-6)
    assert {(tuple(h.ids), h.finished) for h in found} == {(tuple(h.ids), h.finished) for h in expected}
    (best,) = decode(model, letters, config, source=[[3]] if reads else None, prompt=[[1]])[0][:1]
    assert best.ids == expected[0].ids


def test_a_wide_beam_finds_what_trying_everything_finds_in_a_real_model(translator, letters, everything):
    config = GenerateConfig(beam_size=90, nbest=20, max_new_tokens=2)
    (found,) = decode(translator, letters, config, source=[[3, 5]])
    expected = everything(translator, [1], [3, 5, 2], 2, 0.6)[:20]
    assert [h.ids for h in found] == [h.ids for h in expected]
    assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-4)


def narrow(model, prompt: list[int], beam: int, most: int, a: float, eos: int, log_p) -> list[Hypothesis]:
    """A beam search as it is told in papers: of K places, one less for each hypothesis that has ended."""
    grow, kept = [([], 0.0)], []
    for n in range(1, most + 1):
        new = [
            (ids, token, total + float(x))
            for ids, total in grow
            for token, x in enumerate(log_p(model, prompt + ids, None))
        ]
        best, grow = sorted(new, key=lambda one: -one[2])[: beam - len(kept)], []
        for ids, token, total in best:
            if token == eos:
                kept.append(Hypothesis(ids, total, True))
            elif n == most:
                kept.append(Hypothesis([*ids, token], total, False))
            else:
                grow.append(([*ids, token], total))
    return sorted(kept, key=lambda h: -h.normalised(a))


@pytest.mark.parametrize("a", [-1.0, 0.0, 0.6, 3.0])
@pytest.mark.parametrize("beam", [2, 3, 5])
def test_what_has_ended_keeps_its_place_in_a_beam(markov, letters, log_p, beam: int, a: float):
    for seed in range(6):
        model = markov(seed=seed)
        config = GenerateConfig(beam_size=beam, nbest=beam, max_new_tokens=7, length_penalty=a)
        (found,) = decode(model, letters, config, prompt=[[4, 5]])
        expected = narrow(model, [4, 5], beam, 7, a, letters.eos, log_p)
        assert [h.normalised(a) for h in found] == pytest.approx([h.normalised(a) for h in expected], abs=1e-5)
        assert {(tuple(h.ids), h.finished) for h in found} == {(tuple(h.ids), h.finished) for h in expected}


def test_the_prefix_is_read_once(markov, letters):
    model = markov(sharp=0.1)
    decode(model, letters, GenerateConfig(max_new_tokens=6, beam_size=3), prompt=[[4, 4, 4], [5]])
    assert model.steps[0] == (2, 3), "the prompts, once per input and not once per beam"
    assert all(tokens == 1 for _, tokens in model.steps[1:])
    assert len(model.steps) <= 6


def test_limits_hold_per_input(model, letters):
    found = decode(model, letters, BEAM, limits=[1, 2, 100, 4, 5], **rows(model))
    assert all(h.length <= n for row, n in zip(found, [1, 2, 9, 4, 5], strict=True) for h in row)
    alone = [
        decode(model, letters, BEAM, limits=[n], **rows(model, slice(i, i + 1)))[0]
        for i, n in enumerate([1, 2, 100, 4, 5])
    ]
    same(found, alone)


def test_the_length_ratio_limits_by_the_source(markov, letters):
    model = markov(reads=True)
    model.table[..., letters.eos] = -100.0
    found = decode(model, letters, GenerateConfig(max_length_ratio=1.5), source=[[3], [3, 4, 5], [3] * 100])
    assert [h.length for (h,) in found] == [12, 15, 128]
    assert not any(h.finished for (h,) in found)


@pytest.mark.parametrize("config", [GREEDY, GenerateConfig(max_new_tokens=9, temperature=1.0)])
def test_tokens_are_reported_as_they_come(model, letters, config: GenerateConfig):
    seen: list[list[int]] = [[] for _ in SOURCES]
    found = decode(model, letters, config, on_token=lambda i, token: seen[i].append(token), batch_size=2, **rows(model))
    assert seen == [h.ids for (h,) in found]
    with pytest.raises(UserError, match="only for one hypothesis; set beam_size=1 and nbest=1"):
        decode(model, letters, BEAM, on_token=print, **rows(model))


def test_special_tokens_are_added_where_they_are_missing(translator, decoder, letters):
    plain = decode(translator, letters, BEAM, source=[[3, 4]])
    assert plain == decode(translator, letters, BEAM, source=[[3, 4, letters.eos]], prompt=[[letters.bos]])
    assert decode(decoder, letters, BEAM, prompt=[[]]) == decode(decoder, letters, BEAM, prompt=[[letters.bos]])
    assert decode(translator, letters, BEAM, source=[]) == []


def test_the_model_is_left_as_it_was(model, letters):
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    decode(model, letters, BEAM, **rows(model))
    assert model.training
    assert all(m.training for m in model.modules())
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_what_does_not_fit_is_refused_with_what_to_do(translator, decoder, letters):
    with pytest.raises(UserError, match="reads no source; give the text as a prompt"):
        decode(decoder, letters, GREEDY, source=[[4]])
    with pytest.raises(UserError, match="give it a prompt, which may be empty"):
        decode(decoder, letters, GREEDY)
    with pytest.raises(UserError, match="give it a source"):
        decode(translator, letters, GREEDY, prompt=[[4]])
    with pytest.raises(UserError, match="2 sources but 1 prompts"):
        decode(translator, letters, GREEDY, source=[[4], [5]], prompt=[[4]])
    with pytest.raises(UserError, match="one number for each of 1 inputs"):
        decode(translator, letters, GREEDY, source=[[4]], limits=[3, 3])


@pytest.mark.parametrize("decoder", ["learned"], indirect=True)
def test_what_goes_beyond_the_positions_of_a_model_is_refused(decoder, letters):
    with pytest.raises(UserError, match=r"9 new tokens after a prompt of 30 .* set max_new_tokens=3"):
        decode(decoder, letters, GREEDY, prompt=[[4] * 30])
    with pytest.raises(UserError, match="a prompt has 33 tokens, but this model can read 32"):
        decode(decoder, letters, GREEDY, prompt=[[4] * 33])
    found = decode(decoder, letters, GREEDY, prompt=[[4] * 30, [5]], limits=[3, 9])
    same(found[1:], decode(decoder, letters, GREEDY, prompt=[[5]]))


@pytest.mark.parametrize("decoder", ["learned"], indirect=True)
def test_an_input_that_is_over_waits_within_the_positions_of_a_model(decoder, letters):
    """One of eight: too few to be dropped, so it stands there until the others are over."""
    long = replace(GREEDY, min_new_tokens=9)
    found = decode(decoder, letters, long, prompt=[[4] * 30, *[[5, i] for i in range(3, 10)]], limits=[3, *[9] * 7])
    assert [len(h.ids) for (h,) in found] == [3, *[9] * 7]
    same(found[:1], decode(decoder, letters, long, prompt=[[4] * 30], limits=[3]))
    for i, row in enumerate(found[1:]):
        same([row], decode(decoder, letters, long, prompt=[[5, 3 + i]]))


@pytest.mark.parametrize("decoder", ["learned"], indirect=True)
def test_a_prompt_that_fills_a_model_leaves_room_for_one_token(decoder, letters, log_p):
    prompt = [4, 5] * 16
    found = decode(decoder, letters, GREEDY, prompt=[prompt, [5]], limits=[1, 9])
    best = int(log_p(decoder, prompt, None).argmax())
    assert found[0][0].ids == ([] if best == letters.eos else [best])
    same(found[1:], decode(decoder, letters, GREEDY, prompt=[[5]]))
