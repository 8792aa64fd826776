"""One way of writing each character, where Unicode has several: é is one code point or two (UAX 15)."""

from typing import Literal

from tokenizers import normalizers

Normalise = Literal["nfc", "nfkc", "none"]
FORMS = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}


def normalizer(normalise: Normalise, lowercase: bool = False) -> normalizers.Normalizer | None:
    """Returns what a tokeniser does to a text before it cuts it; None: nothing.

    nfc: a letter and its accents become one character where there is one; a reader sees no difference.
    nfkc: ligatures, wide letters and raised digits become plain, too.
    """
    steps = [FORMS[normalise]()] if normalise in FORMS else []
    steps += [normalizers.Lowercase()] if lowercase else []
    return normalizers.Sequence(steps) if len(steps) > 1 else next(iter(steps), None)
