"""Sounds: decoded, brought to one rate, and to log-mel frames of mean 0 and deviation 1."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from transduce.data import spectra, waves
from transduce.data.examples import Ragged
from transduce.data.readers.files import each, named
from transduce.data.readers.reader import Reader
from transduce.errors import UserError, require_at_least, require_at_most

Convention = Literal["plain", "whisper", "kaldi"]
MELS: dict[str, int] = {"plain": 40, "whisper": 80, "kaldi": 80}
RATE = 16_000  # samples a second: what Whisper reads, and the most that follows from the data
FITTED = 2048  # sounds of which mean and deviation are taken, evenly spread over the training data


@dataclass(frozen=True, kw_only=True)
class LogMel(Reader):
    """A sound a row: the name of a file. Read as (T, mels) frames (x - mean) / deviation.

    x is the logarithm of the power in each of a few bands of frequency.

    convention: what is computed. "plain": windows around samples, the natural logarithm. "whisper": as
        `WhisperFeatureExtractor`. "kaldi": as compute-fbank-feats without dither.
    rate: samples a second, to which sounds are brought (0 until it is fitted: the commonest, at most 16,000).
    mels: bands (0 until it is fitted: 40 for plain, 80 for others).
    scale: along which bands stand evenly (None: until it is fitted, slaney for whisper, htk for others).
    window: milliseconds of sound that a frame tells of.
    hop: milliseconds from one frame to the next.
    low: hertz, where the first band begins (None: until it is fitted, 20 for kaldi, 0 for others).
    high: hertz, where the last one ends (None: until it is fitted, half the rate).
    seconds: silence is put behind a sound up to so many, and what is longer is cut off; 30 for Whisper (0: neither).
    centred: the mean of each band over the sound itself is taken off, as another microphone or voice adds to it (Atal
        1974); before `mean`.
    mean: of each band, over the training data (empty for whisper, which has fixed numbers).
    deviation: the standard deviation of each.
    """

    kind: ClassVar[str] = "log-mel"
    convention: Convention = "plain"
    rate: int = 0
    mels: int = 0
    scale: spectra.Scale | None = None
    window: float = 25.0
    hop: float = 10.0
    low: float | None = None
    high: float | None = None
    seconds: float = 0.0
    centred: bool = False
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require_at_least(0, rate=self.rate, mels=self.mels)
        require_at_most(1024, mels=self.mels)
        if not 0 < self.hop <= self.window <= 1000:
            what = f"hop={self.hop:g} and window={self.window:g} are milliseconds"
            raise UserError(f"{what}, of which the first must be above 0 and the second no less, such as 10 and 25")
        if not 0 <= self.seconds <= 3600:
            raise UserError(f"seconds={self.seconds:g} must be from 0 to 3600; leave it out to read sounds as they are")
        if not self.rate:
            return
        if self.sizes[1] < 1:
            raise UserError(f"hop={self.hop:g} milliseconds at rate={self.rate:,} are no whole sample; raise it")
        low, high = self.low or 0.0, self.rate / 2 if self.high is None else self.high
        if not 0 <= low < high <= self.rate / 2:
            what = f"low={low:g} and high={high:g} hertz"
            raise UserError(f"{what} must be in order, from 0 to {self.rate / 2:g}, half the rate")
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values and len(values) != self.mels:
                raise UserError(f"{name} has {len(values)} numbers, but there are {self.mels} mels")

    @property
    def size(self) -> int:
        return self.mels

    @property
    def sizes(self) -> tuple[int, int]:
        """Returns the samples of a window, and from one to the next."""
        return round(self.rate * self.window / 1000), round(self.rate * self.hop / 1000)

    def fit(self, values: Sequence[Any], column: str) -> Self:
        names, rate = named(values, column, "sound"), self.rate or (RATE if self.convention == "whisper" else 0)
        if not rate:
            rates = Counter(head.rate for head in each(waves.head, names))
            rate = min(RATE, max(rates, key=lambda one: (rates[one], one)))
        out = replace(
            self, rate=rate, mels=self.mels or MELS[self.convention],
            scale=self.scale or ("slaney" if self.convention == "whisper" else "htk"),
            low=self.low if self.low is not None else 20.0 if self.convention == "kaldi" else 0.0,
            high=rate / 2 if self.high is None else self.high,
        )  # fmt: skip
        out.require_bands()
        if self.convention == "whisper" or (out.mean and out.deviation):
            return out
        spread = min(len(names), FITTED)
        bare = replace(out, mean=(), deviation=())
        some = np.concatenate(each(bare.one, [names[i * len(names) // spread] for i in range(spread)]))
        mean = tuple(round(x, 6) for x in some.mean(0, dtype=np.float64).tolist())
        deviation = tuple(round(x, 6) or 1.0 for x in some.std(0, dtype=np.float64).tolist())
        return replace(out, mean=out.mean or mean, deviation=out.deviation or deviation)

    def require_bands(self) -> None:
        """Raises UserError where a band is so narrow that it holds no frequency of the Fourier transform."""
        if empty := int((self.bank().sum(0) == 0).sum()):
            what = f"mels={self.mels} leave {empty} bands without a frequency at rate={self.rate:,}"
            raise UserError(f"{what} and window={self.window:g}; lower mels, or raise the window")

    def bank(self) -> NDArray[np.float64]:
        """Returns the filters: (frequencies, mels)."""
        assert self.scale is not None
        assert self.low is not None
        assert self.high is not None
        bent, area = self.convention == "kaldi", self.convention == "whisper"
        return spectra.filters(
            self.transform, self.rate, self.mels, self.low, self.high, self.scale, area=area, bent=bent
        )

    @property
    def transform(self) -> int:
        """Returns the samples of a Fourier transform: those of a window, or the next power of 2."""
        window = self.sizes[0]
        return window if self.convention == "whisper" else 1 << (window - 1).bit_length()

    def frames(self, head: waves.Head) -> int:
        """Returns how many frames a sound has."""
        window, hop = self.sizes
        samples = round(self.seconds * self.rate) or -(-head.samples * self.rate // head.rate)
        if self.convention == "kaldi":
            return 1 + (max(samples, window) - window) // hop
        odd = window % 2
        return (max(samples, hop + odd) - odd) // hop if self.convention == "whisper" else 1 + samples // hop

    def one(self, value: str) -> NDArray[np.float32]:
        """Returns (T, mels) float32 of a sound. What is shorter than a frame has silence behind it."""
        rate, x = waves.decoded(value)
        return self.of(waves.resampled(x, rate, self.rate))

    def windows(self, value: str) -> list[NDArray[np.float32]]:
        """Returns (T, mels) float32 of a sound, or of each `seconds` of one that is longer than these."""
        rate, x = waves.decoded(value)
        x = waves.resampled(x, rate, self.rate)
        most = round(self.seconds * self.rate) or len(x)
        return [self.of(x[start : start + most]) for start in range(0, len(x), most)]

    def of(self, samples: waves.Samples) -> NDArray[np.float32]:
        """Returns (T, mels) float32 of samples at the rate of this reader."""
        window, hop = self.sizes
        x = samples.astype(np.float64)
        if fixed := round(self.seconds * self.rate):
            x = np.pad(x[:fixed], (0, max(fixed - len(x), 0)))
        least = {"plain": 0, "whisper": hop + window % 2, "kaldi": window}[self.convention]
        x = np.pad(x, (0, max(least - len(x), 0)))
        if self.convention == "plain":
            logs = spectra.plain(x, window, hop, self.transform, self.bank())
        elif self.convention == "kaldi":
            logs = spectra.kaldi(x, window, hop, self.transform, self.bank())
        else:
            logs = spectra.whisper(x, window, hop, self.bank())
        if self.centred:
            logs = logs - logs.mean(0)
        if self.mean:
            logs = logs - np.array(self.mean)
        return (logs / np.array(self.deviation) if self.deviation else logs).astype(np.float32)

    def encode(self, values: Sequence[Any], column: str) -> Ragged:
        """Returns rows of (T, mels) float32."""
        return Ragged.of(each(self.one, named(values, column, "sound")), np.float32)
