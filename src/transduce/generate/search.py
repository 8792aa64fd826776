"""The bookkeeping of decoding, for all inputs of a batch at once, in arrays on the host."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from transduce.generate.config import GenerateConfig
from transduce.generate.ending import Ending, Refilling, Shrinking
from transduce.generate.hypothesis import Floats, Hypothesis, Ints

Bools = npt.NDArray[np.bool_]
T = TypeVar("T", bound=np.generic)
Stopped = Callable[[list[int]], bool]
OnToken = Callable[[int, int], None]  # an input, and its new token
NO_TOKEN = (
    "the model gave no token a finite probability; its weights are probably not finite, or every token is forbidden "
    "(suppress, bad_words, no_repeat_ngram, a form of characters that the tokeniser lacks)"
)


class Move(NamedTuple):
    """A change of the rows of the model's state before the next step.

    into: rows `into` become copies of rows `rows`, the others stay. into None: the state becomes its rows `rows`; None:
    it stays. sources: the memory keeps these rows; None: all.
    """

    ids: Ints  # (R,) what every row reads next
    rows: Ints | None = None
    into: Ints | None = None
    sources: Ints | None = None


class Search:
    """S inputs with K places each for what is still growing, and what has ended.

    The places of input s are the rows s * K ... of the model; an empty one has score -inf. A hypothesis that ends keeps
    its share of the beam or leaves it to others, as `ending` says. A beam of one is greedy decoding. Hypotheses are
    ranked by score / penalty(length); those cut off at their greatest length are ranked with the others.
    """

    def __init__(
        self, config: GenerateConfig, limits: Ints, eos: int, stopped: Stopped | None = None, early: bool = True,
        ends: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Takes limits: (S,) most tokens of each input, and stopped: whether ids end in a stop text. early: see
        `Shrinking`.
        ends: tokens that end like eos."""
        sources, self.config, self.stopped = len(limits), config, stopped
        self.ends = (eos, *ends)
        self.sampling = config.temperature > 0
        self.width = config.nbest if self.sampling else config.beam_size
        searches = self.width > 1 and not self.sampling
        refills = searches and config.early_stopping is not None
        self.ending: Ending = Refilling(config) if refills else Shrinking(config, early and searches)
        self.choices = self.ending.choices(self.width, sum(end >= 0 for end in self.ends))  # continuations looked at
        self.kept: list[list[Hypothesis]] = [[] for _ in limits]
        self.length = 0  # tokens generated so far
        self.sources = np.arange(sources)  # (S,) which input
        self.limits, self.nearest = limits, int(limits.min(initial=1 << 62))  # (S,)
        self.room = np.full(sources, self.choices)  # (S,) continuations that may still be taken
        self.bar = np.full(sources, -np.inf)  # (S,) what the best that grows must be able to rank above
        self.scores = np.zeros((sources, 1))  # (S, K) sum of log p
        self.ids = np.zeros((sources, 1, int(limits.max(initial=1))), np.int64)  # (S, K, length and more)

    def advance(self, parents: Ints | None, ids: Ints, scores: Floats) -> Move | None:
        """Takes the next token of every hypothesis. Returns None when all is over.

        ids, scores: (S, K) the token and the sum of log p up to it, -inf where there is none. parents: (S, K) the place
        each one continues, the best first, for as many places as there are now or more; None: its own.
        """
        self.length += 1
        live = np.isfinite(scores)
        ended = live & self._over(ids)
        if self.length >= self.nearest:
            ended |= live & (self.length >= self.limits)[:, None]
        if self.stopped is not None:
            ended |= self._stop(self.stopped, parents, ids, live)
        if ended.any():
            self._keep(parents, ids, scores, ended)
            live &= ~ended
        if self.ending.refills:
            parents, ids, scores, live = self._narrow(parents, ids, scores, live)
        if self.bar.max() > -np.inf:
            best = np.where(live, scores, -np.inf).max(1)
            live &= (self.ending.bound(best, self.limits, self.length) > self.bar)[:, None]
        if live.all():
            return self._settle(parents, ids, scores, live)
        return self._settle(parents, ids, np.where(live, scores, -np.inf), live) if live.any() else None

    def _narrow(
        self, parents: Ints | None, ids: Ints, scores: Floats, live: Bools
    ) -> tuple[Ints | None, Ints, Floats, Bools]:
        """Returns the best K that grow, of all that were looked at."""
        best = np.argsort(~live, 1, kind="stable")[:, : self.width]
        parents = None if parents is None else take(parents, best)
        return parents, take(ids, best), take(scores, best), take(live, best)

    def _over(self, ids: Ints) -> Bools:
        return ids == self.ends[0] if len(self.ends) == 1 else np.isin(ids, self.ends)

    def _stop(self, stopped: Stopped, parents: Ints | None, ids: Ints, live: Bools) -> Bools:
        hit = np.zeros_like(live)
        for s, k in np.argwhere(live & ~self._over(ids)):
            hit[s, k] = stopped([*self._history(parents, s, k), int(ids[s, k])])
        return hit

    def _history(self, parents: Ints | None, s: int, k: int) -> list[int]:
        return self.ids[s, k if parents is None else parents[s, k], : self.length - 1].tolist()

    def _keep(self, parents: Ints | None, ids: Ints, scores: Floats, ended: Bools) -> None:
        """Takes down what ended. Of equals, the first to end is the better."""
        a, norm = self.config.length_penalty, self.config.length_norm
        for s, k in np.argwhere(ended[:, : self.width]):  # what stands behind the K best is there to grow, not to end
            whole, last = self._history(parents, s, k), int(ids[s, k])
            over = last in self.ends
            whole += [] if over else [last]
            stopped = not over and self.stopped is not None and self.stopped(whole)
            finished = self.kept[self.sources[s]]
            end = last if over and last != self.ends[0] else None
            finished.append(Hypothesis(whole, float(scores[s, k]), stopped or over, stopped, end))
            finished.sort(key=lambda h: -h.normalised(a, norm))
            if self.ending.refills:
                del finished[self.width :]
            else:
                self.room[s] -= 1
        self.bar = self.ending.bar([self.kept[source] for source in self.sources])

    def _settle(self, parents: Ints | None, ids: Ints, scores: Floats, live: Bools) -> Move:
        """Gives every candidate a place, so that few rows move."""
        sources: int = scores.shape[0]
        places: int = scores.shape[1]
        old: int = self.scores.shape[1]
        if parents is not None and places == old:
            seats = seat(parents, live)
            parents, ids, scores, live = take(parents, seats), take(ids, seats), take(scores, seats), take(live, seats)
        elif parents is None and live.all():
            return self._record(ids, scores, Move(ids.reshape(-1)))
        own = np.arange(places)
        rows = np.arange(sources)[:, None] * old + (own if parents is None else parents)  # (S, K) in the state
        if not live.all() and (move := self._drop(rows, ids, scores, live)) is not None:
            return move
        if places != old:
            return self._record(ids, scores, Move(ids.reshape(-1), rows.reshape(-1)))
        if parents is None or not len(into := np.flatnonzero(live & (parents != own))):
            return self._record(ids, scores, Move(ids.reshape(-1)))
        return self._record(ids, scores, Move(ids.reshape(-1), rows.reshape(-1)[into], into))

    def _drop(self, rows: Ints, ids: Ints, scores: Floats, live: Bools) -> Move | None:
        """Keeps the inputs and places where something grows, if that spares a quarter of all rows."""
        left = np.flatnonzero(live.any(1))
        places: int = live.shape[1] if self.sampling else live.sum(1).max()
        order: Ints = np.argsort(~live[left], 1, kind="stable")[:, :places]  # what grows first
        if self.sampling:  # the place of a sample names its random numbers, so it stays there
            order = np.broadcast_to(np.arange(places), order.shape)
        if order.size > 0.75 * live.size:
            return None
        rows, ids, scores = take(rows[left], order), take(ids[left], order), take(scores[left], order)
        self.sources, self.limits, self.room, self.bar = (
            self.sources[left], self.limits[left], self.room[left], self.bar[left],
        )  # fmt: skip
        return self._record(ids, scores, Move(ids.reshape(-1), rows.reshape(-1), sources=left))

    def _record(self, ids: Ints, scores: Floats, move: Move) -> Move:
        table = self.ids.reshape(-1, self.ids.shape[2])
        if move.into is not None and move.rows is not None:
            table[move.into] = table[move.rows]
        elif move.rows is not None:
            self.ids = table[move.rows].reshape(*ids.shape, -1)
        self.ids[:, :, self.length - 1], self.scores = ids, scores
        return move


def seat(parents: Ints, live: Bools) -> Ints:
    """Returns (S, K): which candidate sits in each place, so that the fewest move.   parents, live: (S, K), best first.

    The best child of each parent sits in its parent's place, where the state already is; the other children, and the
    candidates that are not live, share the places left over.
    """
    places: int = parents.shape[1]
    rank = np.arange(places)
    child = live[:, :, None] & (parents[:, :, None] == rank)  # (S, candidate, place)
    seats = np.where(child.any(1), child.argmax(1), -1)  # argmax: the first, which is the best
    home = live & (take(seats, parents) == rank)
    seats[seats < 0] = np.nonzero(~home)[1]  # row by row there are as many of these as places left over
    return seats


def take(x: npt.NDArray[T], index: Ints) -> npt.NDArray[T]:
    """Returns x[s, index[s, k]] for all s and k."""
    return np.take_along_axis(x, index, 1)


def show(search: Search, ids: Ints, scores: Floats, on_token: OnToken) -> None:
    """Reports the new token of every input that goes on."""
    for row, token, total in zip(search.sources, ids[:, 0], scores[:, 0], strict=True):
        if token not in search.ends and np.isfinite(total):
            on_token(int(row), int(token))
