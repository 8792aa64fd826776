"""The forms of OpenAI's answers: a text that is completed, and a turn of a conversation, whole or as a stream."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, cast

from starlette.responses import Response

from transduce.errors import UserError
from transduce.generate.rows import Request, Token
from transduce.generate.stop import TextStream, cut
from transduce.serve.answering import Answer, Asking, Events
from transduce.serve.asking import Served, Writing
from transduce.serve.engine import Ticket
from transduce.text.tokenizer import Tokenizer

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


class Form(ABC):
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

    @abstractmethod
    def begin(self) -> dict[str, Any]: ...

    @abstractmethod
    def choice(self, index: int, prompt: Prompt, text: str, tokens: Sequence[Token], reason: str) -> dict[str, Any]: ...

    @abstractmethod
    def piece(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> dict[str, Any]: ...

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
        self.prompted = [False] * sum(map(len, rows))  # whether the ids of the prompt were given
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
        prompt = {} if self.prompted[index] else {"prompt_token_ids": self.read[index]}
        self.prompted[index] = True
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
