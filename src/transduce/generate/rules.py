"""Rules on what may be written: scores changed by what stands there already, one rule after the other.

The rules, and their order, are those of `transformers`, so that a config that says the same writes the same. Greedy
decoding and sampling change logits by them, beam search log p. A rule sees the prompt and the output of each row; what
is forbidden gets -inf.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.allow import Allowed
from transduce.generate.config import Bias, GenerateConfig, require_ids
from transduce.generate.forms import Form, grammar_of
from transduce.generate.hypothesis import Ints
from transduce.generate.inputs import Inputs, Vocabulary
from transduce.generate.search import Search

INFINITY = float("inf")


class Written(NamedTuple):
    """The text so far, for R rows of a model.

    ids: (R, T) of the prompt and the output, with -1 on the left.
    source: (R, N), with -1 on the left; the prompt where the model has no source.
    lengths: (R,) of prompt and output.
    prompts: (R,) of the prompt.
    new: tokens of the output so far.
    last: (R,) the next token is the last that may be written.
    """

    ids: Tensor
    source: Tensor
    lengths: Tensor
    prompts: Tensor
    new: int
    last: Tensor


Rule = Callable[[Tensor, Written], Tensor]


class Rules:
    """The rules of a config for the inputs of a batch. ends: ids that end a text."""

    def __init__(
        self, config: GenerateConfig, inputs: Inputs, ends: Sequence[int], vocabulary: Vocabulary | None = None
    ) -> None:
        self.rules = rules(config, ends)
        if forms(config):
            assert vocabulary is not None
            self.rules.append(Form(config, vocabulary, ends))
        if config.referee is not None:
            assert vocabulary is not None
            self.rules.append(Allowed(config.referee, vocabulary, ends))
        self.prompts = left_padded(inputs.prompts)
        self.sources = self.prompts if inputs.sources is None else left_padded(inputs.sources)
        self.config, self.size = config, 0

    def __call__(self, scores: Tensor, search: Search) -> Tensor:
        """Returns the scores after the rules: (R, V) for the rows of `search`, input by input."""
        if self.size != scores.shape[-1]:
            self.size = scores.shape[-1]
            check(self.config, self.size)
        written, scores = self.written(search, scores.device), scores.float()
        for rule in self.rules:
            scores = rule(scores, written)
        return scores

    def written(self, search: Search, device: torch.device) -> Written:
        places = search.scores.shape[1]
        prompts, sources, last = (
            np.repeat(x, places, 0)
            for x in (self.prompts[search.sources], self.sources[search.sources], search.limits == search.length + 1)
        )
        output = search.ids[:, :, : search.length].reshape(len(prompts), -1)
        ids, source, counts, last = (
            torch.as_tensor(x, device=device)
            for x in (np.concatenate([prompts, output], 1), sources, (prompts >= 0).sum(1), last)
        )
        return Written(ids, source, counts + search.length, counts, search.length, last)


def left_padded(rows: Sequence[Sequence[int]]) -> Ints:
    """Returns (S, T) ids with -1 on the left."""
    width = max(map(len, rows))
    return np.array([[*[-1] * (width - len(row)), *row] for row in rows], np.int64)


def ruled(config: GenerateConfig, ends: Sequence[int]) -> bool:
    """Says whether a config has a rule."""
    return forms(config) or config.referee is not None or bool(rules(config, ends))


def forms(config: GenerateConfig) -> bool:
    """Says whether texts are to have a form."""
    return config.regex is not None or config.json_schema is not None


def require_followed(config: GenerateConfig) -> None:
    """Raises UserError for a form that is none, or for what is not installed."""
    if config.referee is not None and (missing := config.referee.missing()):
        raise UserError(missing)
    if forms(config):
        grammar_of(config)


def rules(config: GenerateConfig, ends: Sequence[int]) -> list[Rule]:
    """Returns the rules that a config asks for, in order.   ends: ids, or -1."""
    out, ends = list[Rule](), [i for i in ends if i >= 0]
    if config.bias:
        out.append(biased(config.bias))
    if config.source_repetition_penalty != 1:
        out.append(lambda x, w: repeated(x, w.source, 1 / config.source_repetition_penalty))
    if config.repetition_penalty != 1:
        out.append(lambda x, w: repeated(x, w.ids, config.repetition_penalty))
    if (n := config.no_repeat_ngram) is not None:
        out.append(lambda x, w: x.masked_fill(completing(w.ids, w.ids, n, x.shape[1]), -INFINITY))
    if (m := config.source_no_repeat_ngram) is not None:
        out.append(lambda x, w: x.masked_fill(completing(w.ids, w.source, m, x.shape[1]), -INFINITY))
    if words := [ids for ids in config.bad_words if ids not in {(end,) for end in ends}]:
        out.append(biased([Bias(ids=ids, add=-INFINITY) for ids in words]))
    if ends and config.min_length:
        out.append(lambda x, w: without(x, ends, w.lengths < config.min_length))
    if ends and config.min_new_tokens:
        out.append(lambda x, w: x if w.new >= config.min_new_tokens else without(x, ends))
    if config.forced_bos is not None:
        out.append(lambda x, w: only(x, [config.forced_bos or 0], w.lengths == 1))
    if config.forced_eos:
        out.append(lambda x, w: only(x, config.forced_eos, w.last))
    if config.replace_invalid:
        out.append(lambda x, w: x.nan_to_num(0.0))
    if ends and config.exponential_decay is not None:
        start, factor = config.exponential_decay
        out.append(lambda x, w: hastened(x, ends, factor ** max(w.new - start, 0)))
    if config.suppress:
        out.append(lambda x, w: without(x, config.suppress))
    if config.begin_suppress:
        out.append(lambda x, w: without(x, config.begin_suppress, begins(w, config.forced_bos is not None)))
    if out and config.renormalise:
        out.append(lambda x, w: x.log_softmax(-1))
    return out


def check(config: GenerateConfig, size: int) -> None:
    """Raises UserError where an id that is to be written or counted is beyond the vocabulary."""
    forced = config.forced_eos if config.forced_bos is None else (config.forced_bos, *config.forced_eos)
    words = {"bad_words": (i for ids in config.bad_words for i in ids), "bias": (i for b in config.bias for i in b.ids)}
    require_ids(size, {**words, "forced_bos and forced_eos": forced})


def among(ids: Tensor, size: int) -> Tensor:
    """Returns (R, size): each id is one of the row's ids (R, N), of which those outside 0 .. size - 1 do not count."""
    mask = torch.zeros(ids.shape[0], size + 1, dtype=torch.bool, device=ids.device)
    return mask.scatter_(1, ids.where((ids >= 0) & (ids < size), size), True)[:, :size]


