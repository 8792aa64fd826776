"""Sounds out of files: every kind of wav, other formats, rates, and a sentence for what cannot be read."""

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from transduce.data import waves
from transduce.data.waves import Head, decoded, head, resampled
from transduce.errors import UserError

VALUES = np.array([0.0, 0.5, -0.5, 0.25, -1.0, 0.125], dtype=np.float64)


def wav(path: Path, tag: int, bits: int, data: bytes, channels: int = 1, rate: int = 8000, extra: bytes = b"") -> Path:
    """A file as the standard describes it, by hand: soundfile and the library's own reader are not its authors."""
    width = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * width, width, bits) + extra
    chunks = b"".join(
        name + struct.pack("<I", len(x)) + x + b"\0" * (len(x) % 2)
        for name, x in ((b"fmt ", body), (b"LIST", b"odd"), (b"data", data))
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def ints(bits: int) -> bytes:
    numbers = [round(x * 2 ** (bits - 1)) for x in VALUES]
    if bits == 8:
        return bytes(n + 128 for n in numbers)
    return b"".join(n.to_bytes(bits // 8, "little", signed=True) for n in numbers)


SUBFORMAT = b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"  # behind the two bytes of a tag, in an extensible header
KINDS = {
    "8": (1, 8, ints(8), b""), "16": (1, 16, ints(16), b""), "24": (1, 24, ints(24), b""), "32": (1, 32, ints(32), b""),
    "float": (3, 32, VALUES.astype("<f4").tobytes(), b""), "double": (3, 64, VALUES.astype("<f8").tobytes(), b""),
    "extensible": (0xFFFE, 24, ints(24), struct.pack("<HHIH", 22, 24, 0, 1) + SUBFORMAT),
    "extensible float": (0xFFFE, 32, VALUES.astype("<f4").tobytes(), struct.pack("<HHIH", 22, 32, 0, 3) + SUBFORMAT),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_wav_of_any_width_is_the_same_sound(kind: str, tmp_path: Path) -> None:
    tag, bits, data, extra = KINDS[kind]
    path = str(wav(tmp_path / "a.wav", tag, bits, data, extra=extra))
    rate, samples = decoded(path)
    assert rate == 8000
    assert samples.tolist() == VALUES.tolist()
    assert head(path) == Head(8000, len(VALUES), 1)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_plain_wav_is_read_as_soundfile_reads_it(bits: int, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
    data = np.random.default_rng(bits).integers(0, 256, 300 * bits // 8, dtype=np.uint8).tobytes()
    path = wav(tmp_path / "a.wav", 1, bits, data, channels=2)
    samples, rate = soundfile.read(path, dtype="float32")
    assert decoded(str(path))[0] == rate
    np.testing.assert_allclose(decoded(str(path))[1], samples.mean(1), atol=1e-7)


def test_the_standard_library_writes_what_is_read(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((2, 2, 11025, 0, "NONE", "none"))
        file.writeframes(struct.pack("<6h", 16384, 0, -16384, 16384, 8192, 8192))
    rate, samples = decoded(str(tmp_path / "a.wav"))
    assert (rate, samples.tolist()) == (11025, [0.25, 0.0, 0.25])
    assert head(str(tmp_path / "a.wav")) == Head(11025, 3, 2)


def test_other_formats_are_read(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
    x = np.sin(np.arange(4000) / 9).astype(np.float32) / 2
    for name, error in (("a.flac", 1e-4), ("a.ogg", 0.1), ("a.aiff", 1e-4), ("a.mp3", 0.2)):
        soundfile.write(tmp_path / name, np.stack([x, x], 1), 16000)
        rate, samples = decoded(str(tmp_path / name))
        assert (rate, head(str(tmp_path / name)).channels) == (16000, 2)
        assert np.abs(samples[500:3500] - x[500:3500]).max() < error


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (11025, 8000), (48000, 44100)])
def test_a_tone_is_the_same_tone_at_another_rate(rate: int, wanted: int) -> None:
    pytest.importorskip("scipy", reason="scipy is not installed (extra audio)")
    count = rate // 5
    x = np.sin(2 * np.pi * 440 * np.arange(count) / rate).astype(np.float32)
    y = resampled(x, rate, wanted)
    assert len(y) == -(-count * wanted // rate)
    assert y.dtype == np.float32
    expected = np.sin(2 * np.pi * 440 * np.arange(len(y)) / wanted)
    assert np.abs(y - expected)[300:-300].max() < 2e-3
    assert resampled(x, rate, rate) is x


def test_what_another_rate_cannot_hold_is_gone() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed (extra audio)")
    high = np.sin(2 * np.pi * 7000 * np.arange(3200) / 16000).astype(np.float32)
    assert np.abs(resampled(high, 16000, 8000))[100:-100].max() < 0.01


def cases(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    whole = wav(tmp_path / "whole.wav", 1, 16, ints(16))
    bare, cut, text, nothing = (tmp_path / name for name in ("bare.wav", "cut.wav", "text.wav", "nothing.wav"))
    bare.write_bytes(whole.read_bytes()[:40])
    cut.write_bytes(whole.read_bytes()[:-4])
    text.write_text("no sound at all, but a note of some length\n" * 4)
    nothing.write_bytes(b"")
    odd = np.array([0.0, np.nan], dtype="<f4").tobytes()
    return {
        "no samples": (wav(tmp_path / "empty.wav", 1, 16, b""), "has 0 samples, so there is nothing to hear"),
        "no data": (bare, "begins as a wav file, but has no samples; replace it, or remove it"),
        "cut off": (cut, "cut off: its header says 6 samples, but 4 are there; replace it"),
        "text": (text, "text.wav is no sound that can be read; remove it"),
        "an empty file": (nothing, "nothing.wav is empty; remove it"),
        "not finite": (wav(tmp_path / "nan.wav", 3, 32, odd), "holds samples that are not finite"),
        "absent": (tmp_path / "absent.wav", "absent.wav: no such file"),
        "a folder": (tmp_path, "is a folder, but a sound is asked for"),
    }  # fmt: skip


@pytest.mark.parametrize("case", ["no samples", "no data", "cut off", "text", "an empty file", "not finite", "absent",
                                  "a folder"])  # fmt: skip
def test_what_cannot_be_heard_gets_one_sentence(case: str, tmp_path: Path) -> None:
    if case in ("text",):
        pytest.importorskip("soundfile", reason="soundfile is not installed (extra audio)")
    path, sentence = cases(tmp_path)[case]
    with pytest.raises(UserError) as error:
        decoded(str(path))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    if case not in ("not finite",):
        with pytest.raises(UserError, match=r"^.*$"):
            head(str(path))


def test_what_is_too_long_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "MOST", 5)
    path = str(wav(tmp_path / "long.wav", 1, 16, ints(16)))
    for look in (head, decoded):
        with pytest.raises(UserError, match="says that it has 6 samples, more than 5; cut it into parts"):
            look(path)


def test_without_the_extra_plain_wav_is_read_and_the_rest_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    path = wav(tmp_path / "a.wav", 1, 16, ints(16))
    assert len(decoded(str(path))[1]) == len(VALUES)
    with pytest.raises(UserError, match=r"8,000 samples a second are brought to 16,000 by scipy, .*transduce\[audio\]"):
        resampled(decoded(str(path))[1], 8000, 16000)
    (tmp_path / "b.flac").write_bytes(b"fLaC and more")
    with pytest.raises(UserError, match=r"b.flac is not plain wav, and other sounds are decoded by soundfile"):
        decoded(str(tmp_path / "b.flac"))
