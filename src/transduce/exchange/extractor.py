"""preprocessor_config.json of Whisper as a reader of sounds, and a reader as such a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transduce.data.readers.log_mel import LogMel
from transduce.errors import UserError
from transduce.exchange.files import read_json

NAME, PROCESSOR = "preprocessor_config.json", "processor_config.json"  # the second holds the first since transformers 5
HIGH = 8000.0  # hertz, where the class ends its last band
ONLY = {"dither": 0.0, "padding_value": 0.0, "padding_side": "right", "do_normalize": False}


def read(folder: Path, mels: int, frames: int) -> LogMel:
    """Returns the reader that a folder asks for. Raises UserError for what is not done here.

    mels: of a frame of the model.
    frames: of a sound, as the model takes them.
    """
    path, data = described(folder)

    def whole(key: str, default: int) -> int:
        value = data.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path} has {key}={value!r}; it must be a whole number, at least 1")
        return value

    for key, value in ONLY.items():
        if (own := data.get(key)) not in (None, value):
            raise UserError(f"{path} has {key}={own!r}, but only {value!r} is done here")
    if (own := whole("feature_size", 80)) != mels:
        raise UserError(f"{path} has feature_size={own}, but config.json has num_mel_bins={mels}; one is another's")
    rate, hop, window = whole("sampling_rate", 16_000), whole("hop_length", 160), whole("n_fft", 400)
    seconds = whole("chunk_length", 30)
    if seconds * rate // hop != frames:
        what = (
            f"{path} makes {seconds * rate // hop:,} frames of a sound, but the model of config.json takes {frames:,}"
        )
        raise UserError(f"{what}; one of the two is of another model")
    try:
        return LogMel(
            convention="whisper", rate=rate, mels=mels, scale="slaney", window=1000 * window / rate,
            hop=1000 * hop / rate, low=0.0, high=HIGH, seconds=float(seconds),
        )  # fmt: skip
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def described(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Returns the file that says how sounds are read, and what it says. Raises UserError."""
    if (folder / NAME).is_file():
        return folder / NAME, read_json(folder / NAME)
    inner = read_json(folder / PROCESSOR).get("feature_extractor") if (folder / PROCESSOR).is_file() else None
    if not isinstance(inner, dict):
        raise UserError(f"{folder} has no {NAME}, so nobody knows how its sounds are read; put it there")
    return folder / PROCESSOR, cast("dict[str, Any]", inner)


def write(reader: LogMel, folder: Path) -> None:
    """Writes the file by which transformers reads sounds as a reader does. Raises UserError where it cannot."""
    window, hop = reader.sizes
    plain = reader.convention == "whisper" and reader.scale == "slaney" and not reader.centred and not reader.mean
    if not plain or reader.deviation or reader.low != 0.0 or reader.high != HIGH or reader.seconds % 1:
        what = "sounds are read otherwise than WhisperFeatureExtractor does"
        raise UserError(
            f"{what}; train with task.features.convention=whisper and a whole number of seconds, such as 30"
        )
    data = {
        "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor",
        "feature_size": reader.mels, "sampling_rate": reader.rate, "hop_length": hop, "n_fft": window,
        "chunk_length": int(reader.seconds), "n_samples": round(reader.seconds * reader.rate),
        "nb_max_frames": round(reader.seconds * reader.rate) // hop, "padding_side": "right", "padding_value": 0.0,
        "dither": 0.0, "return_attention_mask": False,
    }  # fmt: skip
    (folder / NAME).write_text(json.dumps(data, indent=2) + "\n", "utf-8")
