"""The routes, and who may use them: limits on bytes, the key, and the names by which the server may be called."""

import asyncio
import base64
import binascii
import hmac
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from transduce.serve import inside, openai, own, pieces, responses
from transduce.serve.answering import Problem, problem, refusal
from transduce.serve.asking import Body, Served, parsed
from transduce.serve.metrics import Answers, exposition

LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
Make = Callable[[Served, Body, float], Response]
POSTS: dict[str, Make] = {
    "/v1/completions": openai.completions,
    "/v1/chat/completions": openai.chat,
    "/v1/responses": responses.responses,
    "/v1/embeddings": openai.embeddings,
    "/translate": own.translate,
    "/classify": own.classify,
    "/score": own.score,
    "/embed": own.embed,
    "/predict": own.predict,
    "/inspect/attention": inside.attention,
    "/inspect/stages": inside.stages,
    "/tag": own.tag,
    "/answer": own.answer_from,
    "/rerank": own.rerank,
    "/tokenize": pieces.tokenize,
    "/detokenize": pieces.detokenize,
}
GETS = ("/health", "/ready", "/metrics", "/v1/models", "/tokenizer_info", "/")
PAGE = resources.files("transduce.serve").joinpath("page.html")
# The page loads nothing, and asks this server alone.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a server.

    timeout: seconds in which an answer must be there.
    bytes: of a body.
    key: that every request must have (None: none).
    hosts: names by which the server may be called (None: any).
    log: a line for every request, without what was asked.
    """

    timeout: float = 120.0
    bytes: int = 1 << 20
    key: str | None = None
    hosts: tuple[str, ...] | None = LOCAL
    log: bool = False


class Server:
    """The models of a server by name, and whether it takes no more requests."""

    def __init__(self, served: Sequence[Served], limits: Limits) -> None:
        self.served, self.limits = {one.name: one for one in served}, limits
        self.answers, self.closing = Answers(), False

        async def health(_: Request) -> Response:
            alive = all(one.engine.thread.is_alive() for one in served)
            return JSONResponse({"status": "ok" if alive else "an engine has ended"}, 200 if alive else 500)

        async def ready(_: Request) -> Response:
            return JSONResponse({"status": "closing" if self.closing else "ready"}, 503 if self.closing else 200)

        async def metrics(_: Request) -> Response:
            engines = {one.name: (one.meters, one.engine.load) for one in served}
            return PlainTextResponse(exposition(engines, self.answers), media_type="text/plain; version=0.0.4")

        async def models(_: Request) -> Response:
            return openai.listed(served)

        async def tokens(request: Request) -> Response:
            try:
                body = Body(dict(request.query_params))
                return pieces.about(self.choose(body), body, self.limits.timeout)
            except Exception as error:
                return refusal(problem(error))

        async def page(_: Request) -> Response:
            return HTMLResponse(PAGE.read_bytes(), headers=SAFE)

        acts = (health, ready, metrics, models, tokens, page)
        routes = [Route(path, act) for path, act in zip(GETS, acts, strict=True)]
        routes += [Route(path, self.post(make), methods=["POST"]) for path, make in POSTS.items()]
        self.app = Guarded(Starlette(routes=routes, exception_handlers={404: missing, 405: other}), self)

    def post(self, make: Make) -> Callable[..., object]:
        """Returns the function of a route that reads a body of JSON."""

        async def act(request: Request) -> Response:
            try:
                if self.closing:
                    raise Problem(503, "the server is shutting down; ask again when it is back", retry=1)
                body = Body(parsed(await asyncio.wait_for(self.read(request), self.limits.timeout)))
                return make(self.choose(body), body, self.limits.timeout)
            except ClientDisconnect:
                return refusal(Problem(400, "the body ended before all of it was there; send it whole"))
            except TimeoutError:
                return refusal(Problem(408, "the body did not come in time; send it faster"))
            except Exception as error:
                answer = problem(error)
                if answer.status == 500:
                    print(f"transduce: {request.url.path}: {error!r}", file=sys.stderr)
                return refusal(answer)

        return act

    async def read(self, request: Request) -> bytes:
        """Returns the body. Raises Problem where it has too many bytes, before all of them came."""
        most = self.limits.bytes
        length = request.headers.get("content-length", "0")
        too_large = Problem(413, f"the body has more than {most:,} bytes; send less, or start with more --body-bytes")
        if length.isdecimal() and int(length) > most:
            raise too_large
        parts, size = list[bytes](), 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large
            parts.append(part)
        return b"".join(parts)

    def choose(self, body: Body) -> Served:
        """Takes the name of the model; the only one needs no name. Raises Problem."""
        name, names = body.take("model", str), ", ".join(self.served)
        if name is None and len(self.served) == 1:
            return next(iter(self.served.values()))
        if name is None:
            raise Problem(400, f"`model` is missing, and this server has several; choose one of {names}")
        if name not in self.served:
            raise Problem(404, f"there is no model `{name[:80]}` here; this server has {names}")
        return self.served[name]

    def close(self) -> None:
        """Ends the engines."""
        for one in self.served.values():
            one.engine.close()


async def missing(request: Request, _: Exception) -> Response:
    return refusal(Problem(404, f"there is no {request.url.path[:80]} here; the routes are {', '.join(POSTS)}"))


async def other(request: Request, _: Exception) -> Response:
    way = "POST" if request.url.path in POSTS else "GET"
    return refusal(Problem(405, f"{request.url.path} is asked by {way}"))


class Guarded:
    """Refuses before anything is read: other hosts, other sites, and whoever has no key. Counts and logs."""

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self.server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        reason = self.refused(scope)
        try:
            await (self.app if reason is None else refusal(reason))(scope, receive, sending)
        finally:
            path = scope["path"] if scope["path"] in (*POSTS, *GETS) else "other"
            self.server.answers.counts[path, status] += 1
            if self.server.limits.log:
                took = round(1000 * (time.monotonic() - begun), 1)
                client = (scope.get("client") or ("",))[0]
                line = {"time": round(time.time(), 3), "client": client, "method": scope["method"], "path": path}
                print(json.dumps({**line, "status": status, "ms": took}), file=sys.stderr, flush=True)

    def refused(self, scope: Scope) -> Problem | None:
        """Returns why a request is refused, if it is."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        limits = self.server.limits
        host = headers.get("host", "")
        if limits.hosts is not None and named(host) not in limits.hosts:
            return Problem(403, f"this server is not called {named(host)[:80]!r}; start it with --host to be called so")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return Problem(403, "pages of other sites may not ask this server")
        if limits.key is not None and not self.knows(headers.get("authorization", ""), limits.key):
            return Problem(401, "this server wants a key; send it as `Authorization: Bearer KEY`")
        return None

    def knows(self, header: str, key: str) -> bool:
        """Says whether a header has the key: as a token, or as the password of any name, as browsers send it."""
        kind, _, value = header.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        return hmac.compare_digest(value.encode(), key.encode())


def named(host: str) -> str:
    """Returns a host without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
