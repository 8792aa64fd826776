"""Codes for a checkpoint, fitted to the run's own data, beside it, with a certificate of what they change.

Tested in tests/runs/test_quantised.py.
"""

from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from transduce.data.columns import Columns
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.head import PooledHead, TokenHead
from transduce.model.heads.linear import LinearHead
from transduce.model.models import Model
from transduce.objectives.carry import Carried
from transduce.precision.codes import GROUP, Int4, Int8
from transduce.precision.compensate import compensate_int4
from transduce.precision.convert import Codes, Precision, convert, matrices, rounded
from transduce.runs import checkpoint as checkpoints
from transduce.runs.opening import Opened
from transduce.runs.quantised import CERTIFICATE, WEIGHTS, tensors_of, weights_hash
from transduce.runs.versions import versions
from transduce.tasks.task import Split, spread

MOST = 20_000  # characters of a text that is calibrated on, of which the beginning is read
BATCHES, TARGETS = 64, 100_000  # most batches of a calibration; most targets whose loss is measured
POSITIONS = 512  # whose logits are compared


class Measured(NamedTuple):
    """loss: nats per target. targets: how many. logits: of a few positions, or of a few rows."""

    loss: float
    targets: int
    logits: Tensor | None


def quantise(opened: Opened, precision: Precision, lines: int) -> dict[str, Any]:
    """Writes the codes of a checkpoint beside it, and returns what their certificate says. The model becomes them.

    lines: of the training data, on which codes of four bits are made to compensate for each other's errors; 0: none.
    Raises UserError where there is nothing to make codes of, and where the data of the recipe cannot be read.
    """
    model, task, recipe = opened.model.eval(), opened.recipe.task, opened.recipe
    if not (parts := matrices(model)):
        raise UserError("this model has no matrix that can lie in fewer bits: they are small, or of mixers that loop")
    splits = recipe.data.load(task.reads)
    if "valid" not in splits:
        raise UserError("the data has no split `valid`, on which codes are measured; name it in data")
    cut = part_of(splits["train"], lines)
    valid = task.split("valid", splits["valid"], opened.readers, recipe.batch, recipe.train.seed)
    objective = recipe.objective.build_for(model, opened.readers.tokenizer)

    def measure() -> Measured:
        reader, total, count, logits = Carried(model), 0.0, 0, None
        with torch.inference_mode():
            for batch in valid.loader.once():
                logits = predicted(model, batch) if logits is None else logits
                loss = objective(reader, batch)
                total, count = total + float(loss.metrics["nll"]), count + int(loss.count)
                if count >= TARGETS:
                    break
        return Measured(total / max(count, 1), count, logits)

    before, tokens = measure(), 0
    grams = dict[str, Tensor]()
    if precision == "int4" and lines:
        train = task.split("train", cut, opened.readers, recipe.batch, recipe.train.seed)
        grams, tokens = calibrated(model, {k: v for k, v in parts.items() if not isinstance(v, LinearHead)}, train)
    codes: dict[str, Int8 | Int4] = {}
    for name, part in parts.items():
        gram = grams.pop(name, None)
        codes[name] = rounded(part, precision) if gram is None else compensate_int4(part.weight, gram)
    parts.clear()
    share = convert(model, precision, codes)
    after = measure()
    record = {
        "precision": precision, "columns_per_scale": GROUP if precision == "int4" else None,
        "weights": weights_hash(opened.checkpoint), "numbers_in_fewer_bits": share.low, "numbers": share.all,
        "calibration": {"split": "train", "rows": len(cut), "tokens": tokens} if tokens else None,
        "loss": {"split": "valid", "targets": before.targets, "fp32": before.loss, precision: after.loss},
        "difference": after.loss - before.loss, "unit": f"nats per {task.unit}",
        "largest_logit_difference": apart(before.logits, after.logits), "versions": versions(),
    }  # fmt: skip
    save(opened, precision, codes, record)
    return record


def part_of(columns: Columns, lines: int) -> Columns:
    """Returns so many rows, evenly spread, each cut to its first characters."""
    rows = columns.take(spread(len(columns), max(1, lines)))
    cut = {name: [x[:MOST] if isinstance(x, str) else x for x in column] for name, column in rows.values.items()}
    return Columns(cut, rows.group)


def calibrated(model: Model, parts: dict[str, nn.Module], split: Split) -> tuple[dict[str, Tensor], int]:
    """Returns, of each part, the sum of x^T x of all its inputs x in some batches; and the tokens of these."""
    grams, tokens, hooks = dict[str, Tensor](), 0, list[Any]()

    def watch(name: str) -> Any:
        def add(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].detach().float().flatten(0, -2)
            grams[name] = grams[name].addmm_(x.T, x) if name in grams else x.T @ x

        return add

    try:
        hooks += [part.register_forward_pre_hook(watch(name)) for name, part in parts.items()]
        reader = Carried(model)
        with torch.inference_mode():
            for batch in islice(split.loader.once(), BATCHES):
                reader.features(batch.to(model.device))
                tokens += int(batch.layout.valid.sum())
    finally:
        for hook in hooks:
            hook.remove()
    return grams, tokens


def predicted(model: Model, batch: Batch) -> Tensor | None:
    """Returns what the head gives for a batch, of at most POSITIONS tokens; None: it cannot be asked like that."""
    hidden = model.features(batch)
    if isinstance(model.head, PooledHead):
        return model.head(hidden, batch.layout)
    if isinstance(model.head, TokenHead):
        return model.head(hidden[batch.layout.valid][:POSITIONS])
    return None


def apart(before: Tensor | None, after: Tensor | None) -> float | None:
    """Returns the greatest difference of two sets of logits."""
    return None if before is None or after is None else float((before - after).abs().max())


def save(opened: Opened, precision: Precision, codes: Codes, record: dict[str, Any]) -> None:
    """Writes codes and certificate beside a checkpoint, whole or not at all."""
    where = opened.checkpoint.resolve() / precision
    checkpoints.write(where, {WEIGHTS: tensors_of(codes)}, record, CERTIFICATE)
