"""What is said before a training: it is counted, and nothing is said of data that are learnt as they stand."""

from pathlib import Path
from unicodedata import normalize

import pytest

from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.loader import BatchConfig
from transduce.data.pairs import Pairs
from transduce.data.parallel import Parallel
from transduce.data.readers.reader import Readers
from transduce.data.remarks import remarks
from transduce.data.source import require_text
from transduce.data.text import Text
from transduce.errors import UserError
from transduce.tasks.language import LanguageConfig
from transduce.tasks.translate import TranslateConfig
from transduce.text.char import Char


def pairs(sources: list[str], targets: list[str]) -> Columns:
    return Columns({"source": sources, "target": targets})


def texts(values: list[str]) -> Columns:
    return Columns({"text": values})


def of(columns: Columns, known: list[str], stream: bool = False, **values: object) -> list[str]:
    readers, config = Readers(Char(normalise="none").train(known)), from_data(BatchConfig, values)
    task = TranslateConfig() if "source" in columns.names else LanguageConfig(stream=stream)
    return remarks("valid", columns, task.examples(columns, readers), readers.tokenizer, config)


def test_what_is_cut_off_unknown_and_blank_is_counted() -> None:
    given = pairs(["abcdefghij", "ab", " ", "é"], ["x", "y", "z", ""])
    known = [*"abcdefghijxyz "]
    assert of(given, known, max_length=8) == [
        "valid: 1 of 4 examples (25.0%) exceed batch.max_length=8 and are cut off, which loses 12.0% of the tokens",
        "valid: 1 of 17 tokens (5.88%) are <unk>: the tokeniser has no token for these characters",
        "valid: 1 of 4 sources (25.0%) and 1 of 4 targets (25.0%) are blank",
    ]
    (dropped, *_) = of(given, known, max_length=8, overlong="drop")
    assert "are left out, which loses 52.0% of the tokens" in dropped


def test_nothing_is_said_of_data_that_are_learnt_as_they_stand() -> None:
    assert of(pairs(["ab"], ["ba"]), ["ab"]) == []
    assert of(Columns({"stream": ["ab" * 500]}), ["ab"], stream=True, max_length=8) == []


def test_decomposed_accents_are_unknown_only_to_a_tokeniser_that_does_not_normalise() -> None:
    given = texts([normalize("NFD", "café naïve")])
    assert of(given, ["café naïve"]) == [
        "valid: 3 of 12 tokens (25.00%) are <unk>: the tokeniser has no token for these characters"
    ]
    tokenizer = Char().train(["café naïve"])
    examples = LanguageConfig(stream=False).examples(given, Readers(tokenizer))
    assert remarks("valid", given, examples, tokenizer, BatchConfig()) == []


@pytest.mark.parametrize("given", [pairs(["a", "b"], ["", " \t"]), texts(["\n \n"])])
def test_nothing_but_blank_targets_is_refused(given: Columns) -> None:
    with pytest.raises(UserError, match=r"every (target|text) of train is blank, so there is nothing to learn"):
        require_text(given, "train")


def test_all_blank_data_are_refused_whatever_their_kind(write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"every source of train is blank.*data\.source_field"):
        from_data(Pairs, {"path": str(write("a.tsv", " \t \n  \t  \n\t\n"))}).load()
    for unit in ("file", "line", "paragraph"):
        with pytest.raises(UserError, match=r"blank|no text|no two different texts"):
            from_data(Text, {"path": str(write("a.txt", " \n\n  \n")), "unit": unit}).load()


@pytest.mark.parametrize("name", ["dev", "validation", "val"])
def test_files_beside_the_training_data_that_are_not_read_are_named(write, tmp_path: Path, name: str) -> None:
    for stem in ("train", name, "test"):
        write(f"{stem}.tsv", "a\tb\n")
    write("notes.md", "x")
    (told,) = from_data(Pairs, {"path": str(tmp_path)}).remarks()
    assert told == f"{name}.tsv beside the training data is not used; name a file to use it, such as data.valid={name}"
    assert from_data(Pairs, {"path": str(tmp_path), "valid": name}).remarks() == []
    (told,) = from_data(Pairs, {"path": str(tmp_path / "train.tsv")}).remarks()
    assert told.endswith(f"beside the training data are not used; to use it, give the folder: data.path={tmp_path}")
    write("other.tsv", "a\tb\n")
    (told,) = from_data(Pairs, {"path": str(tmp_path / "other.tsv"), "valid_fraction": 0}).remarks()
    assert "train.tsv" in told
    assert "other" not in told


def test_files_of_languages_that_are_not_read_are_named(write, tmp_path: Path) -> None:
    for stem in ("train", "val", "test"):
        for language in ("de", "en", "fr"):
            write(f"{stem}.{language}", "a\nb\n")
    config = {"path": str(tmp_path), "source": "de", "target": "en"}
    (told,) = from_data(Parallel, config).remarks()
    assert told.startswith(
        "val.de, val.en beside the training data are not used; name a file to use it, such as data.val"
    )
    assert from_data(Parallel, {**config, "valid": "val"}).remarks() == []
