"""The thread in which a model works for all who ask: rows that come and go, and whatever else is computed whole.

An answer does not depend on who else is there: rows see to it, and what is computed whole is computed alone.
"""

import time
import traceback
from collections import deque
from collections.abc import Callable
from threading import Condition, Event, Thread
from typing import Any

import torch

from transduce.errors import UserError, too_large
from transduce.generate.inputs import Vocabulary
from transduce.generate.rows import Growing, Request, Rows, Token
from transduce.model.models import Model
from transduce.precision.convert import trim
from transduce.serve.metrics import Meters
from transduce.serve.notices import noticed

Work = Request | Callable[[], Any]
REST = 1.0  # seconds without work, after which memory that was freed goes back to the system


class Busy(Exception):
    """The queue is full. It is no mistake of who asks, so it is no UserError."""


class Closing(Exception):
    """The server is about to end, or the engine has."""


class Late(Exception):
    """The time of a request is over."""


class Ticket:
    """One piece of work, from when it is asked for until `over`.

    hear: is called in the engine's thread whenever there is news. tokens: that nobody has taken. result: of work that
    is a function. growing: of a request, what grows. notices: what was said on the way. error: why there is no result.
    """

    def __init__(self, work: Work, hear: Callable[[], None], deadline: float) -> None:
        self.work, self.hear, self.deadline = work, hear, deadline
        self.begun = time.monotonic()
        self.growing: Growing | None = None
        self.tokens: deque[Token] = deque()
        self.prompt: list[Token] = []
        self.result: Any = None
        self.notices: list[str] = []
        self.error: Exception | None = None
        self.over, self.left = False, Event()

    @property
    def width(self) -> int:
        """Returns how many rows it takes."""
        if not isinstance(self.work, Request):
            return 0
        return 1 if self.work.config.temperature > 0 else self.work.config.beam_size

    def leave(self) -> None:
        """Nobody waits for it any more: its rows are free before the next step."""
        self.left.set()


class Engine:
    """rows: that decode together. queue: how much may wait for them. meters: what is counted."""

    def __init__(self, model: Model, vocabulary: Vocabulary | None, rows: int, queue: int, meters: Meters) -> None:
        self.rows = None if vocabulary is None or not model.writes else Rows(model, vocabulary, rows)
        self.most, self.queue, self.meters = rows, queue, meters
        self.exact = model.device.type == "cpu"
        self.waiting: deque[Ticket] = deque()
        self.running: list[Ticket] = []
        self.news, self.closed = Condition(), False
        self.thread = Thread(target=self._run, name="transduce engine", daemon=True)
        self.thread.start()

    def submit(self, work: Work, hear: Callable[[], None], timeout: float) -> Ticket:
        """Puts work into the queue. Raises Busy where it is full, and UserError for more beams than there are rows."""
        ticket = Ticket(work, hear, time.monotonic() + timeout)
        if ticket.width > self.most:
            raise UserError(f"beam_size={ticket.width} takes as many rows, but this server has {self.most}; use fewer")
        with self.news:
            if self.closed:
                raise Closing
            if len(self.waiting) >= self.queue:
                raise Busy
            self.waiting.append(ticket)
            self.news.notify()
        return ticket

    @property
    def load(self) -> tuple[int, int]:
        """Returns the rows that are taken, and how much waits."""
        return (0 if self.rows is None else self.rows.used), len(self.waiting)

    def close(self) -> None:
        """Ends the thread; what was not done gets an error that says so."""
        with self.news:
            self.closed = True
            self.news.notify()
        self.thread.join()

    def _run(self) -> None:
        if self.exact:  # products that are parted among threads round by how many rows there are
            torch.set_num_threads(1)
        used = False
        while True:
            with self.news:
                some = self.news.wait_for(lambda: self.closed or self.waiting or self.running, REST if used else None)
                closed, waiting = self.closed, list(self.waiting)
            if not some:
                trim()
            used = bool(some)
            if closed:
                for ticket in (*waiting, *self.running):
                    self._end(ticket, Closing())
                return
            self._retire(waiting)
            self._start()
            if self.running:
                self._step()

    def _retire(self, waiting: list[Ticket]) -> None:
        """Ends what nobody waits for, and what is late."""
        now = time.monotonic()
        for ticket in (*waiting, *self.running):
            if ticket.left.is_set() or now > ticket.deadline:
                if ticket.left.is_set():
                    self.meters.cancelled += 1
                with self.news:
                    if ticket in self.waiting:
                        self.waiting.remove(ticket)
                self._end(ticket, Late())

    def _start(self) -> None:
        """Gives rows to those who came first, as far as there are any, and computes one thing whole."""
        whole = False
        while True:
            with self.news:
                ticket = self.waiting[0] if self.waiting else None
                if ticket is None or (whole and not ticket.width):
                    return
                if self.rows is not None and ticket.width and self.rows.used + ticket.width > self.most:
                    return
                self.waiting.popleft()
                self.running.append(ticket)
            if isinstance(ticket.work, Request):
                self._admit(ticket, ticket.work)
            else:
                self._whole(ticket, ticket.work)
                whole = True

    def _admit(self, ticket: Ticket, request: Request) -> None:
        try:
            if self.rows is None:
                raise UserError("this model writes no text token by token; use another route")
            ticket.growing = self.rows.admit(request)
            self.meters.read += len(request.prompt) + len(request.source or ())
        except Exception as error:
            self._end(ticket, error)

    def _whole(self, ticket: Ticket, work: Callable[[], Any]) -> None:
        try:
            with noticed() as ticket.notices:
                ticket.result = work()
            self._end(ticket, None)
        except Exception as error:
            self._end(ticket, error)

    def _step(self) -> None:
        assert self.rows is not None
        begun = time.monotonic()
        try:
            changed = set(map(id, self.rows.step()))
        except Exception as error:  # of all rows together, such as memory that is not there
            for ticket in list(self.running):
                self._end(ticket, error)
            return
        self.meters.step(time.monotonic() - begun)
        for ticket in [one for one in self.running if id(one.growing) in changed]:
            one = ticket.growing
            assert one is not None
            if new := one.take():
                if not ticket.tokens and one.written == len(new):
                    self.meters.first(time.monotonic() - ticket.begun)
                self.meters.written += len(new)
                ticket.tokens.extend(new)
            ticket.prompt = one.prompt
            if one.over:
                self.meters.written += one.written if one.width > 1 else 0
                self._end(ticket, one.error)
            else:
                ticket.hear()

    def _end(self, ticket: Ticket, error: Exception | None) -> None:
        if ticket in self.running:
            self.running.remove(ticket)
        if ticket.growing is not None and self.rows is not None:
            self.rows.drop(ticket.growing)
        if error is not None and sentence(error)[0] == 500:
            traceback.print_exception(error)
        ticket.error, ticket.over = error, True
        ticket.hear()


def sentence(error: Exception) -> tuple[int, str]:
    """Returns the HTTP status and the sentence for an error of the engine; a fault of ours is (500, ...)."""
    if isinstance(error, UserError):
        return 400, str(error)
    if isinstance(error, Busy):
        return 429, "the queue is full; try again in a second"
    if isinstance(error, Closing):
        return 503, "the server is shutting down; ask again when it is back"
    if isinstance(error, Late):
        return 408, "the answer took longer than the server's --timeout; ask for fewer tokens, or again later"
    if (size := too_large(error)) is not None:
        return 503, f"out of memory (it needs {size}); ask for fewer tokens, or start the server with fewer --rows"
    return 500, f"the server failed ({type(error).__name__}); its log says more"
