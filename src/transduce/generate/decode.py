"""Ids in, ids out: one loop serves greedy decoding, sampling and beam search, whatever a model keeps as its state."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.ahead import run_ahead
from transduce.generate.choose import Choose, chooser
from transduce.generate.config import GenerateConfig
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import Ids, Inputs, Vocabulary, greatest, prepare
from transduce.generate.packed import reader
from transduce.generate.reading import read_prompts, read_sources
from transduce.generate.rules import Rules
from transduce.generate.rules import ruled as has_rules
from transduce.generate.sample import name_streams
from transduce.generate.score import scoring
from transduce.generate.search import NO_TOKEN, Move, OnToken, Search, show
from transduce.generate.slices import Read, Slices, at_once, drained
from transduce.generate.stop import StopTexts
from transduce.model.cache import overwrite, take
from transduce.model.layout import one_each
from transduce.model.models import Model
from transduce.model.ops.rows import rows_alike
from transduce.model.state import State, select


def decode(
    model: Model,
    vocabulary: Vocabulary,
    config: GenerateConfig,
    *,
    source: Ids | None = None,
    prompt: Ids | None = None,
    limits: Sequence[int] | None = None,
    on_token: OnToken | None = None,
    batch_size: int = 64,
    alike: bool = False,
) -> list[list[Hypothesis]]:
    """Returns the `config.nbest` hypotheses of each input, the best first.

    source: for a model that reads one; </s> is added where it is missing.
    prompt: the first ids of the output, which are not returned. With a source the prompt follows <s>, which is added
        where it is missing; without one it is taken as it is, and an empty one becomes <s>.
    limits: the greatest number of new tokens of each input, where it is less than the config's.
    on_token: is called with (input, id) as tokens come, but not for </s>; for one hypothesis per input only.
    batch_size: inputs decoded together, sorted by length; the output depends on it by rounding alone.
    alike: the output does not depend on `batch_size` at all: on a CPU, in float32, each input gets the bits that it
        gets alone, for the sizes that `testing/together.py` names. A single input then takes longer, and one thread
        computes all.
    Raises UserError where inputs and model do not fit together.
    """
    if on_token is not None and config.beam_size * config.nbest > 1:
        raise UserError("tokens can be shown as they come only for one hypothesis; set beam_size=1 and nbest=1")
    inputs = prepare(model, vocabulary, source, prompt)
    most = greatest(model, config, inputs, limits)
    texts = zip(inputs.sources or inputs.prompts, inputs.prompts, strict=True)
    streams = name_streams(list(texts), config.nbest, config.seed) if config.temperature > 0 else []
    stopped = StopTexts(vocabulary.decode, config.stop) if config.stop else None
    out: list[list[Hypothesis]] = [[] for _ in most]
    ends, barred = getattr(vocabulary, "ends", ()), sorted(getattr(vocabulary, "barred", ()))
    order, fast, ruled = inputs.by_length(), reader(model), has_rules(config, (vocabulary.eos, *ends))
    draft = config.draft
    size = batch_size if draft is None else 1
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        search = Search(config, np.array([most[i] for i in rows]), vocabulary.eos, stopped, ends=ends)
        names, batch = [streams[i] for i in rows] if streams else [], inputs.rows(rows)
        of_batch = Rules(config, batch, search.ends, vocabulary) if ruled else None
        choose = chooser(config, names, max(most[i] for i in rows), of_batch, barred)
        watch = None if on_token is None else renumbered(on_token, rows)
        with rows_alike(alike or draft is not None), one_thread(alike):
            if draft is None:
                best = run(fast, batch, search, choose, watch, alike)
            else:
                best = run_ahead(fast, batch, search, choose, draft, watch)
        for i, hypotheses in zip(rows, best, strict=True):
            out[i] = hypotheses[: config.nbest]
    return drained(rescored(model, vocabulary, config, inputs, out)) if ruled else out


@contextmanager
def one_thread(wanted: bool) -> Generator[None]:
    """Computes on one thread of the CPU inside, if that is wanted.

    With several, MKL cuts the sums of 2,048 numbers and more in parts, and how depends on the number of rows.
    """
    before = torch.get_num_threads()
    if not wanted or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rescored(
    model: Model, vocabulary: Vocabulary, config: GenerateConfig, inputs: Inputs, hypotheses: list[list[Hypothesis]],
    read: Read = at_once,
) -> Slices[list[list[Hypothesis]]]:  # fmt: skip
    """Returns the hypotheses with the log p of the model alone, without what rules added to it.

    A token that the config forces at the beginning does not count. read: see `scoring`.
    """
    forced = 0 if config.forced_bos is None else 1
    flat = [(i, h, forced * (len(inputs.prompts[i]) == 1)) for i, row in enumerate(hypotheses) for h in row]
    scores = yield from scoring(
        model, vocabulary, sources=None if inputs.sources is None else [inputs.sources[i] for i, _, _ in flat],
        prompts=[[*inputs.prompts[i], *h.ids[:n]] for i, h, n in flat],
        targets=[[*h.ids[n:], *([] if h.end is None else [h.end])] for _, h, n in flat],
        ends=[h.finished and not h.stopped and h.end is None for _, h, _ in flat], read=read,
    )  # fmt: skip
    totals = iter(one.total for one in scores)
    return [[h._replace(score=next(totals)) for h in row] for row in hypotheses]


@torch.inference_mode()
def run(
    model: Model, inputs: Inputs, search: Search, choose: Choose, on_token: OnToken | None = None, same: bool = False
) -> list[list[Hypothesis]]:  # fmt: skip
    """Grows the hypotheses of one batch until all have ended, and returns those of each input, the best first."""
    device, most = model.device, int(search.limits.max())
    memory = None if inputs.sources is None else read_sources(model, inputs.sources, same)
    room = max(map(len, inputs.prompts)) + most
    hidden, state, positions = read_prompts(model, inputs.prompts, room, memory, same)
    end = min(room, model.limit or 1 << 62) - 1  # where rows that ended wait until they are dropped
    while True:
        choice = choose(model.token_head(hidden), search)
        if on_token is not None:
            show(search, *choice[1:], on_token)
        move = search.advance(*choice)
        if move is None:
            break
        state, memory, positions = follow(move, state, memory, positions)
        positions = (positions + 1).clamp_(max=end)
        ids = torch.as_tensor(move.ids, device=device)[:, None]
        y, state = model.step(ids, one_each(positions), state, memory)
        hidden = y[:, -1]
    if not all(search.kept):
        raise UserError(NO_TOKEN)
    return search.kept


def follow(move: Move, state: State, memory: State, positions: Tensor) -> tuple[State, State, Tensor]:
    """Returns the state, memory and positions of the rows that a move of the search goes on with.

    The state is changed in place where rows are overwritten.
    """
    if move.rows is None:
        return state, memory, positions
    device = positions.device
    rows = torch.as_tensor(move.rows, device=device)
    if move.into is not None:
        into = torch.as_tensor(move.into, device=device)
        return overwrite(state, rows, into), memory, positions
    if move.sources is not None:
        memory = select(memory, torch.as_tensor(move.sources, device=device))
    return take(state, rows), memory, positions.index_select(0, rows)


def renumbered(on_token: OnToken, rows: Sequence[int]) -> OnToken:
    """Returns an `on_token` that takes rows of a batch in the place of inputs."""
    return lambda row, token: on_token(rows[row], token)
