"""Laws of the loader, on every way of filling rows: what a batch holds, in what order, whoever builds it."""

import itertools
import threading

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from transduce.config import from_data
from transduce.data.examples import Examples, Ragged
from transduce.data.loader import BatchConfig, Cursor, Loader
from transduce.data.parallel import Parallel
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.tasks.language import Documents, Stream
from transduce.tasks.translate import Pairs, TranslateConfig
from transduce.text.bpe import Bpe


class Ids:
    """The ids that rows need, without a tokeniser; texts use 4 and above."""

    pad, bos, eos = 0, 1, 2


def rows(seed: int, n: int, longest: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 100, rng.integers(0, longest + 1)).tolist() for _ in range(n)]


def pairs(n: int = 101, longest: int = 12) -> Pairs:
    return Pairs(Ragged.of(rows(0, n, longest)), Ragged.of(rows(1, n, longest)), Ids())


def texts(n: int = 101, longest: int = 12) -> Documents:
    return Documents(Ragged.of(rows(1, n, longest)), Ids())


WAYS = {
    "pairs": (pairs(), {}),
    "packed pairs": (pairs(), {"packing": True}),
    "texts": (texts(), {}),
    "packed texts": (texts(longest=70), {"packing": True}),
    "stream": (Stream(Ragged.of(rows(1, 101, 12))), {}),
}


def loader(way: str, **values) -> Loader:
    examples, config = WAYS[way]
    where = {key: values.pop(key) for key in ("rank", "ranks", "seed") if key in values}
    config = from_data(BatchConfig, {"batch_tokens": 120, "max_length": 30, **config, **values})
    return Loader(examples, config, **{"seed": 0, **where})


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return request.param


def same(a: Batch, b: Batch) -> bool:
    def flat(batch: Batch):
        return [batch.inputs, batch.targets, *batch.layout, batch.source, *(batch.source_layout or ())]

    def equal(x, y):
        return (x is None and y is None) or (x is not None and y is not None and torch.equal(x, y))

    return a.examples == b.examples and all(map(equal, flat(a), flat(b)))


def pieces(batch: Batch) -> list[tuple[list[int], list[int], list[int]]]:
    """(source, inputs, targets) of every document of a batch, cut by its layouts; checks the layouts on the way."""
    found = []
    for b in range(len(batch.inputs)):
        layout = batch.layout
        segments = torch.zeros_like(layout.positions) if layout.segments is None else layout.segments
        for number in segments[b][layout.valid[b]].unique().tolist():
            here = (segments[b] == number) & layout.valid[b]
            assert layout.positions[b][here].tolist() == list(range(int(here.sum())))
            source = []
            if batch.source is not None:
                below = batch.source_layout
                numbers = torch.zeros_like(below.positions) if below.segments is None else below.segments
                there = (numbers[b] == number) & below.valid[b]
                assert below.positions[b][there].tolist() == list(range(int(there.sum())))
                source = batch.source[b][there].tolist()
            found.append((source, batch.inputs[b][here].tolist(), batch.targets[b][here].tolist()))
        assert (batch.targets[b][~layout.valid[b]] == -1).all()
        assert (batch.inputs[b][~layout.valid[b]] == Ids.pad).all()
    return found


def epoch(loader: Loader, number: int = 0) -> list[Batch]:
    return [loader.batch(number, i) for i in range(loader.size(number))]


def expected(examples: Examples) -> list[tuple[list[int], list[int], list[int]]]:
    out = []
    for i in range(len(examples)):
        *sources, texts = examples.ids.values()
        source = [[*side[i].tolist(), Ids.eos] for side in sources]
        text = texts[i].tolist()
        out.append((*(source or [[]]), [Ids.bos, *text], [*text, Ids.eos]))
    return sorted(out)


@pytest.mark.parametrize("way", ["pairs", "packed pairs", "texts"])
def test_an_epoch_is_every_example_once_between_its_special_tokens(way):
    batches = epoch(loader(way))
    assert sorted(p for batch in batches for p in pieces(batch)) == expected(WAYS[way][0])
    assert sorted(i for batch in batches for i in batch.examples) == list(range(101))


def test_packed_texts_lose_no_token():
    found = [piece for batch in epoch(loader("packed texts")) for piece in pieces(batch)]
    assert max(len(inputs) for _, inputs, _ in found) == 30
    targets = sorted(token for _, _, targets in found for token in targets)
    assert targets == sorted(token for _, _, row in expected(WAYS["packed texts"][0]) for token in row)


def test_long_packed_texts_are_split_in_order():
    text = list(range(10, 75))
    config = BatchConfig(batch_tokens=60, max_length=30, packing=True)
    batches = epoch(Loader(Documents(Ragged.of([text]), Ids()), config, seed=0))
    found = sorted((inputs, targets) for batch in batches for _, inputs, targets in pieces(batch))
    assert found == [([1, *text[:29]], text[:30]), (text[29:59], text[30:60]), (text[59:], [*text[60:], 2])]


