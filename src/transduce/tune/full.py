"""Everything moves.

Tested in tests/tune/test_tuning.py.
"""

from dataclasses import dataclass
from typing import ClassVar

from transduce.tune.tuning import TuneConfig


@dataclass(frozen=True, kw_only=True)
class Full(TuneConfig):
    """All weights move, from the first update on."""

    kind: ClassVar[str] = "full"
