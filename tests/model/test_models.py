"""Configurations that have no meaning are refused, and windows do not reach into a source."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from transduce.config import from_data
from transduce.errors import UserError
from transduce.model.architecture import EncoderDecoderConfig
from transduce.model.batch import Batch
from transduce.model.layout import dense, right_padded
from transduce.model.ops.attention import attend


@pytest.mark.parametrize("window", [{"window": 3}, {"window": 2, "sinks": 1}])
def test_a_windowed_model_reads_all_of_a_short_source(window: dict[str, int]) -> None:
    model = from_data(EncoderDecoderConfig, {"width": 16, "layers": 1, "mixer": {"heads": 2, **window}}).build(9).eval()
    y, source, padded = torch.arange(8)[None], torch.tensor([[5, 2]]), torch.tensor([[5, 2, 0, 0, 0]])
    alone = Batch(y, dense(1, 8), y, source, dense(1, 2))
    with_padding = Batch(y, dense(1, 8), y, padded, right_padded(torch.tensor([2]), 5))
    learning = model.features(alone)
    torch.testing.assert_close(learning, model.features(with_padding))
    with torch.no_grad():
        torch.testing.assert_close(learning, model.features(alone))


@pytest.mark.parametrize("training", [True, False])
def test_a_query_that_sees_nothing_gets_zeros_and_gives_no_gradient(training: bool) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 2, 4, requires_grad=training) for _ in range(3))
    mask = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    mask[0, 0, 1] = False
    y = attend(q, k, v, mask)
    expected = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), mask)
    torch.testing.assert_close(y, expected.transpose(1, 2).flatten(2))
    assert not y[0, 1].any()
    if training:
        y.square().sum().backward()
        assert q.grad is not None
        assert not q.grad[0, 1].any()
        assert q.grad.isfinite().all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"mixer": {"heads": 0}}, "heads=0 and kv_heads=None must be at least 1"),
        ({"mixer": {"heads": 4, "kv_heads": 3}}, "heads=4 is not a multiple of kv_heads=3; try kv_heads=2"),
        ({"width": 20, "mixer": {"heads": 3}}, "heads=3 does not divide width=20; try heads=2"),
        ({"mixer": {"window": 0}}, "window=0 lets no token see itself"),
        ({"mixer": {"dropout": 2.0}}, "dropout=2.0 is not a probability below 1"),
        ({"mixer": {"size": 0}}, "size=0 must be at least 1"),
        ({"mixer": {"sinks": -1}}, "sinks=-1 must be at least 0"),
        ({"feedforward": {"hidden": 0}}, "hidden=0 must be at least 1"),
        ({"feedforward": {"kind": "gated", "dropout": -1}}, "dropout=-1.0 is not a probability"),
        ({"residual": {"dropout": 1}}, "dropout=1.0 is not a probability below 1"),
        ({"layers": 0}, "layers=0 must be at least 1 layer"),
        ({"layers": []}, r"layers=\[\] must be at least 1 layer"),
        ({"layers": [{"times": 0}]}, "times=0 must be at least 1"),
        ({"encoder_layers": 0}, "encoder_layers=0 must be at least 1 layer"),
        ({"decoder_layers": []}, r"decoder_layers=\[\] must be at least 1 layer"),
        ({"positions": {"limit": 0}}, "limit=0 must be at least 1"),
        ({"positions": {"kind": "rotary", "limit": -1}}, "limit=-1 must be at least 1"),
        ({"cross": {"kind": "attention", "window": 4}}, "cross has a window, but places in a source are not"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(EncoderDecoderConfig, {"width": 32, **data})
