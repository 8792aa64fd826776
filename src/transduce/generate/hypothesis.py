"""The results of decoding."""

from typing import Any, Literal, NamedTuple, overload

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Norm = Literal["gnmt", "power"]


class Hypothesis(NamedTuple):
    """One output.

    ids: without the end of sequence.
    score: the sum of log p in nats under the model, that of the end included, whatever was forbidden or favoured; of a
        beginning that was forced nothing is counted.
    finished: it came to its end, and not merely to the greatest length.
    stopped: that end was a stop text, which stands in the last ids.
    end: the token that ended it, where that is not the end of sequence but another that ends a text.
    """

    ids: list[int]
    score: float
    finished: bool
    stopped: bool = False
    end: int | None = None

    @property
    def length(self) -> int:
        """Returns the tokens that were scored: the end of sequence counts, where the model gave it."""
        return len(self.ids) + (self.finished and not self.stopped)

    @property
    def per_token(self) -> float:
        """Returns log p per token that was scored; 0 where no token was."""
        return self.score / max(self.length, 1)

    def normalised(self, length_penalty: float, norm: Norm = "gnmt") -> float:
        """Returns score / penalty(length), by which hypotheses are ranked."""
        return self.score / penalty(self.length, length_penalty, norm)


@overload
def penalty(length: int, a: float, norm: Norm = "gnmt") -> float: ...
@overload
def penalty(length: Ints, a: float, norm: Norm = "gnmt") -> Floats: ...
def penalty(length: Any, a: float, norm: Norm = "gnmt") -> Any:
    """Returns ((5 + n) / 6)^a, or n^a if `norm` is "power", for one length or many.

    Wu et al. 2016, arXiv:1609.08144, eq. 14. An output without a token, which "power" cannot divide, counts as one.
    """
    return ((5.0 + length) / 6.0) ** a if norm == "gnmt" else np.maximum(1.0, length) ** a
