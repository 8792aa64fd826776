"""Two encoders side by side, whose vectors can be compared: of pictures, and of texts.

Tested in tests/model/test_towers.py.
"""

from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.heads.head import Head
from transduce.model.models import NO_STEPS, EncoderOnly, Model, OneTower, Tower
from transduce.model.state import State

NOT_TEXT = "this model reads pictures with a tower of its own; give that of texts, which `features` asks, ids"


class Towers(Model):
    """An encoder of pictures and one of texts; nothing moves between them.   Radford et al. 2021, arXiv:2103.00020.

    Each has a head of its own, which gives a vector. As a model it reads texts: `features`, `arranged` and `head` are
    those of `texts`, and `sides` gives both.
    """

    writes = False

    def __init__(self, pictures: EncoderOnly, texts: EncoderOnly) -> None:
        super().__init__()
        self.pictures, self.texts, self.limit = pictures, texts, texts.limit

    @property
    def head(self) -> Head | None:  # type: ignore[override]
        return self.texts.head

    def features(self, batch: Batch) -> Tensor:
        if batch.inputs.is_floating_point():
            raise UserError(NOT_TEXT)
        return self.texts.features(batch)

    def init_state(self, batch: int, max_len: int) -> State:
        raise UserError(NO_STEPS)

    def step(self, ids: Tensor, layout: object, state: State, memory: State = None) -> tuple[Tensor, State]:
        raise UserError(NO_STEPS)

    def towers(self) -> list[Tower]:
        own = (("pictures", self.pictures), ("texts", self.texts))
        return [Tower(name, one.embed, one.stack) for name, one in own]


def sides(model: Model) -> tuple[Model, Model] | None:
    """Returns what reads the first of a pair, and what reads the second; where there is one tower, it reads both.

    None: the second tower reads what the first one wrote, so they are no pair.
    """
    if isinstance(model, Towers):
        return model.pictures, model.texts
    return (model, model) if isinstance(model, OneTower) else None
