"""Where a training stands survives being written as JSON, the generators with it, to the last bit."""

import json

import numpy as np
import pytest
import torch

from transduce.data.loader import Cursor
from transduce.errors import UserError
from transduce.runs.generators import rng_state, set_rng_state
from transduce.runs.position import Position, from_state, to_state
from transduce.runs.versions import made_with, versions

CPU = torch.device("cpu")


@pytest.mark.parametrize("score", [None, (0.1 + 0.2, -3e-17)])
def test_it_comes_back_from_json(score: tuple[float, float] | None) -> None:
    stands = Position(
        7, Cursor(2, 5), [Cursor(0, 1)], 123, {"loss": 0.1 + 0.2}, score, None if score is None else 4, 1, 99
    )  # fmt: skip
    torch.manual_seed(5)
    torch.rand(3)
    state = json.loads(json.dumps(to_state(stands, rng_state(CPU), healthy=True)))
    expected = torch.rand(4)
    found, rng = from_state(state)
    assert found == stands
    assert isinstance(found.cursor, Cursor)
    set_rng_state(rng, CPU)
    assert torch.equal(torch.rand(4), expected)
    assert state["healthy"] is True
    assert state["made_with"] == made_with()


@pytest.mark.parametrize("broken", [{}, {"rng": 3}, {"rng": {"cpu": "*"}}, {"rng": {}, "step": 1}])
def test_anything_else_is_one_sentence(broken: dict) -> None:
    with pytest.raises(UserError, match=r"does not say where training stood .* remove that checkpoint"):
        from_state(broken)


def test_it_names_what_the_last_bits_depend_on() -> None:
    found = versions()
    assert found["torch"] == torch.__version__.split("+")[0] or found["torch"] == torch.__version__
    assert found["numpy"] == np.__version__
    assert {"python", "transduce", "safetensors", "tokenizers"} <= found.keys()
    assert found.items() <= made_with().items()
