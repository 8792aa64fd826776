"""A draft that is a run: opened where its tokens are those of the model, else refused with what to do."""

from pathlib import Path

import pytest

import transduce as td
from transduce.errors import UserError
from transduce.generate.draft.lookup import LookupConfig
from transduce.generate.draft.run import RunConfig
from transduce.generate.options import named

SMALL = {
    "data.unit": "line", "tokenizer": "char", "model.layers": 1, "train.max_steps": 2, "schedule.warmup_steps": 1,
    "batch.batch_tokens": 600, "train.validate_every": 2, "generate.max_new_tokens": 12, "generate.draft": "lookup",
    "train.device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a smaller one, and one with other letters; trained with look-up in their recipes."""
    out = tmp_path_factory.mktemp("runs")
    for name, width, letters in (("large", 32, "abcdefgh"), ("small", 16, "abcdefgh"), ("other", 16, "abcxyz")):
        (out / f"{name}.txt").write_text("".join(f"{letters[n % 5 :]} {letters}\n" for n in range(60)))
        changes = {"data.path": str(out / f"{name}.txt"), "model.width": width, "model.mixer.heads": 2, "name": name}
        td.train("shakespeare", {**SMALL, **changes}, out=out, quiet=True)
    return out


def test_words_name_kinds_and_runs():
    assert named("lookup") == LookupConfig()
    assert named("runs/small") == RunConfig(run="runs/small")
    assert named("none") is None
    with pytest.raises(UserError, match="does not say which run; give the directory"):
        named("run")


def test_the_text_is_the_same_with_any_draft(runs: Path):
    model, small = td.load(runs / "large"), str(runs / "small")
    for options in ({}, {"temperature": 0.8, "seed": 3}):
        texts = [model.generate("ab", draft=draft, **options) for draft in (None, "none", "lookup", small)]
        assert len({*texts, model.generate("ab", **options), "".join(model.stream("ab", draft=small, **options))}) == 1
    assert td.load(runs / "large", overrides={"generate.draft.kind": "run", "generate.draft.run": small}).generate("ab")
    assert model.generate("ab", beam_size=2), "several hypotheses win over the draft of the recipe"


def test_what_cannot_guess_is_refused(runs: Path):
    model = td.load(runs / "large")
    with pytest.raises(UserError, match=r"other has another vocabulary \(.*; give a run with the same tokeniser"):
        model.generate("ab", draft=str(runs / "other"))
    with pytest.raises(UserError, match="draft=lokup is neither the directory of a run nor one of lookup; give the"):
        model.generate("ab", draft="lokup")
    with pytest.raises(UserError, match="a draft guesses how one text goes on, but beam_size=2"):
        model.generate("ab", draft="lookup", beam_size=2)
