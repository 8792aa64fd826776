"""Where the sentences of a text of tokens end."""

import functools
import re

import numpy as np
from numpy.typing import NDArray

from transduce.objectives.corruption import Ids
from transduce.text.tokenizer import Tokenizer

ENDS = re.compile(r"""[.!?…。！？]["'”’»)\]]*\s*\Z|\n""")


@functools.lru_cache(maxsize=8)
def endings(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Returns (V,) which tokens end a sentence: those that end with its mark or hold a line end.

    So an abbreviation that ends with a full stop ends one too.
    """
    pieces = tokenizer.pieces(range(tokenizer.vocab_size))
    return np.array([ENDS.search(piece) is not None for piece in pieces], dtype=np.bool_)


def sentences(tokens: Ids, ends: NDArray[np.bool_]) -> list[Ids]:
    """Returns the sentences of a text; joined, they are the text. Marks that follow one another end one sentence."""
    is_end = ends[tokens]
    last = is_end & ~np.append(is_end[1:], False)
    return [part for part in np.split(tokens, np.flatnonzero(last) + 1) if len(part)]
