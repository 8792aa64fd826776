import pytest

from transduce.config import kinds
from transduce.data.columns import Columns
from transduce.data.source import DataConfig, hold_out
from transduce.errors import UserError


def pairs(sources: list[str], targets: list[str]) -> Columns:
    return Columns({"source": sources, "target": targets})


def texts(*values: str) -> Columns:
    return Columns({"text": values})


def rows(columns: Columns) -> list[tuple[str, ...]]:
    return list(zip(*columns.values.values(), strict=True))


def test_the_kinds_are_found_by_walking_the_folder():
    assert list(kinds(DataConfig.folder)) == [
        "captions", "chats", "chorales", "dates", "episodes", "games", "images", "imported", "mixture", "pairs",
        "parallel", "pictures", "ring", "sounds", "sums", "table", "text", "transcripts", "tunes",
    ]  # fmt: skip


def test_held_out_texts_are_a_share_and_the_rest_is_training():
    whole = pairs([f"s{i}" for i in range(1000)], [f"t{i}" for i in range(1000)])
    out = hold_out({"train": whole, "test": pairs(["a"], ["b"])}, 0.1)
    assert list(out) == ["train", "valid", "test"]
    assert len(out["valid"]) == 100
    assert sorted([*rows(out["train"]), *rows(out["valid"])]) == sorted(rows(whole))


def test_equal_sources_fall_on_the_same_side_whatever_the_order():
    sources = ["a", "b", "c", "a", "d", "e", "a", "b"]
    out = hold_out({"train": pairs(sources, list("12345678"))}, 0.4)
    again = hold_out({"train": pairs(sources[::-1], list("87654321"))}, 0.4)
    assert not set(out["train"]["source"]) & set(out["valid"]["source"])
    assert sorted(rows(out["valid"])) == sorted(rows(again["valid"]))


def test_nothing_is_held_out_where_there_is_a_valid_split_or_none_is_wanted():
    splits = {"train": texts("a", "b"), "valid": texts("c")}
    assert hold_out(splits, 0.5) is splits
    assert list(hold_out({"train": texts("a")}, 0)) == ["train"]


def test_too_little_to_part_is_refused():
    with pytest.raises(UserError, match="no two different texts to hold one out for validation; give a valid file"):
        hold_out({"train": texts("same", "same")}, 0.1)
