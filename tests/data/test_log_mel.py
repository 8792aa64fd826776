"""Log-mel frames: those of transformers on real and made sounds, formulas, lengths, and what does not fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from transduce.data import spectra, waves
from transduce.data.readers.log_mel import LogMel
from transduce.errors import UserError

ENDS = {"low": 0.0, "high": 8000.0}
WHISPER = LogMel(convention="whisper", rate=16000, mels=80, scale="slaney", **ENDS)
KALDI = LogMel(convention="kaldi", rate=16000, mels=80, scale="htk", low=20.0, high=8000.0)
PLAIN = LogMel(rate=16000, mels=40, scale="htk", **ENDS)


def noise(samples: int) -> np.ndarray:
    draw = np.random.default_rng(samples)
    return (draw.normal(0, 0.1, samples) * np.linspace(0, 1, samples)).astype(np.float32)


def sounds(shared: Path) -> list[Path]:
    some = sorted((shared / "data" / "fsdd" / "valid").glob("*.wav"))
    assert some, "the folder of spoken digits is empty"
    return some


def require_whisper(x: np.ndarray, extractor: Any) -> None:
    for padding, reader in (("do_not_pad", WHISPER), ("max_length", replace(WHISPER, seconds=30))):
        theirs = extractor(x, sampling_rate=16000, padding=padding, return_tensors="np").input_features[0].T
        ours = reader.of(x)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize("samples", [399, 1600, 16001])
def test_whisper_frames_are_those_of_its_extractor(samples: int) -> None:
    require_whisper(noise(samples), WhisperFeatureExtractor())


def test_whisper_frames_of_real_sounds_are_those_of_its_extractor(shared: Path) -> None:
    pytest.importorskip("scipy", reason="scipy is not installed (extra audio)")
    extractor = WhisperFeatureExtractor()
    for path in sounds(shared)[::18]:
        rate, x = waves.decoded(str(path))
        require_whisper(waves.resampled(x, rate, 16000), extractor)


@pytest.mark.parametrize("samples", [400, 561, 16001])
def test_kaldi_frames_are_those_of_transformers(samples: int) -> None:
    x = noise(samples)
    bank = mel_filter_bank(
        257, 80, 20, 8000, 16000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True
    )  # fmt: skip
    theirs = spectrogram(
        x.astype(np.float64) * 2**15, window_function(400, "povey", periodic=False), frame_length=400, hop_length=160,
        fft_length=512, power=2.0, center=False, preemphasis=0.97, mel_filters=bank, log_mel="log",
        mel_floor=1.192092955078125e-07, remove_dc_offset=True,
    ).T  # fmt: skip
    np.testing.assert_allclose(KALDI.of(x), theirs, atol=1e-4)


def test_plain_frames_are_the_formula() -> None:
    """ln sum_f bank |sum_n hann(n) x(n) e^(-2 pi i f n / 512)|^2, written out."""
    x = noise(1234)
    frames, wide = PLAIN.of(x), np.pad(x.astype(np.float64), (200, 200))
    n, f = np.arange(400), np.arange(257)
    wave = np.exp(-2j * np.pi * np.outer(n, f) / 512) * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400))[:, None]
    bank = mel_filter_bank(257, 40, 0, 8000, 16000, norm=None, mel_scale="htk")
    expected = [np.log(np.maximum(np.abs(wide[t : t + 400] @ wave) ** 2 @ bank, 1e-6)) for t in range(0, 1235, 160)]
    np.testing.assert_allclose(frames, expected, atol=1e-5)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("area", [False, True])
def test_bands_are_those_of_transformers_and_scales_go_back(scale: Any, area: bool) -> None:
    theirs = mel_filter_bank(201, 23, 60, 3900, 8000, norm="slaney" if area else None, mel_scale=scale)
    np.testing.assert_allclose(spectra.filters(400, 8000, 23, 60, 3900, scale, area=area), theirs, atol=1e-12)
    some = np.array([0.0, 3.0, 999.0, 1000.0, 1001.0, 7999.0])
    np.testing.assert_allclose(spectra.hertz(spectra.mel(some, scale), scale), some, atol=1e-9)


@pytest.mark.parametrize("reader", [PLAIN, WHISPER, KALDI, replace(WHISPER, window=25.0625, rate=16000),
                                    replace(PLAIN, rate=11025, high=5000.0)], ids=str)  # fmt: skip
def test_every_sound_has_as_many_frames_as_its_header_says(reader: LogMel) -> None:
    for samples in (1, 2, 159, 160, 161, 399, 400, 401, 560, 1000, 4001):
        frames = reader.of(noise(samples))
        assert frames.shape == (reader.frames(waves.Head(reader.rate, samples, 1)), reader.mels)
        assert np.isfinite(frames).all()


def test_what_is_fitted(tones: Path) -> None:
    files = sorted(map(str, (tones / "train").glob("*/*.wav")))
    own = LogMel().fit(files, "sound")
    assert (own.rate, own.mels, own.scale, own.low, own.high) == (8000, 40, "htk", 0.0, 4000.0)
    read = own.encode(files, "sound")
    assert np.abs(read.flat.mean(0, dtype=np.float64)).max() < 1e-4
    assert np.abs(read.flat.std(0, dtype=np.float64) - 1).max() < 1e-4
    assert LogMel(convention="kaldi", window=50).fit(files, "sound").low == 20
    given = LogMel(mean=(0.0,) * 40, deviation=(2.0,) * 40).fit(files, "sound")
    assert (given.mean, given.deviation) == ((0.0,) * 40, (2.0,) * 40)
    pytest.importorskip("scipy", reason="scipy is not installed (extra audio)")
    whisper = LogMel(convention="whisper").fit(files, "sound")
    assert (whisper.rate, whisper.mels, whisper.mean) == (16000, 80, ())


@pytest.mark.parametrize("reader", [PLAIN, KALDI], ids=str)
def test_a_louder_sound_has_the_same_frames_where_they_are_centred(reader: LogMel) -> None:
    own, x = replace(reader, centred=True), np.random.default_rng(0).normal(0, 0.1, 3000).astype(np.float32)
    assert np.abs(reader.of(3 * x) - reader.of(x)).min() > 1
    np.testing.assert_allclose(own.of(3 * x), own.of(x), atol=1e-4)
    np.testing.assert_allclose(own.of(x).mean(0), 0, atol=1e-5)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"hop": 0.0}, "are milliseconds, of which the first must be above 0"), ({"hop": 30.0}, "the second no less"),
    ({"seconds": -1.0}, "must be from 0 to 3600"), ({"rate": 8000, "high": 5000.0}, "from 0 to 4000, half the rate"),
    ({"mels": 2000}, "at most 1024"), ({"rate": 20, "hop": 1.0}, "no whole sample"),
    ({"rate": 8000, "mels": 3, "mean": (1.0,)}, "mean has 1 numbers, but there are 3 mels"),
])  # fmt: skip
def test_odd_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        LogMel(**options)


def test_bands_without_a_frequency_are_refused(tones: Path) -> None:
    files = sorted(map(str, (tones / "train").glob("*/*.wav")))
    with pytest.raises(UserError, match=r"mels=200 leave \d+ bands without a frequency .* lower mels"):
        LogMel(mels=200).fit(files, "sound")
    with pytest.raises(UserError, match="row 1 of the column `sound` is 3, which names no sound"):
        LogMel().fit([3], "sound")
