"""What a referee does not allow is never written: greedily, drawn, or by a beam, from any beginning."""

import pytest

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.rules import require_followed
from transduce.text.char import Char
from transduce.text.word import Word
from transduce.worlds.referees.chess import Chess

pytest.importorskip("chess", reason="needs python-chess: pip install 'transduce[chess]'")
WORDS = "e4 e5 d4 d5 ed5 Qd5 Nf3 Nc6 Nc3 Qa5 Bb5 a6 Bc6 bc6 O-O Qd8 h3 g6 Ng5 f6 Qh5 Ke2 Ke1 Kd8 a3 a5 b4"


@pytest.fixture(scope="module")
def words():
    return Word(split="whitespace").train([WORDS])


@pytest.mark.parametrize(
    "config",
    [
        GenerateConfig(max_new_tokens=12),
        GenerateConfig(max_new_tokens=12, temperature=3.0, nbest=40, seed=3),
        GenerateConfig(max_new_tokens=6, beam_size=5, nbest=5),
    ],
    ids=["greedy", "drawn", "beam"],
)
def test_all_that_is_written_is_legal(markov, words, config: GenerateConfig) -> None:
    from dataclasses import replace

    model, prompts = markov(words.vocab_size), ["", "e4 d5", "e4 d5 ed5"]
    given = [[words.bos, *words.encode(text)] for text in prompts]
    free, held = (
        [
            [[*text.split(), *words.decode(one.ids).split()] for one in row]
            for text, row in zip(prompts, decode(model, words, c, prompt=given), strict=True)
        ]
        for c in (config, replace(config, referee=Chess()))
    )
    assert any(Chess().first_wrong(one) is not None for row in free for one in row)
    assert all(Chess().first_wrong(one) is None for row in held for one in row)
    assert max(len(one) for row in held for one in row) > 4


def test_what_cannot_be_judged_is_refused(markov, words, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GenerateConfig(max_new_tokens=3, referee=Chess())
    with pytest.raises(UserError, match="ply 3, e4, is not legal, so nothing legal can follow; correct the prompt"):
        decode(markov(words.vocab_size), words, config, prompt=[[words.bos, *words.encode("e4 e5 e4")]])
    letters = Char().train(["abc"])
    with pytest.raises(UserError, match="a referee judges words, and the tokeniser of this model writes parts"):
        decode(markov(letters.vocab_size), letters, config, prompt=[[letters.bos]])
    monkeypatch.setattr(Chess, "missing", lambda _: "python-chess is not installed")
    with pytest.raises(UserError, match="python-chess is not installed"):
        require_followed(config)
