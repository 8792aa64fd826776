"""Conversations as a model was taught them, or as its chat template writes them."""

from typing import Any, cast

from transduce.errors import UserError
from transduce.serve.asking import Body, Served, shown
from transduce.tasks.chat import chat_task

TEXT = ("text", "input_text", "output_text")  # parts of a message that hold text


def conversation(served: Served, body: Body) -> tuple[list[int], str]:
    """Takes the messages; returns their ids, up to where the assistant answers, and their text. Raises UserError.

    What a message holds is text, even where it looks like a mark of the model (`text/chat.py`).
    """
    messages = [message(value) for value in body.take("messages", list, [])]
    if not messages:
        raise UserError("`messages` must be a list of {role, content}, one at least")
    refuse_tools(body)
    return prompted(served, messages)


def refuse_tools(body: Body) -> None:
    for name in ("tools", "tool_choice", "functions"):
        if body.values.pop(name, None) not in (None, [], "none"):
            raise UserError(f"`{name}` is not known here; leave it out")


def prompted(served: Served, messages: list[dict[str, str]]) -> tuple[list[int], str]:
    """Returns the ids of messages, up to where the assistant answers, and their text. Raises UserError."""
    model = served.model
    ids = chat_task(model.task, model.model, model.readers).template(model.readers).ids(messages)
    return ids, model.tokenizer.decode(ids)


def message(value: Any) -> dict[str, str]:
    """Returns a message of text."""
    one = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    role, content = one.get("role"), one.get("content")
    if isinstance(content, list):
        parts = [cast("dict[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, dict)]
        texts = [part.get("text") for part in parts if part.get("type") in TEXT]
        whole = len(texts) == len(cast("list[Any]", content)) and all(isinstance(text, str) for text in texts)
        content = "".join(cast("list[str]", texts)) if whole else None
    if not isinstance(role, str) or not isinstance(content, str):
        raise UserError(f"a message is {shown(value)}, but must have a role and a content, both texts")
    return {"role": role, "content": content}
