"""The blocks of a model one by one, and a map beside each that restores what the block was given.

Tested in tests/objectives/test_layer_wise.py.
"""

from transduce.errors import UserError
from transduce.model.block import Block
from transduce.model.models import Model
from transduce.model.roles import roles

RESTORE = "restore_{}"  # the head that restores what block number ..., from 1, was given


def each_block(model: Model) -> list[Block]:
    """Returns those of all stacks, each once, in the order in which they are first applied."""
    return list(dict.fromkeys(block for stack in model.stacks() for block in stack))


def width_of_block(block: Block) -> int:
    """Returns M, the features of the vectors that a block maps: of what it adds, or of a state that is added itself.

    Raises UserError for a block without a linear map.
    """
    known, parameters = roles(block), dict(block.named_parameters())
    for role in ("writes", "recurrent"):
        for name, parameter in parameters.items():
            if known[name] == role:
                return parameter.shape[0 if role == "writes" else 1]
    raise UserError("a layer without a linear map has nothing to train alone; use tune=full")