def repeated(x: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Returns scores; those of ids that stand there are divided by the penalty, or multiplied where negative.

    Keskar et al. 2019.
    """
    return torch.where(among(ids, x.shape[1]), torch.where(x < 0, x * penalty, x / penalty), x)


def completing(ids: Tensor, earlier: Tensor, n: int, size: int) -> Tensor:
    """Returns (R, size): the tokens that would make the last n - 1 ids an n-gram of `earlier`."""
    if ids.shape[1] < n - 1 or earlier.shape[1] < n:
        return torch.zeros(ids.shape[0], size, dtype=torch.bool, device=ids.device)
    windows, end = earlier.unfold(1, n, 1), ids[:, ids.shape[1] - (n - 1) :]  # (R, W, n), (R, n - 1)
    same = (windows[..., :-1] == end[:, None]).all(-1) & (windows >= 0).all(-1)
    return among(windows[..., -1].where(same, -1), size)


def biased(biases: Sequence[Bias]) -> Rule:
    """Adds to the score of the last id of each row of ids, where the others stand before it."""
    table = {one.ids: one.add for one in biases}  # of two biases for the same ids the later one holds

    def rule(x: Tensor, written: Written) -> Tensor:
        added = torch.zeros_like(x)
        for ids, add in table.items():
            before = torch.tensor(ids[:-1], device=x.device)
            if len(before) <= written.ids.shape[1]:
                here = (written.ids[:, written.ids.shape[1] - len(before) :] == before).all(1)
                added[:, ids[-1]] += torch.where(here, add, 0.0)
        return x + added

    return rule


def without(x: Tensor, ids: Sequence[int], rows: Tensor | None = None) -> Tensor:
    """Returns scores without these ids, in all rows or in those (R,) that are true."""
    out = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    out[[i for i in ids if i < x.shape[1]]] = True
    return x.masked_fill(out if rows is None else out & rows[:, None], -INFINITY)


def only(x: Tensor, ids: Sequence[int], rows: Tensor) -> Tensor:
    """Returns scores of these ids and no other, in the rows (R,) that are true."""
    forced = torch.full_like(x, -INFINITY)
    forced[:, list(ids)] = 0.0
    return torch.where(rows[:, None], forced, x)


def hastened(x: Tensor, ends: Sequence[int], factor: float) -> Tensor:
    """Ends are likelier by (factor - 1) times the size of their score."""
    out, end = x.clone(), x[:, list(ends)]
    out[:, list(ends)] = torch.where(end.isfinite(), end + end.abs() * (factor - 1), end)
    return out


def begins(written: Written, forced: bool) -> Tensor:
    """Returns (R,): the next token is the first that is chosen, or the one after it where the first is forced."""
    return written.lengths == written.prompts + (written.prompts == 1) * forced
