"""The library as the README uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import transduce as td
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.listen import listen
from transduce.generate.options import decoding
from transduce.runs import checkpoint

TINY = {
    "data.train_size": 200, "data.valid_size": 8, "data.test_size": 8, "model.width": 16, "model.layers": 1,
    "model.mixer.heads": 2, "model.feedforward.hidden": 32, "batch.batch_tokens": 512, "train.max_steps": 2,
    "train.samples": 4, "schedule.warmup_steps": 1, "train.threads": 1,
}  # fmt: skip


def python(code: str) -> None:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr


def test_importing_brings_no_torch() -> None:
    python("import sys, transduce; assert not {'torch', 'numpy', 'rich', 'typer'} & set(sys.modules)")


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_reading_a_run_brings_no_compiler(positions: str, tmp_path: Path) -> None:
    """It takes a second to import, and nothing is compiled where a text is translated."""
    run = td.train("dates", {**TINY, "model.positions.kind": positions}, out=tmp_path, quiet=True)
    python(
        f"import sys, transduce as td; td.load({str(run.path)!r}).translate('3 May 1999');"
        "found = {'torch._dynamo', 'torch._inductor', 'sympy'} & set(sys.modules); assert not found, found"
    )


@pytest.mark.parametrize("first", ["", "import transduce.training.loop; ", "td.recipe(); ", "td.train; "])
def test_train_can_be_called_whatever_was_imported_before(first: str) -> None:
    code = f"import transduce as td; {first}assert callable(td.train); from transduce.training import loop; loop.train"
    python(code + "\ntry: td.train('nothing')\nexcept td.UserError as e: assert 'no recipe' in str(e)")


def test_five_lines(tmp_path: Path) -> None:
    run = td.train("dates", TINY, out=tmp_path, quiet=True)
    model = td.load(run.path)
    texts = ["3 de mayo de 2021", "4 May 2022"]
    assert model.translate(texts) == [model.translate(text) for text in texts]
    assert [row.total for row in model.score(zip(texts, model.translate(texts), strict=True))] < [0.0, 0.0]
    assert run.path == tmp_path / "dates"
    assert run.result is not None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> td.Transducer:
    return td.load(td.train("dates", TINY, out=tmp_path_factory.mktemp("runs"), quiet=True).path)


def test_nothing_in_is_nothing_out(model: td.Transducer) -> None:
    assert model.translate([]) == []
    assert model.translate([], nbest=2) == []
    assert model.score([]) == []


def test_the_best_of_n_have_the_scores_that_score_gives(model: td.Transducer) -> None:
    best = model.translate("3 May 2021", nbest=3, max_new_tokens=6)
    assert len(best) == 3
    assert len({candidate.text for candidate in best}) > 1
    assert model.translate(["3 May 2021"], nbest=3, max_new_tokens=6) == [best]
    assert model.translate("3 May 2021", beam_size=3, max_new_tokens=6) == best[0].text


def test_what_a_model_cannot_do_it_says(model: td.Transducer) -> None:
    with pytest.raises(UserError, match=r"answers a source; use translate"):
        model.generate("x")
    with pytest.raises(UserError, match=r"give \(source, target\) pairs"):
        model.score(["text"])
    with pytest.raises(UserError, match=r"has no split `dev`"):
        model.evaluate("dev")


def test_unknown_names_are_named() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute `trian`; it has .*train"):
        td.trian  # noqa: B018
    assert set(td.__all__) <= set(dir(td))


BEAM, SAMPLE = GenerateConfig(beam_size=5), GenerateConfig(temperature=0.8, top_p=0.9)


@pytest.mark.parametrize(
    ("config", "nbest", "asked", "expected"),
    [
        (BEAM, None, {}, BEAM),
        (BEAM, 3, {}, GenerateConfig(beam_size=5, nbest=3)),
        (BEAM, 8, {}, GenerateConfig(beam_size=8, nbest=8)),
        (BEAM, None, {"temperature": 1.0}, GenerateConfig(temperature=1.0)),
        (BEAM, 3, {"temperature": 1.0}, GenerateConfig(temperature=1.0, nbest=3)),
        (SAMPLE, None, {"temperature": 0.0}, GenerateConfig()),
        (SAMPLE, None, {"beam_size": 4}, GenerateConfig(beam_size=4)),
        (SAMPLE, None, {"top_k": 3}, GenerateConfig(temperature=0.8, top_p=0.9, top_k=3)),
    ],
)
def test_what_is_asked_for_outweighs_the_recipe(config, nbest, asked, expected) -> None:
    assert decoding(config, nbest, asked) == expected


@pytest.mark.parametrize("asked", [{"temperature": 1.0, "beam_size": 2}, {"temperature": 0.0, "top_k": 2}])
def test_what_is_asked_for_may_not_contradict_itself(asked) -> None:
    with pytest.raises(UserError):
        decoding(BEAM, None, asked)
    with pytest.raises(UserError, match="nbest=5"):
        decoding(GenerateConfig(), 5, {"beam_size": 2})


def test_listening_hears_everything_and_the_error_at_the_end() -> None:
    def write(say) -> None:
        say("a")
        say("")
        say("b")
        raise UserError("no more")

    heard = listen(write)
    assert [next(heard), next(heard)] == ["a", "b"]
    with pytest.raises(UserError, match="no more"):
        next(heard)


def test_who_stops_listening_stops_the_writing() -> None:
    written = 0

    def write(say) -> None:
        nonlocal written
        while True:
            say("a")
            written += 1

    for _ in listen(write):
        break
    after = written
    assert written == after


def test_the_moving_average_is_what_is_used(tmp_path: Path) -> None:
    """Also where the model has more than parameters, such as the running statistics of a batch norm."""
    over = {**TINY, "train.ema": 0.9, "model.norm": "batch-norm", "train.average": 1}
    run = td.train("dates", over, out=tmp_path, quiet=True)
    used, averaged = td.load(run.path).model, checkpoint.read_tensors(run.best / "ema.safetensors")
    trained = checkpoint.read_tensors(run.best / "model.safetensors")
    state = used.state_dict()
    assert averaged.keys() == trained.keys()
    assert all(torch.equal(state[name], value) for name, value in averaged.items())
    assert any(not torch.equal(state[name], value) for name, value in trained.items())


def test_opening_a_model_needs_nothing_of_training_one() -> None:
    heavy = "{'transduce.training.train', 'transduce.catalogue.build', 'transduce.api.averaging', 'rich', 'matplotlib'}"
    python(
        "import sys; from transduce import api; api.load; assert set(api.PLACES) <= set(dir(api)); "
        f"found = {heavy} & set(sys.modules); assert not found, found"
    )
