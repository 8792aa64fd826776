"""Connectionist temporal classification: log p of a text, summed over all ways in which steps spell it.

Graves et al. 2006, "Connectionist Temporal Classification". A step says a label, or blank; a way is read by joining
equal neighbours and then leaving out blanks.

Tested in tests/objectives/test_ctc.py.
"""

import torch.nn.functional as F
from torch import Tensor


def steps_needed(targets: Tensor) -> Tensor:
    """Returns the fewest steps in which each text can be spelt: (B,) int64. targets: (B, L) labels, -1 behind the last.

    A blank must stand between two equal labels.
    """
    again = (targets[:, 1:] == targets[:, :-1]) & (targets[:, 1:] >= 0)
    return (targets >= 0).sum(1) + again.sum(1)


def log_p(logits: Tensor, steps: Tensor, targets: Tensor, blank: int) -> Tensor:
    """Returns log p of each text in nats, (B,), with a gradient; minus infinity where its steps are too few.

    logits: (B, T, C) float32 or float64. steps: (B,) int64, those at the beginning of a row that count.
    targets: (B, L) labels, -1 behind the last.
    """
    lengths = (targets >= 0).sum(1)
    logs = logits.log_softmax(-1).transpose(0, 1)
    return -F.ctc_loss(logs, targets.clamp(min=0), steps, lengths, blank, reduction="none", zero_infinity=False)


def spellable(steps: Tensor, targets: Tensor) -> Tensor:
    """Returns (B,) bool: the text has a way in so many steps."""
    return (steps >= steps_needed(targets)) & (steps > 0)
