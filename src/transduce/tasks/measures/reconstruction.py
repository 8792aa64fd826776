"""The measure of reconstructions of pictures.

Tested in tests/tasks/test_autoencode.py.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from transduce.tasks.measures.measure import Measure, Measured, Outcome, interval

LEAST = 1e-10  # mean square of pixels from 0 to 1; below it a picture counts as 100 dB


class Errors(NamedTuple):
    """The mean squares of a picture, of pixels from 0 to 1: of its reconstruction, and of its mean colour."""

    reconstruction: float
    colour: float


def decibels(mean_square: float) -> float:
    """-10 log10(mean square): the peak, 1, to the error."""
    return -10 * math.log10(max(mean_square, LEAST))


@dataclass(frozen=True, kw_only=True)
class PSNR(Measure):
    """The peak signal-to-noise ratio, 10 log10(1 / mean square of the error of pixels from 0 to 1), of each picture.

    In dB, the mean over pictures. The baseline paints every picture in its own mean colour.
    """

    kind: ClassVar[str] = "psnr"
    label: ClassVar[str] = "PSNR"
    of_what: ClassVar[str] = "reconstruction"

    def of(self, outcome: Outcome, draws: int = 0) -> Measured:
        rows: list[Errors] = [sample.beside for sample in outcome.samples]
        values, plain = (np.array([decibels(x) for x in column]) for column in zip(*rows, strict=True))
        ends = interval(lambda some: float(values[some].mean()), len(values), draws)
        return Measured(float(values.mean()), *ends, baseline=("painting each in its mean colour", float(plain.mean())))

    def text(self, value: float) -> str:
        return f"{value:.2f} dB"
