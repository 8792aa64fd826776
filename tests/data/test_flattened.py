"""Episodes as ids: each is predicted once an epoch from those before it, and no value is read."""

import numpy as np
import pytest

from transduce.data.examples import Ragged
from transduce.data.flattened import Code, Flattened
from transduce.data.loader import BatchConfig
from transduce.errors import UserError

CODE = Code((3, 4, 2, 5, 6), 2, 1)
LENGTHS = [3, 17, 1, 8, 25]
DRAW = np.random.default_rng(0)
EPISODES = [DRAW.integers(CODE.sizes, size=(n, 5)) + CODE.starts for n in LENGTHS]


def examples(context: int) -> Flattened:
    return Flattened(Ragged.of(EPISODES), CODE, context)  # type: ignore[arg-type]


def test_no_two_slots_share_an_id() -> None:
    ids = [start + i for start, size in zip(CODE.starts, CODE.sizes, strict=True) for i in range(size)]
    assert [*ids, CODE.end, CODE.blank] == list(range(CODE.size))


@pytest.mark.parametrize("context", [1, 4, 30])
def test_every_id_is_a_target_once_an_epoch_behind_what_stood_before_it(context: int) -> None:
    rows = examples(context).rows(BatchConfig(batch_tokens=150, max_length=150), drop=False)
    for groups in (rows.fixed(), rows.plan(np.random.default_rng(1))):
        seen = list[tuple[int, int]]()
        for group in groups:
            batch = rows.build(group)
            for row, episode in enumerate(batch.examples):
                text = [*EPISODES[episode].ravel().tolist(), CODE.end]
                real = batch.layout.positions[row] >= 0
                first = 5 * int(group[row, 0] - np.cumsum([0, *LENGTHS])[episode])
                inputs, targets = batch.inputs[row], batch.targets[row]
                count = int(real.sum())
                assert real[:count].all()
                assert (targets[count:] == -1).all()
                given = [CODE.blank if i % 5 == 4 else text[first + i] for i in range(count)]
                assert inputs[:count].tolist() == given
                assert targets[:count].tolist() == text[first + 1 : first + 1 + count]
                seen += [(episode, first + 1 + i) for i in range(count)]
        assert sorted(seen) == [(i, t) for i, n in enumerate(LENGTHS) for t in range(1, 5 * n + 1)]


def test_a_row_too_short_for_the_context_is_refused() -> None:
    with pytest.raises(UserError, match=r"task\.context=31 steps take 155 slots, but batch\.max_length=150"):
        examples(31).rows(BatchConfig(batch_tokens=900, max_length=150), drop=False)
