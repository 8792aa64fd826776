"""The text that steps of labels and blank spell: that of the likeliest way, or the likeliest of all."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FAR = 15.0  # nats below the likeliest label of a step, from which on one is not tried


class Spelt(NamedTuple):
    """A text as labels. log_p: of all ways of spelling it that were looked at, in nats."""

    labels: tuple[int, ...]
    log_p: float


class Ends(dict[tuple[int, ...], tuple[float, float]]):
    """log p of the ways of spelling each text that end in blank, and of those that do not."""

    def add(self, text: tuple[int, ...], in_blank: float, in_label: float) -> None:
        """Adds further ways, where there are any."""
        if in_blank == in_label == -np.inf:
            return
        a, b = self.get(text, (-np.inf, -np.inf))
        self[text] = float(np.logaddexp(a, in_blank)), float(np.logaddexp(b, in_label))


def greedy(log_p: NDArray[np.float64], blank: int) -> Spelt:
    """Returns the text of the likeliest label of every step, and log p of that one way. log_p: (T, C)."""
    best = log_p.argmax(1)
    fresh = np.concatenate([[True], best[1:] != best[:-1]])
    labels = best[fresh & (best != blank)]
    return Spelt(tuple(labels.tolist()), float(log_p.max(1).sum()))


def prefix_beam(log_p: NDArray[np.float64], blank: int, beam_size: int, far: float = FAR) -> list[Spelt]:
    """Returns the likeliest texts, best first: of each beginning all ways are added up, and the best ones go on.

    Graves et al. 2012; Hannun et al. 2014, arXiv:1408.2873, alg. 1, without a language model. log_p: (T, C).
    far: see `FAR`. The cost grows with T beam_size and with the labels that are tried.
    """
    none = -np.inf
    beams = Ends({(): (0.0, none)})
    for step in log_p:
        tried = [int(c) for c in np.flatnonzero(step >= step.max() - far) if c != blank]
        grown = Ends()
        for text, (in_blank, in_label) in beams.items():
            either, last = float(np.logaddexp(in_blank, in_label)), text[-1] if text else None
            grown.add(text, either + float(step[blank]), none if last is None else in_label + float(step[last]))
            for label in tried:
                grown.add((*text, label), none, (in_blank if label == last else either) + float(step[label]))
        ranked = sorted(grown, key=lambda text: (-float(np.logaddexp(*grown[text])), text))
        beams = Ends({text: grown[text] for text in ranked[:beam_size]})
    return [Spelt(text, float(np.logaddexp(*ends))) for text, ends in beams.items()]
