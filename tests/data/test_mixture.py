"""Laws of mixtures, on every way of filling rows: each source has its share, and all of it in turn."""

from itertools import islice
from typing import Any

import numpy as np
import pytest

from transduce.config import from_data
from transduce.data.columns import Columns
from transduce.data.examples import Ragged
from transduce.data.loader import BatchConfig, Cursor
from transduce.data.mixed import MixedLoader, loader_of
from transduce.data.mixture import Mixture
from transduce.errors import UserError
from transduce.model.state import tensors
from transduce.runs.recipe import Recipe
from transduce.tasks.language import Documents, Stream
from transduce.tasks.translate import Pairs

ROWS = {"a": 90, "b": 7, "c": 30}
SHARES = {"a": 5.0, "b": 3.0, "c": 2.0}
TEXT = {"kind": "text", "path": "x"}


class Ids:
    pad, bos, eos = 0, 1, 2


def ids(seed: int, longest: int = 12) -> Ragged:
    """Rows whose ids say which source they are of: 100 and above, 200, 300."""
    draw = np.random.default_rng(seed)
    return Ragged.of([
        (100 * source + draw.integers(0, 100, draw.integers(1, longest))).tolist()
        for source, count in enumerate(ROWS.values(), 1) for _ in range(count)
    ])  # fmt: skip


WAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pairs": (Pairs(ids(0), ids(1), Ids()), {}),
    "packed pairs": (Pairs(ids(0), ids(1), Ids()), {"packing": True}),
    "texts": (Documents(ids(1), Ids()), {}),
    "packed texts": (Documents(ids(1, 70), Ids()), {"packing": True}),
    "stream": (Stream(ids(1)), {"max_length": 16}),
}


def mixture(**keys: Any) -> Mixture:
    return from_data(Mixture, {"of": dict.fromkeys(ROWS, TEXT), "weights": SHARES, **keys})


def mixed(way: str, mix: Mixture | None = None, **where: Any) -> MixedLoader:
    examples, over = WAYS[way]
    config = from_data(BatchConfig, {"batch_tokens": 120, "max_length": 30, **over})
    columns = Columns({"text": range(sum(ROWS.values()))}, sources=ROWS)
    loader = loader_of(examples, config, **{"seed": 5, **where}, columns=columns, data=mix or mixture())
    assert isinstance(loader, MixedLoader)
    return loader


def units(loader: MixedLoader, epochs: int) -> list[list[int]]:
    """The units of each source that some epochs have, in any order."""
    flat = [
        int(unit)
        for epoch in range(epochs) for group in loader.groups(epoch)
        for unit in (np.concatenate(group) if isinstance(group, list) else group)
    ]  # fmt: skip
    source = loader.units.sources(np.array(flat))
    return [[unit for unit, at in zip(flat, source, strict=True) if at == number] for number in range(len(ROWS))]


