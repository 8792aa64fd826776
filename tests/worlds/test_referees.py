"""Referees: what may follow is what may stand there, and the words of chess are those of python-chess."""

import random

import pytest

from transduce.config import kinds
from transduce.worlds.referees.chess import Chess
from transduce.worlds.referees.referee import RefereeConfig

chess = pytest.importorskip("chess", reason="needs python-chess: pip install 'transduce[chess]'")


def game(seed: int, most: int) -> list[str]:
    """A game of legal words, drawn at random."""
    draw, words = random.Random(seed), list[str]()
    while len(words) < most and (follows := Chess().follows(words)):
        words.append(draw.choice(sorted(follows)))
    return words


@pytest.mark.parametrize("kind", sorted(kinds(RefereeConfig.folder)))
def test_what_may_follow_may_stand_there(kind: str) -> None:
    referee = kinds(RefereeConfig.folder)[kind]()
    assert isinstance(referee, RefereeConfig)
    assert referee.missing() is None
    words = list[str]()
    for number in range(30):
        words.append(sorted(referee.follows(words))[number % 3])
    assert referee.first_wrong(words) is None
    assert referee.first_wrong([*words[:9], "no word", *words]) == 9
    assert referee.follows([*words[:9], "no word"]) == frozenset()


@pytest.mark.parametrize("seed", range(4))
def test_the_words_are_the_legal_moves_of_python_chess(seed: int) -> None:
    words, board = game(seed, 150), chess.Board()
    for number, word in enumerate(words):
        follows = Chess().follows(words[:number])
        moves = list(board.legal_moves)
        plain = [board.san(move).rstrip("+#").replace("x", "") for move in moves]
        assert set(plain) <= follows
        assert len(set(plain)) == len(moves)
        assert {board.parse_san(one) for one in follows} == set(moves)
        board.push_san(word)


def test_a_game_that_is_over_goes_on_with_nothing() -> None:
    mate = ["f3", "e5", "g4", "Qh4"]
    assert Chess().follows(mate) == frozenset()
    assert Chess().first_wrong(mate) is None
    assert Chess().first_wrong([*mate, "a3"]) == 4
    assert {"Nf3", "Ng1f3", "Ngf3", "N1f3"} < Chess().follows(())
