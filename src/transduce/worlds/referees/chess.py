"""Chess, by the rules of python-chess (the extra `chess`), which is imported only where a game is judged."""

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from transduce.errors import UserError
from transduce.worlds.referees.referee import RefereeConfig

NEEDS = "moves are judged by python-chess, which is not installed; pip install 'transduce[chess]'"
LETTERS = {2: "N", 3: "B", 4: "R", 5: "Q", 6: "K"}  # of the kinds of pieces of python-chess; 1 is a pawn
MOST = 20_000  # boards that are kept
_boards: dict[tuple[str, ...], Any] = {}


@dataclass(frozen=True, kw_only=True)
class Chess(RefereeConfig):
    """Legal moves from the usual start, in algebraic notation without the signs of capture, check and mate: "Nf3",
    "ed5", "e8=Q", "O-O". More of where a piece comes from may be said than is needed, as long as one move is meant."""

    kind: ClassVar[str] = "chess"
    unit: ClassVar[str] = "ply"
    phases: ClassVar[tuple[int, ...]] = (12, 40, 80)

    def missing(self) -> str | None:
        return NEEDS if importlib.util.find_spec("chess") is None else None

    def follows(self, words: Sequence[str]) -> frozenset[str]:
        board = after(tuple(words))
        return frozenset() if board is None else frozenset(moves(board))

    def first_wrong(self, words: Sequence[str]) -> int | None:
        board = library().Board()
        for number, word in enumerate(words):
            try:
                board.push(board.parse_san(word))  # reads these words too, and faster than all moves are written
            except ValueError:
                return number
        return None


def after(words: tuple[str, ...]) -> Any:
    """Returns the board after these words (None: one of them was not legal). Boards of late are kept."""
    if len(_boards) > MOST:
        _boards.clear()
    _boards.setdefault((), library().Board())
    known = next(n for n in range(len(words), -1, -1) if words[:n] in _boards)
    for n in range(known, len(words)):
        before = _boards[words[:n]]
        move = None if before is None else moves(before).get(words[n])
        board = None if before is None or move is None else before.copy(stack=False)
        if board is not None:
            board.push(move)
        _boards[words[: n + 1]] = board
    return _boards[words]


def moves(board: Any) -> dict[str, Any]:
    """Returns the legal moves by each word that means one of them alone."""
    out, ambiguous = dict[str, Any](), set[str]()
    for move in board.legal_moves:
        for word in spellings(board, move):
            if word in out:
                ambiguous.add(word)
            out[word] = move
    return {word: move for word, move in out.items() if word not in ambiguous}


def spellings(board: Any, move: Any) -> Iterator[str]:
    """Yields the words for a move, the shortest first."""
    squares, kind = library().SQUARE_NAMES, board.piece_type_at(move.from_square)
    start, end = squares[move.from_square], squares[move.to_square]
    if kind == 1:
        takes = start[0] if start[0] != end[0] else ""
        yield f"{takes}{end}" + (f"={LETTERS[move.promotion]}" if move.promotion else "")
    elif board.is_castling(move):
        yield "O-O" if end > start else "O-O-O"
    else:
        for place in ("", start[0], start[1], start):
            yield f"{LETTERS[kind]}{place}{end}"


def library() -> Any:
    """Returns python-chess. Raises UserError where it is not installed."""
    try:
        import chess
    except ImportError:
        raise UserError(NEEDS) from None
    return chess
