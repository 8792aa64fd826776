"""Sublayers side by side, and what a block keeps between calls."""

import torch

from transduce.model.block import Block
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.norms.norm import LayerNorm
from transduce.model.positions.position import Positions
from transduce.model.residual.norm_first import PreNormConfig
from transduce.model.stack import Repeat, Stack
from transduce.model.state import assign, insert, nbytes, select, snapshot, tensors
from transduce.model.sublayers import Cross, Feed, Mix, Sum

WIDTH = 12


def parallel_block() -> Block:
    """The block of GPT-J, with attention to a source in the same sum."""
    mix, cross = (AttentionConfig(heads=3).build(WIDTH, Positions()) for _ in range(2))
    modules = {"mix": mix, "feed": MLPConfig(hidden=20).build(WIDTH), "cross": cross}
    parts = Sum((Mix(), Feed(), Cross()))
    return Block([(PreNormConfig(dropout=0.0).build(WIDTH, LayerNorm()), parts)], modules)


def test_a_sum_is_the_sum_and_decodes_step_by_step() -> None:
    torch.manual_seed(0)
    block = parallel_block()
    x, source = torch.randn(2, 7, WIDTH), torch.randn(2, 5, WIDTH)
    with torch.no_grad():
        memory = block.remember(source, right_padded(torch.tensor([5, 3]), 5))
        whole, _ = block(x, dense(2, 7), None, memory)
        sums, residual = block.sublayers[0], block.residuals[0]
        assert isinstance(sums, Sum)
        h = residual.norm(x)
        each = [part(block, h, dense(2, 7), None, m)[0] for part, m in zip(sums.parts, memory[0], strict=True)]
        torch.testing.assert_close(whole, x + each[0] + each[1] + each[2])
        state = block.init_state(2, 7, device=torch.device("cpu"), dtype=torch.float32)
        for t in range(7):
            y, state = block(x[:, [t]], dense(2, 1, start=t), state, memory)
            torch.testing.assert_close(y[:, 0], whole[:, t], atol=2e-5, rtol=1e-4)


def test_products_are_lowered_and_the_stream_is_not() -> None:
    """Under autocast a sublayer is given bfloat16, once for all its products; the stream stays float32."""
    block, seen = parallel_block(), list[torch.dtype]()
    for linear in (block.mixer("mix").q, block.feed.up, block.mixer("cross").q):  # type: ignore[union-attr]
        linear.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))  # type: ignore[union-attr]
    x = torch.randn(2, 7, WIDTH)
    memory = block.remember(torch.randn(2, 5, WIDTH), dense(2, 5))
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = block(x, dense(2, 7), None, memory)
    assert seen == [torch.bfloat16] * 3
    assert y.dtype == torch.float32
    block(x, dense(2, 7), None, memory)
    assert seen[3:] == [torch.float32] * 3


def test_a_repeated_block_has_one_set_of_weights_and_a_memory_for_each_time() -> None:
    torch.manual_seed(0)
    block = parallel_block()
    stack = Stack([Repeat(block, 3)], torch.nn.Identity(), torch.nn.Identity())
    assert len(list(stack.parameters())) == len(list(block.parameters()))
    source = torch.randn(2, 5, WIDTH)
    memory = stack.remember(source, dense(2, 5))
    assert len(memory) == 3
    x = torch.randn(2, 4, WIDTH)
    with torch.no_grad():
        expected = x
        for _ in range(3):
            expected, _ = block(expected, dense(2, 4), None, memory[0])
        torch.testing.assert_close(stack(x, dense(2, 4), None, memory)[0], expected)


def test_the_five_functions_of_a_state() -> None:
    block = parallel_block()
    state = block.init_state(3, 4, device=torch.device("cpu"), dtype=torch.float32)
    filled = block(torch.randn(3, 4, WIDTH), dense(3, 4), state, block.remember(torch.randn(3, 2, WIDTH), dense(3, 2)))
    state = filled[1]
    saved = snapshot(state)
    assert nbytes(saved) == sum(t.numel() * t.element_size() for t in tensors(state)) > 0
    swapped = select(state, torch.tensor([2, 1, 0]))
    for a, b in zip(tensors(swapped), tensors(state), strict=True):
        assert torch.equal(a, b.flip(0))
    mixed = insert(state, torch.tensor([1]), select(state, torch.tensor([0])))
    for a, b in zip(tensors(mixed), tensors(state), strict=True):
        assert torch.equal(a, b[[0, 0, 2]])
    target = snapshot(state)
    addresses = [t.data_ptr() for t in tensors(target)]
    assert assign(target, swapped) is target
    assert [t.data_ptr() for t in tensors(target)] == addresses
    for a, b in zip(tensors(target), tensors(swapped), strict=True):
        assert torch.equal(a, b)
