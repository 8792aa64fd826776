"""Sentences of CoNLL files: a word a line with its columns, a blank line behind each sentence.

CoNLL-2003 and its kin part columns by blanks or tabs, CoNLL-U (.conllu) by tabs, with comments and words of several
syntactic words.
"""

from collections.abc import Iterator
from pathlib import Path

from transduce.data import read
from transduce.errors import UserError

EXTENSIONS = (".conll", ".conllu", ".bio", ".iob", ".iob2")
UNIVERSAL = ["id", "words", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
DOCUMENT = "-DOCSTART-"  # a line that parts documents


def sentences(path: Path, max_chars: int, *, universal: bool) -> Iterator[tuple[int, list[tuple[str, ...]]]]:
    """Yields (line, columns) of every sentence; each column has a value for every word. Raises UserError.

    universal: the file is CoNLL-U.
    """
    rows, start, width = list[list[str]](), 1, 0
    for number, line in enumerate(read.each(path, max_chars), 1):
        if not line.strip():
            if rows:
                yield start, list(zip(*rows, strict=True))
            rows = []
            continue
        if line.startswith(DOCUMENT) or (universal and line.startswith("#")):
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if universal and not cells[0].isdigit():  # 1-2: a word that stands for two; 1.1: one that is not written
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise UserError(
                f"{path}, line {number}, has {len(cells)} columns, but the first has {width}; a word stands on each "
                f"line, and a blank line behind each sentence"
            )
        if not cells[0].strip():
            raise UserError(f"{path}, line {number}, has no word before the tab; correct or remove it")
        start = start if rows else number
        rows.append(cells)
    if rows:
        yield start, list(zip(*rows, strict=True))


def names(count: int, *, universal: bool) -> list[str]:
    """Returns the names of so many columns: the first has the words, the last the tags."""
    if universal and count == len(UNIVERSAL):
        return UNIVERSAL
    return ["words", *map(str, range(1, count - 1)), "tags"][:count]
