"""What decoding returns."""

from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt


class Hypothesis(NamedTuple):
    """One output. ids: without the end of sequence. score: the sum of log p in nats, that of the end included.

    finished: it came to its end, and not merely to the greatest length. stopped: that end was a stop text, which stands
    in the last ids.
    """

    ids: list[int]
    score: float
    finished: bool
    stopped: bool = False

    @property
    def length(self) -> int:
        """Tokens that were scored: the end of sequence counts, where the model gave it."""
        return len(self.ids) + (self.finished and not self.stopped)

    def normalised(self, length_penalty: float) -> float:
        """score / penalty(length): what hypotheses are ranked by."""
        return self.score / penalty(self.length, length_penalty)


@overload
def penalty(length: int, a: float) -> float: ...
@overload
def penalty(length: npt.NDArray[np.int64], a: float) -> npt.NDArray[np.float64]: ...
def penalty(length: Any, a: float) -> Any:
    """((5 + n) / 6)^a, for one length or many.   Wu et al. 2016, arXiv:1609.08144, eq. 14."""
    return ((5.0 + length) / 6.0) ** a
