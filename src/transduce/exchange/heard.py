"""The comparison of a model that hears with that of transformers: from the same files, and the same tokens."""

import tempfile
import warnings
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.readers.log_mel import LogMel
from transduce.data.readers.reader import Readers
from transduce.data.sounds import SOUND
from transduce.errors import UserError
from transduce.exchange import certificate
from transduce.exchange import checkpoint as published
from transduce.exchange.answers import Answers, TransformersModel, before_end, greedy, traced
from transduce.exchange.prompts import TIME
from transduce.exchange.sample_lines import lines
from transduce.generate.config import SAMPLING, GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.inputs import Shown
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.listener import marked
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer

FRAMES = 1e-4  # the greatest difference of frames that is allowed
SHARES = (0.3, 1.0, 1.4)  # of the window of a model: the lengths of the sounds that are compared
TOKENS, NEW, SETTINGS, LINES = 12, 32, 16, 200


def certify(
    model: Model, readers: Readers, config: GenerateConfig, folder: Path, out: Path, what: str, files: dict[str, str],
    **more: Any,
) -> None:  # fmt: skip
    """Compares a model with transformers on a folder, and writes a certificate into `out`.

    Compared are frames, layers, logits, gradients, tokens that are written greedily and by the settings of the folder,
    and the ids of texts. Raises UserError where they differ.
    """
    reader, tokenizer = cast(LogMel, readers[SOUND]), readers.text
    with tempfile.TemporaryDirectory() as scratch:
        sounds = spoken(Path(scratch), reader)
        frames = torch.stack([torch.from_numpy(reader.one(path)) for path in sounds])  # pyright: ignore[reportUnknownMemberType]
        ids = rows_of(tokenizer, len(sounds))
        ours = answers(model.eval(), tokenizer, frames, ids)
        if certificate.has_transformers():
            theirs = TransformersModel(folder, "WhisperForConditionalGeneration")
            against, given = "transformers", extracted(folder, sounds)
            other = of_transformers(theirs, tokenizer, given, ids)
            more |= {"largest_gradient_difference": same_gradients(model, theirs.model, folder, frames, given, ids)}
            more |= same_settings(model, theirs.model, tokenizer, config, frames, given)
        else:
            again = published.read(folder).model
            against, given = "a second reading of the folder, since transformers is not installed", frames
            other = answers(again, tokenizer, frames, ids)
    if not (apart := certificate.difference(frames, given)) <= FRAMES:
        raise UserError(f"{what} reads sounds otherwise than {against}: frames differ by up to {apart:.3g}")
    findings = certificate.compare(ours, other)
    certificate.require_equal(findings, what, against)
    parameters = sum(p.numel() for p in model.parameters())
    entries = certificate.document(findings, against, parameters, files, largest_frame_difference=apart, **more)
    certificate.write(out, entries)


def spoken(folder: Path, reader: LogMel) -> list[str]:
    """Returns files of sounds: tones that rise over noise, shorter than the window of a reader, as long, and longer."""
    rng, out = np.random.default_rng(0), list[str]()
    for number, share in enumerate(SHARES):
        time = np.arange(round(share * reader.seconds * reader.rate)) / reader.rate
        x = 0.4 * np.sin(2 * np.pi * (200 + 300 * number + 90 * time) * time) + 0.05 * rng.normal(size=len(time))
        out.append(str(folder / f"{number}.wav"))
        with wave.open(out[-1], "wb") as file:
            file.setparams((1, 2, reader.rate, 0, "NONE", "none"))
            file.writeframes((32000 * np.clip(x, -1, 1)).astype("<i2").tobytes())
    return out


def rows_of(tokenizer: Tokenizer, rows: int) -> Tensor:
    """Returns (rows, T) ids: the prompt, then ids of text that are drawn."""
    known = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.silent]
    chosen = torch.randint(len(known), (rows, TOKENS), generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.tensor([tokenizer.marks.opens]).expand(rows, -1), torch.tensor(known)[chosen]], 1)


def new_of(model: Model, tokenizer: Tokenizer, most: int) -> int:
    """Returns how many tokens are written."""
    begun = len(tokenizer.marks.opens)
    return most if model.limit is None else max(1, min(most, model.limit - begun))


@torch.inference_mode()
def answers(model: Model, tokenizer: Tokenizer, frames: Tensor, ids: Tensor) -> Answers:
    """Returns the answers of a model of this package."""
    prompt = torch.tensor([tokenizer.marks.opens])
    text = greedy(model, prompt, frames, new_of(model, tokenizer, NEW))
    return Answers(traced(model, ids, frames), text, tokenizer.encode_batch(sample()))


def sample() -> list[str]:
    return [line for line in lines(LINES) if line.strip()]


