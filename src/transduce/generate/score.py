"""The score of a given text under a model: log p of its tokens."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F

from transduce.errors import UserError
from transduce.generate.inputs import Ids, Vocabulary, pad, prepare
from transduce.generate.packed import reader
from transduce.generate.slices import Read, Slices, at_once, drained
from transduce.model.batch import Batch
from transduce.model.models import Model

CHUNK = 1024  # targets whose logits exist at once


class Scores(NamedTuple):
    """The score of a target, in nats.

    total: the sum of `tokens`.
    tokens: log p of each token, and of </s> where that is scored.
    """

    total: float
    tokens: list[float]


def score(
    model: Model,
    vocabulary: Vocabulary,
    *,
    targets: Ids,
    sources: Ids | None = None,
    prompts: Ids | None = None,
    ends: Sequence[bool] | bool = True,
    batch_tokens: int = 8192,
) -> list[Scores]:
    """Returns log p of every target given its source, or given its prompt.

    sources, prompts: as in `decode`, except that prompts may be left out for any model; they are not scored.
    ends: </s> follows the target and is scored too (one truth value, or one per target). A finished hypothesis of
        `decode` then has the same score.
    batch_tokens: the most slots of a batch; source, target and padding count.
    Raises UserError where inputs and model do not fit together.
    """
    return drained(scoring(model, vocabulary, targets, sources, prompts, ends, batch_tokens))


def scoring(
    model: Model, vocabulary: Vocabulary, targets: Ids, sources: Ids | None, prompts: Ids | None,
    ends: Sequence[bool] | bool = True, batch_tokens: int = 8192, read: Read = at_once,
) -> Slices[list[Scores]]:  # fmt: skip
    """Returns what `score` does. read: by which the model reads, at once or a block at a time."""
    given = [()] * len(targets) if prompts is None and sources is None else prompts
    inputs = prepare(model, vocabulary, sources, given)
    if len(inputs.prompts) != len(targets):
        raise UserError(f"there are {len(inputs.prompts)} inputs but {len(targets)} targets; give one target for each")
    closing = [ends] * len(targets) if isinstance(ends, bool) else ends
    if len(closing) != len(targets):
        raise UserError(f"there are {len(closing)} ends but {len(targets)} targets; give one for each, or one for all")
    whole = [[*target, *([vocabulary.eos] if end else [])] for target, end in zip(targets, closing, strict=True)]
    texts = [[*prompt, *target] if target else [] for prompt, target in zip(inputs.prompts, whole, strict=True)]
    longest = max(map(len, [text[1:] for text in texts] + (inputs.sources or [])), default=0)
    if model.limit is not None and longest > model.limit:
        raise UserError(f"a text has {longest} tokens, but this model can read {model.limit}; shorten it")
    out = [Scores(0.0, [])] * len(texts)
    model = reader(model)
    for rows in batches(inputs.sources, texts, batch_tokens):
        sources = None if inputs.sources is None else [inputs.sources[i] for i in rows]
        scores = yield from log_p(model, sources, [texts[i] for i in rows], [len(whole[i]) for i in rows], read)
        for i, tokens in zip(rows, scores, strict=True):
            out[i] = Scores(math.fsum(tokens), tokens)
    return out


def batches(sources: Ids | None, texts: Ids, batch_tokens: int) -> Iterator[list[int]]:
    """Yields the numbers of the texts that are not empty, by length, as batches of at most `batch_tokens` slots.

    A text that is longer than that is a batch of its own.
    """
    sizes = [(len(sources[i]) if sources else 0, len(text)) for i, text in enumerate(texts)]
    rows: list[int] = []
    width = (0, 0)
    for i in sorted((i for i, text in enumerate(texts) if text), key=sizes.__getitem__):
        wider = (max(width[0], sizes[i][0]), max(width[1], sizes[i][1]))
        if rows and sum(wider) * (len(rows) + 1) > batch_tokens:
            yield rows
            rows, wider = [], sizes[i]
        rows.append(i)
        width = wider
    if rows:
        yield rows


@torch.inference_mode()
def log_p(
    model: Model, sources: Ids | None, texts: Ids, counts: Sequence[int], read: Read
) -> Slices[list[list[float]]]:
    """Returns log p of the last counts[b] tokens of each text b."""
    device = model.device
    targets, layout = pad(texts, device)
    lengths, count = layout.valid.sum(1, keepdim=True), torch.tensor(counts, device=device)[:, None]
    places = torch.arange(1, targets.shape[1], device=device)
    scored = (places < lengths) & (places >= lengths - count)  # (B, T - 1)
    inputs, layout = pad([text[:-1] for text in texts], device)
    source, source_layout = (None, None) if sources is None else pad(sources, device)
    hidden = yield from read(model, Batch(inputs, layout, targets[:, 1:], source, source_layout))
    hidden = hidden[scored]  # (n, M)
    wanted = targets[:, 1:][scored]
    flat: list[float] = []
    for i in range(0, len(wanted), CHUNK):  # the logits of a few targets at a time
        loss = F.cross_entropy(model.token_head(hidden[i : i + CHUNK]), wanted[i : i + CHUNK], reduction="none")
        flat += cast("list[float]", loss.neg().cpu().numpy().tolist())
    ends = list(accumulate(counts, initial=0))
    return [flat[a:b] for a, b in pairwise(ends)]
