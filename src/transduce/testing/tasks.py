"""Laws that hold for every task. Each is a function of a `Case` and raises AssertionError where it is broken.

    from transduce.testing.tasks import LAWS, case
    made = case(task, train, valid, folder)     # rows by column; a run of a few updates is made of them in the folder
    for law in LAWS: law(made)

Losses and predictions are compared in float64, where nothing but a mistake is larger than the tolerance.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from transduce.config import from_data, to_data
from transduce.data.columns import Columns
from transduce.data.examples import Examples
from transduce.data.loader import BatchConfig
from transduce.data.readers.reader import Readers
from transduce.data.source import DataConfig
from transduce.data.tables import Table
from transduce.errors import UserError
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.tasks.evaluate import Evaluation, evaluate
from transduce.tasks.measures.measure import Measure, Measured, Outcome
from transduce.tasks.task import TaskConfig, spread
from transduce.training.reference import attached, attached_to_split
from transduce.training.train import train as trained
from transduce.training.watching import Update, Validation
from transduce.transducer import Transducer

Rows = Mapping[str, Sequence[Any]]  # the values of each column
LONGEST, DRAWS = 32, 200


@dataclass(frozen=True)
class Case:
    """A task with rows, and a run that was trained on them. seen: its last validation, before anything was saved."""

    task: TaskConfig
    train: Columns
    valid: Columns
    run: Run
    model: Transducer
    seen: Evaluation

    @property
    def exact(self) -> Transducer:
        """Returns the same in float64."""
        return replace(self.model, model=deepcopy(self.model.model).double().eval())


def case(
    task: TaskConfig, train: Rows, valid: Rows, folder: Path, model: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Case:  # fmt: skip
    """Trains a small model for a few updates.

    model: what its section of the recipe says beside the kind. more: other sections, in place of those here.
    """
    for split, rows in (("train", train), ("valid", valid)):
        lines = [json.dumps(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    small = {"width": 16, "layers": 1, "mixer": {"kind": "attention", "heads": 2}, **(model or {})}
    recipe = from_data(Recipe, {
        "name": "case", "task": to_data(task), "model": {"kind": task.shape, **small},
        "data": {"kind": "table", "path": str(folder), "columns": {name: name for name in train}},
        "tokenizer": {"kind": "char"} if task.reads_text else None,
        "batch": {"batch_tokens": 256, "max_length": LONGEST}, "generate": {"max_new_tokens": 6},
        "optimizer": {"kind": "adamw", "learning_rate": 0.02}, "schedule": {"kind": "constant"},
        "train": {
            "max_steps": 3, "validate_every": 3, "samples": 1000, "precision": "fp32", "device": "cpu", "threads": 1,
        },
        **(more or {}),
    })  # fmt: skip
    evaluations: list[Evaluation] = []

    def watch(event: Update | Validation) -> None:
        evaluations.extend([event.evaluation] if isinstance(event, Validation) else [])

    run = trained(recipe, folder / "runs", quiet=True, watch=watch)
    opened = open_run(run)
    loaded = Transducer(opened.model.eval(), opened.readers, opened.recipe, run.path)
    return Case(loaded.task, Columns(train), Columns(valid), run, loaded, evaluations[-1])


def examples_are_those_of_their_rows(case: Case) -> None:
    """Columns and readers alone say what the examples are: they are the same each time, and row by row."""
    whole, rows = made(case, case.valid), [*range(len(case.valid))][::-2]
    some = made(case, case.valid.take(rows))
    assert len(some) == len(rows), "there is not one example for each row"
    for name, ids in made(case, case.valid).ids.items():
        for i, row in enumerate(rows):
            assert np.array_equal(ids[row], whole.ids[name][row]), f"{name}: examples made twice are not the same"
            assert np.array_equal(some.ids[name][i], ids[row]), f"{name}: row {row} is another example among others"


def readers_come_back(case: Case) -> None:
    """Checks that readers that a run saved as JSON read like those that were fitted to the training data."""
    tokenizer = None if case.model.recipe.tokenizer is None else case.model.recipe.tokenizer.train(
        list(case.task.texts(case.train))
    )  # fmt: skip
    fitted = Readers(tokenizer, case.task.readers(case.train))
    assert case.model.readers.columns == fitted.columns, "the readers of the run are not those that were fitted"
    assert case.task.size(fitted) == case.task.size(case.model.readers), "the model would be made for another size"
    for name, ids in case.task.examples(case.valid, fitted).ids.items():
        assert np.array_equal(ids.flat, made(case, case.valid).ids[name].flat), f"{name} is read as something else"


def losses_count_targets(case: Case) -> None:
    """The loss and the number of targets of a split do not depend on how rows are put together, padded or packed."""
    model, examples, totals = case.exact, readied(case, made(case, case.valid)), list[tuple[float, float]]()
    objective = model.recipe.objective.build_for(model.model, model.readers.tokenizer)
    for tokens, packing in ((LONGEST, False), (100, False), (100_000, False), (2 * LONGEST, True)):
        try:
            rows = examples.rows(BatchConfig(batch_tokens=tokens, max_length=LONGEST, packing=packing), drop=False)
        except UserError:
            if packing:  # as of rows that have one target each
                continue
            raise
        with torch.inference_mode():
            losses = [objective(model.model, rows.build(group)) for group in rows.fixed()]
        totals.append((sum(float(x.metrics["nll"]) for x in losses), sum(float(x.count) for x in losses)))
    if model.recipe.objective.in_batch:
        totals = [(0.0, count) for _, count in totals]
    assert same(totals, [totals[0]] * len(totals)), f"(loss, targets) by way of filling rows: {totals}"
    assert totals[0][1] > 0, "there is no target"


def predictions_do_not_depend_on_their_mates(case: Case) -> None:
    """Alone, together, in another order, twice: each input gets its own prediction."""
    model, rows = case.exact, case.task.inputs(case.valid)
    inputs = [*rows, rows[0]]
    together = model.predict(inputs)
    assert len(together) == len(inputs), "there is not one prediction for each input"
    assert len({repr(one) for one in together}) > 1, "all predictions are equal, so this shows nothing"
    assert same(together[-1], together[0]), "the same input twice in a batch has two predictions"
    assert same(model.predict(inputs[::-1])[::-1], together), "predictions depend on the order of the inputs"
    for given, expected in zip(inputs, together, strict=True):
        assert same(model.predict([given])[0], expected), f"{given!r} alone has another prediction than among others"


def opened_it_predicts_what_validation_saw(case: Case) -> None:
    """Validation before saving, `evaluate` after opening, and `predict` give the same."""
    again = case.model.evaluate("valid")
    assert math.isclose(again.loss, case.seen.loss, rel_tol=1e-5), f"loss {again.loss}, in training {case.seen.loss}"
    assert again.count == case.seen.count, f"{again.count} targets, in training {case.seen.count}"
    for kind, value in case.seen.values.items():
        assert same(again.values[kind].value, value.value), f"{kind} is another one after opening"
    pairs = zip(again.samples, case.seen.samples, strict=True)
    assert all(same(one.output, other.output) for one, other in pairs), "evaluate and validation predict differently"
    rows = spread(len(case.valid), None)
    if again.samples and all(sample.prediction is not None for sample in again.samples):
        inputs = case.task.inputs(case.valid)
        predicted = case.model.predict([inputs[row] for row in rows])
        assert same(predicted, [one.prediction for one in again.samples]), "predict and evaluate predict differently"


def measures_are_sound(case: Case) -> None:
    """Every measure of the task obeys `check_measure`, and the first can select the best model."""
    outcome = outcome_of(case)
    for measure in (*case.task.measures(), *case.task.reported()):
        check_measure(measure, outcome)
    chosen, _ = case.task.selects("auto", case.valid, len(case.valid))
    assert chosen.kind in (*case.seen.values, "loss"), f"{chosen.kind} selects, but is not measured"


def check_measure(measure: Measure, outcome: Outcome) -> None:
    """Its value lies in its interval, needs none, is that of rows in any order, and what is right is no worse."""
    value, drawn = measure.of(outcome), measure.of(outcome, DRAWS)
    assert (value.low, value.high) == (None, None), f"{measure.kind} has an interval without draws"
    assert value.value == drawn.value, f"{measure.kind} is another value with an interval"
    if drawn.low is not None and drawn.high is not None:
        assert drawn.low <= drawn.value <= drawn.high, f"{measure.kind} {drawn.value} is not within its interval"
    other = replace(outcome, samples=list(outcome.samples)[::-1], parts=outcome.parts[::-1])
    assert same(measure.of(other).value, value.value), f"{measure.kind} depends on the order of rows"
    if measure.of_what and all(sample.prediction is None for sample in outcome.samples):
        right = measure.of(replace(outcome, samples=[one._replace(output=one.expected) for one in outcome.samples]))
        assert measure.sign * (right.value - value.value) >= 0, f"{measure.kind} is better where outputs are wrong"


def nonsense_gets_a_sentence(case: Case) -> None:
    """Nothing gives nothing; a split without rows, columns that are not there, and data of others are refused."""
    task, model, table = case.task, case.model, case.model.recipe.data
    assert model.predict([]) == [], "no inputs have predictions"
    assert isinstance(table, Table)
    batch = model.recipe.batch
    refused(lambda: task.split("valid", case.valid.take([]), model.readers, batch, 0), "a split without rows")
    for name in task.reads:
        odd = replace(table, columns={**table.columns, name: "nowhere"})
        assert "nowhere" in refused(lambda odd=odd: odd.load(task.reads), f"a table without {name}")
    assert task.kind in refused(lambda: task.suited(Elsewhere()), "data that give other columns")


@dataclass(frozen=True, kw_only=True)
class Elsewhere(DataConfig):
    """Data with columns that no task reads."""

    kind: ClassVar[str] = "elsewhere"

    @property
    def gives(self) -> tuple[str, ...]:
        return ("elsewhere",)


LAWS: tuple[Callable[[Case], None], ...] = (
    examples_are_those_of_their_rows, readers_come_back, losses_count_targets, predictions_do_not_depend_on_their_mates,
    opened_it_predicts_what_validation_saw, measures_are_sound, nonsense_gets_a_sentence,
)  # fmt: skip


def made(case: Case, columns: Columns) -> Examples:
    return case.task.examples(columns, case.model.readers)


def readied(case: Case, examples: Examples) -> Examples:
    """Returns examples with what the run of a case keeps of them, where its objective reads that."""
    return attached(case.run.path, examples) if case.model.recipe.objective.referenced else examples


def refused(call: Callable[[], object], what: str) -> str:
    """Returns the sentence of a refusal."""
    message = None
    try:
        call()
    except UserError as error:
        message = str(error)
    assert message is not None, f"{what}: not refused"
    assert "\n" not in message, f"{what}: refused in several lines"
    return message


def same(a: Any, b: Any) -> bool:
    """Says whether two values are equal, numbers but for rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        one, other = cast("Mapping[Any, Any]", a), cast("Mapping[Any, Any]", b)
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        ones, others = cast("Sequence[Any]", a), cast("Sequence[Any]", b)
        return len(ones) == len(others) and all(map(same, ones, others))
    return bool(a == b)


@dataclass(frozen=True, kw_only=True)
class Kept(Measure):
    """Keeps the outcome that it is given."""

    kind: ClassVar[str] = "kept"
    label: ClassVar[str] = "kept"
    outcomes: list[Outcome] = field(default_factory=list[Outcome])

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        self.outcomes.append(outcome)
        return Measured(0.0)


def outcome_of(case: Case) -> Outcome:
    """Returns the results of the model on the validation rows."""
    task, model, keeps = case.task, case.model, Kept()
    split = task.split("valid", case.valid, model.readers, model.recipe.batch, 0)
    if model.recipe.objective.referenced:
        split = attached_to_split(case.run.path, split)
    objective = model.recipe.objective.build_for(model.model, model.readers.tokenizer)
    evaluate(task, model.model, objective, split, model.readers, model.recipe.generate, measures=[keeps])
    return keeps.outcomes[0]
