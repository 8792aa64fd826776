"""Paths from inputs to outputs: which there are, and over how many operations."""

import math

import torch
from torch import Tensor
from torch.autograd.graph import Node


def reach(x: Tensor, y: Tensor) -> Tensor:
    """Returns (T, T) bool: dy_i / dx_j is not 0, of y (T, T, M) computed from x (T, T, M) row by row.

    Every row of x is the same sequence: row i is asked for y_i, so that one backward pass is enough. A random sum over
    the features of y_i stands for them all. The graph is kept.
    """
    total = (y.diagonal() * torch.randn_like(y.diagonal())).sum()
    [gradient] = torch.autograd.grad(total, x, retain_graph=True)
    return (gradient != 0).any(-1)


def depth(y: Tensor, x: Tensor) -> float:
    """Returns the operations in the longest chain of the autograd graph from y to the leaf x (-infinity: no chain).

    A kernel is one operation, whatever it does inside.
    """
    assert y.grad_fn is not None
    longest, waiting = dict[Node, float](), [y.grad_fn]
    while waiting:
        node = waiting[-1]
        after = [follower for follower, _ in node.next_functions if follower is not None]
        unknown = [follower for follower in after if follower not in longest]
        if unknown:
            waiting += unknown
            continue
        is_input = getattr(node, "variable", None) is x
        longest[node] = 0 if is_input else 1 + max((longest[n] for n in after), default=-math.inf)
        waiting.pop()
    return longest[y.grad_fn]
