import pytest
import torch
import torch.nn.functional as F

from transduce.model.architecture import DecoderConfig
from transduce.model.batch import Batch, Steps
from transduce.model.embed.trajectory import TrajectoryConfig
from transduce.model.heads.head import HeadConfig
from transduce.model.heads.token_classes import TokenClassesHeadConfig
from transduce.model.heads.values import BinsHead, BinsHeadConfig, ValuesHeadConfig
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.positions.position import NoPositionsConfig
from transduce.objectives.act import act_loss

HEADS = {
    "classes": TokenClassesHeadConfig(classes=4), "bins": BinsHeadConfig(numbers=2, bins=5),
    "values": ValuesHeadConfig(size=2),
}  # fmt: skip


def case(head: HeadConfig, kind: str, rows: int, steps: int) -> tuple[torch.nn.Module, Batch]:
    generator = torch.Generator().manual_seed(0)
    embedding = TrajectoryConfig(actions=4 if kind == "classes" else 2, classes=kind == "classes", steps=9)
    model = DecoderConfig(
        width=16, layers=1, mixer=AttentionConfig(heads=2), embedding=embedding, head=head, tie_embeddings=False,
        positions=NoPositionsConfig(),
    ).build(3).double().eval()  # fmt: skip
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    numbers = draw(rows, steps, 2)
    classes = torch.randint(0, 4, (rows, steps), generator=generator)
    actions = classes if kind == "classes" else numbers
    targets = {"classes": classes, "bins": torch.randint(0, 5, (rows, steps, 2), generator=generator)}
    inputs = Steps(draw(rows, steps, 1), draw(rows, steps, 3), actions, torch.arange(steps).expand(rows, -1))
    return model, Batch(inputs, dense(rows, 3 * steps), targets.get(kind, numbers))


@pytest.mark.parametrize("kind", HEADS)
def test_the_loss_is_that_of_the_formula_step_by_step(kind: str) -> None:
    model, batch = case(HEADS[kind], kind, 3, 5)
    loss = act_loss(model, batch)  # type: ignore[arg-type]
    hidden = model.features(batch)  # type: ignore[operator]
    total = torch.zeros((), dtype=torch.float64)
    for row in range(3):
        for step in range(5):
            out, target = model.head(hidden[row, 3 * step + 1]), batch.targets[row, step]  # type: ignore[operator]
            if kind == "values":
                total += ((out - target) ** 2).sum()
            elif kind == "bins":
                assert isinstance(model.head, BinsHead)
                total += sum(-out[5 * i : 5 * i + 5].log_softmax(0)[target[i]] for i in range(2))
            else:
                total += F.cross_entropy(out, target)
    torch.testing.assert_close(loss.total, total)
    assert int(loss.count) == 15 * (1 if kind == "classes" else 2)


@pytest.mark.parametrize("kind", HEADS)
def test_an_action_is_predicted_without_being_seen(kind: str) -> None:
    model, batch = case(HEADS[kind], kind, 2, 4)
    hidden = model.features(batch)  # type: ignore[operator]
    changed = batch.inputs.actions.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 4 if kind == "classes" else changed[:, 2] + 1
    other = model.features(batch._replace(inputs=batch.inputs._replace(actions=changed)))  # type: ignore[operator]
    assert torch.equal(hidden[:, :8], other[:, :8])
    assert not torch.allclose(hidden[:, 9], other[:, 9])


@pytest.mark.parametrize("kind", HEADS)
def test_padding_changes_nothing(kind: str) -> None:
    model, batch = case(HEADS[kind], kind, 2, 6)
    lengths = torch.tensor([4, 6])
    steps, real = batch.inputs, torch.arange(6) < lengths[:, None]
    padded = batch._replace(layout=right_padded(3 * lengths, 18))
    parts = list[torch.Tensor]()
    for row, n in enumerate(lengths.tolist()):
        one = Steps(*(x[row : row + 1, :n] for x in steps))
        parts.append(act_loss(model, Batch(one, dense(1, 3 * n), batch.targets[row : row + 1, :n])).total)  # type: ignore[arg-type]
    loss = act_loss(model, padded)  # type: ignore[arg-type]
    torch.testing.assert_close(loss.total, parts[0] + parts[1])
    assert int(loss.count) == int(real.sum()) * (1 if kind == "classes" else 2)
    ours = torch.autograd.grad(loss.total, list(model.parameters()), allow_unused=True, materialize_grads=True)
    each = torch.autograd.grad(parts[0] + parts[1], list(model.parameters()), allow_unused=True, materialize_grads=True)
    for one, other in zip(ours, each, strict=True):
        torch.testing.assert_close(one, other)
