import pytest
import torch
from torch import nn

from transduce.model.layout import dense
from transduce.reproduce.fit import Score, adam, fit, graded, learn, reached, tagger, tags, translator
from transduce.reproduce.tasks import BEGIN, copying, recall, written


def test_fit_minimises_and_stops_when_told() -> None:
    model = nn.Linear(3, 1)
    x, calls = torch.randn(20, 3), iter([False] * 4 + [True])
    losses = fit(model, lambda: model(x).square().mean(), 50, adam(model, 0.1), until=lambda: next(calls))
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    assert not model.training


def test_fit_clips_and_follows_a_schedule() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    fit(model, lambda: 100 * model.weight.sum(), 2, optimizer, clip=1.0, schedule=lambda step: (0.5, 0.25)[step])
    assert model.weight.item() == pytest.approx(-0.75)


def test_graded_looks_only_where_there_is_a_target() -> None:
    logits = torch.tensor([[[0.0, 5.0], [5.0, 0.0], [9.0, 0.0]]])
    found = graded(logits, torch.tensor([[1, 1, -1]]))
    assert found.accuracy == 0.5
    assert float(found.loss) == pytest.approx((0.00672 + 5.00672) / 2, abs=1e-4)


def test_reached_is_the_first_update_of_a_good_window() -> None:
    values = [0.0] * 5 + [1.0] * 10
    assert reached(values, 0.9) == 14
    assert reached(values, 1.0) == 15
    assert reached(values[:9], 0.0) is None
    assert reached(values, 1.1) is None


def test_learning_stops_at_the_update_that_reached_says() -> None:
    model, accuracies = nn.Linear(1, 1), iter([0.0] * 5 + [1.0] * 95)
    found = learn(model, lambda: Score(model.weight.sum(), next(accuracies)), 100, adam(model, 0.1), enough=0.9)
    assert len(found.losses) == len(found.accuracies) == reached(found.accuracies, 0.9) == 14


@pytest.mark.parametrize("causal", [True, False])
def test_a_tagger_sees_the_future_only_if_it_is_to(causal: bool) -> None:
    model = tagger(5, 3, 0, causal=causal, width=16, layers=1)
    ids = torch.tensor([[1, 2, 3, 4]])
    other = torch.tensor([[1, 2, 3, 0]])
    same = torch.equal(tags(model, ids)[:, :3], tags(model, other)[:, :3])
    assert same is causal
    assert tags(model, ids).shape == (1, 4, 3)


def test_recall_asks_once_and_for_the_first() -> None:
    task = recall(3, 7, 8, torch.Generator().manual_seed(0))
    assert (task.targets[:, :-1] == -1).all()
    assert torch.equal(task.targets[:, -1], task.ids[:, 0])


def test_copying_never_shows_the_answer() -> None:
    batch = copying(4, 6, 9, torch.Generator().manual_seed(0))
    assert (batch.inputs[:, 0] == BEGIN).all()
    assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    assert torch.equal(batch.source, batch.targets)
    assert batch.targets.min() >= 1


def test_written_is_what_the_model_says_to_its_own_tokens() -> None:
    model = translator(6, 0, width=16, layers=1)
    source = torch.tensor([[1, 2, 3], [5, 4, 1]])
    found = written(model, source)
    inputs = torch.cat([torch.full((2, 1), BEGIN), found[:, :-1]], 1)
    batch = copying(2, 3, 5, torch.Generator())._replace(inputs=inputs, source=source, source_layout=dense(2, 3))
    with torch.no_grad():
        assert torch.equal(model.head(model.features(batch)).argmax(-1), found)
