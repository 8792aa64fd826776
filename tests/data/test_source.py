import pytest

from transduce.config import kinds
from transduce.data.source import DataConfig, Texts, hold_out
from transduce.errors import UserError


def test_the_kinds_are_found_by_walking_the_folder():
    assert list(kinds(DataConfig.folder)) == ["dates", "imported", "pairs", "parallel", "text"]


def test_held_out_texts_are_a_share_and_the_rest_is_training():
    texts = Texts([f"s{i}" for i in range(1000)], [f"t{i}" for i in range(1000)])
    out = hold_out({"train": texts, "test": Texts(["a"], ["b"])}, 0.1)
    assert list(out) == ["train", "valid", "test"]
    assert len(out["valid"].targets) == 100
    pairs = [pair for name in ("train", "valid") for pair in zip(out[name].sources, out[name].targets, strict=True)]
    assert sorted(pairs) == sorted(zip(texts.sources, texts.targets, strict=True))


def test_equal_sources_fall_on_the_same_side_whatever_the_order():
    sources = ["a", "b", "c", "a", "d", "e", "a", "b"]
    out = hold_out({"train": Texts(sources, list("12345678"))}, 0.4)
    again = hold_out({"train": Texts(sources[::-1], list("87654321"))}, 0.4)
    assert not set(out["train"].sources) & set(out["valid"].sources)
    assert sorted(zip(*out["valid"], strict=True)) == sorted(zip(*again["valid"], strict=True))


def test_nothing_is_held_out_where_there_is_a_valid_split_or_none_is_wanted():
    splits = {"train": Texts(None, ["a", "b"]), "valid": Texts(None, ["c"])}
    assert hold_out(splits, 0.5) == splits
    assert hold_out({"train": Texts(None, ["a"])}, 0) == {"train": Texts(None, ["a"])}


def test_too_little_to_part_is_refused():
    with pytest.raises(UserError, match="no two different texts to hold one out for validation; give a valid file"):
        hold_out({"train": Texts(None, ["same", "same"])}, 0.1)
