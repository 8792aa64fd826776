"""Games of chess out of PGN files: a game is a text, and a move a word of it."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transduce.data import pgn, read
from transduce.data.columns import TEXT, Columns
from transduce.data.source import SPLITS, DataConfig, files, hold_out, require_fraction, unused
from transduce.errors import UserError, require_at_least
from transduce.worlds.referees.chess import Chess

LABEL = "label"
FORM = 1  # of what is kept, and of the words


@dataclass(frozen=True, kw_only=True)
class Games(DataConfig):
    """Chess games of PGN files (gz too): each is a text of its moves, "e4 c5 Nf3 d6".

    Moves are in algebraic notation without the signs of capture, check and mate. Where python-chess is installed every
    game is replayed once, and the words of a file are kept by its hash in ~/.cache/transduce (XDG_CACHE_HOME).

    path: a folder with train.pgn, valid.pgn and test.pgn, or with the names and globs given below; or a folder of other
        files, one file or a glob, all of which is train.
    train: names and globs of the files to train on.
    valid: names and globs of the files to validate on.
    test: names and globs of the files to test on at the end.
    valid_fraction: share of train that is held out where there is no valid file.
    tag: of a game's head, which is its label where a task asks for one: Result, ECO. Games without it are left out.
    tag_size: so many first letters of the tag (None: all).
    plies: so many first moves of each game are read (None: all).
    """

    kind: ClassVar[str] = "games"
    task: ClassVar[str] = "moves"
    path: str
    train: tuple[str, ...] = ("train",)
    valid: tuple[str, ...] = ("valid",)
    test: tuple[str, ...] = ("test",)
    valid_fraction: float = 0.05
    tag: str = "Result"
    tag_size: int | None = None
    plies: int | None = None

    def __post_init__(self) -> None:
        require_fraction(self.valid_fraction)
        require_at_least(1, plies=self.plies, tag_size=self.tag_size)

    @property
    def gives(self) -> None:
        """Returns none: a text, and a label where a task asks for one."""
        return None

    def load(self, columns: Sequence[str] = ()) -> dict[str, Columns]:
        """Returns the games of every split. Raises UserError, which names the game and the ply."""
        splits = dict[str, Columns]()
        for split, paths in self.found().items():
            games = [game for path in paths for game in replayed(path)]
            if not games:
                raise UserError(f"{paths[0]} holds no game with a move; give a PGN file, or leave it out")
            if LABEL in columns and not (games := [game for game in games if self.label(game)]):
                raise UserError(f"no game of {paths[0]} has the tag `{self.tag}`; choose another with data.tag")
            values: dict[str, Sequence[Any]] = {TEXT: [" ".join(game.words[: self.plies]) for game in games]}
            splits[split] = Columns({**values, LABEL: [self.label(x) for x in games]} if LABEL in columns else values)
        return hold_out(splits, self.valid_fraction)

    def label(self, game: pgn.Game) -> str:
        """Returns the label of a game ("": it has none)."""
        return game.tags.get(self.tag, "").strip("?*")[: self.tag_size]

    def found(self) -> dict[str, list[Path]]:
        """Returns the files of each split."""
        names = dict(zip(SPLITS, (self.train, self.valid, self.test), strict=True))
        return files(self.path, names, pgn.EXTENSIONS)

    def files_read(self) -> list[Path]:
        return [read.packed(path) for paths in self.found().values() for path in paths]

    def remarks(self, columns: Sequence[str] = ()) -> list[str]:
        missing = Chess().missing()
        out = unused(self.path, self.found(), pgn.EXTENSIONS) + ([missing] if missing else [])
        games = (
            [x for paths in self.found().values() for path in paths for x in replayed(path)] if LABEL in columns else []
        )
        if without := sum(not self.label(game) for game in games):
            out.append(f"{without:,} of {len(games):,} games have no tag `{self.tag}` and are left out")
        return out


def replayed(path: Path) -> list[pgn.Game]:
    """Returns the games of a file, all of whose moves are legal where python-chess is there to say so."""
    path = read.packed(path)
    if Chess().missing():
        return list(pgn.games(path))
    copy = place(path)
    with suppress(OSError, ValueError, TypeError):
        return [pgn.Game(*row) for row in json.loads(copy.read_text("utf-8"))]
    games = list(pgn.games(path))
    for game in games:
        if (ply := Chess().first_wrong(game.words)) is not None:
            before = " ".join(game.words[max(ply - 3, 0) : ply]) or "the start"
            what = f"{game.name}, ply {ply + 1}: {game.words[ply]} is not legal after {before}"
            raise UserError(f"{what}; correct the game, or remove it")
    with suppress(OSError):  # a full or locked disk: it is replayed anew
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(games), "utf-8")
        part.replace(copy)
    return games


def place(path: Path) -> Path:
    """Returns where the games of a file are kept, by the hash of its path, for messages, and of its bytes."""
    with read.opened(path) as _:  # a missing file is named
        digest = hashlib.blake2b(f"{FORM} {path}\n".encode() + path.read_bytes(), digest_size=16).hexdigest()
    return read.at_home(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "transduce" / "games" / f"{digest}.json"