def test_a_stream_is_cut_in_whole_windows_that_differ_from_epoch_to_epoch():
    stream = WAYS["stream"][0].texts.flat
    starts = []
    for number in range(3):
        batches = epoch(loader("stream"), number)
        for batch in batches:
            assert batch.layout.segments is None
            assert batch.layout.lengths is None
        place = sorted(start for batch in batches for start in batch.examples)
        assert np.diff(place).tolist() == [30] * (len(place) - 1)
        assert place[0] < 30
        assert place[-1] + 60 >= len(stream) - 1
        starts.append(place[0])
        for batch in batches:
            for start, inputs, targets in zip(batch.examples, batch.inputs, batch.targets, strict=True):
                assert inputs.tolist() == stream[start : start + 30].tolist()
                assert targets.tolist() == stream[start + 1 : start + 31].tolist()
    assert len(set(starts)) > 1


def test_batches_fit_the_budget(way):
    for batch in epoch(loader(way)):
        slots = batch.inputs.numel() + (0 if batch.source is None else batch.source.numel())
        assert slots <= 120 or len(batch.inputs) == 1


def test_a_batch_without_padding_is_dense_and_one_with_padding_says_so():
    examples = Documents(Ragged.of([[5] * (3 if i < 80 else i % 7) for i in range(100)]), Ids())
    batches = epoch(Loader(examples, BatchConfig(batch_tokens=40, max_length=20), seed=0))
    assert {batch.layout.lengths is None for batch in batches} == {True, False}
    for batch in batches:
        assert batch.layout.segments is None
        assert (batch.layout.lengths is None) == bool(batch.layout.valid.all())
        if batch.layout.lengths is None:
            assert torch.equal(batch.layout.positions, dense(*batch.inputs.shape).positions)


def test_the_two_sides_of_packed_pairs_share_their_segments():
    several = 0
    for batch in epoch(loader("packed pairs")):
        if batch.layout.segments is not None:
            several += int(batch.layout.segments.max()) > 0
            for b in range(len(batch.inputs)):
                left = batch.layout.segments[b][batch.layout.valid[b]].unique()
                right = batch.source_layout.segments[b][batch.source_layout.valid[b]].unique()
                assert left.tolist() == right.tolist() == list(range(len(left)))
    assert several


def test_overlong_examples_are_cut_or_dropped():
    examples = Pairs(Ragged.of([[5] * 9, [6] * 2, [7] * 2]), Ragged.of([[5] * 2, [6] * 9, [7] * 2]), Ids())

    def run(**values):
        config = from_data(BatchConfig, {"batch_tokens": 100, "max_length": 5, **values})
        made = Loader(examples, config, seed=0)
        return [sorted(p for batch in batches for p in pieces(batch)) for batches in (epoch(made), made.once())]

    whole = ([7, 7, 2], [1, 7, 7], [7, 7, 2])
    cut = [([5, 5, 5, 5, 2], [1, 5, 5], [5, 5, 2]), ([6, 6, 2], [1, 6, 6, 6, 6], [6, 6, 6, 6, 6]), whole]
    assert run() == [cut, cut]
    assert run(packing=True) == [cut, cut]
    assert run(overlong="drop") == [[whole], cut]  # evaluation drops nothing


def test_the_order_is_a_function_of_seed_epoch_and_index(way):
    one, two = loader(way), loader(way)
    torch.manual_seed(1)
    np.random.seed(1)
    last = one.size(5) - 1
    batch = one.batch(5, last)  # first of all, before epoch 0
    assert all(map(same, epoch(one), epoch(two)))
    assert same(batch, two.batch(5, last))
    assert not all(map(same, epoch(one, 0), epoch(one, 1)))
    assert not all(map(same, epoch(one), epoch(loader(way, seed=1))))


