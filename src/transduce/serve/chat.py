"""Conversations as the text that a model's template makes of them."""

import functools
from typing import Any, cast

import tokenizers

from transduce.errors import UserError
from transduce.serve.asking import Body, shown
from transduce.text.tokenizer import Tokenizer

NONE = (
    "this model has no chat template, so it knows no roles of a conversation; use /v1/completions, whose prompt is the "
    "text to go on from"
)


def conversation(tokenizer: Tokenizer, body: Body) -> tuple[list[int], str]:
    """Takes the messages; returns their ids and their text. Raises UserError."""
    messages = [message(value) for value in body.take("messages", list, [])]
    if not messages:
        raise UserError("`messages` must be a list of {role, content}, one at least")
    for name in ("tools", "tool_choice", "functions", "response_format"):
        if body.values.pop(name, None):
            raise UserError(f"`{name}` is not known here; leave it out")
    if (template := tokenizer.marks.chat) is None:
        raise UserError(NONE)
    own = names(tokenizer)
    for one in messages:
        if word := next((word for word in own if word and word in one["content"]), None):
            raise UserError(f"a message holds {word!r}, which is a mark of the model and not text; take it out")
    text = rendered(template, messages, tokenizer)
    return marking(tokenizer).encode(text, add_special_tokens=False).ids, text


def message(value: Any) -> dict[str, str]:
    """Returns a message of text."""
    one = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    role, content = one.get("role"), one.get("content")
    if isinstance(content, list):
        parts = [cast("dict[str, Any]", part) for part in cast("list[Any]", content) if isinstance(part, dict)]
        texts = [part.get("text") for part in parts if part.get("type") == "text"]
        whole = len(texts) == len(cast("list[Any]", content)) and all(isinstance(text, str) for text in texts)
        content = "".join(cast("list[str]", texts)) if whole else None
    if not isinstance(role, str) or not isinstance(content, str):
        raise UserError(f"a message is {shown(value)}, but must have a role and a content, both texts")
    return {"role": role, "content": content}


def names(tokenizer: Tokenizer) -> list[str]:
    """Returns the special tokens by name."""
    added = tokenizer.tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in added if token.special]


@functools.lru_cache(8)
def marking(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """Returns a copy that takes special tokens in a text for what they are."""
    copy = tokenizers.Tokenizer.from_str(tokenizer.tokenizer.to_str())
    copy.encode_special_tokens = False
    return copy


def rendered(template: str, messages: list[dict[str, str]], tokenizer: Tokenizer) -> str:
    """Returns the text that a template makes of messages, up to where the answer begins. It runs in a sandbox."""
    import jinja2
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(text: str) -> None:
        raise jinja2.TemplateError(text)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse  # pyright: ignore[reportArgumentType]
    special = {"bos_token": tokenizer.bos, "eos_token": tokenizer.eos}
    texts = {name: tokenizer.tokenizer.id_to_token(i) or "" if i >= 0 else "" for name, i in special.items()}
    try:
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **texts)
    except jinja2.TemplateError as error:
        raise UserError(f"the chat template of this model refuses these messages ({error})") from None
