"""OpenAI's forms: /v1/models, completions, chat/completions and embeddings."""

import base64
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, cast

from starlette.responses import JSONResponse, Response

from transduce.errors import UserError
from transduce.generate.rows import Request, Token
from transduce.generate.stop import TextStream, cut
from transduce.serve.answering import Answer, Asking, Events
from transduce.serve.asking import TOP, Body, Served, Writing, requests, scored, writing
from transduce.serve.chat import conversation
from transduce.serve.engine import Ticket
from transduce.text.tokenizer import Tokenizer

NO_EFFECT = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
NUMBER = itertools.count(1)


class Prompt(NamedTuple):
    """ids as the model reads them, the text they stand for, and how many ids before it are no part of it."""

    ids: list[int]
    text: str
    before: int = 0


def head(served: Served, kind: str, name: str) -> dict[str, Any]:
    """Returns what every answer begins with."""
    id = f"{name}-{int(time.time()):x}-{next(NUMBER)}"
    return {"id": id, "object": kind, "created": int(time.time()), "model": served.name}


def models(served: Sequence[Served]) -> dict[str, Any]:
    """Returns the list of models, with their tasks."""
    data = [
        {"id": s.name, "object": "model", "created": s.created, "owned_by": "transduce", "task": s.model.task.kind}
        for s in served
    ]
    return {"object": "list", "data": data}


def prompts(served: Served, body: Body) -> list[Prompt]:
    """Takes the prompt: a text, ids, or a list of either. Raises UserError."""
    body.known.append("prompt")
    value = body.values.pop("prompt", None)
    if isinstance(value, str):
        rows: list[Any] = [value]
    elif isinstance(value, list) and value:
        many = cast("list[Any]", value)
        rows = [many] if all(isinstance(x, int) for x in many) else many
    else:
        raise UserError("`prompt` must be a text, a list of texts, a list of ids, or a list of such lists")
    out, size = list[Prompt](), served.model.tokenizer.vocab_size
    for row in rows:
        if isinstance(row, str):
            source, ids = served.model.task.reads_as(served.model.readers, row, served.model.recipe.generate)
            if source is not None:
                raise UserError(served.model.task.refusal or "this model answers a source; use translate")
            out.append(Prompt(ids, row, len(ids) - len(served.model.tokenizer.encode(row))))
        elif isinstance(row, list) and all(type(x) is int and x >= 0 for x in cast("list[Any]", row)):
            ids = cast("list[int]", row)
            out.append(Prompt(ids, served.model.tokenizer.decode([i for i in ids if i < size])))
        else:
            raise UserError("`prompt` holds something that is neither a text nor a list of ids")
    return out


def completions(served: Served, body: Body, timeout: float) -> Response:
    """Goes on from prompts."""
    served.model.task.reads_as(served.model.readers, "a", served.model.recipe.generate)  # refuses what writes no text
    given = prompts(served, body)
    look, echo = body.whole("logprobs", None, 0, TOP), body.take("echo", bool, False)
    nothing = body.values.get("max_tokens") == 0 or body.values.get("max_new_tokens") == 0
    if nothing:
        body.values.pop("max_tokens", None)
        body.values.pop("max_new_tokens", None)
    if body.values.pop("suffix", None):
        raise UserError("`suffix` is not known here: no model of this server writes what stands between two texts")
    stream, usage = streaming(body)
    with_ids = body.take("return_token_ids", bool, False)
    how = writing(served, body, look)
    body.ignore(*NO_EFFECT)
    body.end()
    if nothing:
        rows = [[scored(served, one.ids, look=look or 0)] * how.config.nbest for one in given]
    else:
        rows = requests(served, how, None, [one.ids for one in given], echo and look is not None)
    form = Completions(served, how, given, rows, echo, with_ids)
    return form.answer(stream, usage, timeout)


def streaming(body: Body) -> tuple[bool, bool]:
    """Returns whether the answer is a stream, and whether it ends with a count of tokens."""
    stream, more = body.take("stream", bool, False), Body(body.take("stream_options", dict, {}))
    usage = more.take("include_usage", bool, False)
    more.ignore("include_obfuscation")
    more.end()
    return stream, usage


