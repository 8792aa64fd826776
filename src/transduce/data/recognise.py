"""The columns of a table recognised: by name, or by content."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from transduce.data import cells, conll, read
from transduce.data.columns import LISTS, SPARSE, TAGS, WORDS, required
from transduce.errors import UserError

NAMES = {  # what a column is called elsewhere
    "text": {
        "text", "sentence", "message", "review", "content", "document", "comment", "tweet", "body", "question", "sms",
        "utterance", "query", "description", "input", "headline", "sentence1", "text1", "text_a", "anchor", "question1",
        "transcript", "transcription", "caption",
    },
    "label": {
        "label", "labels", "class", "category", "sentiment", "intent", "topic", "target", "y", "tag", "rating", "stars",
        "output", "emotion", "spam", "is_spam",
    },
    "words": {"tokens", "token", "word", "form", "sentence", "text"},
    "tags": {"ner_tags", "tag", "ner", "pos_tags", "upos", "labels", "label", "entities"},
    "number": {"score", "value", "rating", "stars", "label", "target", "y", "similarity", "similarity_score", "grade"},
    "labels": {"label", "classes", "categories", "tags", "topics", "genres", "emotions"},
    "other": {"sentence2", "text2", "text_b", "second", "premise", "positive", "question2", "answer", "passage"},
    "question": {"query", "questions"},
    "context": {"passage", "paragraph", "document", "article"},
    "passage": {"context", "positive", "paragraph", "document", "positive_passage", "answer", "text"},
    "negative": {"hard_negative", "negative_passage", "neg"},
    "answers": {"answer", "answer_text", "span"},
    "image": {
        "image", "picture", "photo", "img", "path", "file", "filename", "file_name", "filepath", "image_path",
        "image_file",
    },
    "sound": {
        "sound", "audio", "clip", "wav", "recording", "path", "file", "filename", "file_name", "filepath", "audio_path",
        "audio_file", "audio_filepath",
    },
}  # fmt: skip
MOST = 100  # different labels, beyond which a column is taken for text


def require_known(names: Iterable[str], columns: Sequence[str]) -> None:
    """Raises UserError for a place of a column that the task does not read."""
    for name in names:
        if name not in columns:
            close = difflib.get_close_matches(name, columns, n=1)
            way = f"did you mean `{close[0]}`?" if close else f"it reads {', '.join(columns)}"
            raise UserError(f"data.columns.{name} names a column that the task does not read; {way}")


def form(
    path: Path, columns: Sequence[str], stated: Mapping[str, int | str], header: bool | None, separator: str,
    max_chars: int,
) -> cells.Form:  # fmt: skip
    """Returns where the columns of a table are. Raises UserError where they are neither told nor recognised.

    A column that a row may lack need not be there: by its name alone it is recognised, else its place is -1.
    """
    sparse = frozenset[str]()
    for column in SPARSE & set(columns):
        sparse |= {column, *NAMES.get(column, ()), str(stated.get(column, column))}
    mark = separator if separator != "auto" else guessed(path, max_chars, words={WORDS, TAGS} <= set(columns))
    first, *rows = cells.some(path, mark, max_chars, cells.SOME, sparse) or [list[object]()]
    names = cells.names(path, max_chars, mark, sparse)
    if names is None:
        aliases = {alias for column in columns for alias in (column, *NAMES.get(column, ()))}
        looks = any(isinstance(cell, str) and simple(cell) in aliases for cell in first)
        named = any(isinstance(place, str) for place in stated.values())
        names = [str(cell) for cell in first] if (looks or named if header is None else header) else None
        rows = rows if names is not None else [first, *rows]
        headed = names is not None
    else:
        rows, headed = [first, *rows], False
    places = {column: place_of(place, names, len(first), path) for column, place in stated.items()}
    remarks: list[str] = []
    for column in [column for column in columns if column not in places]:
        place = by_name(column, names, places.values())
        how = "its name" if place is not None else "what it holds"
        if place is None and column in SPARSE:
            places[column] = -1
            continue
        if place is None:
            place = by_content(column, required(columns), rows, places, len(first))
        if place is None:
            listed = ", ".join(names) if names else f"{len(first)} columns, in the first row {shorten(first)}"
            what = f"{path} has no column that is surely the {column}"
            raise UserError(f"{what}; set data.columns.{column} to one of them ({listed})")
        places[column] = place
        title = f"column {place}" + (f" (`{names[place]}`)" if names else "")
        remarks.append(f"the {column} is {title} of {path.name}, by {how}; data.columns.{column}=... says otherwise")
    used = set(places.values())
    for column in (column for column in columns if column in SPARSE):
        if more := [name for i, name in enumerate(names or ()) if i not in used and simple(name).startswith(column)]:
            what = f"{', '.join(more)} of {path.name} {'is' if len(more) == 1 else 'are'} not read"
            remarks.append(f"{what}: a row has one {column} at most; data.columns.{column}=... says which")
    lists, spare = (tuple(column in some for column in columns) for some in (LISTS, SPARSE))
    return cells.Form(tuple(places[column] for column in columns), names, headed, mark, tuple(remarks), lists, spare)


def guessed(path: Path, max_chars: int, *, words: bool = False) -> str:
    """Returns the separator of a file: as its name says; of plain text tabs where all lines have one, else the first
    space. words: words with tags are asked for, which stand on a line each where there are blank lines between.
    """
    kind = cells.kind_of(path)
    if kind in conll.EXTENSIONS:
        return "conll"
    if words and kind in (".txt", ".tsv"):
        lines = list(islice(read.each(path, max_chars), cells.SOME))
        if any(not line.strip() for line in lines[:-1]):
            return "conll"
    if kind != ".txt":
        return "comma" if kind == ".csv" else "tab"
    lines = [str(row[0]) for row in cells.some(path, "none", max_chars, cells.SOME)]
    return "tab" if lines and all("\t" in line for line in lines) else "space"


def simple(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def place_of(place: int | str, names: Sequence[str] | None, count: int, path: Path) -> int:
    """Returns the number of a column that is given by name or number."""
    if isinstance(place, int):
        if place >= count:
            raise UserError(f"{path} has {count} columns, but column {place} (counted from 0) is asked for")
        return place
    if names is not None and place in names:
        return names.index(place)
    close = difflib.get_close_matches(place, names or [], n=1)
    way = f"did you mean `{close[0]}`?" if close else f"its columns are {', '.join(names or [])}"
    raise UserError(f"{path} has no column `{place}`; {way}")


def by_name(column: str, names: Sequence[str] | None, taken: Iterable[int]) -> int | None:
    """Returns the column of a usual name that is not taken: the very name first."""
    free = [i for i in range(len(names or ())) if i not in set(taken)]
    called = [i for i in free if simple((names or [])[i]) == column]
    called = called or [i for i in free if simple((names or [])[i]) in NAMES.get(column, ())]
    return called[0] if len(called) == 1 or (called and simple((names or [])[called[0]]) == column) else None


def by_content(
    column: str, columns: Sequence[str], rows: Sequence[Sequence[object]], places: Mapping[str, int], count: int
) -> int | None:
    """Returns the column left over, or of two columns the one whose values repeat (a label) or do not (a text)."""
    free = [i for i in range(count) if i not in places.values()]
    if len(free) == 1 and len(set(columns) - set(places)) == 1:
        return free[0]
    if len(free) != 2 or set(columns) - set(places) != {"text", "label"} or len(rows) < 2:
        return None
    kinds = [len({str(row[i]) for row in rows if i < len(row)}) for i in free]
    lengths = [sum(len(str(row[i])) for row in rows if i < len(row)) for i in free]
    label = min((0, 1), key=kinds.__getitem__)
    if kinds[label] > min(MOST, len(rows) // 2) or kinds[0] == kinds[1] or lengths[label] >= lengths[1 - label]:
        return None
    return free[label if column == "label" else 1 - label]


def shorten(row: Sequence[object]) -> str:
    return ", ".join(repr(str(cell)[:20]) for cell in row[:5])
