from collections.abc import Callable
from unicodedata import normalize

import pytest
import torch

from transduce.data.columns import Columns
from transduce.generate.decode import decode
from transduce.runs.recipe import Recipe
from transduce.tasks.evaluate import Evaluation, evaluate, samples_text
from transduce.tasks.language import LanguageConfig
from transduce.tasks.measures.measure import Sample
from transduce.tasks.task import Split, spread
from transduce.tasks.translate import TranslateConfig
from transduce.training.session import Job, Session


def measured(job: Job, split: Split | None, limit: int | None = None) -> Evaluation:
    assert split is not None
    task = job.recipe.task
    return evaluate(task, job.model, job.objective, split, job.readers, job.recipe.generate, limit=limit)


def split_of(job: Job, sources: list[str], targets: list[str]) -> Split:
    columns = Columns({"source": sources, "target": targets})
    return job.recipe.task.split("valid", columns, job.readers, job.recipe.batch, 0)


@pytest.mark.parametrize("task", ["translation", "language"])
def test_the_loss_is_that_of_every_example_alone(
    task: str, recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    made = session(recipe(task, {"objective.label_smoothing": 0.3})).job
    assert made.valid is not None
    found = measured(made, made.valid, 5)
    total, count, ids = 0.0, 0, made.readers.text
    *_, column = made.valid.examples.ids.values()
    with torch.inference_mode():
        made.model.eval()
        for batch in made.valid.loader.once():
            for row in range(len(batch.inputs)):
                targets = batch.targets[row]
                logits = made.model.head(made.model.features(batch)[row][targets >= 0])
                wanted = targets[targets >= 0]
                total -= float(logits.double().log_softmax(-1)[range(len(wanted)), wanted].sum())
                count += len(wanted)
    assert count == found.count == sum(min(len(column[i]) + 1, 24) for i in range(len(column)))
    assert found.loss == pytest.approx(total / count, rel=1e-5)
    if task == "language":
        assert found.values == {}
        assert len(found.samples) == 3
        assert all(
            made.valid.columns.given[i].startswith(s.source) for i, s in zip((0, 4, 8), found.samples, strict=True)
        )
    else:
        sources = made.valid.columns["source"]
        assert [s.source for s in found.samples] == [sources[i] for i in spread(12, 5)]
        (best,) = decode(made.model, ids, made.recipe.generate, source=[ids.encode(found.samples[0].source)])
        assert ids.decode(best[0].ids) == found.samples[0].output


def test_evaluating_leaves_the_model_as_it_was(recipe: Callable[..., Recipe], session: Callable[..., Session]) -> None:
    made = session(recipe()).job
    made.model.train()
    before, state = {n: p.clone() for n, p in made.model.named_parameters()}, torch.get_rng_state()
    assert made.valid is not None
    measured(made, made.valid, 3)
    assert made.model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, before[n]) for n, p in made.model.named_parameters())


@pytest.mark.parametrize("unit", ["line", "file"])
@pytest.mark.parametrize("limit", [2, 24])
def test_a_model_of_few_positions_goes_on_as_far_as_they_reach(
    unit: str, limit: int, recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    over = {"model.positions": {"kind": "learned", "limit": limit}, "batch.max_length": limit, "data.unit": unit}
    made = session(recipe("language", {**over, "generate.max_new_tokens": 99})).job
    assert made.valid is not None
    found = measured(made, made.valid, 5)
    assert len(found.samples) == 3
    assert all(len(sample.source) <= limit // 2 and len(sample.output) <= limit for sample in found.samples)


def test_a_limit_of_prompt_and_output_together_does_not_end_an_evaluation(
    recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    made = session(recipe("language", {"data.unit": "file", "generate.max_length": 3})).job
    assert made.valid is not None
    found = measured(made, made.valid, 5)
    assert any(len(made.readers.text.encode(sample.source)) > 3 for sample in found.samples)


def selected(targets: list[str], decoded: int = 200) -> str:
    columns = Columns({"source": ["a"] * len(targets), "target": targets})
    return TranslateConfig().selects("auto", columns, decoded)[0].kind


def test_what_selects_by_itself() -> None:
    assert LanguageConfig(stream=True).selects("auto", Columns({"stream": ["a b"]}), 200)[0].kind == "loss"
    assert selected(["2021-05-03"]) == "exact"
    assert selected(["a house"]) == "exact"
    assert selected(["кошка"]) == "exact"
    assert selected(["it is a house"]) == "bleu"
    assert selected(["猫在房间里睡觉"]) == "bleu"
    assert selected(["a b c d", *["x"] * 8], decoded=9) == "bleu"
    assert selected(["x", "a b c d", *["x"] * 7], decoded=3) == "exact"  # of those that are decoded
    assert selected(["it is a house"], decoded=0) == "loss"


@pytest.mark.parametrize(("targets", "means"), [(["a b", "a b c"], False), (["a b", "a b c d"], True)])
def test_bleu_is_shown_where_a_reference_has_four_words(
    targets: list[str], means: bool, recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    made = session(recipe("translation")).job
    split = split_of(made, ["x", "y"], targets)
    found = measured(made, split)
    assert found.values["bleu"].means is means
    assert ("BLEU" in found.line()) is means


def test_a_reference_may_be_written_otherwise_than_the_tokeniser_writes(
    recipe: Callable[..., Recipe], session: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the model writes is in NFC; a reference in NFD is the same text."""
    made = session(recipe("translation")).job
    for form in ("NFC", "NFD"):
        split = split_of(made, ["x"], [normalize(form, "é ü ñ ö å")])
        right = [Sample("x", split.columns["target"][0], normalize("NFC", "é ü ñ ö å"))]
        monkeypatch.setattr(TranslateConfig, "samples", lambda *_, right=right: right)
        found = measured(made, split)
        assert [found.values[kind].value for kind in ("exact", "bleu")] == [1.0, pytest.approx(100)]


def test_spread_is_even_and_complete() -> None:
    assert spread(10, 3) == [0, 3, 6]
    assert spread(4, None) == spread(4, 99) == [0, 1, 2, 3]
    assert spread(4, 0) == spread(0, None) == []
    assert samples_text([]) == ""
