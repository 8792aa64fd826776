from collections.abc import Callable

import pytest
import torch

from transduce.data.source import Texts
from transduce.generate.decode import decode
from transduce.train.evaluate import auto_metric, bleu_of, evaluate, samples_text, spread
from transduce.train.recipe import Recipe
from transduce.train.session import Session


@pytest.mark.parametrize("task", ["translation", "language"])
def test_the_loss_is_that_of_every_example_alone(
    task: str, recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    made = session(recipe(task, {"objective.label_smoothing": 0.3})).task
    assert made.valid is not None
    found = evaluate(made.model, made.objective, made.valid, made.tokenizer, made.recipe.generate, 5)
    total, count, examples, ids = 0.0, 0, made.valid.examples, made.tokenizer
    with torch.inference_mode():
        made.model.eval()
        for batch in made.valid.loader.once():
            for row in range(len(batch.inputs)):
                targets = batch.targets[row]
                logits = made.model.head(made.model.features(batch)[row][targets >= 0])
                wanted = targets[targets >= 0]
                total -= float(logits.double().log_softmax(-1)[range(len(wanted)), wanted].sum())
                count += len(wanted)
    assert count == found.tokens == sum(min(len(examples.targets[i]) + 1, 24) for i in range(len(examples)))
    assert found.loss == pytest.approx(total / count, rel=1e-5)
    if task == "language":
        assert found.bleu is found.exact is None
        assert len(found.samples) == 3
        assert all(
            made.valid.texts.targets[i].startswith(s.source) for i, s in zip((0, 4, 8), found.samples, strict=True)
        )
    else:
        sources = made.valid.texts.sources or []
        assert [s.source for s in found.samples] == [sources[i] for i in spread(12, 5)]
        (best,) = decode(made.model, ids, made.recipe.generate, source=[ids.encode(found.samples[0].source)])
        assert ids.decode(best[0].ids) == found.samples[0].output


def test_evaluating_leaves_the_model_as_it_was(recipe: Callable[..., Recipe], session: Callable[..., Session]) -> None:
    made = session(recipe()).task
    made.model.train()
    before, state = {n: p.clone() for n, p in made.model.named_parameters()}, torch.get_rng_state()
    assert made.valid is not None
    evaluate(made.model, made.objective, made.valid, made.tokenizer, made.recipe.generate, 3)
    assert made.model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, before[n]) for n, p in made.model.named_parameters())


@pytest.mark.parametrize("unit", ["line", "file"])
@pytest.mark.parametrize("limit", [2, 24])
def test_a_model_of_few_positions_goes_on_as_far_as_they_reach(
    unit: str, limit: int, recipe: Callable[..., Recipe], session: Callable[..., Session]
) -> None:
    over = {"model.positions": {"kind": "learned", "limit": limit}, "batch.max_length": limit, "data.unit": unit}
    made = session(recipe("language", {**over, "generate.max_new_tokens": 99})).task
    assert made.valid is not None
    found = evaluate(made.model, made.objective, made.valid, made.tokenizer, made.recipe.generate, 5)
    assert len(found.samples) == 3
    assert all(len(sample.source) <= limit // 2 and len(sample.output) <= limit for sample in found.samples)


def test_bleu_is_that_of_sacrebleu_with_its_signature() -> None:
    score, signature = bleu_of(["the cat sat on the mat .", "a dog"], ["the cat sat on the mat .", "a dog"])
    assert score == pytest.approx(100)
    assert signature.startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")


def test_what_selects_by_itself() -> None:
    assert auto_metric(Texts(None, ["a b"])) == "loss"
    assert auto_metric(Texts(["3 May 2021"], ["2021-05-03"])) == "exact"
    assert auto_metric(Texts(["ein Haus"], ["a house"])) == "bleu"


def test_spread_is_even_and_complete() -> None:
    assert spread(10, 3) == [0, 3, 6]
    assert spread(4, None) == spread(4, 99) == [0, 1, 2, 3]
    assert spread(4, 0) == spread(0, None) == []
    assert samples_text([]) == ""