@torch.inference_mode()
def of_transformers(theirs: TransformersModel, tokenizer: Tokenizer, frames: Tensor, ids: Tensor) -> Answers:
    """Returns those of transformers."""
    model, layers = theirs.model, dict[str, Tensor]()
    out = model(input_features=frames.mT, decoder_input_ids=ids, output_hidden_states=True)
    for side in ("encoder", "decoder"):
        hidden = list(getattr(out, f"{side}_hidden_states"))
        names = ["embedding", *(f"layer {i + 1}" for i in range(len(hidden) - 2)), "end"]
        layers |= {f"{side} {name}": x for name, x in zip(names, hidden, strict=True)}
    fed, encoded = torch.tensor([tokenizer.marks.opens]), model.get_encoder()(frames[:1].mT)
    begun = fed.shape[1]
    for _ in range(min(NEW, model.config.max_target_positions - begun)):
        logits = model(encoder_outputs=encoded, decoder_input_ids=fed).logits
        fed = torch.cat([fed, logits[:, -1:].argmax(-1)], 1)
    rows: Any = theirs.tokenizer(sample(), add_special_tokens=False)
    return Answers({**layers, "logits": out.logits}, fed[0, begun:].tolist(), rows["input_ids"])


def same_gradients(
    model: Model, theirs: Any, folder: Path, frames: Tensor, given: Tensor, ids: Tensor
) -> float:  # fmt: skip
    """Returns the greatest difference of gradients of -log p of the drawn ids. Raises UserError for a large one."""
    config, _, family = published.described(folder)
    table, ids = family.table(config), ids[:1]
    for one in (model, theirs):
        one.zero_grad()
        with torch.enable_grad():
            mine = one is model
            logits = logits_of(model, frames[:1], ids) if mine else logits_of_transformers(theirs, given[:1], ids)
            F.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    own = {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in model.named_parameters()}
    fixed = {name for name, p in model.named_parameters() if not p.requires_grad}  # which their class freezes, or not
    ours, worst = dict[str, Tensor](), 0.0
    for line in table.rows:
        if not fixed.issuperset(line.ours):
            ours |= dict(zip(line.theirs, line.op.write([own[name] for name in line.ours]), strict=True))
    for name, x in {name: p.grad for name, p in theirs.named_parameters() if name in ours}.items():
        gap = certificate.difference(ours[name], x)
        if not gap <= certificate.limit_of(x):
            raise UserError(f"the run computes another gradient of {name} than transformers: they differ by {gap:.3g}")
        worst = max(worst, gap)
    model.zero_grad()
    return worst


def logits_of(model: Model, frames: Tensor, ids: Tensor) -> Tensor:
    layout, heard = (dense(x.shape[0], x.shape[1]) for x in (ids, frames))
    hidden = model.features(Batch(ids, layout, ids, frames, heard))
    return model.token_head(hidden)  # pyright: ignore[reportReturnType]


def logits_of_transformers(theirs: Any, frames: Tensor, ids: Tensor) -> Tensor:
    return theirs(input_features=frames.mT, decoder_input_ids=ids).logits


def same_settings(
    model: Model, theirs: Any, tokenizer: Tokenizer, config: GenerateConfig, frames: Tensor, given: Tensor
) -> dict[str, str]:  # fmt: skip
    """Compares tokens that both write as generation_config.json says. Raises UserError where they differ.

    Returns an entry for the certificate.
    """
    new = new_of(model, tokenizer, SETTINGS)
    plain = {"max_new_tokens": new, "max_length": None, "temperature": 0.0, "nbest": 1, **dict.fromkeys(SAMPLING)}
    source = [Shown(marked(frames[0], frames.shape[1]))]
    opens = list(tokenizer.marks.opens)
    ((best,),) = decode(model, tokenizer, replace(config, **plain), source=source, prompt=[opens])
    if any(TIME.fullmatch(tokenizer.tokenizer.id_to_token(i) or "") for i in best.ids):  # where transformers parts it
        return {
            "tokens_alike_by_generation_config": "not compared: the model writes times, though it is asked for none"
        }
    ends = [i for i in (tokenizer.eos, *tokenizer.ends) if i >= 0]
    return certificate.require_same_settings(best.ids, by_settings(theirs, given[:1], opens, new, ends), "transformers")


def by_settings(theirs: Any, frames: Tensor, opens: Sequence[int], new: int, ends: Sequence[int]) -> list[int] | None:
    """Returns the ids that transformers writes with the settings of a folder (None: it fails with them)."""
    how = {"max_new_tokens": new, "do_sample": False, "num_return_sequences": 1, "return_timestamps": False}
    if (languages := getattr(theirs.generation_config, "lang_to_id", None)) and len(opens) > 2:
        named = {i: name for name, i in languages.items()}
        how |= {
            "language": named.get(opens[1]),
            "task": {i: n for n, i in theirs.generation_config.task_to_id.items()}[opens[2]],
        }
    try:
        with warnings.catch_warnings(action="ignore"):
            out = theirs.generate(frames.mT, **how)
    except Exception:  # settings that transformers refuses, each in its own way
        return None
    row: list[int] = out[0].tolist()
    row = row[len(opens) :] if row[: len(opens)] == list(opens) else row
    return before_end(row, ends)


def extracted(folder: Path, sounds: Sequence[str]) -> Tensor:
    """Returns (B, T, mels): the frames that transformers makes of files, as a folder asks for."""
    import transformers

    some: Any = transformers
    extract = some.WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    rows = list[NDArray[np.float32]]()
    for path in sounds:
        with wave.open(path) as file:
            x = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            rows.append(x.astype(np.float32) / np.float32(2**15))
    rate = extract.sampling_rate
    return torch.cat([extract(x, sampling_rate=rate, return_tensors="pt")["input_features"] for x in rows]).mT