@pytest.mark.parametrize("way", WAYS)
def test_every_source_has_its_share_and_nothing_comes_again_before_all_of_it_has_come(way: str) -> None:
    loader, epochs = mixed(way), 5
    total = sum(loader.units.sizes)
    for drawn, share in zip(loader.drawn, SHARES.values(), strict=True):
        assert abs(drawn - total * share / 10) < 1
    assert sum(loader.drawn) == total
    for some, drawn, size in zip(units(loader, epochs), loader.drawn, loader.units.sizes, strict=True):
        assert len(some) == epochs * drawn
        if way != "stream":  # whose windows lie elsewhere in every pass
            counts = np.bincount(np.unique(some, return_inverse=True)[1], minlength=size)
            assert counts.max() - counts.min() <= 1
    assert not np.array_equal(loader.groups(0)[0], loader.groups(1)[0])


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_follows_from_its_place_alone(way: str) -> None:
    one = mixed(way)
    for place in ((0, 0), (3, 2), (1, 1)):
        ours, again = one.batch(*place), mixed(way).batch(*place)
        assert ours.examples == again.examples
        assert all(a.equal(b) for a, b in zip(tensors(tuple(ours[:7])), tensors(tuple(again[:7])), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_every_text_of_a_row_is_of_one_source_to_its_end(way: str) -> None:
    loader = mixed(way)
    batches = [loader.batch(1, i) for i in range(loader.size(1))] + list(loader.once())
    for batch in batches:
        inputs, targets = batch.inputs.numpy(), batch.targets.numpy()
        both = (inputs >= 100) & (targets >= 100)
        assert both.any()
        assert (inputs[both] // 100 == targets[both] // 100).all()


@pytest.mark.parametrize("way", WAYS)
def test_an_evaluation_has_every_target_once_and_says_which_are_of_which_source(way: str) -> None:
    loader = mixed(way)
    batches = list(loader.once())
    flat = WAYS[way][0].ids[next(reversed(WAYS[way][0].ids))].flat
    parts = loader.parts()
    assert list(parts) == list(ROWS)
    assert [part.start for part in parts.values()][1:] == [part.stop for part in parts.values()][:-1]
    for number, (name, part) in enumerate(parts.items(), 1):
        values = np.concatenate([batch.targets.numpy().flatten() for batch in batches[part]])
        expected = flat[flat // 100 == number]
        expected = expected[1:] if way == "stream" else expected
        assert sorted(values[values >= 100]) == sorted(expected), name


@pytest.mark.parametrize("way", WAYS)
def test_where_it_stops_the_first_source_has_been_read_once_and_none_twice(way: str) -> None:
    loader = mixed(way, mixture(exhausted="stop"))
    places = [place for place, _ in loader.stream()]
    assert {place.epoch for place in places} == {0}
    assert len(places) == loader.size(0)
    some = units(loader, 1)
    assert [len(set(one)) for one in some] == [len(one) for one in some] == loader.drawn
    assert any(drawn == size for drawn, size in zip(loader.drawn, loader.units.sizes, strict=True))
    assert "has been read once and data.exhausted=stop" in loader.stopped
    assert list(loader.stream(Cursor(1, 0))) == []


def test_workers_end_where_it_stops() -> None:
    examples, columns = WAYS["texts"][0], Columns({"text": range(sum(ROWS.values()))}, sources=ROWS)
    config = BatchConfig(batch_tokens=120, max_length=30, workers=3)
    loader = loader_of(examples, config, seed=5, columns=columns, data=mixture(exhausted="stop"))
    alone = mixed("texts", mixture(exhausted="stop"))
    assert [p for p, _ in loader.stream()] == [p for p, _ in alone.stream()]


def test_ranks_share_the_batches_of_an_epoch() -> None:
    examples, config = WAYS["texts"][0], BatchConfig(batch_tokens=120, max_length=30)
    columns = Columns({"text": range(sum(ROWS.values()))}, sources=ROWS)
    ranks = [
        MixedLoader(examples, config, seed=5, columns=columns, mixture=mixture(), rank=rank, ranks=2)
        for rank in range(2)
    ]
    every = [example for rank in ranks for i in range(rank.size(1)) for example in rank.batch(1, i).examples]
    alone = mixed("texts")
    assert sorted(every) == sorted(e for i in range(alone.size(1)) for e in alone.batch(1, i).examples)
    counts = ranks[0].read(Cursor(1, ranks[0].size(1)))
    assert counts == {name: 2 * n for name, n in zip(ROWS, ranks[0].drawn, strict=True)}


def test_what_was_read_is_counted_up_to_any_place() -> None:
    loader, counts = mixed("packed texts"), np.zeros(3, dtype=int)
    for place, batch in islice(loader.stream(), 40):
        assert list(loader.read(place).values()) == counts.tolist()
        sources = np.searchsorted(np.cumsum(list(ROWS.values())), batch.examples, side="right")
        counts += np.bincount(sources, minlength=3)
    shares = loader.shares(Cursor(2, 0))
    assert shares == pytest.approx(
        {f"share_{n}": d / sum(loader.drawn) for n, d in zip(ROWS, loader.drawn, strict=True)}
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_a_temperature_makes_small_sources_larger(temperature: float) -> None:
    mix = mixture(weights={}, temperature=temperature)
    sizes = np.array(list(ROWS.values())) ** (1 / temperature)
    assert list(mix.shares(ROWS).values()) == pytest.approx((sizes / sizes.sum()).tolist())


@pytest.mark.parametrize(("keys", "sentence"), [
    ({"of": {"a": TEXT}, "weights": {}}, "of names 1 source, but a mixture has two or more; add data.of.NAME.kind"),
    ({"weights": {"a": 1.0, "b": 1.0}}, "weights are of a, b, but the sources are a, b, c; give each one a weight"),
    ({"weights": {**SHARES, "b": 0.0}}, "weights.b=0.0 must be more than 0; leave a source out to skip it"),
    ({"temperature": 2.0}, "weights are given, so temperature=2.0 says nothing; leave one of them out"),
    ({"temperature": 0.0, "weights": {}}, "temperature=0.0 must be more than 0"),
    ({"of": {"a": TEXT, "b": {**TEXT, "unit": "line"}}, "weights": {}},
     "of.a gives stream, but of.b text, and a model learns one task"),
    ({"of": {"a": TEXT, "b": {"kind": "pairs", "path": "x"}}, "weights": {}},
     "of.a gives stream, but of.b source and target"),
    ({"of": {"a": TEXT, "b": {"kind": "mixture", "of": {"c": TEXT, "d": TEXT}}}, "weights": {}},
     "of.b is a mixture itself; name its sources beside the others"),
    ({"of": {"a": TEXT, "b/c": TEXT}, "weights": {}}, "of.b/c: a source is named with letters, digits and _"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(keys: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        mixture(**keys)


def test_the_task_of_a_mixture_is_that_of_its_sources(tiny: Any) -> None:
    data = {"kind": "mixture", "of": {n: {"kind": "dates", "seed": i} for i, n in enumerate(("x", "y"))}}
    plain = tiny("translation") | {"data": data}
    del plain["objective"]
    assert from_data(Recipe, plain).task.kind == "translate"
    wrong = from_data(Recipe, plain | {"task": "language"})
    with pytest.raises(UserError, match=r"data\.kind=mixture gives source and target; use data.kind=text, or task=tr"):
        wrong.resolve()


def test_a_source_that_cannot_be_read_is_named(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("some text\n" * 30)
    mix = from_data(Mixture, {"of": {"a": {**TEXT, "path": str(tmp_path / "a.txt")}, "b": {**TEXT, "path": "gone"}}})
    with pytest.raises(UserError, match=r"data\.of\.b: gone"):
        mix.load()
    data = from_data(Mixture, {"of": {n: {**TEXT, "path": str(tmp_path / "a.txt")} for n in ("a", "b")}})
    splits = data.load()
    assert splits["train"].sources == splits["valid"].sources == {"a": 1, "b": 1}
    walk = data.walker()
    assert walk is not None
    rows = [("".join(piece.values), piece.split, piece.source) for piece in walk()]
    assert rows == [(s.given[i], n, name) for n, s in splits.items() for i, name in enumerate(s.sources)]


def test_what_reads_one_text_or_no_text_is_not_mixed() -> None:
    columns, stream = Columns({"stream": range(sum(ROWS.values()))}, sources=ROWS), WAYS["stream"][0]
    config = BatchConfig(batch_tokens=120, max_length=16, carry=True)
    with pytest.raises(UserError, match=r"batch\.carry=true reads one text from its beginning to its end"):
        loader_of(stream, config, seed=0, columns=columns, data=mixture())
    with pytest.raises(UserError, match=r"data\.of\.b has \d+ tokens, too few for one row of max_length=100"):
        loader_of(stream, BatchConfig(max_length=100), seed=0, columns=columns, data=mixture()).size(0)
    empty = Columns({"stream": range(sum(ROWS.values()))}, sources={"a": 97, "b": 0, "c": 30})
    with pytest.raises(UserError, match=r"data\.of\.b has nothing to learn from"):
        loader_of(WAYS["texts"][0], BatchConfig(), seed=0, columns=empty, data=mixture())
