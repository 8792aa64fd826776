"""A model that removes noise and is told a caption: a denoiser beside an encoder of texts.

Tested in tests/model/test_illustrator.py.
"""

from torch import Tensor

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.condition import CaptionCondition
from transduce.model.denoiser import Denoiser
from transduce.model.layout import Layout
from transduce.model.models import EncoderOnly, Tower
from transduce.model.process.process import Noisy, Process


class Illustrator(Denoiser):
    """A denoiser told a vector of each caption, which `texts` gives. The source of a batch is captions."""

    def __init__(self, pictures: EncoderOnly, texts: EncoderOnly, condition: CaptionCondition, process: Process):
        super().__init__(pictures.embed, pictures.stack, pictures.head, condition, process)
        self.texts, self.limit, self.guides = texts, texts.limit, True

    @property
    def takes_requests(self) -> bool:
        return True

    def features(self, batch: Batch) -> Tensor:
        if not isinstance(batch.inputs, Noisy) and not batch.inputs.is_floating_point():
            what = "this model draws, so it reads pictures, and texts as captions alone"
            raise UserError(f"{what}; use draw, or model.kind=encoder for texts")
        return super().features(batch)

    def require_source(self, source: object) -> None:
        """Takes captions, and none."""

    def describe(self, ids: Tensor, layout: Layout) -> Tensor:
        """(B, N) ids -> (B, M): a vector of each caption."""
        return self.texts.pooled_head(self.texts.features(Batch(ids, layout, ids)), self.texts.arranged(layout))

    def request_of(self, batch: Batch) -> Tensor:
        """Returns the vectors of the captions of a batch; where it has none, those of no caption."""
        if batch.source is None or batch.source_layout is None:
            return self.no_request(len(batch.layout.positions))
        return self.describe(batch.source, batch.source_layout)

    def no_request(self, rows: int) -> Tensor:
        assert isinstance(self.condition, CaptionCondition)
        return self.condition.none.expand(rows, -1)

    def towers(self) -> list[Tower]:
        texts, pictures = self.texts, self
        return [Tower("texts", texts.embed, texts.stack), Tower("pictures", pictures.embed, pictures.stack)]
