"""Portable Game Notation: chess games as text. Reading it needs no rules of chess.   PGN standard, Edwards 1994."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from transduce.data import read
from transduce.errors import UserError

EXTENSIONS = (".pgn",)
TOKEN = re.compile(
    r"""\[\s*(?P<tag>\w+)\s*"(?P<value>(?:[^"\\\n]|\\.)*)"\s*\]   # a tag
    |(?P<skip>\{[^}]*\}|;[^\n]*|^%[^\n]*|\$\d+|\d+\.+|\d+(?=\s)|[!?]+)  # comments, marks of quality, numbers of moves
    |(?P<open>\()|(?P<close>\))                              # a variation
    |(?P<result>1-0|0-1|1/2-1/2|\*)(?=\s|$)
    |(?P<word>[^\s(){}\[\];$]+)""",
    re.VERBOSE | re.MULTILINE,
)
MOVE = re.compile(r"(?:[NBRQK]?[a-h]?[1-8]?[a-h][1-8](?:=[NBRQ])?|O-O(?:-O)?)\Z")
ZEROS = {"0-0": "O-O", "0-0-0": "O-O-O"}


class Game(NamedTuple):
    """One game. name: of its place and its players. tags: of its head. words: its moves, see `plain`."""

    name: str
    tags: dict[str, str]
    words: list[str]


def plain(move: str) -> str:
    """Returns a move without the signs of capture, check, mate and quality: one word for what is one move."""
    word = move.rstrip("+#!?").replace("x", "").replace("e.p.", "")
    word = ZEROS.get(word, word)
    return f"{word[:-1]}={word[-1]}" if word[-1:] in "NBRQ" and word[-2:-1] in "18" and word[-2:-1] else word


def games(path: Path) -> Iterator[Game]:
    """Yields the games of a file that have a move. Raises UserError, which names the game and the ply."""
    number, tags, words, depth = 1, dict[str, str](), list[str](), 0
    text = read.text(path)

    def done() -> Iterator[Game]:
        if "FEN" in tags:
            what = f"{named(path, number, tags)} starts from a position of its own (FEN)"
            raise UserError(f"{what}, but games are read from the usual start; remove it")
        if words:
            yield Game(named(path, number, tags), tags, words)

    for match in TOKEN.finditer(text):
        kind, token = match.lastgroup, match[0]
        if kind == "value" and words:  # a game without a result
            yield from done()
            number, tags, words, depth = number + 1, {}, [], 0
        if kind == "value":
            tags[match["tag"]] = match["value"]
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind == "result" and not depth:
            yield from done()
            number, tags, words = number + 1, {}, []
        elif kind == "word" and not depth:
            word = plain(token)
            if not MOVE.match(word):
                what = f"{named(path, number, tags)}, ply {len(words) + 1}: `{token[:20]}` is not a move"
                raise UserError(f"{what}; write moves as in PGN, such as Nf3, or remove the game")
            words.append(word)
    yield from done()


def named(path: Path, number: int, tags: dict[str, str]) -> str:
    """Returns the name of a game, for messages."""
    players = [tags[side] for side in ("White", "Black") if tags.get(side, "?") not in ("", "?")]
    return f"{path}, game {number}" + (f" ({' - '.join(players)})" if players else "")
