"""Samples to log-mel frames, by the conventions of Whisper, of Kaldi, and a plain one. Formulas without parameters."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scale = Literal["htk", "slaney"]
FLOOR = float(np.finfo(np.float32).eps)  # the least power whose logarithm Kaldi takes


def mel(hertz: Array, scale: Scale) -> Array:
    """htk: 2595 log10(1 + f / 700) (O'Shaughnessy 1987). slaney: f / (200 / 3), from 1000 Hz on logarithmic.

    The second is that of Slaney's Auditory Toolbox (1998).
    """
    if scale == "htk":
        return 2595 * np.log10(1 + hertz / 700)
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def hertz(mels: Array, scale: Scale) -> Array:
    """Returns the inverse of `mel`."""
    if scale == "htk":
        return 700 * (10 ** (mels / 2595) - 1)
    return np.where(mels < 15, 200 * mels / 3, 1000 * np.exp(np.log(6.4) * (mels - 15) / 27))


def filters(
    size: int, rate: int, mels: int, low: float, high: float, scale: Scale, *, area: bool = False, bent: bool = False
) -> Array:  # fmt: skip
    """Returns (size / 2 + 1, mels): triangles over the frequencies of a Fourier transform of `size` samples.

    Their corners stand evenly on the mel scale from `low` to `high` hertz.
    area: each is divided by half its width, so that all have one area (Slaney).
    bent: their sides are straight on the mel scale, not in hertz (Kaldi).
    """
    ends: list[float] = mel(np.array([low, high]), scale).tolist()
    corners = np.linspace(ends[0], ends[1], mels + 2)
    bins = np.linspace(0, rate / 2, size // 2 + 1)
    edges, at = (corners, mel(bins, scale)) if bent else (hertz(corners, scale), bins)
    rising = (at[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - at[:, None]) / np.diff(edges)[1:]
    weights = np.maximum(0, np.minimum(rising, falling))
    return weights * (2 / (edges[2:] - edges[:-2])) if area else weights


def hann(size: int) -> Array:
    """Returns sin^2(pi n / size)."""
    return np.sin(np.pi * np.arange(size) / size) ** 2


def povey(size: int) -> Array:
    """Returns (sin^2(pi n / (size - 1)))^0.85, the window of Kaldi."""
    return np.sin(np.pi * np.arange(size) / max(size - 1, 1)) ** 1.7


def cut(x: Array, size: int, hop: int) -> Array:
    """(N,) -> (1 + (N - size) // hop, size): windows that begin `hop` samples apart."""
    return np.lib.stride_tricks.sliding_window_view(x, size)[::hop]


def power(windows: Array, size: int) -> Array:
    """(T, W) -> (T, size / 2 + 1): |Fourier transform|^2 of windows with zeros behind them."""
    spectrum = np.fft.rfft(windows, size)
    return spectrum.real**2 + spectrum.imag**2


def plain(x: Array, window: int, hop: int, size: int, bank: Array) -> Array:
    """(N,) -> (1 + N // hop, mels): the natural logarithm of power, at least 1e-6, of windows around samples."""
    around = np.pad(x, (window // 2, window - window // 2))
    return np.log(np.maximum(power(cut(around, window, hop) * hann(window), size) @ bank, 1e-6))


def whisper(x: Array, window: int, hop: int, bank: Array) -> Array:
    """(N,) -> (N // hop, mels): log10 of power, at most 8 below its greatest, plus 4, over 4.

    Radford et al. 2022, arXiv:2212.04356, and its code. The sound is mirrored at both ends.
    """
    around = np.pad(x, window // 2, mode="reflect")
    logs = np.log10(np.maximum(power(cut(around, window, hop) * hann(window), window) @ bank, 1e-10))[:-1]
    return (np.maximum(logs, logs.max() - 8) + 4) / 4


def kaldi(x: Array, window: int, hop: int, size: int, bank: Array) -> Array:
    """(N,) -> (1 + (N - window) // hop, mels): the natural logarithm of power, as `compute-fbank-feats` has it.

    Povey et al. 2011. Samples are those of 16 bits; each window loses its mean and 0.97 of the sample before.
    """
    windows = cut(x * 2**15, window, hop)
    windows = windows - windows.mean(1, keepdims=True)
    before = np.concatenate([windows[:, :1], windows[:, :-1]], 1)
    windows = (windows - 0.97 * before) * povey(window)
    return np.log(np.maximum(power(windows, size) @ bank, FLOOR))
