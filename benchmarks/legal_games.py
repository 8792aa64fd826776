"""Games that a trained model writes among legal moves alone, replayed by python-chess.

    python benchmarks/legal_games.py RUN [COUNT] [SEED]

RUN: of the recipe `chess`. Told: games, plies, how many games have an illegal move, how they end, and CPU seconds; then
the same for games that are drawn freely.
"""

import sys
import time
from collections import Counter

import chess

import transduce as td
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.worlds.referees.chess import Chess


def ending(words: list[str]) -> str:
    """Returns how a game ends, by python-chess's own reading of its moves."""
    board = chess.Board()
    for word in words:
        try:
            board.push(board.parse_san(word))
        except ValueError:
            return "an illegal move"
    return "mate" if board.is_checkmate() else "stalemate" if board.is_stalemate() else "the model's own end"


def main(run: str, count: int, seed: int) -> None:
    model = td.load(run)
    tokenizer = model.tokenizer
    for name, referee in (("only legal moves", Chess()), ("drawn freely", None)):
        began = time.process_time()
        config = GenerateConfig(temperature=1.0, nbest=count, max_new_tokens=200, seed=seed, referee=referee)
        (rows,) = decode(model.model, tokenizer, config, prompt=[[tokenizer.bos]])
        games = [tokenizer.decode(row.ids).split() for row in rows]
        ends, plies = Counter(map(ending, games)), sum(map(len, games))
        told = ", ".join(f"{how}: {number}" for how, number in sorted(ends.items()))
        print(f"{name}: {count} games, {plies:,} plies, {time.process_time() - began:.0f} CPU s; {told}", flush=True)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[0], int(words[1]) if len(words) > 1 else 1000, int(words[2]) if len(words) > 2 else 0)
