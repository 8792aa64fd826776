"""Routes that look inside a model: the maps of its mixers, and the stages of one of them with their numbers."""

from typing import Any, cast

import torch
from starlette.responses import Response
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.config import SAMPLING
from transduce.generate.options import Options
from transduce.inspect.looking import Map, places
from transduce.inspect.maps import kind_of
from transduce.inspect.stages import Stages
from transduce.serve.answering import Answer, Asking
from transduce.serve.asking import Body, Served, writing
from transduce.serve.engine import Ticket
from transduce.serve.openai import said

MOST = 2_000_000  # numbers of an answer
SLOW = 64  # tokens of a map by gradients, which takes a backward pass for each; all who ask the model wait for it


def attention(served: Served, body: Body, timeout: float) -> Response:
    """Gives the maps of every mixer on a text, as `td.load(...).attention` does: of all layers, or of one."""
    (text, target), layer = looked_at(served, body), body.whole("layer", None, 1, 10_000)
    body.end()

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        every = cast("list[Map]", tickets[0].result)
        chosen = [one for one in every if layer is None or f"layer {layer} " in one.name]
        if not chosen:
            raise UserError(f"there is no map of layer {layer}; the model has {', '.join(one.name for one in every)}")
        if (numbers := sum(one.weights.numel() for one in chosen)) > MOST:
            raise UserError(
                f"the maps have {numbers:,} numbers, of at most {MOST:,}; ask for one `layer`, or less text"
            )
        names = ("name", "kind", "rows", "columns")
        out = [{**{n: getattr(m, n) for n in names}, "weights": rounded(m)} for m in chosen]
        return {"model": served.name, "maps": out, **said(tickets)}

    return Answer(Asking(served.engine, [lambda: served.model.attention(text, target)], timeout), make)


def rounded(one: Map) -> list[Any]:
    """Returns the (H, T, N) numbers of a map with four digits behind the point."""
    return cast("list[Any]", (one.weights.double() * 1e4).round().div(1e4).tolist())


def stages(served: Served, body: Body, timeout: float) -> Response:
    """Gives what one mixer and head do with a text, step by step, as `td.load(...).stages` does."""
    (text, target), mixer = looked_at(served, body), body.take("mixer", str)
    head, how = body.whole("head", 1, 1, 10_000), writing(served, body).config
    body.end()
    options = cast("Options", {name: getattr(how, name) for name in ("temperature", *SAMPLING)})

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        every = cast("Stages", tickets[0].result)
        if (count := sum(one.numbers.numel() for one in every.stages if one.numbers is not None)) > MOST:
            raise UserError(f"the stages have {count:,} numbers, of at most {MOST:,}; ask for less text")
        numbers = [None if one.numbers is None else digits(one.numbers) for one in every.stages]
        out = [{**one._asdict(), "numbers": rows} for one, rows in zip(every.stages, numbers, strict=True)]
        return {"model": served.name, **every._asdict(), "head": head, "stages": out, **said(tickets)}

    return Answer(
        Asking(served.engine, [lambda: served.model.stages(text, target, mixer, head, **options)], timeout), make
    )


def looked_at(served: Served, body: Body) -> tuple[str, str | None]:
    """Takes the text to look at, and what answers it. Raises UserError."""
    text, target = body.take("text", str), body.take("target", str)
    if text is None:
        raise UserError("`text` is missing; send the text that the model is to read")
    if served.model.task.sees or served.model.task.hears:
        raise UserError("this model reads files, which have no map here; use transduce inspect")
    tokenizer = served.model.tokenizer
    tokens = max(len(tokenizer.encode(one)) for one in (text, target or ""))
    if tokens > SLOW and any(kind_of(one.mixer) == "gradient" for one in places(served.model.model)):
        what = f"the text has {tokens} tokens, and maps by gradients, as this model has them, are drawn of {SLOW} here"
        raise UserError(f"{what}; send less, or use transduce inspect")
    return text, target


def digits(numbers: Tensor) -> list[list[float | None]]:
    """Returns rows of numbers with five digits; None where a token is not seen."""
    x = numbers.double().cpu()
    size = 10 ** (4 - torch.log10(x.abs().clamp(1e-12, 1e30)).floor())
    rounded = torch.where(x.isfinite(), (x * size).round() / size, x)
    return [[n if n > -float("inf") else None for n in row] for row in cast("list[list[float]]", rounded.tolist())]
