"""Words a line: CoNLL-2003, CoNLL-U, plain text with blank lines; what is wrong names its line."""

from pathlib import Path

import pytest

from transduce.config import from_data
from transduce.data.tables import Table
from transduce.errors import UserError

WANTED = ("words", "tags")
OLD = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n"
UNIVERSAL = (
    "# text = Vámonos al mar\n1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_\n1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_\n"
    "2\tnos\tnos\tPRON\t_\t_\t1\tobj\t_\t_\n2.1\tx\tx\tX\t_\t_\t_\t_\t_\t_\n"
)


def load(path: Path, **values: object) -> list[tuple[object, object]]:
    columns = from_data(Table, {"path": str(path), "valid_fraction": 0, **values}).load(WANTED)["train"]
    return [*zip(columns["words"], columns["tags"], strict=True)]


@pytest.mark.parametrize("name", ["a.conll", "a.txt", "a.conll.gz", "a.iob2"])
def test_the_first_column_has_words_and_the_last_tags(name: str, write) -> None:
    rows = [(("EU", "rejects"), ("B-ORG", "O")), (("Peter",), ("B-PER",))]
    assert load(write(name, OLD)) == rows


def test_another_column_is_named_by_its_number(write) -> None:
    assert load(write("a.conll", OLD), columns={"tags": 1})[0] == (("EU", "rejects"), ("NNP", "VBZ"))
    assert load(write("a.dat.txt", OLD), columns={"tags": 2}, separator="conll")[1] == (("Peter",), ("B-NP",))


def test_conll_u_has_names_of_its_own(write) -> None:
    assert load(write("a.conllu", UNIVERSAL)) == [(("Vamos", "nos"), ("VERB", "PRON"))]
    assert load(write("a.conllu", UNIVERSAL), columns={"tags": "deprel"}) == [(("Vamos", "nos"), ("root", "obj"))]


def test_a_hash_is_a_word(write) -> None:
    assert load(write("a.conll", "#x\tO\n\n#\tB-y\n")) == [(("#x",), ("O",)), (("#",), ("B-y",))]


@pytest.mark.parametrize(
    ("content", "told"),
    [("a\tO\nb\n", "line 2, has 1 columns, but the first has 2"), ("a\tO\n\tO\n", "line 2, has no word before")],
)
def test_a_broken_line_is_named(content: str, told: str, write) -> None:
    with pytest.raises(UserError, match=told):
        load(write("a.conll", content))


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_tables_have_lists_or_texts(form: str, write) -> None:
    files = {
        "jsonl": '{"tokens": ["New York", "x"], "ner_tags": [1, 0]}\n',
        "json": '[{"id": 3, "tokens": ["New York", "x"], "ner_tags": [1, 0]}]',
        "csv": "sentence,tags\nYork x,1 0\n",
    }
    words, tags = load(write(f"a.{form}", files[form]))[0]
    assert words == ("York x" if form == "csv" else ("New York", "x"))
    assert tags == ("1 0" if form == "csv" else (1, 0))
