"""Answers that stand in a text: what they are, and where they begin."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self, cast

from transduce.data.readers.reader import Reader
from transduce.errors import UserError


class Given(NamedTuple):
    """A right answer. start: its first character in the context; None: it is not said."""

    text: str
    start: int | None = None


@dataclass(frozen=True, kw_only=True)
class Answers(Reader):
    """The right answers of a row: as SQuAD and Hugging Face have them, or a text alone; none where there is no answer.

    nothing: some questions of the training have no answer in their context, so that a model may give none.
    """

    kind: ClassVar[str] = "answers"
    nothing: bool = False

    @property
    def size(self) -> int:
        return 2

    def fit(self, values: Sequence[Any], column: str) -> Self:
        rows = self.encode(values, column)
        if not any(rows):
            raise UserError(f"no row of the column `{column}` of train has an answer; check data.columns.{column}")
        return replace(self, nothing=not all(rows))

    def encode(self, values: Sequence[Any], column: str) -> list[tuple[Given, ...]]:
        """Returns the answers of every row."""
        out = list[tuple[Given, ...]]()
        for number, value in enumerate(values, 1):
            try:
                out.append(tuple(one for one in answers(value) if one.text))
            except (TypeError, ValueError, KeyError):
                what = f"row {number} of the column `{column}` is {str(value)[:60]!r}, which is no answer"
                raise UserError(f"{what}; write its text, or text and answer_start as SQuAD does") from None
        return out


def answers(value: Any) -> list[Given]:
    """Returns the answers of a cell. Raises ValueError, TypeError or KeyError where it is none."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        texts, starts = fields["text"], fields.get("answer_start", fields.get("start"))
        if isinstance(texts, str):
            return [Given(texts, None if starts is None else int(starts))]
        starts = [None] * len(texts) if starts is None else starts
        return [Given(str(t), None if s is None else int(s)) for t, s in zip(texts, starts, strict=True)]
    if isinstance(value, list | tuple):
        return [one for inner in cast("Sequence[Any]", value) for one in answers(inner)]
    return [Given(str(value))]
