"""Answers of several models to the same prompts, beside those of the one they started from.

Tested in tests/prefer/test_rlhf.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from transduce.data.readers.reader import Readers
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.inputs import Inputs
from transduce.model.batch import Batch
from transduce.model.models import Model
from transduce.prefer.rollout import built, evaluating, log_p
from transduce.tasks.chat import ChatConfig, Turns
from transduce.text.chat import conversation

Judge = Callable[[Sequence[tuple[Any, str]]], list[float]]


class Compared(NamedTuple):
    """The answers of a model, measured.

    rewards: their mean, by judge. wins: the share that gets more than an answer of the first model to the same prompt,
    equal ones counting half, by judge. kl: log p - log p of the first model, in nats per answer. length: tokens of an
    answer. answers: to the first prompts, one each.
    """

    name: str
    rewards: dict[str, float]
    wins: dict[str, float]
    kl: float
    length: float
    answers: list[str]


def compared(
    models: Mapping[str, Model], task: ChatConfig, readers: Readers, prompts: Sequence[Any],
    judges: Mapping[str, Judge], *, each: int, max_new_tokens: int, seed: int, shown: int = 3,
) -> list[Compared]:  # fmt: skip
    """Draws `each` answers to every prompt, at temperature 1 without a filter, and has them judged.

    models: by name; all have the same tokeniser, and the others are measured against the first.
    """
    chat, out, before = task.template(readers), list[Compared](), dict[str, list[float]]()
    turns = Turns(readers.text, chat.end, free=True)
    ids = [chat.ids(conversation(prompt)) for prompt in prompts]
    options = GenerateConfig(temperature=1.0, nbest=each, max_new_tokens=max_new_tokens, seed=seed)
    first = next(iter(models.values()))
    for name, model in models.items():
        with evaluating(model):
            rows = decode(model, turns, options, prompt=ids)
        batch, _ = built(turns, Inputs(None, ids), rows)
        texts = [[readers.text.decode(one.ids) for one in row] for row in rows]
        pairs = [(prompt, text) for prompt, row in zip(prompts, texts, strict=True) for text in row]
        rewards = {judge: of(pairs) for judge, of in judges.items()}
        before = before or rewards
        out.append(Compared(
            name, {judge: mean(values) for judge, values in rewards.items()},
            {judge: mean([won(a, b) for a, b in zip(rewards[judge], before[judge], strict=True)]) for judge in rewards},
            farther(model, first, batch), float((batch.targets >= 0).sum()) / len(pairs),
            [row[0] for row in texts[:shown]],
        ))  # fmt: skip
    return out


def farther(model: Model, other: Model, batch: Batch) -> float:
    """Returns log p - log p of another model, in nats per row."""
    return float((log_p(model, batch).double() - log_p(other, batch).double()).sum()) / len(batch.inputs)


def won(mine: float, other: float) -> float:
    return float(mine > other) + 0.5 * (mine == other)


def mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
