"""Rows that decode together although they come and go: each gets the tokens and bits that it gets alone.

A request is read by itself, in chunks that are counted from its own start, some blocks of the model at a time, and then
takes a row beside others, which step together. A beam search steps by itself, since its beams are rows that stand side
by side already.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.choose import chooser
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import NO_TOKEN, follow, rescored
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.inputs import Inputs, Vocabulary
from transduce.generate.lane import Lane
from transduce.generate.packed import reader
from transduce.generate.reading import CHUNK, grid, grouped, keep, read_sources
from transduce.generate.rules import Rules
from transduce.generate.rules import ruled as has_rules
from transduce.generate.search import Move, Search
from transduce.generate.slices import Slices, featured, stepped
from transduce.generate.stop import StopTexts
from transduce.model.layout import one_each
from transduce.model.models import Model
from transduce.model.ops.rows import rows_alike

Ranked = list[tuple[int, float]]  # ids with their log p, the likeliest first


class Request(NamedTuple):
    """One text to write, or to score.

    prompt: at least one id. most: new tokens at most; 0: the prompt is scored and nothing is written. stream: the name
    of its random numbers, see `sample.name_streams`. look: log p of every token, and so many likeliest ones in its
    place (None: none of this). echo: the same of the prompt.
    """

    prompt: list[int]
    config: GenerateConfig
    most: int
    source: list[int] | None = None
    stream: int = 0
    look: int | None = None
    echo: bool = False


class Token(NamedTuple):
    """A token of a text. log_p: in nats under the model (None: nothing stands before it, or it was not asked for).

    top: the likeliest tokens in its place.
    """

    id: int
    log_p: float | None = None
    top: Ranked = []  # noqa: RUF012  (a tuple's default, which nobody changes)


class Growing:
    """A request that is read, then grows, then is over.

    prompt: the tokens of the prompt that were looked at. new: tokens since they were last taken, for texts that are
    written one token after the other. written: how many there were in all. ended: no token follows; with rules the
    text is then read once more. hypotheses: the best first, once `over`. error: why there is none.
    work: what is read, a block of the model at a time.
    """

    def __init__(self, request: Request, model: Model, vocabulary: Vocabulary) -> None:
        config, ends = request.config, getattr(vocabulary, "ends", ())
        barred = sorted(getattr(vocabulary, "barred", ()))
        self.request, self.ruled = request, has_rules(config, (vocabulary.eos, *ends))
        self.inputs = Inputs(None if request.source is None else [request.source], [request.prompt])
        stopped = StopTexts(vocabulary.decode, config.stop) if config.stop else None
        self.search = Search(config, np.array([max(request.most, 1)]), vocabulary.eos, stopped, ends=ends)
        names = [[request.stream]] if config.temperature > 0 else []
        held_back = Rules(config, self.inputs, self.search.ends, vocabulary) if self.ruled else None
        self.choose = chooser(config, names, max(request.most, 1), held_back, barred)
        self.width = 1 if config.temperature > 0 else config.beam_size
        self.work: Slices[None] = self.read(model)
        self.at, self.state, self.memory = 0, None, None
        self.hidden: Tensor | None = None
        self.positions = torch.tensor([[len(request.prompt) - 1]], device=model.device)
        self.prompt = [Token(request.prompt[0])] if request.echo else list[Token]()
        self.new, self.written, self.ended, self.over = list[Token](), 0, False, False
        self.hypotheses: list[Hypothesis] = []
        self.error: Exception | None = None

    def take(self) -> list[Token]:
        """Returns the tokens that came since the last call."""
        tokens, self.new = self.new, []
        return tokens

    def read(self, model: Model) -> Slices[None]:
        """Reads the prompt, a chunk after the other; at the end `hidden` (1, M) is there."""
        row, device = self.request.prompt, model.device
        ((wide, _),) = grouped([row], True)
        ids, layout = grid([row], wide, True, device)
        if self.inputs.sources is not None:
            self.memory = read_sources(model, self.inputs.sources, True)
            yield
        self.state = model.init_state(1, len(row) + max(self.request.most, 1))
        for at in range(0, wide, CHUNK):
            end = min(at + CHUNK, wide)
            piece = layout if wide <= CHUNK else layout.slice(at, end)
            y, after = yield from stepped(model, ids[:, at:end], piece, self.state, self.memory)
            self.state = keep(self.state, after)
            if self.request.echo:
                self.note_prompt(model, y[0, : len(row) - at], at)
            self.at, self.hidden = end, y[:, min(len(row), end) - 1 - at]

    def note_prompt(self, model: Model, hidden: Tensor, at: int) -> None:
        """Notes log p of the tokens of the prompt that follow the hidden states (n, M) of those from `at` on."""
        following = self.request.prompt[at + 1 : at + 1 + len(hidden)]
        if following:
            log_p = model.token_head(hidden[: len(following)]).log_softmax(-1)
            self.prompt += noted(log_p, following, self.request.look or 0)

    def advance(self, logits: Tensor) -> Move | None:
        """Takes the next token of every hypothesis. logits: (K, V). None: it is over."""
        choice = self.choose(logits, self.search)
        move = self.search.advance(*choice)
        self.written += 1
        if self.width == 1 and np.isfinite(choice[2][0, 0]):
            id = int(choice[1][0, 0])
            if self.request.look is None:
                self.new.append(Token(id))
            else:
                self.new += noted(logits.log_softmax(-1), [id], self.request.look)
        return move

    def end(self) -> None:
        """Ranks what was written. Raises UserError where no token had a finite probability."""
        self.ended = True
        if self.request.most:
            if not all(self.search.kept):
                raise UserError(NO_TOKEN)
            self.hypotheses = self.search.kept[0][: self.request.config.nbest]
        self.over = not (self.ruled and self.request.most)

    def read_again(self, model: Model, vocabulary: Vocabulary) -> Slices[None]:
        """Reads what was written under rules for the log p of the model alone."""
        many = yield from rescored(
            model, vocabulary, self.request.config, self.inputs, [self.hypotheses], featured
        )  # fmt: skip
        (self.hypotheses,) = many


def noted(log_p: Tensor, ids: Sequence[int], look: int) -> list[Token]:
    """Returns tokens with their log p (n, V) and the likeliest in their places."""
    own = numbers(log_p.gather(1, torch.tensor(ids, device=log_p.device)[:, None])[:, 0])
    if not look:
        return [Token(i, p) for i, p in zip(ids, own, strict=True)]
    values, places = log_p.topk(min(look, log_p.shape[1]))
    tops: list[Ranked] = [list(zip(i, p, strict=True)) for i, p in zip(numbers(places), numbers(values), strict=True)]
    return [Token(i, p, top) for i, p, top in zip(ids, own, tops, strict=True)]


def numbers(x: Tensor) -> list[Any]:
    return cast("list[Any]", x.cpu().numpy().tolist())


class Rows:
    """Requests that decode together: `admit`, `step`, `drop`. most: rows at most, one for each beam.

    On a CPU, in float32, a request gets the same tokens and bits whoever else is there.
    """

    def __init__(self, model: Model, vocabulary: Vocabulary, most: int = 16) -> None:
        self.original, self.vocabulary, self.most = model, vocabulary, most
        self.reading: deque[Growing] = deque()
        self.growing: list[Growing] = []  # one a row of the lane, in its order
        self.apart: list[Growing] = []
        self.lane, self.model = Lane(), reader(model)
        self.pace = 0.0  # seconds that those who write took for their last step

    @property
    def used(self) -> int:
        """Returns how many rows are taken."""
        return sum(one.width for one in (*self.reading, *self.growing, *self.apart))

    def admit(self, request: Request) -> Growing:
        """Takes a request in; nothing is computed yet. Raises UserError for ids that the rules cannot have."""
        one = Growing(request, self.model, self.vocabulary)
        self.reading.append(one)
        return one

    @torch.inference_mode()
    def drop(self, one: Growing) -> None:
        """Frees the rows of a request, whether it is over or not."""
        if one in self.reading:
            self.reading.remove(one)
        elif one in self.apart:
            self.apart.remove(one)
        elif one in self.growing:
            row = self.growing.index(one)
            self.lane.remove(row)
            last = self.growing.pop()
            if last is not one:
                self.growing[row] = last
        one.work.close()
        one.state = one.memory = one.hidden = None

    @torch.inference_mode()
    def step(self) -> list[Growing]:
        """Reads a chunk of what is to be read, and writes a token of all that grows; returns those that changed."""
        with rows_alike(True):
            searches = list(self.apart)
            changed, begun = self._read(), time.thread_time()
            changed += [one for one in searches if self._apart(one)]
            if self.growing:
                changed += self._together()
            self.pace = time.thread_time() - begun
        return list(dict.fromkeys(changed))

    def _read(self) -> list[Growing]:
        """Reads at most CHUNK tokens, or one chunk, and takes the first token of those that are read.

        Where others wait for their next tokens, it reads no longer than their last step took, but one block at least.
        """
        begun, budget, count, out = time.thread_time(), CHUNK, 0, list[Growing]()
        while self.reading and budget > 0:
            one = self.reading[0]
            before = one.at
            if not self._guard(one, lambda one=one: self._begin(one)):
                out.append(one)
                continue
            budget -= one.at - before
            if one.over or one not in self.reading:
                out.append(one)
            elif one.ended or one.at > before:
                self.reading.rotate(-1)
            count += 1
            spent = time.thread_time() - begun
            if (self.growing or self.apart) and spent + spent / count > self.pace:
                break
        return out

    def _begin(self, one: Growing) -> None:
        """Reads a block further, and begins to write once all is read."""
        with rows_alike(not one.ended):  # what is read again stands beside nobody
            if next(one.work, self) is not self:
                return
        if one.ended:
            one.over = True
            self.drop(one)
            return
        assert one.hidden is not None
        self.reading.remove(one)
        move = one.advance(self.model.token_head(one.hidden)) if one.request.most else None
        if move is None:
            self._end(one)
        elif one.width == 1:
            self.lane.add(one.state, one.memory, int(move.ids[0]), len(one.request.prompt))
            self.growing.append(one)
            one.state = one.memory = None
        else:
            self.apart.append(one)
            self._forward(one, move)

    def _forward(self, one: Growing, move: Move) -> None:
        """Steps the beams of a search, by themselves."""
        state, one.memory, positions = follow(move, one.state, one.memory, one.positions)
        one.positions = positions + 1
        ids = torch.as_tensor(move.ids, device=positions.device)[:, None]
        y, one.state = self.model.step(ids, one_each(one.positions), state, one.memory)
        one.hidden = y[:, -1]

    def _apart(self, one: Growing) -> bool:
        def advance() -> None:
            assert one.hidden is not None
            move = one.advance(self.model.token_head(one.hidden))
            if move is None:
                self._end(one)
            else:
                self._forward(one, move)

        self._guard(one, advance)
        return True

    def _together(self) -> list[Growing]:
        """Steps the lane and takes the next token of each of its rows."""
        logits = self.model.token_head(self.lane.step(self.model))
        out = list(self.growing)
        for row, one in enumerate(out):
            self._guard(one, lambda one=one, row=row: self._next(one, row, logits[row : row + 1]))
        for one in out:
            if one.ended or one.over:
                self.drop(one)
                self._read_again(one)
        return out

    def _next(self, one: Growing, row: int, logits: Tensor) -> None:
        move = one.advance(logits)
        if move is None:
            self._end(one, drop=False)
        else:
            self.lane.feed(row, int(move.ids[0]))

    def _end(self, one: Growing, drop: bool = True) -> None:
        one.end()
        if drop:
            self.drop(one)
            self._read_again(one)

    def _read_again(self, one: Growing) -> None:
        if not one.over:
            one.work = one.read_again(self.original, self.vocabulary)
            self.reading.append(one)

    def _guard(self, one: Growing, act: Callable[[], None]) -> bool:
        """Does something for one request, whose error is its own. Returns whether it went well."""
        try:
            act()
        except Exception as error:
            one.error, one.over = error, True
            if one not in self.growing:
                self.drop(one)
            return False
        return True

    @property
    def idle(self) -> bool:
        """Says whether nothing is there to step."""
        return not (self.reading or self.growing or self.apart)
