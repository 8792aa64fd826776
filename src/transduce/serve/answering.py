"""Waiting for an engine while watching whether anyone still listens; answers that come whole, or as a stream."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from transduce.serve.engine import Engine, Ticket, Work, sentence


class Problem(Exception):
    """An answer that is an error: an HTTP status and a sentence. retry: after so many seconds."""

    def __init__(self, status: int, text: str, retry: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.retry = status, text, retry


KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "unavailable"}


def refusal(problem: Problem) -> JSONResponse:
    """Returns an error in OpenAI's form."""
    headers = {} if problem.retry is None else {"Retry-After": str(problem.retry)}
    if problem.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="transduce", charset="UTF-8"'  # so that a browser asks for the key
    kind = KINDS.get(problem.status, "server_error" if problem.status >= 500 else "invalid_request_error")
    body = {"error": {"message": problem.text, "type": kind, "param": None, "code": problem.status}}
    return JSONResponse(body, problem.status, headers)


def problem(error: Exception) -> Problem:
    """Returns the answer to an error."""
    if isinstance(error, Problem):
        return error
    status, text = sentence(error)
    return Problem(status, text, retry=1 if status in (429, 503) else None)


class Asking:
    """Several pieces of work for one client, whose answers come to one event loop."""

    def __init__(self, engine: Engine, works: Sequence[Work], timeout: float) -> None:
        self.news, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self.news.set)

        self.tickets = list[Ticket]()
        if len(works) > engine.queue:
            text = f"{len(works)} texts at once are more than the {engine.queue} that may wait here; ask for fewer"
            raise Problem(400, text)
        try:
            for work in works:
                self.tickets.append(engine.submit(work, hear, timeout))
        except Exception:
            self.leave()
            raise
        if not self.tickets:  # nobody will tell that nothing is done
            self.news.set()

    def leave(self) -> None:
        """Nobody waits any more."""
        for ticket in self.tickets:
            ticket.leave()

    async def changes(self) -> AsyncIterator[None]:
        """Yields whenever there is news, until all is over. Raises the first error."""
        while True:
            await self.news.wait()
            self.news.clear()
            over = all(ticket.over for ticket in self.tickets)
            if error := next((t.error for t in self.tickets if t.over and t.error is not None), None):
                self.leave()
                raise error
            yield
            if over:
                return

    async def all(self) -> list[Ticket]:
        """Returns the tickets once all is over."""
        async for _ in self.changes():
            pass
        return self.tickets


class Answer(Response):
    """The result of `make` as JSON; where the client goes away, its work ends."""

    def __init__(self, work: Asking, make: Callable[[list[Ticket]], Any]) -> None:
        self.work, self.make, self.status_code, self.background = work, make, 200, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_heard(receive, self.work, self.reply(scope, receive, send))

    async def reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = JSONResponse(self.make(await self.work.all()))
        except Exception as error:
            response = refusal(problem(error))
        self.status_code = response.status_code
        await response(scope, receive, send)


class Events(Response):
    """The results of `make` as server-sent events. No more waits to be sent than a text may be long.

    Events with a `type` are named by it, and end by themselves; after others [DONE] is sent.
    """

    def __init__(self, work: Asking, make: AsyncIterator[Any]) -> None:
        self.work, self.make, self.status_code, self.background = work, make, 200, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_heard(receive, self.work, self.reply(scope, receive, send))

    async def reply(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, typed = False, False

        async def say(text: str, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": more})

        try:
            async for event in self.make:
                if not started:
                    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    started = True
                typed = "type" in event
                name = f"event: {event['type']}\n" if typed else ""
                await say(f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n")
        except Exception as error:
            response = refusal(problem(error))
            self.status_code = response.status_code
            if not started:
                await response(scope, receive, send)
                return
            await say(f"data: {bytes(response.body).decode()}\n\n")
        await say("" if typed else "data: [DONE]\n\n", more=False)


async def while_heard(receive: Receive, work: Asking, reply: Coroutine[Any, Any, None]) -> None:
    """Replies, unless the client goes away first: then its work ends."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    watch, answer = asyncio.ensure_future(gone()), asyncio.ensure_future(reply)
    try:
        await asyncio.wait({watch, answer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not answer.done():
            work.leave()
            answer.cancel()
        watch.cancel()
        await asyncio.gather(watch, answer, return_exceptions=True)
