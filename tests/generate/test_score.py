import pytest

from transduce.errors import UserError
from transduce.generate.score import score

TARGETS = [[3, 4], [5], [], [4, 4, 4, 3, 5], [3]]
SOURCES = [[3], [4, 4, 5, 5, 5], [5, 3], [3], [4]]


@pytest.mark.parametrize("batch_tokens", [1, 20, 8192])
@pytest.mark.parametrize("end", [True, False])
def test_it_is_log_p_of_each_token_after_what_stands_before(translator, letters, log_p, batch_tokens: int, end: bool):
    found = score(translator, letters, sources=SOURCES, targets=TARGETS, ends=end, batch_tokens=batch_tokens)
    for source, target, scores in zip(SOURCES, TARGETS, found, strict=True):
        whole = [*target, letters.eos] if end else target
        expected = [
            float(log_p(translator, [letters.bos, *whole[:i]], [*source, letters.eos])[token])
            for i, token in enumerate(whole)
        ]
        assert scores.tokens == pytest.approx(expected, abs=1e-4)
        assert scores.total == pytest.approx(sum(expected), abs=1e-4)


def test_a_text_is_scored_after_its_prompt(decoder, letters, log_p):
    prompts = [[4], [], [5, 5, 3], [1, 4], [3]]
    found = score(decoder, letters, prompts=prompts, targets=TARGETS, ends=[True, False, False, True, True])
    assert [len(s.tokens) for s in found] == [3, 1, 0, 6, 2]
    assert found[2] == (0.0, [])
    assert found[1].tokens == pytest.approx([float(log_p(decoder, [letters.bos], None)[5])], abs=1e-4)
    assert found[0].tokens[1] == pytest.approx(float(log_p(decoder, [4, 3], None)[4]), abs=1e-4)
    assert score(decoder, letters, targets=[[5]], ends=False)[0].total == pytest.approx(found[1].total, abs=1e-4)


def test_batches_keep_to_the_budget(markov, letters):
    model = markov()
    score(model, letters, targets=[[4] * n for n in range(1, 30)], batch_tokens=64)
    assert sum(rows for rows, _ in model.steps) == 29
    assert all(rows * (tokens + 1) <= 64 for rows, tokens in model.steps)
    assert len(model.steps) < 15


def test_the_model_is_left_in_training(translator, letters):
    score(translator, letters, sources=[[3]], targets=[[4]])
    assert all(m.training for m in translator.modules())


def test_what_does_not_fit_is_refused(translator, decoder, letters):
    with pytest.raises(UserError, match="2 inputs but 1 targets"):
        score(translator, letters, sources=[[3], [4]], targets=[[4]])
    with pytest.raises(UserError, match="2 ends but 1 targets"):
        score(translator, letters, sources=[[3]], targets=[[4]], ends=[True, False])
    with pytest.raises(UserError, match="give it a source"):
        score(translator, letters, targets=[[4]])


@pytest.mark.parametrize("decoder", ["learned"], indirect=True)
def test_a_text_beyond_the_positions_of_a_model_is_refused(decoder, letters):
    with pytest.raises(UserError, match="a text has 33 tokens, but this model can read 32"):
        score(decoder, letters, targets=[[4] * 32])
    assert len(score(decoder, letters, targets=[[4] * 31])[0].tokens) == 32
