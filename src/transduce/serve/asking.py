"""The body of a request, as what a model is asked for. Whatever is not understood is refused in one sentence."""

import dataclasses
import json
import re
import secrets
import time
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from transduce.config import nearest
from transduce.config.reading import convert
from transduce.errors import UserError
from transduce.generate.config import Bias, GenerateConfig, require_ids
from transduce.generate.inputs import greatest, prepare
from transduce.generate.rows import Request
from transduce.generate.sample import name_streams
from transduce.serve.engine import Engine
from transduce.serve.metrics import Meters
from transduce.tasks.answer import room
from transduce.transducer import Options, Transducer, decoding

HINTS = typing.get_type_hints(GenerateConfig)
DECODING = [f.name for f in dataclasses.fields(GenerateConfig) if f.name not in ("precision", "nbest")]
HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # perhaps half a character, which no answer could repeat
TOP = 20  # runners-up of a token, at most
JSON_KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}


class Served:
    """A model under its name, with the engine that works for all who ask it."""

    def __init__(self, name: str, model: Transducer, rows: int, queue: int) -> None:
        self.name, self.model, self.meters, self.created = name, model, Meters(), int(time.time())
        written = model.task.written(model.readers) if model.readers.tokenizer is not None else None
        self.engine = Engine(model.model, written, rows, queue, self.meters)


def parsed(body: bytes) -> dict[str, Any]:
    """Returns the object of a body. Raises UserError for what is none."""

    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no number of JSON")

    try:
        value = json.loads(body.decode("utf-8"), parse_constant=refuse)
        if HALF.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError("the body has half a character, a lone surrogate; send both halves, or the character") from None
    except UnicodeDecodeError as error:
        raise UserError(f"the body is not UTF-8 (byte {error.start}); send JSON in UTF-8") from None
    except RecursionError:
        raise UserError("the body is nested too deeply; send an object of JSON with a few levels") from None
    except ValueError as error:
        raise UserError(f"the body is not JSON ({str(error)[:200]}); send an object") from None
    if not isinstance(value, dict):
        raise UserError("the body is not an object of JSON; send {...}")
    return cast("dict[str, Any]", value)


class Body:
    """The keys of a body, which are taken one by one; `end` refuses the others."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values, self.known = {k: v for k, v in values.items() if v is not None}, list[str]()

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        """Returns the value of a key. Raises UserError where it is of another kind."""
        self.known.append(name)
        value = self.values.pop(name, default)
        if value is default or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return as_float(name, value)
        raise UserError(f"`{name}` is {shown(value)}, but must be {JSON_KINDS.get(kind, kind.__name__)}")

    def whole(self, name: str, default: Any, least: int, most: int) -> Any:
        """Returns a whole number between two others. Raises UserError."""
        value = self.take(name, int, default)
        if value is not default and not least <= value <= most:
            raise UserError(f"`{name}` is {shown(value)}, but must be from {least} to {most}")
        return value

    def texts(self, name: str) -> list[str]:
        """Returns a text, or a list of them, as a list. Raises UserError."""
        self.known.append(name)
        value = self.values.pop(name, None)
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in cast("list[Any]", value)):
            raise UserError(f"`{name}` must be a text, or a list of texts")
        return cast("list[str]", value)

    def ignore(self, *names: str) -> None:
        """Drops keys that change nothing in an answer."""
        for name in names:
            self.values.pop(name, None)

    def end(self) -> None:
        """Raises UserError for a key that nobody took: what is asked is not dropped in silence."""
        for name in self.values:
            guess = nearest(name, self.known)
            advice = f"did you mean `{guess}`?" if guess else f"this route knows {', '.join(sorted(set(self.known)))}"
            raise UserError(f"there is no key `{name[:80]}` here; {advice}")


def as_float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise UserError(f"`{name}` is a number of {len(str(value)):,} digits; use a smaller one") from None


def shown(value: Any) -> str:
    """Returns a value as the body has it, if it is short."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:
        return "a number that is too long"
    return text if len(text) <= 60 else f"{text[:57]}..."


class Writing(NamedTuple):
    """How texts are written. limited: whether the body says how many tokens. seed: of what is drawn."""

    config: GenerateConfig
    limited: bool
    look: int | None = None


