"""A tokeniser with everything that objectives ask for, and texts of awkward lengths."""

import numpy as np
import pytest

from transduce.text.bpe import Bpe
from transduce.text.tokenizer import Tokenizer

TEXT = (
    "The cat sat on the mat. It was warm there, and quiet! Who would not sleep? The dog ran to the man, unbelievably "
    "fast. They met in the park and played for hours; then the rain came. Nobody minded.\n"
)
LENGTHS = [1, 2, 3, 5, 17, 64, 511]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    config = Bpe(vocab_size=330, sentinels=300, specials=("<mask>", "[R]", "[S]", "[X]"))
    return config.train([TEXT] * 3)


@pytest.fixture(scope="session")
def stream(tokenizer: Tokenizer) -> np.ndarray:
    return np.array(tokenizer.encode(TEXT * 30), dtype=np.int64)
