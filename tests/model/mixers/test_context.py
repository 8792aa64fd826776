"""The last token as a context vector, against its formula."""

import torch

from transduce.config import from_data
from transduce.inspect.combinations import built
from transduce.model.architecture import EncoderDecoderConfig
from transduce.model.layout import dense, right_padded
from transduce.model.mixers.context import Context, Last
from transduce.model.models import EncoderDecoder


def test_every_token_reads_the_last_real_one() -> None:
    torch.manual_seed(0)
    mixer = Context(6, bias=True).double()
    source, x = torch.randn(2, 5, 6).double(), torch.randn(2, 3, 6).double()
    read = mixer.read(x, dense(2, 3), mixer.write(source, right_padded(torch.tensor([5, 2]), 5)))
    last = torch.stack([source[0, 4], source[1, 1]])
    expected = (last @ mixer.out.weight.T + mixer.out.bias)[:, None].expand(-1, 3, -1)
    torch.testing.assert_close(read, expected, atol=1e-14, rtol=0)


def test_the_context_reaches_every_step() -> None:
    """Cho et al. 2014: the summary is an input of each step, so taking it away later changes what comes later."""
    data = {"width": 16, "layers": 1, "mixer": "gru", "cross": "context", "cross_place": "before", "positions": "none"}
    model = built(from_data(EncoderDecoderConfig, data))
    assert isinstance(model, EncoderDecoder)
    ids, source = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        memory = model.remember(source, dense(1, 3))
        context = next(part for part in memory[0] if isinstance(part, Last))
        without = ((*(Last(torch.zeros_like(context.token)) if p is context else p for p in memory[0]),),)
        state, outputs = model.init_state(1, 4), list[list[torch.Tensor]]()
        for later in (memory, without):
            state, found = model.init_state(1, 4), list[torch.Tensor]()
            for t in range(4):
                hidden, state = model.step(ids[:, [t]], dense(1, 1, start=t), state, later if t else memory)
                found.append(hidden)
            outputs.append(found)
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(outputs[0][1:], outputs[1][1:], strict=True))
