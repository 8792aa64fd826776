"""Changes in an experiment after it had given a result, so that a second try is not reported as a first."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Change:
    """A mark or a setting that is no longer what it was when it had first been measured.

    first: the mark or setting as it was.
    gave: what was measured with it, and whether that met the marks.
    then: what was changed.
    why: the reason.
    what: "changed", which makes of the claim one that holds after a change; "added", which leaves its first marks and
        settings as they were and asks for more.
    """

    first: str
    gave: str
    then: str
    why: str
    what: Literal["changed", "added"] = "changed"

    def __str__(self) -> str:
        return f"First: {self.first}. It gave: {self.gave}. Then: {self.then}. Why: {self.why}."
