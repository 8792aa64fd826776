"""Texts read whole by one stack: the special tokens around them, and what a head gives for each, in batches.

Tested in tests/tasks/test_regress.py.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.framed import Frame, Row
from transduce.errors import Notice, UserError
from transduce.generate.inputs import pad
from transduce.model.architecture import EncoderDecoderConfig, ModelConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, Marks
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer

SLOTS = 8192  # of a batch of texts that are read together

Around = tuple[tuple[int, ...], tuple[int, ...]]
Of = Callable[[Tensor, Layout], Tensor]


def around_of(tokenizer: Tokenizer) -> Around:
    """Returns what stands around a text that is read whole; of a tokeniser made here <s> and </s>."""
    marks = tokenizer.marks
    return (marks.opens, marks.after) if tokenizer.made_here else (marks.before, marks.after)


def frame_of(tokenizer: Tokenizer) -> Frame:
    """Returns what stands around one text, and between two of them, as models of that tokeniser were trained.

    Of BERT's line [CLS] A [SEP] B [SEP], of RoBERTa's <s> A </s></s> B </s>; else what ends a text stands between. The
    second text has tokens of type 1 but in RoBERTa's line.
    """
    before, after = around_of(tokenizer)
    between = after or ((tokenizer.eos,) if tokenizer.eos >= 0 else ())
    if tokenizer.made_here:
        return Frame(before, between, after, 1)
    doubled = bool(before and after) and tokenizer.tokenizer.id_to_token(after[0]) == "</s>"
    separated = bool(after) and tokenizer.tokenizer.id_to_token(after[0]) == "[SEP]"
    return Frame(before, (*after, *after) if doubled else between, after, int(separated))


def require_one_stack(model: ModelConfig, kind: str) -> None:
    """Raises UserError for a model that reads with one stack and writes with another."""
    if isinstance(model, EncoderDecoderConfig):
        raise UserError(f"task={kind} reads a text with one stack; choose model.kind=encoder, or decoder")


@torch.inference_mode()
def outputs(model: Model, rows: Sequence[Row], of: Of) -> list[NDArray[Any]]:
    """Returns what `of(hidden states, layout)` gives for each row, computed in batches of like lengths.

    Of what it gives for each token, a row has that of its own tokens.
    """
    order, out = sorted(range(len(rows)), key=lambda i: len(rows[i].ids)), dict[int, NDArray[Any]]()
    while order:
        size = max(1, SLOTS // max(len(rows[order[-1]].ids), 1))
        chosen, order = order[-size:], order[:-size]
        ids, layout = pad([rows[i].ids for i in chosen], model.device)
        if any(rows[i].tail for i in chosen):
            types, _ = pad([rows[i].types or [0] * len(rows[i].ids) for i in chosen], model.device)
            layout = layout._replace(marks=Marks(types))
        result = of(model.features(Batch(ids, layout, ids)), layout).cpu().numpy()
        per_token = result.ndim == 3
        for i, row in zip(chosen, result, strict=True):
            out[i] = row[: len(rows[i].ids)] if per_token else row
    return [out[i] for i in range(len(rows))]


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Returns log p over the last dimension."""
    x = logits.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def row_outputs(
    model: Model, tokenizer: Tokenizer, texts: Sequence[str], others: Sequence[str] | None = None
) -> list[NDArray[Any]]:  # fmt: skip
    """Returns what the head of rows gives for each text, or for each pair of texts.

    One longer than the model's positions loses its end, of a pair the longer text first, which a Notice says.
    """
    frame = frame_of(tokenizer)
    firsts = tokenizer.encode_batch(texts)
    seconds = None if others is None else tokenizer.encode_batch(others)
    rows, cut, most = list[Row](), list[int](), model.limit
    for i, first in enumerate(firsts):
        second = None if seconds is None else seconds[i]
        row = frame.row(first, second)
        if most is not None and len(row.ids) > most:
            cut.append(len(row.ids))
            row = frame.cut(first, second, most)
        rows.append(row)
    if cut:
        what = f"{len(cut):,} of {len(rows):,} texts are longer than the {most} tokens that the model reads"
        warnings.warn(f"{what}; the rest of them is cut off", Notice, stacklevel=3)
    return outputs(model, rows, lambda hidden, layout: model.pooled_head(hidden, layout))
