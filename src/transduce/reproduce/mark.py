"""Marks: the numbers that must be measured for a claim to hold, written down before anything is run."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# name -> number, or a list of numbers for a plot. None: never reached, which is greater than any number. JSON has no
# others that are not finite: "nan" and "-inf" stand for them in results.
Measurements = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """`what <= threshold`, `>=` or `=`, in every seed or in the mean over seeds.

    proposed: the threshold was chosen for this experiment; otherwise it leaves a margin to what had been measured.
    """

    what: str  # the name of a measurement
    relation: Literal["<=", ">=", "="]
    threshold: float
    over: Literal["every seed", "the mean"] = "every seed"
    proposed: bool = False

    def holds(self, results: Sequence[Measurements]) -> bool:
        """Says whether the measurements of all seeds meet it.

        What was never reached is greater than any threshold; what is not a number meets none.
        """
        values = self.values(results)
        if self.over == "the mean":
            values = [sum(values) / len(values)]
        compare = {"<=": operator.le, ">=": operator.ge, "=": operator.eq}[self.relation]
        return all(compare(x, self.threshold) for x in values)

    def values(self, results: Sequence[Measurements]) -> list[float]:
        """Returns one number per seed."""
        return [math.inf if result[self.what] is None else float(result[self.what]) for result in results]

    def __str__(self) -> str:
        return f"{self.relation} {number(self.threshold)} in {self.over}{' (proposed)' if self.proposed else ''}"


def number(x: float) -> str:
    """Returns three significant digits; whole numbers whole."""
    if not math.isfinite(x):
        return {math.inf: "never", -math.inf: "-infinity"}.get(x, "not a number")
    whole = float(x).is_integer() or abs(x) >= 1000
    return f"{x:,.0f}" if whole and abs(x) < 1e9 else f"{x:.3g}"


def finite(value: Any) -> Any:
    """Returns the same measurements to six digits, as JSON can hold them: None for infinity, "nan" and "-inf"."""
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float):
        return None if value == math.inf else float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