def test_no_global_generator_is_touched(way):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    for _ in itertools.islice(loader(way, workers=2).stream(), 30):
        pass
    list(loader(way).once())
    after = torch.get_rng_state(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_change_nothing(way, workers):
    alone = list(itertools.islice(loader(way).stream(), 60))
    helped = list(itertools.islice(loader(way, workers=workers).stream(), 60))
    assert [place for place, _ in alone] == [place for place, _ in helped]
    assert all(same(a, b) for (_, a), (_, b) in zip(alone, helped, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_where_another_stopped(way, workers):
    whole = list(itertools.islice(loader(way).stream(), 50))
    assert whole[-1][0].epoch > 0
    for start in (1, 17, 43):
        rest = itertools.islice(loader(way, workers=workers).stream(whole[start][0]), 50 - start)
        for (place, batch), (expected_place, expected_batch) in zip(rest, whole[start:], strict=True):
            assert place == expected_place
            assert same(batch, expected_batch)


def test_a_cursor_at_the_end_of_an_epoch_is_the_start_of_the_next(way):
    made = loader(way)
    assert next(made.stream(Cursor(0, made.size(0))))[0] == (1, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_places_to_skip_are_left_out_and_nothing_else_moves(way, workers):
    skip = frozenset({Cursor(0, 0), Cursor(0, 3), Cursor(1, 1)})
    whole = list(itertools.islice(loader(way).stream(), 50))
    kept = list(itertools.islice(loader(way, workers=workers).stream(skip=skip), 40))
    expected = [(place, batch) for place, batch in whole if place not in skip][:40]
    assert [place for place, _ in kept] == [place for place, _ in expected]
    assert all(same(a, b) for (_, a), (_, b) in zip(kept, expected, strict=True))


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_share_an_epoch_out_evenly(way, ranks):
    shares = [epoch(loader(way, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    alone = sorted(p for batch in epoch(loader(way)) for p in pieces(batch))
    assert sorted(p for share in shares for batch in share for p in pieces(batch)) == alone


def test_evaluation_is_every_target_once_sorted_and_fixed(way):
    made = loader(way)
    batches = list(made.once())
    assert all(map(same, batches, made.once()))
    targets = sorted(token for batch in batches for token in batch.targets[batch.targets >= 0].tolist())
    if way == "stream":
        assert targets == sorted(WAYS[way][0].texts.flat[1:].tolist())
    else:
        assert targets == sorted(token for _, _, row in expected(WAYS[way][0]) for token in row)
        widths = [(batch.source if batch.source is not None else batch.inputs).shape[1] for batch in batches]
        assert widths == sorted(widths)


@given(n=st.integers(1, 40), longest=st.integers(0, 40), budget=st.integers(16, 99), packing=st.booleans())
def test_any_texts_give_whole_epochs(n, longest, budget, packing):
    config = BatchConfig(batch_tokens=budget, max_length=16, packing=packing)
    for examples in (pairs(n, longest), texts(n, longest)):
        made = Loader(examples, config, seed=0)
        once, trained = (
            sorted(itertools.chain.from_iterable(batch.targets[batch.targets >= 0].tolist() for batch in batches))
            for batches in (made.once(), epoch(made))
        )
        assert once == trained


def test_threads_end_with_the_stream():
    stream = loader("pairs", workers=3).stream()
    next(stream)
    assert any(t.name.startswith("transduce-data") for t in threading.enumerate())
    stream.close()
    assert not any(t.name.startswith("transduce-data") for t in threading.enumerate())


def test_an_error_in_a_thread_is_raised_where_batches_are_read(monkeypatch):
    made = loader("pairs", workers=2)
    monkeypatch.setattr(made.rows, "build", lambda group: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(made.stream())


def test_what_cannot_be_loaded_is_refused():
    with pytest.raises(UserError, match="there is no text to make batches of"):
        Loader(Documents(Ragged.of([]), Ids()), BatchConfig(), seed=0)
    with pytest.raises(UserError, match=r"has 8 tokens, too few for one row of max_length=256.*at most 7"):
        Loader(Stream(Ragged.of([[5] * 8])), BatchConfig(), seed=0).size(0)
    with pytest.raises(UserError, match="has 1 tokens, but predicting takes two; give a longer text"):
        next(Loader(Stream(Ragged.of([[5]])), BatchConfig(), seed=0).once())
    drop = BatchConfig(max_length=4, overlong="drop")
    with pytest.raises(UserError, match=r"gives 0 rows for 1 processes; .* batch\.overlong=drop leaves too little"):
        Loader(Documents(Ragged.of([[5] * 8]), Ids()), drop, seed=0).size(0)
    with pytest.raises(UserError, match="gives 3 rows for 4 processes"):
        Loader(pairs(3), BatchConfig(), seed=0, ranks=4).size(0)
    made = loader("pairs")
    with pytest.raises(UserError, match="every batch of an epoch is to be skipped"):
        next(made.stream(skip=frozenset(Cursor(0, i) for i in range(made.size(0)))))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_length": 1}, "max_length=1 leaves no room for text"),
        ({"batch_tokens": 100}, "batch_tokens=100 is less than max_length=256, one row"),
        ({"workers": -1}, "workers=-1 must be from 0 to 256"),
        ({"overlong": "cut"}, "`overlong` is 'cut', but must be one of truncate, drop"),
        ({"max_tokens": 9}, "unknown key `max_tokens`; did you mean `batch_tokens`?"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        from_data(BatchConfig, values)


def test_multi30k_has_little_padding(shared):
    data = Parallel(path=str(shared / "data/multi30k"), source="de", target="en", valid=("val",)).load()["train"]
    examples = TranslateConfig().examples(data, Readers(Bpe(vocab_size=8000).train(data["target"][::4])))
    for packing in (False, True):
        made = Loader(examples, BatchConfig(packing=packing), seed=0)
        batches = epoch(made)
        slots = sum(batch.inputs.numel() + batch.source.numel() for batch in batches)
        assert 1 - sum(batch.tokens for batch in batches) / slots < 0.05
