"""Grids that are read at once, and what is left of them."""

import torch

from transduce.config import from_data
from transduce.generate.reading import grid, grouped, read_prompts
from transduce.model.architecture import DecoderConfig
from transduce.model.state import tensors

ROWS = [[5] * 20, [4], [6] * 16, [7] * 3]


def test_rows_stand_with_those_of_like_length():
    assert grouped(ROWS, same=False) == [(20, [0, 1, 2, 3])]
    assert grouped(ROWS, same=True) == [(1, [1]), (16, [2, 3]), (32, [0])]
    assert grouped(ROWS, same=True, least=16) == [(16, [1, 2, 3]), (32, [0])]


def test_a_grid_of_blocks_is_one_of_padded_rows_even_where_it_is_full():
    ids, layout = grid([ROWS[2]], 16, True, torch.device("cpu"))
    assert ids.shape == (1, 16)
    assert layout.lengths is not None
    assert grid([ROWS[2]], 16, False, torch.device("cpu"))[1].lengths is None


@torch.inference_mode()
def test_prompts_read_in_groups_are_those_read_at_once():
    model = from_data(DecoderConfig, {"width": 32, "layers": 2, "mixer": {"kind": "gru"}}).build(11).eval()
    prompts = [[3 + (i * 7) % 8 for i in range(n)] for n in (140, 1, 16, 3, 129)]
    hidden, state, last = read_prompts(model, prompts, 150, None)
    again, other, also = read_prompts(model, prompts, 150, None, same=True)
    torch.testing.assert_close(hidden, again, atol=2e-5, rtol=1e-4)
    for a, b in zip(tensors(state), tensors(other), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)
    assert last.tolist() == also.tolist() == [[len(prompt) - 1] for prompt in prompts]
