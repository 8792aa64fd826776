import pytest

from transduce.config import from_data
from transduce.data.parallel import Parallel
from transduce.errors import UserError


def load(path, **values):
    return from_data(Parallel, {"path": str(path), "source": "de", "target": "en", **values}).load()


def corpus(write, stem: str, lines: int, ending: str = "") -> None:
    for language in ("de", "en"):
        write(f"{stem}.{language}{ending}", "".join(f"{language} {stem} {i}\n" for i in range(lines)))


def test_stems_and_languages_name_the_files_gz_or_plain(write, tmp_path):
    corpus(write, "train", 3, ".gz")
    corpus(write, "val", 2)
    corpus(write, "test", 1)
    out = load(tmp_path, valid="val")
    assert {name: len(texts["target"]) for name, texts in out.items()} == {"train": 3, "valid": 2, "test": 1}
    assert out["valid"]["source"] == ["de val 0", "de val 1"]
    assert out["valid"]["target"] == ["en val 0", "en val 1"]
    assert load(tmp_path, valid="val", source="en", target="de")["test"]["source"] == ["en test 0"]


def test_several_stems_and_globs_are_joined_in_order(write, tmp_path):
    for stem in ("part1", "part2", "more"):
        corpus(write, stem, 2)
    out = load(tmp_path, train=["part*", "more"], valid_fraction=0)["train"]
    assert [s.split()[1] for s in out["source"]] == ["part1", "part1", "part2", "part2", "more", "more"]
    assert [t.split()[1] for t in out["target"]] == ["part1", "part1", "part2", "part2", "more", "more"]


def test_the_language_may_stand_anywhere_in_the_name(write, tmp_path):
    write("de/train.txt", "a\nb\n")
    write("en/train.txt", "c\nd\n")
    out = load(tmp_path, train="{}/train.txt", valid_fraction=0.5)
    assert len(out["train"]["target"]) == len(out["valid"]["target"]) == 1


def test_without_a_valid_file_some_of_train_is_held_out(write, tmp_path):
    corpus(write, "train", 100)
    out = load(tmp_path)
    assert {name: len(texts["target"]) for name, texts in out.items()} == {"train": 95, "valid": 5}


def test_different_line_counts_are_refused_with_both(write, tmp_path):
    write("train.de", "a\nb\nc\n")
    write("train.en", "a\nb\n")
    with pytest.raises(UserError, match=r"train\.de has 3 lines but .*train\.en has 2; line n of one must translate"):
        load(tmp_path)


def test_a_missing_side_is_named(write, tmp_path):
    corpus(write, "train", 2)
    write("valid.de", "a\n")
    with pytest.raises(UserError, match=r"valid\.en does not exist; the nearest name there is `valid\.de`"):
        load(tmp_path)


def test_a_split_named_otherwise_must_be_there(write, tmp_path):
    corpus(write, "train", 2)
    with pytest.raises(UserError, match=r"tst2013\.de does not exist"):
        load(tmp_path, test="tst2013")


def test_globs_that_match_unevenly_are_refused(write, tmp_path):
    corpus(write, "p1", 1)
    write("p2.de", "x\n")
    with pytest.raises(UserError, match=r"p\*\.de matches 2 files but p\*\.en matches 1; every file needs"):
        load(tmp_path, train="p*")


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"data\.path: .*multi does not exist"):
        load(tmp_path / "multi")
    with pytest.raises(UserError, match="~nosuchuser/a begins with the home of a user who is unknown here"):
        load("~nosuchuser/a")


def test_impossible_fractions_and_empty_names_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"valid_fraction=1\.5 must be at least 0 and less than 1"):
        load(tmp_path, valid_fraction=1.5)
    with pytest.raises(UserError, match="train names no files"):
        load(tmp_path, train=[])


def test_multi30k_is_read(shared):
    out = load(shared / "data/multi30k", valid="val", test="test_2016_flickr")
    assert {name: len(texts["source"]) for name, texts in out.items()} == {"train": 29_000, "valid": 1014, "test": 1000}
    assert out["train"]["target"][0] == "Two young, White males are outside near many bushes."
