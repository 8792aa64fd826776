r"""Encodes much text fast: the ids of a word that came before are looked up, and equal those of the tokeniser.

A tokeniser that first cuts at white space encodes each stretch between two cuts alone. For one that cuts as GPT-2 does,
the pattern ` ?\S+|\s+(?!\S)|\s+` is that of GPT-2 without the distinction of letters, digits and marks: each border
that this pattern finds is a border of GPT-2's too. `stretches` says for which tokenisers that holds; the others encode
a text as a whole.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import tokenizers
from numpy.typing import NDArray

SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # white space as Unicode has it
STRETCH = re.compile(rf" ?[^{SPACE}]+|[{SPACE}]+(?![^{SPACE}])|[{SPACE}]+")
BORDER = re.compile(rf"(?<=[^{SPACE}]\n)(?=[^{SPACE}])|(?<=[^{SPACE}])(?= [^{SPACE}])")  # of two stretches
BLANKS = r"[^\S\n]+"  # a tokeniser of words drops these
MOST = 1 << 18  # words that are kept
PART = 1 << 20  # characters of a text that are cut into words at once
LOCAL = ("NFC", "Lowercase")  # normalisers that read no character beyond white space, and make none of it plain

Ids = NDArray[np.int32]
Index = NDArray[np.int64]
Encode = Callable[[Sequence[str]], list[list[int]]]


class Words:
    """Encodes texts, and stores the ids of their words. encode: returns the ids of many texts, each on its own."""

    def __init__(self, encode: Encode) -> None:
        self._encode, self._ids = encode, dict[str, bytes]()

    def __call__(self, texts: Sequence[str]) -> tuple[Ids, Index]:
        """Returns the ids of all texts, one behind the other, and the number of ids of each."""
        encoded, some, size = list[tuple[Ids, Index]](), list[str](), 0
        for text in texts:
            if len(text) > PART or size > PART:
                encoded.append(self._few(some))
                some, size = [], 0
            if len(text) > PART:
                parts = [self._few([part]) for part in pieces(text)]
                encoded.append((joined([ids for ids, _ in parts]), np.array([sum(len(ids) for ids, _ in parts)])))
            else:
                some.append(text)
                size += len(text)
        encoded.append(self._few(some))
        return joined([ids for ids, _ in encoded]), np.concatenate([lengths for _, lengths in encoded])

    def _few(self, texts: Sequence[str]) -> tuple[Ids, Index]:
        cut: list[list[str]] = [STRETCH.findall(text) for text in texts]
        if new := list(set[str]().union(*cut).difference(self._ids)):
            if len(self._ids) + len(new) > MOST:
                self._ids.clear()
                new = list(set[str]().union(*cut))
            rows = (np.array(ids, dtype=np.int32).tobytes() for ids in self._encode(new))
            self._ids.update(zip(new, rows, strict=True))
        get = self._ids.__getitem__
        parts = [b"".join(map(get, words)) for words in cut]
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)) // 4
        return np.frombuffer(b"".join(parts), dtype=np.int32), lengths


def joined(parts: Sequence[Ids]) -> Ids:
    """Returns ids one behind the other."""
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype=np.int32), *parts])


def pieces(text: str, size: int = PART) -> Iterator[str]:
    """Yields a text in pieces of `size` characters or a few more, each of whole stretches."""
    start = 0
    while (border := BORDER.search(text, start + size)) is not None:
        yield text[start : border.start()]
        start = border.start()
    yield text[start:]


def whole(encode: Encode, texts: Sequence[str]) -> tuple[Ids, Index]:
    """Returns the same as `Words` does, for a tokeniser that encodes each text as a whole."""
    rows = [np.array(ids, dtype=np.int32) for ids in encode(texts)]
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return joined(rows), lengths


def stretches(tokenizer: tokenizers.Tokenizer) -> bool:
    """Says whether a tokeniser gives a text the ids of its stretches, one behind the other."""
    data: dict[str, Any] = json.loads(tokenizer.to_str())
    model, before = data["model"], data["normalizer"]
    steps: list[dict[str, Any]] = [] if before is None else before.get("normalizers", [before])
    if any(step["type"] not in LOCAL for step in steps) or model.get("dropout"):
        return False
    if data["truncation"] is not None or data["padding"] is not None:
        return False
    if not all(token["special"] for token in data["added_tokens"]):  # else it is found in a text before it is cut
        return False
    return _cuts(data["pre_tokenizer"], model)


def _cuts(pre: dict[str, Any] | None, model: dict[str, Any]) -> bool:
    alone = model["type"] == "BPE" and not model["merges"] and not model["fuse_unk"]  # each character is a token
    if pre is None:
        return alone
    if pre["type"] == "ByteLevel":
        return not pre["add_prefix_space"] and (pre["use_regex"] or alone)
    if pre["type"] != "Sequence":
        return False
    first, *rest = cast("list[dict[str, Any]]", pre["pretokenizers"])
    drops = first["type"] == "Split" and first["pattern"] == {"Regex": BLANKS} and first["behavior"] == "Removed"
    return drops and all(step["type"] in ("Split", "Punctuation") for step in rest)
