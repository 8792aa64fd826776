"""A published shape, read key by key."""

from collections.abc import Mapping
from typing import Any

from transduce.errors import UserError


class Words:
    """The keys of a shape, each taken once. notes: what it says that the model made of it does not do."""

    def __init__(self, shape: Mapping[str, Any]) -> None:
        self.shape, self.left, self.notes = shape, dict(shape), list[str]()

    def take(self, key: str, default: Any = None) -> Any:
        value = self.left.pop(key, None)
        return default if value is None else value

    def whole(self, key: str) -> int:
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"the shape has {key}={value!r}; it must be a whole number, at least 1")
        return value

    def one_of(self, key: str, *values: str) -> str:
        value = self.take(key)
        if value not in values:
            raise UserError(
                f"the shape has {key}={value!r}, which no part here does yet; known are {', '.join(values)}"
            )
        return value

    def only(self, key: str, *values: Any) -> None:
        """Takes a key that may only have one of some values, and says nothing more."""
        if key in self.left and (value := self.left.pop(key)) not in values:
            raise UserError(f"the shape has {key}={value!r}, which no part here does yet")

    def drop(self, key: str, note: str = "") -> None:
        """Takes a key that changes no part; note: what is therefore not as published."""
        if self.left.pop(key, None) is not None and note:
            self.notes.append(note)

    def done(self) -> None:
        if self.left:
            rest = ", ".join(f"{key}={value!r}" for key, value in self.left.items())
            raise UserError(f"the shape has {rest}, which no part here does yet")
