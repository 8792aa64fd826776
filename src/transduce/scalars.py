"""Reads text, numbers and true or false in plain data: the type of a field decides, not the looks of a value."""

import math
import re
import reprlib
from decimal import Decimal
from typing import Any

from transduce.errors import UserError
from transduce.plain_yaml import Scalar, TypedList, TypedMapping, plain

NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
LARGEST = 2**63 - 1  # of a whole number: what a tensor can hold

DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]*(_[0-9]+)*)")
BITS = re.compile(r"[+-]?0(x[0-9a-f]+|b[01]+)", re.IGNORECASE)
REAL = re.compile(r"[+-]?(([0-9]+(_[0-9]+)*\.?|[0-9]*\.[0-9]+)[0-9]*(e[+-]?[0-9]+)?|\.?(inf|nan))", re.IGNORECASE)
OCTAL = re.compile(r"[+-]?0[0-9_]+")


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = 80
        self.maxlevel = 3

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"a number of {x.bit_length():,} bits"


_short = _Short()


def shown(value: Any) -> str:
    """Returns how a value is told in a message: as Python writes it, cut short where it is long."""
    if isinstance(value, str):
        return _short.repr(str(value))
    return clipped(value.text or "empty") if isinstance(value, Scalar) else _short.repr(value)


def clipped(text: str) -> str:
    """Returns a text, cut short where it is long."""
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text):,} characters)"


def read_scalar(hint: Any, value: Any, path: str) -> Any:
    """Returns a value as an int, float, bool, str or Any. Raises UserError, naming the key, where it is none.

    path: the dotted key.
    """
    if hint is Any:
        return plain(value)
    if hint is str:
        return read_text(value, path)
    if hint in (int, float):
        return read_number(hint, value, path)
    plain_value = value.value if isinstance(value, Scalar) else value
    if isinstance(plain_value, hint):
        return plain_value
    raise UserError(refusal(hint, value, path))


def read_text(value: Any, path: str) -> str:
    """Returns a value as text: what was typed on a command line, to the letter.

    Raises UserError for a value of a file that YAML reads as something else, because it could be meant either way.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, TypedList | TypedMapping):
        return value.text
    if isinstance(value, Scalar):
        if value.where:
            raise UserError(
                f"{value.where}: `{path}` is text, but YAML reads {value.text} as {_sort(value.value)}; quote it: "
                f"'{value.text}'"
            )
        return value.text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise UserError(refusal(str, value, path))


def read_number(hint: type, value: Any, path: str) -> int | float:
    """Returns a whole number (hint: int) or a number (float); 1e4 is a whole one, too."""
    number: Any = value
    if isinstance(value, str | Scalar):
        text = str(value)
        if OCTAL.fullmatch(text) and "_" not in text and text.strip("+-0"):  # 010 is 8 to YAML 1.1, 10 to YAML 1.2
            raise UserError(f"`{path}` is {text}, which some read as octal; write it without the zeros before it")
        number = _number(text)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise UserError(refusal(hint, value, path))
    if hint is int and isinstance(number, float) and number.is_integer() and abs(number) < 2**63:
        number = int(number)
    if hint is int and not isinstance(number, int):
        raise UserError(refusal(hint, value, path))
    if isinstance(number, float):
        require_finite(number, path)
    elif abs(number) > (LARGEST if hint is int else 10**300):
        raise UserError(f"`{path}` is {shown(value)}, which is larger than any number here may be; lower it")
    return hint(number)


def require_finite(number: float, path: str) -> None:
    """Raises UserError, naming the key, for nan and for infinity: what is computed from them soon is nan."""
    if number != number:
        raise UserError(f"`{path}` is not a number (nan); give a number")
    if math.isinf(number):
        raise UserError(f"`{path}` is infinite ({number}); give a finite number")


def _number(text: str) -> int | float | None:
    """Returns the number that a text is, exactly, if it is whole; None: it is none."""
    if len(text) > 400:
        return None
    if DECIMAL.fullmatch(text):
        return int(text.replace("_", ""))
    if BITS.fullmatch(text):
        return int(text, 0)
    if not REAL.fullmatch(text):
        return None
    number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if number.is_integer() and abs(number) < 2**63:
        exact = Decimal(text.replace("_", ""))
        return int(exact) if exact == int(exact) else number
    return number


def refusal(hint: Any, value: Any, path: str) -> str:
    """Returns the sentence for a value of the wrong type."""
    type_name = NAMES.get(hint, hint)
    if value is True:  # `--train.max-steps` alone
        return f"`{path}` needs a value: {type_name}, not true"
    if value is None or (isinstance(value, Scalar) and not value.text):
        return f"`{path}` has no value; give {type_name}, or leave the key out"
    sort = "" if isinstance(value, Scalar | list | dict) else f" ({type(value).__name__})"
    return f"`{path}` is {shown(value)}{sort}, but must be {type_name}"


def _sort(value: Any) -> str:
    """Returns what YAML takes a value for."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"the number {clipped(str(value))}" if isinstance(value, int | float) else f"a {type(value).__name__}"
