"""A model a block at a time gives what it gives at once, to the last bit."""

import torch

from transduce.config import from_data
from transduce.generate.slices import drained, featured, stepped
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded


@torch.inference_mode()
def test_steps_and_features_are_those_of_the_model():
    ids, source = torch.randint(3, 50, (2, 13)), torch.randint(3, 50, (2, 7))
    layout, long = right_padded(torch.tensor([13, 9]), 13), dense(2, 7)
    for kind in (DecoderConfig, EncoderDecoderConfig):
        model = from_data(kind, {"width": 32, "layers": 3}).build(50).eval()
        batch = Batch(ids, layout, ids, *((source, long) if model.takes_source else ()))
        assert drained(featured(model, batch)).equal(model.features(batch))
        memory = model.remember(source, long) if model.takes_source else None
        work = stepped(model, ids, layout, model.init_state(2, 13), memory)
        assert len([next(work) for _ in range(3)]) == 3, "one stop after every block"
        y, _ = drained(work)
        assert y.equal(model.step(ids, layout, model.init_state(2, 13), memory)[0])
