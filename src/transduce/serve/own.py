"""Routes of this server's own: what a model does for its task, for any task."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from starlette.responses import Response

from transduce.errors import UserError
from transduce.generate.rows import Request, Token
from transduce.serve.answering import Answer, Asking
from transduce.serve.asking import TOP, Body, Served, requests, scored, shown, writing
from transduce.serve.engine import Ticket
from transduce.serve.openai import said
from transduce.serve.sent import on_inputs
from transduce.tasks.answer import answer, distinct
from transduce.tasks.classify import Classified
from transduce.tasks.embed import Ranked
from transduce.tasks.task import TaskConfig
from transduce.text.tokenizer import Tokenizer


def translate(served: Served, body: Body, timeout: float) -> Response:
    """Answers each text; one of blanks with none, as `td.load(...).translate` does."""
    task = served.model.task
    if task.reads_as(served.model.readers, "a", served.model.recipe.generate)[0] is None:
        raise UserError(task.refusal or f"this model was trained for task={task.kind}; use {task.verb}")
    texts = body.texts("text")
    body.values.update({"n": body.values.pop("nbest")} if "nbest" in body.values else {})
    body.known.append("nbest")
    how = writing(served, body)
    body.end()
    pairs = [task.reads_as(served.model.readers, text, how.config) for text in texts if text.strip()]
    rows = requests(served, how, [cast("list[int]", s) for s, _ in pairs], [p for _, p in pairs]) if pairs else []
    tokenizer = served.model.tokenizer

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        at, out = iter(tickets), list[Any]()
        groups = iter([[next(at) for _ in row] for row in rows])
        for text in texts:
            many = next(groups) if text.strip() else []
            everything = [h for t in many if t.growing is not None for h in t.growing.hypotheses]
            answers = [answer(tokenizer, h, how.config) for h in everything]
            answers = answers if how.config.temperature > 0 else distinct(answers)
            each = [{"text": a.text, "log_p": a.log_p, "tokens": a.tokens} for a in answers]
            out.append({**(each[0] if each else {"text": "", "log_p": None, "tokens": 0}), "nbest": each})
        seed = {"seed": how.config.seed} if how.config.temperature > 0 else {}
        return {"model": served.name, "translations": out, **seed, **said(tickets)}

    return Answer(Asking(served.engine, [request for row in rows for request in row], timeout), make)


def classify(served: Served, body: Body, timeout: float) -> Response:
    """Gives each text its label, with the probability of every label."""
    texts = body.texts("text")
    body.end()

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        rows = cast("list[Classified]", tickets[0].result)
        return {"model": served.name, "labels": [row._asdict() for row in rows], **said(tickets)}

    return Answer(Asking(served.engine, [on_inputs(served, texts, served.model.classify)], timeout), make)


def tag(served: Served, body: Body, timeout: float) -> Response:
    """Gives each word of a text its tag, and what the tags mark."""
    texts = body.texts("text")
    body.end()
    return whole(served, timeout, "taggings", lambda: served.model.tag(texts))


def answer_from(served: Served, body: Body, timeout: float) -> Response:
    """Finds the answers to questions in a context, or in one for each."""
    questions, contexts = body.texts("question"), body.texts("context")
    body.end()
    contexts = contexts * len(questions) if len(contexts) == 1 else contexts
    if len(contexts) != len(questions):
        raise UserError(f"there are {len(questions)} questions but {len(contexts)} contexts; give one, or one for each")
    pairs = list(zip(contexts, questions, strict=True))
    return whole(served, timeout, "answers", lambda: served.model.answer_pairs(pairs))


def whole(served: Served, timeout: float, name: str, work: Callable[[], Sequence[Any]]) -> Response:
    """Returns the answer that has under a name what some work gives, which is computed at once."""

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        return {"model": served.name, name: [plain(one) for one in tickets[0].result], **said(tickets)}

    return Answer(Asking(served.engine, [work], timeout), make)


def rerank(served: Served, body: Body, timeout: float) -> Response:
    """Puts documents in the order in which they fit a query, in the form of Cohere and Jina."""
    query, documents = body.take("query", str), body.texts("documents")
    most, texts = body.whole("top_n", None, 1, 1 << 31), body.take("return_documents", bool, False)
    if not query:
        raise UserError("`query` is missing; send the text that the documents are to fit")
    body.end()

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        ranked = cast("Ranked", tickets[0].result)
        rows = list(zip(ranked.order, ranked.scores, strict=True))[:most]
        results = [
            {"index": i, "relevance_score": score, **({"document": {"text": documents[i]}} if texts else {})}
            for i, score in rows
        ]
        return {"model": served.name, "results": results, **said(tickets)}

    return Answer(Asking(served.engine, [lambda: served.model.rank(query, documents)], timeout), make)


def score(served: Served, body: Body, timeout: float) -> Response:
    """Gives log p of texts, or of targets given their sources: in all, token by token, and of the likeliest `top`."""
    task, readers, tokenizer = served.model.task, served.model.readers, served.model.tokenizer
    top = body.whole("top", 0, 0, TOP)
    works, skips, rows = list[Request](), list[int](), list[Any]()
    if "source" in body.values or "target" in body.values:
        sources, targets = body.texts("source"), body.texts("target")
        if len(sources) != len(targets):
            raise UserError(f"there are {len(sources)} sources but {len(targets)} targets; give one for each")
        rows = list(zip(sources, targets, strict=True))
    elif isinstance(body.values.get("text"), str | list):
        rows = body.texts("text")
    else:
        task.scores_as(readers, "")  # refuses what gives texts no score
        body.texts("text")
    body.end()
    for row in rows:
        source, ids, before = task.scores_as(readers, row)
        if ids:
            works.append(scored(served, ids, source, top))
            skips.append(before)
        else:
            raise UserError("a text is empty, and a stream has no token that begins one; give a text to score")

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        rows = [ticket.prompt[skip:] for ticket, skip in zip(tickets, skips, strict=True)]
        out = [{"log_p": sum(t.log_p or 0.0 for t in row), "tokens": tokens(tokenizer, row, top)} for row in rows]
        return {"model": served.name, "scores": out, **said(tickets)}

    return Answer(Asking(served.engine, works, timeout), make)


def tokens(tokenizer: Tokenizer, row: Sequence[Token], top: int) -> list[dict[str, Any]]:
    """Returns tokens by id and text, with their log p and runners-up."""
    pieces = tokenizer.pieces([t.id for t in row])
    out = list[dict[str, Any]]()
    for token, piece in zip(row, pieces, strict=True):
        one: dict[str, Any] = {"id": token.id, "token": piece, "log_p": token.log_p}
        if top:
            names = tokenizer.pieces([i for i, _ in token.top])
            one["top"] = [{"id": i, "token": n, "log_p": p} for n, (i, p) in zip(names, token.top, strict=True)]
        out.append(one)
    return out


def embed(served: Served, body: Body, timeout: float) -> Response:
    """Gives a vector of each text."""
    texts = body.texts("text")
    body.end()
    encoder = served.model.sentences

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        return {"model": served.name, "vectors": tickets[0].result.tolist(), **said(tickets)}

    return Answer(Asking(served.engine, [lambda: encoder.embed(texts)], timeout), make)


def predict(served: Served, body: Body, timeout: float) -> Response:
    """Gives what the model predicts for each input, whatever its task is."""
    inputs = body.take("inputs", list, [])
    if not inputs:
        raise UserError("`inputs` must be a list, one input at least")
    how = writing(served, body)
    body.end()
    task: TaskConfig = served.model.task

    def work(inputs: list[Any]) -> list[Any]:
        try:
            return task.predict(served.model.model, served.model.readers, inputs, how.config)
        except (AttributeError, KeyError, TypeError):
            other = next((one for one in inputs if not isinstance(one, str)), None)
            if all(isinstance(one, str) for one in inputs):
                raise
            what = f"an input is {shown(other)}, which a model of task={task.kind} does not read"
            raise UserError(f"{what}; send texts, or what `transduce predict` takes") from None

    def make(tickets: list[Ticket]) -> dict[str, Any]:
        rows = [plain(one) for one in tickets[0].result]
        lines = [task.line(one) for one in tickets[0].result]
        return {"model": served.name, "predictions": rows, "lines": lines, **said(tickets)}

    return Answer(Asking(served.engine, [on_inputs(served, inputs, work)], timeout), make)


def plain(value: Any) -> Any:
    """Returns a prediction as JSON has it."""
    if hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in cast("list[Any]", value)]
    return value.tolist() if hasattr(value, "tolist") else value
