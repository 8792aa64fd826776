"""OpenAI's routes: /v1/models, completions, chat/completions and embeddings."""

import base64
from collections.abc import Sequence
from typing import Any, cast

from starlette.responses import JSONResponse, Response

from transduce.errors import UserError
from transduce.serve.answering import Answer, Asking
from transduce.serve.asking import TOP, Body, Served, requests, scored, writing
from transduce.serve.chat import conversation
from transduce.serve.engine import Ticket
from transduce.serve.forms import Chat, Completions, Prompt

NO_EFFECT = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")


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
