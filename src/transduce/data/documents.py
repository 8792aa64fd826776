"""Rows of JSON documents: a list of objects, or the questions of SQuAD, a row each."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from transduce.data import read
from transduce.errors import UserError

EXTENSIONS = (".json",)
SQUAD = ("context", "question", "answers")


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number, object) of every row of a document. Raises UserError.

    Of SQuAD, versions 1.1 and 2.0: title, id, context, question and answers, a list of {"text", "answer_start"}, which
    is empty where there is none.
    """
    try:
        whole: Any = json.loads(read.text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON document ({error}); rows of one object a line are .jsonl") from None
    rows: Any = cast("dict[str, Any]", whole).get("data") if isinstance(whole, dict) else whole
    if not isinstance(rows, list):
        raise UserError(f"{path} is neither a list of objects nor SQuAD, which has them under `data`; convert it")
    rows = cast("list[Any]", rows)
    if rows and isinstance(rows[0], dict) and "paragraphs" in rows[0]:
        try:
            rows = list(questions(rows))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not SQuAD as published: {error!r} is missing or of another kind") from None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}, is {json.dumps(row)[:40]}, but a row is an object of columns")
        yield number, cast("dict[str, Any]", row)


def questions(articles: list[Any]) -> Iterator[dict[str, Any]]:
    """Yields a row for each question of SQuAD."""
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                answers = [{"text": one["text"], "answer_start": one["answer_start"]} for one in question["answers"]]
                yield {
                    "title": article.get("title", ""), "id": str(question.get("id", "")),
                    "context": paragraph["context"], "question": question["question"], "answers": answers,
                }  # fmt: skip
