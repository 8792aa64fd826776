"""Games: what is read of PGN is what python-chess reads, an illegal move is named, and a file is replayed once."""

import gzip
from pathlib import Path

import pytest

from transduce.data.games import Games
from transduce.data.pgn import plain
from transduce.errors import UserError
from transduce.worlds.referees.chess import Chess

HEAD = '[Event "A match"]\n[White "A, B"]\n[Black "C"]\n[Result "{}"]\n[ECO "C6{}"]\n\n'
ONE = (
    HEAD.format("1-0", 0)
    + "1. e4 {best by test} e5 2.Nf3!? (2. f4 exf4 (2... d5) 3. Nf3) Nc6 $14 3. Bb5 a6\n4. Bxc6+ dxc6 1-0\n\n"
)
TWO = HEAD.format("0-1", 1) + "1.f3 e5 2.g4 Qh4# 0-1\n"
BARE = "1. e4 d5 2. exd5 Nf6 ; a comment\n% a line that is skipped\n3. Nf3 Nxd5 4. Be2 e6 5. 0-0 *\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "transduce" / "games"


def read(tmp_path: Path, text: str, **keys: object) -> list[str]:
    (tmp_path / "g.pgn").write_text(text, "utf-8")
    return list(Games(path=str(tmp_path / "g.pgn"), valid_fraction=0, **keys).load()["train"]["text"])  # type: ignore[arg-type]


def test_a_game_is_its_moves_and_nothing_else(tmp_path: Path) -> None:
    texts = ["e4 e5 Nf3 Nc6 Bb5 a6 Bc6 dc6", "f3 e5 g4 Qh4", "e4 d5 ed5 Nf6 Nf3 Nd5 Be2 e6 O-O"]
    assert read(tmp_path, ONE + TWO + BARE) == texts
    assert read(tmp_path, ONE.replace("dxc6 1-0", "dxc6") + TWO) == texts[:2]  # a game without a result
    assert read(tmp_path, ONE + TWO, plies=3) == ["e4 e5 Nf3", "f3 e5 g4"]
    assert [plain(x) for x in ("exd8=Q+", "e8Q", "0-0-0", "R1xa3!?", "Nbd7", "a1N")] == [
        "ed8=Q", "e8=Q", "O-O-O", "R1a3", "Nbd7", "a1=N",
    ]  # fmt: skip


def test_a_tag_is_the_label_where_one_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "train.pgn").write_text(ONE + TWO, "utf-8")
    with gzip.open(tmp_path / "valid.pgn.gz", "wt") as file:
        file.write(TWO)
    splits = Games(path=str(tmp_path)).load(("text", "label"))
    assert [list(rows["label"]) for rows in splits.values()] == [["1-0", "0-1"], ["0-1"]]
    assert Games(path=str(tmp_path), tag="ECO", tag_size=2).load(("text", "label"))["train"]["label"] == ["C6", "C6"]
    (tmp_path / "train.pgn").write_text(ONE + TWO.replace('[ECO "C61"]', '[ECO ""]') + BARE, "utf-8")
    some = Games(path=str(tmp_path / "train.pgn"), tag="ECO", valid_fraction=0)
    assert some.load(("text", "label"))["train"]["label"] == ["C60"]
    assert "2 of 3 games have no tag `ECO` and are left out" in some.remarks(("text", "label"))
    with pytest.raises(UserError, match=r"no game of .*train.pgn has the tag `Elo`; choose another with data.tag"):
        Games(path=str(tmp_path), tag="Elo").load(("text", "label"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE + TWO.replace("2.g4", "2.Nf3"), r"g.pgn, game 2 \(A, B - C\), ply 3: Nf3 is not legal after f3 e5"),
        (ONE.replace("3. Bb5", "3. Bz5"), r"game 1 \(A, B - C\), ply 5: `Bz5` is not a move; write moves as in PGN"),
        (BARE.replace("3. Nf3", "3. --"), r"g.pgn, game 1, ply 5: `--` is not a move"),
        ('[FEN "8/8/8/8/8/8/8/K1k5 w - - 0 1"]\n1. Kb1 *', r"game 1 starts from a position of its own \(FEN\)"),
        ("", "is empty; give a file with text in it"), (HEAD.format("*", 0) + "*\n", "holds no game with a move"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    pytest.importorskip("chess")
    with pytest.raises(UserError, match=message):
        read(tmp_path, text)


def test_a_file_is_replayed_once_and_anew_where_it_changed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("chess")
    texts = read(tmp_path, ONE)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Chess, "first_wrong", lambda *_: 0)
        assert read(tmp_path, ONE) == texts
        with pytest.raises(UserError, match="ply 1: f3 is not legal after the start"):
            read(tmp_path, TWO)
    next(cache.iterdir()).write_text("[[", "utf-8")  # half written
    assert read(tmp_path, ONE) == texts


def test_without_python_chess_games_are_read_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chess, "missing", lambda _: "python-chess is not installed")
    assert read(tmp_path, TWO.replace("2.g4", "2.Nf3")) == ["f3 e5 Nf3 Qh4"]
    assert Games(path=str(tmp_path / "g.pgn")).remarks()[-1] == "python-chess is not installed"