class Form:
    """An answer in OpenAI's form: choices, and how many tokens were read and written."""

    def __init__(
        self, served: Served, how: Writing, given: Sequence[Prompt], rows: Sequence[Sequence[Request]]
    ) -> None:
        self.served, self.how, self.given, self.rows = served, how, given, rows
        self.tokenizer: Tokenizer = served.model.tokenizer
        self.drawn = how.config.temperature > 0

    def answer(self, stream: bool, usage: bool, timeout: float) -> Response:
        """Starts the work and returns the answer to it. Raises UserError for what cannot be streamed."""
        if stream and self.how.config.beam_size > 1:
            raise UserError(
                f"beam_size={self.how.config.beam_size} knows its text only at the end; stream with beam_size=1"
            )
        if self.how.look is not None and self.how.config.beam_size > 1:
            raise UserError("logprobs are of texts that are written token by token; set beam_size=1")
        work = Asking(self.served.engine, [request for row in self.rows for request in row], timeout)
        return Events(work, self.events(work, usage)) if stream else Answer(work, self.whole)

    def begin(self) -> dict[str, Any]:
        raise NotImplementedError

    def choice(self, index: int, prompt: Prompt, text: str, tokens: Sequence[Token], reason: str) -> dict[str, Any]:
        raise NotImplementedError

    def piece(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def whole(self, tickets: list[Ticket]) -> dict[str, Any]:
        """Returns the answer, once all is written."""
        choices, written, at = list[Any](), 0, iter(tickets)
        for prompt, row in zip(self.given, self.rows, strict=True):
            for _ in row:
                ticket = next(at)
                one = ticket.growing
                assert one is not None
                tokens = [*ticket.prompt[prompt.before :], *ticket.tokens]
                if not one.hypotheses:  # nothing was to be written
                    choices.append(self.choice(len(choices), prompt, "", tokens, "length"))
                for h in one.hypotheses:
                    text = cut(self.tokenizer.decode(h.ids), self.how.config.stop)
                    written += h.length
                    choices.append(self.choice(len(choices), prompt, text, tokens, ending(h.finished)))
        return {**self.begin(), "choices": choices, "usage": self.usage(written), **self.seed()}

    def seed(self) -> dict[str, Any]:
        """Returns the seed of what was drawn, so that it can be drawn again."""
        return {"seed": self.how.config.seed} if self.drawn else {}

    def usage(self, written: int) -> dict[str, int]:
        read = sum(len(prompt.ids) for prompt in self.given)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def opening(self, index: int, prompt: Prompt) -> dict[str, Any] | None:
        """Returns the first piece of a text, which holds nothing that was written."""
        return None

    async def events(self, work: Asking, usage: bool) -> AsyncIterator[dict[str, Any]]:
        """Yields pieces of every text as it is written."""
        begin, given = (
            {**self.begin(), **self.seed()},
            [p for p, row in zip(self.given, self.rows, strict=True) for _ in row],
        )
        texts = [TextStream(self.tokenizer.stream(), self.how.config.stop) for _ in work.tickets]
        opened, closed, written = set[int](), set[int](), 0
        async for _ in work.changes():
            for i, ticket in enumerate(work.tickets):
                over = ticket.over
                if i not in opened and (ticket.tokens or over):
                    opened.add(i)
                    tokens = ticket.prompt[given[i].before :]
                    if (first := self.opening(i, given[i])) is not None or tokens:
                        yield {**begin, "choices": [first or self.piece(i, "", tokens, None)]}
                while ticket.tokens:
                    token = ticket.tokens.popleft()
                    written += 1
                    text = texts[i].push(token.id)
                    if text or self.how.look is not None:
                        yield {**begin, "choices": [self.piece(i, text, [token], None)]}
                if over and i not in closed:
                    closed.add(i)
                    one = ticket.growing
                    assert one is not None
                    reason = ending(bool(one.hypotheses) and one.hypotheses[0].finished)
                    yield {**begin, "choices": [self.piece(i, texts[i].finish(), [], reason)]}
        if usage:
            yield {**begin, "choices": [], "usage": self.usage(written)}


def ending(finished: bool) -> str:
    return "stop" if finished else "length"


class Completions(Form):
    """Of /v1/completions.

    echo: the prompt stands before what was written. with_ids: the ids of tokens too, as vLLM gives them; those of a
    prompt once.
    """

    def __init__(
        self, served: Served, how: Writing, given: Sequence[Prompt], rows: Sequence[Sequence[Request]], echo: bool,
        with_ids: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(served, how, given, rows)
        self.echo, self.with_ids = echo, with_ids
        self.read = [prompt.ids for prompt, row in zip(given, rows, strict=True) for _ in row]
        self.said = [False] * sum(map(len, rows))  # whether the ids of the prompt were given
        self.offsets = [0] * sum(map(len, rows))  # characters of each text that its tokens have given, in a stream

    def begin(self) -> dict[str, Any]:
        return head(self.served, "text_completion", "cmpl")

    def opening(self, index: int, prompt: Prompt) -> dict[str, Any] | None:
        return None if not self.echo or self.how.look is not None else self.piece(index, prompt.text, [], None)

    def choice(self, index: int, prompt: Prompt, text: str, tokens: Sequence[Token], reason: str) -> dict[str, Any]:
        text = prompt.text + text if self.echo else text
        one = {"index": index, "text": text, "logprobs": self.logprobs(tokens, 0), "finish_reason": reason}
        return {**one, **self.ids(index, tokens)}

    def piece(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        if self.echo and not text and tokens and reason is None and tokens[0].log_p is None:
            text = self.tokenizer.decode([token.id for token in tokens])
        probabilities = self.logprobs(tokens, self.offsets[index]) if tokens else None
        self.offsets[index] += len(text)
        one = {"index": index, "text": text, "logprobs": probabilities, "finish_reason": reason}
        return {**one, **self.ids(index, tokens)}

    def ids(self, index: int, tokens: Sequence[Token]) -> dict[str, Any]:
        """Returns the ids of tokens, of the likeliest in their places, and, the first time, of the prompt."""
        if not self.with_ids:
            return {}
        prompt = {} if self.said[index] else {"prompt_token_ids": self.read[index]}
        self.said[index] = True
        top = {} if self.how.look is None else {"top_tokens": [self.likeliest(token) for token in tokens]}
        return {"token_ids": [token.id for token in tokens], **top, **prompt}

    def likeliest(self, token: Token) -> list[dict[str, Any]]:
        names = self.tokenizer.pieces([i for i, _ in token.top])
        return [{"id": i, "token": name, "logprob": p} for name, (i, p) in zip(names, token.top, strict=True)]

    def logprobs(self, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
        """Returns tokens, their log p, the likeliest in their places, and where each begins in the text."""
        if self.how.look is None:
            return None
        pieces, stream, offsets = self.tokenizer.pieces([t.id for t in tokens]), self.tokenizer.stream(), list[int]()
        tops = list[dict[str, float] | None]()
        for token in tokens:
            offsets.append(offset)
            offset += len(stream.push(token.id))
            tops.append(None if token.log_p is None else self.top(token))
        return {
            "tokens": pieces,
            "token_logprobs": [t.log_p for t in tokens],
            "top_logprobs": tops,
            "text_offset": offsets,
        }

    def top(self, token: Token) -> dict[str, float]:
        """Returns the likeliest tokens in a place, and the one that stands there."""
        many = [*token.top, (token.id, cast(float, token.log_p))]
        out = dict[str, float]()
        for name, (_, p) in zip(self.tokenizer.pieces([i for i, _ in many]), many, strict=True):
            out.setdefault(name, p)
        return out


def chat(served: Served, body: Body, timeout: float) -> Response:
    """Answers a conversation, by the template of the model."""
    ids, text = conversation(served, body)
    wanted = body.take("logprobs", bool, False)
    top = body.whole("top_logprobs", None, 0, TOP)
    if top is not None and not wanted:
        raise UserError("top_logprobs says how many runners-up logprobs have; set logprobs=true too")
    stream, usage = streaming(body)
    how = writing(served, body, (top or 0) if wanted else None)
    body.ignore(*NO_EFFECT, "parallel_tool_calls")
    body.end()
    given = [Prompt(ids, text)]
    return Chat(served, how, given, requests(served, how, None, [ids])).answer(stream, usage, timeout)


class Chat(Form):
    """Of /v1/chat/completions."""

    kind = "chat.completion"

    def begin(self) -> dict[str, Any]:
        return head(self.served, self.kind, "chatcmpl")

    async def events(self, work: Asking, usage: bool) -> AsyncIterator[dict[str, Any]]:
        self.kind = "chat.completion.chunk"
        async for event in super().events(work, usage):
            yield event

    def opening(self, index: int, prompt: Prompt) -> dict[str, Any]:
        return {"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}

    def choice(self, index: int, prompt: Prompt, text: str, tokens: Sequence[Token], reason: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        return {"index": index, "message": message, "logprobs": self.logprobs(tokens), "finish_reason": reason}

    def piece(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]:
        delta = {"content": text} if text or reason is None else {}
        return {"index": index, "delta": delta, "logprobs": self.logprobs(tokens), "finish_reason": reason}

    def logprobs(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self.how.look is None:
            return None
        return {"content": [{**self.one(t.id, t.log_p), "top_logprobs": [self.one(*x) for x in t.top]} for t in tokens]}

    def one(self, id: int, log_p: float | None) -> dict[str, Any]:
        (piece,) = self.tokenizer.pieces([id])
        return {"token": piece, "logprob": log_p, "bytes": list(self.tokenizer.decode([id]).encode())}


def embeddings(served: Served, body: Body, timeout: float) -> Response:
    """Returns a vector of each text."""
    texts = body.texts("input")
    form = body.take("encoding_format", str, "float")
    if form not in ("float", "base64"):
        raise UserError(f"encoding_format={form[:40]} is not known; use float or base64")
    if body.take("dimensions", int) is not None:
        raise UserError("`dimensions` cannot be chosen: a vector has as many numbers as the model makes")
    body.ignore(*NO_EFFECT)
    body.end()
    encoder = served.model.sentences

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        rows = tickets[0].result
        values = [base64.b64encode(r.tobytes()).decode() if form == "base64" else r.tolist() for r in rows]
        data = [{"object": "embedding", "index": i, "embedding": value} for i, value in enumerate(values)]
        read = sum(len(ids) for ids in map(served.model.tokenizer.whole, texts))
        usage = {"prompt_tokens": read, "total_tokens": read}
        return {"object": "list", "data": data, "model": served.name, "usage": usage, **said(tickets)}

    return Answer(Asking(served.engine, [lambda: encoder.embed(texts)], timeout), make)


def said(tickets: Sequence[Ticket]) -> dict[str, Any]:
    """Returns what the library remarked on the way, if anything."""
    notices = [text for ticket in tickets for text in ticket.notices]
    return {"notices": notices} if notices else {}


def listed(served: Sequence[Served]) -> JSONResponse:
    return JSONResponse(models(served))
