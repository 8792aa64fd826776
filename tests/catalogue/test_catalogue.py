"""The catalogue as data: complete, consistent, browsable."""

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from transduce.catalogue import picture, query
from transduce.catalogue.entry import FAMILIES, TEXT, catalogue, entry, entry_of
from transduce.catalogue.lineage import ABSENT, chain, differences, shape, tree
from transduce.errors import UserError

ALL = catalogue().values()


def test_it_holds_every_entry() -> None:
    text = [e for e in ALL if e.family in TEXT]
    assert (len(ALL), len(text)) == (238, 193)
    assert sum(e.buildable for e in text) == 181
    assert sum(e.counted is not None for e in text) == 159
    assert {e.family for e in ALL} == set(FAMILIES)


@pytest.mark.parametrize("found", ALL, ids=lambda e: e.id)
def test_an_entry_is_consistent(found: query.Entry) -> None:
    line = chain(found)
    assert line[-1].id == "transformer-base"
    assert len({one.id for one in line}) == len(line)
    assert all(child.year >= parent.year - 1 for child, parent in pairwise(line))  # LaMDA's paper came after GLaM's
    assert found.changes
    assert found.source
    assert found.objective
    if found.buildable:
        assert shape(found)
    if found.counted is not None and found.published is not None and not found.fitted:
        assert found.deviation is not None
        assert abs(found.deviation) < 0.25


def test_a_system_has_the_shape_of_its_nearest_ancestor() -> None:
    assert not entry("vicuna-13b").shape
    assert shape(entry("vicuna-13b")) == entry("llama-13b").shape


def test_differences_are_of_shapes() -> None:
    found = {pair.key: (pair.first, pair.second) for pair in differences(entry("bert-base"), entry("roberta-base"))}
    assert found["vocab_size"] == (30522, 50265)
    assert found["position_rows"] == (ABSENT, 514)
    assert differences(entry("llama-7b"), entry("alpaca-7b")) == []


def test_the_tree_holds_everything_once() -> None:
    held = [e.id for node in picture.flat(tree()) for e in node.entries]
    assert sorted(held) == sorted(catalogue())
    assert [e.id for node in picture.flat(tree("gpt-3-5")) for e in node.entries] == ["gpt-3-5", "chatgpt"]


def test_the_picture_names_every_model_once_and_is_xml() -> None:
    drawn = ET.fromstring(picture.svg(tree()))
    circles = [one for one in drawn.iter() if one.tag.endswith("g") and len(one) == 3]
    assert len(circles) == len(list(picture.flat(tree()))) == len(list(picture.lines(tree())))


def test_select() -> None:
    found = query.select("encoder", "masked-lm", "2019..2021", sort="params")
    counts = [query.params(e) or 0 for e in found]
    assert counts == sorted(counts)
    assert {"roberta-base", "albert-base"} <= {e.id for e in found}
    assert "bert-base" not in {e.id for e in found}
    assert {e.year for e in query.select(year="..2018")} == {2017, 2018}
    assert {e.id for e in query.select(text="PYTHIA 70m")} == {"pythia-70m"}


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"family": "encodr"}, "did you mean encoder?"),
        ({"objective": "nonsense"}, "there are"),
        ({"year": "2020-2021"}, "write 2019, 2019..2021"),
        ({"year": ".."}, "is not a span of years"),
        ({"sort": "param"}, "did you mean params?"),
    ],
)
def test_wrong_conditions_are_answered(conditions: dict[str, str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        query.select(**conditions)


@pytest.mark.parametrize(
    ("name", "near"), [("bert", "bert-base"), ("GPT2-124m", "gpt-2-124m"), ("zzzz", "lists all 238")]
)
def test_an_unknown_id_is_answered_with_near_ones(name: str, near: str) -> None:
    with pytest.raises(UserError, match=near):
        entry(name)


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(UserError, match="unknown keys sahpe"):
        entry_of("x", "encoder", {"sahpe": {}})
