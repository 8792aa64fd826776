import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transduce.data.columns import Columns
from transduce.data.examples import Ragged, ids, tokens
from transduce.data.readers.reader import Readers
from transduce.tasks.translate import TranslateConfig
from transduce.text.byte import Byte

BYTES = Byte().train([])


@given(rows=st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=9), max_size=20))
def test_rows_come_back(rows):
    ragged = Ragged.of(rows)
    assert [ragged[i].tolist() for i in range(len(ragged))] == rows
    assert ragged.lengths.tolist() == list(map(len, rows))
    assert ragged.flat.dtype == np.int32
    assert ragged.offsets.dtype == np.int64


def test_texts_are_encoded_in_chunks_as_one_by_one():
    texts = [f"text {'x' * (i % 5)}" for i in range(23)] + [""]
    ragged = ids(texts, BYTES, chunk=5)
    assert [ragged[i].tolist() for i in range(len(ragged))] == [BYTES.encode(text) for text in texts]


def test_both_sides_are_encoded():
    examples = TranslateConfig().examples(Columns({"source": ["a", ""], "target": ["bc", "d"]}), Readers(BYTES))
    assert len(examples) == 2
    assert tokens(examples) == 4
    assert examples.ids["source"][1].tolist() == []
    assert list(examples.ids) == ["source", "target"]
