"""Moves: what is measured of a model is what a referee says of it, place by place."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.cli.main import main
from transduce.generate.inputs import pad
from transduce.model.batch import Batch
from transduce.tasks.measures.legal import Judged, Legal, LegalAtFirst, LegalMass
from transduce.tasks.measures.measure import Outcome, Sample
from transduce.worlds.referees.chess import Chess

chess = pytest.importorskip("chess", reason="needs python-chess: pip install 'transduce[chess]'")
GAMES = "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 *\n\n1. d4 d5 2. c4 e6 3. Nc3 Nf6 4. cxd5 exd5 *\n\n1. e4 c5 2. Nf3 *\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe chess, small, after a few updates."""
    folder = tmp_path_factory.mktemp("chess")
    (folder / "games.pgn").write_text(GAMES * 3, "utf-8")
    changes = {
        "data.path": str(folder / "games.pgn"), "data.valid_fraction": 0.4, "model.width": 16, "model.layers": 1,
        "train.max_steps": 4, "train.validate_every": 4, "schedule.warmup_steps": 1, "batch.batch_tokens": 64,
        "batch.max_length": 64, "train.device": "cpu", "train.threads": 1, "train.precision": "fp32",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return td.train("chess", list(changes.items()), out=folder / "runs", quiet=True).path


def reads(board: Any, word: str) -> bool:
    try:
        return bool(board.parse_san(word))
    except ValueError:
        return False


def test_shares_are_those_of_the_places_of_a_game(run: Path) -> None:
    model = td.load(run)
    names = {i: word for word, i in model.tokenizer.tokenizer.get_vocab().items() if i not in model.tokenizer.silent}
    legal, mass, evaluation = list[bool](), list[float](), model.evaluate("valid")
    for sample in evaluation.samples:
        board, words = chess.Board(), sample.expected.split()
        for number, word in enumerate(words):
            ids, layout = pad(
                [[model.tokenizer.bos, *model.tokenizer.encode(" ".join(words[:number]))]], torch.device("cpu")
            )
            with torch.inference_mode():
                logits = model.model.token_head(model.model.features(Batch(ids, layout, ids)))[0, -1]
            shares = {names[i]: x for i, x in enumerate(logits.double().exp().tolist()) if i in names}
            legal.append(reads(board, max(shares, key=shares.__getitem__)))
            mass.append(sum(x for w, x in shares.items() if reads(board, w)) / sum(shares.values()))
            board.push_san(word)
    assert len(evaluation.samples) == len({sample.expected for sample in evaluation.samples}) * 3 > 0
    assert evaluation.values["legal"].value == pytest.approx(np.mean(legal), abs=1e-9)
    assert evaluation.values["legal-mass"].value == pytest.approx(np.mean(mass), abs=1e-5)


def test_measures_are_means_over_places_by_phase() -> None:
    rows = [Judged(np.arange(n) < 13, np.full(n, 0.5), (12, 40), "ply") for n in (10, 50)]
    outcome = Outcome(0.0, 0, np.zeros((0, 2)), [Sample("", "", "", beside=row) for row in rows])
    assert Legal().of(outcome).value == pytest.approx(23 / 60)
    assert Legal().of(outcome).note == "by ply, 1 to 12: 100.0 %, 13 to 40: 3.6 %, 41 to 50: 0.0 %"
    assert LegalAtFirst().of(outcome).value == 1.0
    assert LegalAtFirst(words=20).of(outcome).value == pytest.approx(23 / 30)
    assert LegalMass().of(outcome, draws=50) == LegalMass().of(outcome)._replace(low=0.5, high=0.5)


def test_generate_writes_legal_games(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", str(run), "e4", "--only-legal", "--json", "--max-new-tokens", "9"]
    assert main([*words, "--temperature", "2", "--samples", "8"]) == 0
    games = [["e4", *json.loads(line)["text"].split()] for line in capsys.readouterr().out.splitlines()]
    assert all(Chess().first_wrong(game) is None for game in games)
    assert main(["generate", str(run), "zz", "--only-legal"]) == 2
    assert "ply 1, a word the model does not know, is not legal" in capsys.readouterr().err
