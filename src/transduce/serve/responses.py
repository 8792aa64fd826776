"""OpenAI's route /v1/responses: a turn of a conversation as items, whole or as a stream of typed events.

Nothing is kept between requests, so a conversation is sent whole.
"""

import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

from starlette.responses import Response

from transduce.errors import UserError
from transduce.generate.rows import Request
from transduce.serve.answering import Asking
from transduce.serve.asking import TOP, Body, Served, Writing, formed, requests, shown, writing
from transduce.serve.chat import message, prompted, refuse_tools
from transduce.serve.engine import Ticket
from transduce.serve.forms import Chat, Prompt, head

LOGPROBS = "message.output_text.logprobs"
NO_EFFECT = ("user", "store", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
MOST = 1 << 31
KEPT = "nothing is kept here between requests; send the whole conversation as `input`"
REFUSED = {
    "previous_response_id": KEPT,
    "conversation": KEPT,
    "prompt": "no prompts are kept here; send `input` and `instructions`",
    "background": "an answer is waited for here; leave `background` out, or set stream=true",
    "reasoning": "no model here reasons apart from its answer; leave `reasoning` out",
    "max_tool_calls": "tools are not known here; leave `max_tool_calls` out",
}


def responses(served: Served, body: Body, timeout: float) -> Response:
    """Answers a conversation, by the template of the model."""
    for name, reason in REFUSED.items():
        if body.values.pop(name, None):
            raise UserError(reason)
    refuse_tools(body)
    instructions, metadata = body.take("instructions", str), body.take("metadata", dict, {})
    ids, text = prompted(served, [*system(instructions), *items(body)])
    if body.take("truncation", str, "disabled") != "disabled":
        raise UserError("a conversation is not cut here; set truncation=disabled and send less")
    form = text_format(body)
    top, wanted = body.whole("top_logprobs", 0, 0, TOP), body.take("include", list, [])
    if any(one != LOGPROBS for one in wanted):
        raise UserError(f"`include` is {shown(wanted)}, but may hold {LOGPROBS} alone")
    if top and not wanted:
        raise UserError(f'top_logprobs says how many runners-up logprobs have; set include=["{LOGPROBS}"] too')
    if body.take("n", int, 1) != 1:
        raise UserError("`n` is not known here, where one answer is given; use /v1/chat/completions")
    body.values["n"] = 1
    body.known.append("max_output_tokens")
    if (most := body.whole("max_output_tokens", None, 1, MOST)) is not None:
        body.values["max_tokens"] = most
    stream = body.take("stream", bool, False)
    body.ignore("stream_options")
    how = writing(served, body, top if wanted else None)
    body.ignore(*NO_EFFECT)
    body.end()
    about = {"instructions": instructions, "metadata": metadata, "max_output_tokens": most, "text": {"format": form}}
    turn = Turn(served, how, Prompt(ids, text), requests(served, how, None, [ids]), about)
    return turn.answer(stream, True, timeout)


def system(instructions: str | None) -> list[dict[str, str]]:
    return [] if instructions is None else [{"role": "system", "content": instructions}]


def items(body: Body) -> list[dict[str, str]]:
    """Takes `input`, a text that the user says or a list of messages, as messages. Raises UserError."""
    body.known.append("input")
    value = body.values.pop("input", None)
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise UserError("`input` must be a text, or a list of messages, one at least")
    return [message(item(one)) for one in cast("list[Any]", value)]


def item(value: Any) -> Any:
    """Returns a message of a list of items. Raises UserError for items of other kinds."""
    kind = cast("dict[str, Any]", value).get("type", "message") if isinstance(value, dict) else "message"
    if kind != "message":
        raise UserError(f"an item of `input` is of type {shown(kind)}, but only messages are known here")
    return cast("Any", value)


def text_format(body: Body) -> dict[str, Any]:
    """Takes `text`, which says what form an answer has, and returns that form. Raises UserError."""
    more = Body(body.take("text", dict, {}))
    form = more.take("format", dict) or {"type": "text"}
    if more.take("verbosity", str, "medium") != "medium":
        raise UserError("`verbosity` is not known here; say it in `instructions`")
    more.end()
    kind = form.get("type")
    wanted = formed({"type": kind, "json_schema": form} if kind == "json_schema" else {"type": kind})
    body.values.update(wanted)
    return cast("dict[str, Any]", form)


class Turn(Chat):
    """Of /v1/responses. about: what is told again of what was asked."""

    def __init__(
        self, served: Served, how: Writing, given: Prompt, rows: Sequence[Sequence[Request]], about: dict[str, Any]
    ) -> None:
        super().__init__(served, how, [given], rows)
        self.about, self.named = about, head(served, "response", "resp")
        self.item = self.named["id"].replace("resp", "msg")

    def whole(self, tickets: list[Ticket]) -> dict[str, Any]:
        out = super().whole(tickets)
        (one,) = out["choices"]
        part = self.part(one["message"]["content"], logs(one["logprobs"]))
        return self.response(one["finish_reason"], part, out["usage"])

    def response(self, reason: str | None, part: dict[str, Any] | None, usage: dict[str, int] | None) -> dict[str, Any]:
        """Returns the answer. reason: why it ended (None: it has not)."""
        config, status = self.how.config, state(reason)
        cut = {"reason": "max_output_tokens"} if status == "incomplete" else None
        return {
            "id": self.named["id"], "object": "response", "created_at": self.named["created"], "status": status,
            "completed_at": int(time.time()) if status == "completed" else None, "error": None,
            "incomplete_details": cut, "model": self.served.name, **self.about,
            "output": [] if part is None else [self.message(reason, part)], "parallel_tool_calls": False,
            "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": False,
            "temperature": config.temperature, "top_p": 1.0 if config.top_p is None else config.top_p,
            "tool_choice": "none", "tools": [], "truncation": "disabled", "background": False,
            "usage": None if usage is None else counted(usage), **self.seed(),
        }  # fmt: skip

    def message(self, reason: str | None, part: dict[str, Any] | None) -> dict[str, Any]:
        content = [] if part is None else [part]
        return {
            "id": self.item, "type": "message", "status": state(reason), "role": "assistant", "content": content,
        }  # fmt: skip

    def part(self, text: str, logprobs: list[Any]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}

    async def events(self, work: Asking, usage: bool) -> AsyncIterator[dict[str, Any]]:
        """Yields what is begun, each piece of the text, and what is done."""
        numbers, text, every, reason = itertools.count(), "", list[Any](), None
        where = {"item_id": self.item, "output_index": 0, "content_index": 0}

        def event(kind: str, **fields: Any) -> dict[str, Any]:
            return {"type": f"response.{kind}", "sequence_number": next(numbers), **fields}

        async for piece in super().events(work, True):
            for choice in piece["choices"]:
                if "role" in choice["delta"]:
                    for one in self.begun(event, where):
                        yield one
                    continue
                delta, logprobs = choice["delta"].get("content", ""), logs(choice["logprobs"])
                text, every, reason = text + delta, every + logprobs, choice["finish_reason"]
                if delta or logprobs:
                    yield event("output_text.delta", **where, delta=delta, logprobs=logprobs)
            if "usage" in piece:
                for one in self.ended(event, where, self.part(text, every), reason, piece["usage"]):
                    yield one

    def begun(self, event: Any, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for kind in ("created", "in_progress"):
            yield event(kind, response=self.response(None, None, None))
        yield event("output_item.added", output_index=0, item=self.message(None, None))
        yield event("content_part.added", **where, part=self.part("", []))

    def ended(
        self, event: Any, where: dict[str, Any], part: dict[str, Any], reason: str | None, usage: dict[str, int]
    ) -> Iterator[dict[str, Any]]:
        yield event("output_text.done", **where, text=part["text"], logprobs=part["logprobs"])
        yield event("content_part.done", **where, part=part)
        yield event("output_item.done", output_index=0, item=self.message(reason, part))
        yield event(state(reason), response=self.response(reason, part, usage))


def state(reason: str | None) -> str:
    """Returns the status of an answer that ended for a reason (None: it has not)."""
    return "in_progress" if reason is None else "completed" if reason == "stop" else "incomplete"


def logs(logprobs: dict[str, Any] | None) -> list[Any]:
    return [] if logprobs is None else logprobs["content"]


def counted(usage: dict[str, int]) -> dict[str, Any]:
    """Returns how many tokens were read and written, by the names of this route."""
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