def writing(served: Served, body: Body, look: int | None = None) -> Writing:
    """Takes the keys of decoding, and those that others call them by.

    What is left out is as the run's recipe says, but for the seed: without one, each answer is drawn anew.
    """
    values = dict[str, Any]()
    if (stop := body.values.get("stop")) is not None and isinstance(stop, str):
        body.values["stop"] = [stop]
    for short, name in {"max_tokens": "max_new_tokens", "max_completion_tokens": "max_new_tokens"}.items():
        body.known.append(short)
        if short in body.values:
            body.values[name] = body.values.pop(short)
    for name in ("presence_penalty", "frequency_penalty"):
        if body.take(name, float, 0.0):
            raise UserError(f"{name} is not known here; use repetition_penalty, or no_repeat_ngram")
    for name in DECODING:
        body.known.append(name)
        if name in body.values:
            values[name] = convert(HINTS[name], body.values.pop(name), name)
    if bias := body.take("logit_bias", dict, {}):
        values["bias"] = (*values.get("bias", ()), *biases(cast("dict[str, Any]", bias)))
    n = body.whole("n", None, 1, 256)
    if (best := body.whole("best_of", n, 1, 256)) != n:
        raise UserError(f"best_of={best} is not known here; use beam_size={best}, which searches for the likeliest")
    if (form := body.take("response_format", dict)) is not None:
        values.update(formed(cast("dict[str, Any]", form)))
    limited = "max_new_tokens" in values
    if values.get("max_new_tokens") == 0:
        raise UserError("max_tokens=0 writes nothing; use echo=true, which gives log p of the prompt")
    values.setdefault("seed", secrets.randbits(31))
    if not -(2**62) <= values["seed"] < 2**62:
        raise UserError(f"seed={shown(values['seed'])} is too large; use a number of fewer digits")
    return Writing(decoding(served.model.recipe.generate, n, cast("Options", values)), limited, look)


def formed(form: dict[str, Any]) -> dict[str, str]:
    """Returns the key of decoding that OpenAI's `response_format` stands for. Raises UserError."""
    kind, schema = form.get("type"), form.get("json_schema")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"json_schema": '{"type": "object"}'}
    inner = cast("dict[str, Any]", schema).get("schema") if isinstance(schema, dict) else None
    if kind == "json_schema" and isinstance(inner, dict):
        return {"json_schema": json.dumps(inner)}
    raise UserError(f"response_format is {shown(form)}; its type is text, json_object, or json_schema with a schema")


def biases(table: dict[str, Any]) -> list[Bias]:
    """Returns what `logit_bias` says: ids, as texts, and what is added to their scores."""
    out = list[Bias]()
    for name, add in table.items():
        if not name.isdecimal() or len(name) > 9 or isinstance(add, bool) or not isinstance(add, int | float):
            raise UserError(f"logit_bias has {shown({name: add})}; it must map ids to numbers")
        out.append(Bias(ids=(int(name),), add=as_float("logit_bias", add) if isinstance(add, int) else add))
    return out


def requests(
    served: Served, how: Writing, sources: Sequence[list[int]] | None, prompts: Sequence[list[int]], echo: bool = False
) -> list[list[Request]]:
    """Returns what the rows are asked for, for each input: a beam search, or one request for each sample.

    Raises UserError where inputs, limits and model do not fit together.
    """
    model, tokenizer, config = served.model.model, served.model.tokenizer, how.config
    for rows in (sources or (), prompts):
        for ids in rows:
            require_ids(tokenizer.vocab_size, {"the prompt": ids})
    inputs = prepare(model, tokenizer, sources, prompts)
    limits = None if how.limited else [max(1, n) for n in room(model, config, [len(row) for row in inputs.prompts])]
    most = greatest(model, config, inputs, limits)
    drawn = config.temperature > 0
    texts = list(zip(inputs.sources or inputs.prompts, inputs.prompts, strict=True))
    streams = name_streams(texts, config.nbest, config.seed) if drawn else [[0]] * len(texts)
    each = dataclasses.replace(config, nbest=1) if drawn else config
    given = inputs.sources or [None] * len(texts)
    return [
        [Request(prompt, each, new, source, stream, how.look, echo) for stream in names]
        for prompt, source, new, names in zip(inputs.prompts, given, most, streams, strict=True)
    ]


def scored(served: Served, prompt: list[int], source: list[int] | None = None, look: int = 0) -> Request:
    """Returns a request for log p of a prompt, after which nothing is written."""
    model, tokenizer = served.model.model, served.model.tokenizer
    require_ids(tokenizer.vocab_size, {"the prompt": prompt})
    inputs = prepare(model, tokenizer, None if source is None else [source], [prompt])
    row = inputs.prompts[0]
    if model.limit is not None and (longest := max(len(row), len(source or ()))) > model.limit:
        raise UserError(f"a text has {longest} tokens, but this model can read {model.limit}; shorten it")
    config = GenerateConfig(max_new_tokens=1)
    return Request(row, config, 0, None if inputs.sources is None else inputs.sources[0], 0, look, True)
