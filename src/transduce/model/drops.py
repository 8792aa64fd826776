"""Dropout of recurrent networks beyond that which their parts have, put into these from outside.

A part becomes another one by its class, as `torch.nn.utils.parametrize` does it: its weights keep their names, and in
evaluation it computes what it did, to the bit. Masks are drawn where they are used, from the default generators, so a
pass that is repeated with the same states of these has the same ones.

Tested in tests/objectives/test_regularised.py.
"""

from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.embed.embedding import Embedding
from transduce.model.embed.table import Table
from transduce.model.layout import Layout
from transduce.model.mixers.lstm import LSTM
from transduce.model.mixers.recurrent import product
from transduce.model.models import Model
from transduce.model.ops.dropout import dropout
from transduce.model.ops.locked import locked_dropout, word_factors
from transduce.model.ops.recurrent import Cell, begin, fused, scan
from transduce.model.positions.position import Positions
from transduce.model.residual.added import Added


class Drops(NamedTuple):
    """Probabilities. weights: of the numbers of U. words: of words. inputs, between: of features, see below."""

    weights: float = 0.0
    words: float = 0.0
    inputs: float = 0.0
    between: float = 0.0


class WeightDropLSTM(LSTM):
    """An LSTM that drops numbers of U, the map from hidden units to hidden units: one mask for all rows and tokens of
    a pass.   Wan et al. 2013; Merity, Keskar & Socher 2017, arXiv:1708.02182, sec. 2."""

    weight_dropout: float = 0.0

    def run(self, x: Tensor, layout: Layout, state: Any) -> tuple[Tensor, Any]:
        if not self.training or not self.weight_dropout:
            return super().run(x, layout, state)
        U, bias, fresh = (
            dropout(self.hidden.weight, self.weight_dropout, training=True),
            self.hidden.bias,
            state is None,
        )
        if fresh:
            state = self.init_state(x.shape[0], x.shape[1], device=x.device, dtype=U.dtype)
        if not self.direct or self.kernel is None or layout.segments is not None:

            def step(a: Tensor, s: Cell) -> Cell:
                return self.cell(a, product(s.h, U, bias), s.c, self.peepholes)

            return scan(step, self.products(x), layout, state)
        state = state if fresh else begin(layout, 0, state)
        padding = None if layout.lengths is None else ~layout.valid
        hidden = cast(nn.Linear, SimpleNamespace(weight=U, bias=bias))
        y, after = fused(self.kernel, x, state, self.input, hidden, padding)
        if layout.lengths is None:
            return y, after
        last = y[torch.arange(x.shape[0], device=x.device), layout.lengths - 1].to(state.h.dtype)
        return y, after._replace(h=torch.where((layout.lengths > 0)[:, None], last, state.h))


class WordDropTable(Table):
    """A table that drops whole words of a pass, wherever they stand, and then features of a row, in all its tokens."""

    words: float = 0.0
    inputs: float = 0.0

    def forward(self, ids: Tensor, layout: Layout) -> Tensor:
        x = super().forward(ids, layout)
        if not self.training:
            return x
        x = x * word_factors(ids, self.weight.shape[0], self.words, x) if self.words else x
        return locked_dropout(x, self.inputs, training=True)


class LockedAdded(Added):
    """The output of a sublayer, with the same features dropped in all tokens of a row before it joins the stream."""

    locked: float = 0.0

    def forward(self, y: Tensor) -> Tensor:
        return locked_dropout(super().forward(y), self.locked, self.training)


def put(model: Model, drops: Drops, what: str) -> None:
    """Makes the parts of a model drop so in training. May be called again, with other numbers.

    weights: of U of every LSTM. words, inputs: of what comes out of its embeddings. between: of what every sublayer of
    a stack gives but the last one. what: who asks, for a refusal. Raises UserError where no part can drop so.
    """
    stacks = model.stacks()
    cells = list(dict.fromkeys(part for stack in stacks for part in stack.modules() if isinstance(part, LSTM)))
    if drops.weights and not cells:
        raise UserError(
            f"{what} with weights={drops.weights} drops numbers of LSTMs, of which this model has none; use "
            "model.kind=decoder with model.mixer=lstm, or objective.weights=0"
        )
    for cell in cells:
        cell.__class__ = WeightDropLSTM
        cast(WeightDropLSTM, cell).weight_dropout = drops.weights
    for embed in dict.fromkeys(tower.embed for tower in model.towers()):
        if not drops.words and not drops.inputs and not isinstance(embed, WordDropTable):
            continue
        require_plain(embed, drops, what)
        embed.__class__ = WordDropTable
        own = cast(WordDropTable, embed)
        own.words, own.inputs = drops.words, drops.inputs
    for stack in stacks:
        joints = [part for block in stack for one in block.residuals for part in one.modules()]
        every = list(dict.fromkeys(part for part in joints if isinstance(part, Added)))
        for joint in every:
            joint.__class__ = LockedAdded
            cast(LockedAdded, joint).locked = 0.0 if joint is every[-1] else drops.between


def require_plain(embed: Embedding, drops: Drops, what: str) -> None:
    """Raises UserError unless an embedding is a table and, where words are dropped, its vectors are those alone."""
    way = "use model.kind=decoder with model.embedding=table and model.positions=none"
    if not isinstance(embed, Table):
        raise UserError(
            f"{what} drops words and features of a table; {way}, or objective.words=0 and objective.inputs=0"
        )
    more = embed.types is not None or embed.norm is not None or embed.project is not None
    if drops.words and (more or type(embed.positions).add is not Positions.add):
        sentence = (
            f"{what} with words={drops.words} drops vectors of words before anything is added to them or made of them"
        )
        raise UserError(f"{sentence}; {way}, or objective.words=0")
