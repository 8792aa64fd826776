"""Answers of a model with their log p, as lines for people and for programs."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transduce.transducer import Answer


def columns(answer: "Answer") -> str:
    """Returns log p, tokens and log p per token, in tabs, as `transduce score` prints them."""
    return f"{answer.log_p:.6f}\t{answer.tokens}\t{answer.per_token:.6f}"


def as_json(answer: "Answer", **more: str) -> str:
    """Returns one object in one line."""
    numbers = {"log_p": answer.log_p, "tokens": answer.tokens, "log_p_per_token": answer.per_token}
    return json.dumps({**more, "text": answer.text, **numbers}, ensure_ascii=False)
