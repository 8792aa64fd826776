"""Texts to vectors: the folders of sentence-transformers, and plain encoders.

Reimers & Gurevych 2019, Sentence-BERT, arXiv:1908.10084.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tokenizers
import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.exchange import checkpoint
from transduce.exchange.certificate import require_intact
from transduce.exchange.families.family import Family
from transduce.exchange.pooling import Pooling, Step
from transduce.exchange.sentence_folder import (
    KEPT,
    TextSettings,
    modules_of,
    steps_of,
    text_settings,
    tokenizer_of,
    write_folder,
)
from transduce.generate.packed import reader
from transduce.model.architecture import ModelConfig
from transduce.model.batch import Batch
from transduce.model.layout import Layout, Marks, dense, right_padded
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer

Precision = Literal["fp32", "bf16"]
Vectors = np.ndarray[Any, np.dtype[np.float32]]
ENOUGH = 256  # a batch of so many tokens is not filled up with longer texts, which would need padding


class Encoder(NamedTuple):
    """A model, its config, the size of its vocabulary, and the family of the folder that it was read from."""

    model: Model
    config: ModelConfig
    vocab_size: int
    family: Family | None = None


class SentenceEncoder:
    """An encoder, its tokeniser, and the pooling and steps that make one vector of its hidden states.

    max_tokens: of a text, special tokens included; a longer text is cut.
    note: a sentence on what is assumed where the folder does not say it, or "".
    files: of the tokeniser, by name.
    """

    def __init__(
        self, encoder: Encoder, tokenizer: tokenizers.Tokenizer, pooling: Pooling, steps: Sequence[Step] = (),
        how: TextSettings = TextSettings(), *, note: str = "",  # noqa: B008
    ) -> None:  # fmt: skip
        if encoder.model.writes:
            raise UserError("this model is not an encoder, so it gives no vectors of texts; use transduce generate")
        self.encoder, self.model, self.tokenizer, self.how, self.note = encoder, encoder.model, tokenizer, how, note
        self.pooling, self.steps, self.files = pooling, list(steps), dict[str, bytes]()
        self.max_tokens = min((x for x in (how.most, encoder.model.limit) if x is not None), default=512)
        around = tokenizer.num_special_tokens_to_add(False)
        if self.max_tokens <= around:
            raise UserError(f"at most {self.max_tokens} tokens leave no room for a text; {around} stand around it")
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        if how.lower:
            own = tokenizer.normalizer
            both: list[Any] = [tokenizers.normalizers.Lowercase(), *([] if own is None else [own])]
            tokenizer.normalizer = tokenizers.normalizers.Sequence(both)

    @classmethod
    def read(cls, folder: str | Path, encoder: Encoder | None = None) -> "SentenceEncoder":
        """Reads a folder with modules.json; without that file, an encoder, whose hidden states are averaged.

        encoder: takes the place of the one in the folder.
        Raises UserError for missing files and unknown modules. No code and no pickle is run.
        """
        folder = Path(folder)
        if encoder is None:
            require_intact(folder)
        modules = modules_of(folder)
        encoder = encoder or Encoder(*checkpoint.read(modules.encoder))
        how, width = text_settings(folder, modules.encoder), encoder.config.width
        pooling = Pooling() if modules.pooling is None else Pooling.read(modules.pooling, width)
        steps = steps_of(modules.rest, len(pooling.modes) * width)
        out = cls(encoder, tokenizer_of(modules.encoder), pooling, steps, how, note=modules.note)
        paths = [modules.encoder / name for name in KEPT]
        out.files = {path.name: path.read_bytes() for path in paths if path.is_file()}
        return out

    @classmethod
    def of(cls, model: Model, config: ModelConfig, tokenizer: Tokenizer) -> "SentenceEncoder":
        """Wraps a model; its hidden states are averaged. Raises UserError if it is not an encoder."""
        encoder = Encoder(model, config, tokenizer.vocab_size)
        copy = tokenizers.Tokenizer.from_str(tokenizer.tokenizer.to_str())
        return cls(encoder, copy, Pooling(), note="vectors are means of hidden states")

    def write(self, folder: str | Path) -> None:
        """Writes a folder that sentence-transformers and transformers open."""
        folder, encoder = Path(folder), self.encoder
        checkpoint.write(self.model, encoder.config, encoder.vocab_size, folder, encoder.family)
        for name, data in self.files.items():
            (folder / name).write_bytes(data)
        if "tokenizer.json" not in self.files:
            (folder / "tokenizer.json").write_text(self.tokenizer.to_str(), "utf-8")
        how = self.how._replace(most=self.max_tokens)
        write_folder(folder, encoder.config.width, self.pooling, self.steps, how)

    @property
    def features(self) -> int:
        """Returns the numbers in the vector of a text."""
        x = torch.zeros(1, len(self.pooling.modes) * self.encoder.config.width)
        for step in self.steps:
            x = step(x)
        return x.shape[1]

    def embed(
        self, texts: Sequence[str], *, batch_tokens: int = 4096, precision: Precision = "fp32",
        prompt: str | None = None,
    ) -> Vectors:  # fmt: skip
        """Returns (N, features), a row for each text. Raises UserError for a text without tokens.

        batch_tokens: of a batch at most. Texts of similar lengths share a batch, so that there is little padding.
        precision: bf16: products are in bfloat16; norms, sums and vectors stay in float32.
        prompt: is put before every text (None: the default of the folder).
        """
        before = self.how.prompts.text if prompt is None else prompt
        rows = self.encode([before + text for text in texts] if before else texts)
        skip = 0 if self.pooling.prompt or not before else self.beginning(before)
        low, out = precision == "bf16", np.zeros((len(rows), self.features), np.float32)
        model = reader(self.model, torch.bfloat16 if low else torch.float32)
        where = self.model.device.type

        def work(index: list[int]) -> None:
            with torch.inference_mode(), torch.autocast(where, torch.bfloat16, enabled=low):
                out[index] = self.vectors(model, [rows[i] for i in index], skip).cpu().numpy()

        jobs = batches([len(row) for row in rows], batch_tokens)[::-1]  # the long ones first
        side_by_side(work, jobs, torch.get_num_threads() if where == "cpu" else 1)
        return out

    def vectors(self, model: Model, rows: Sequence[tokenizers.Encoding], skip: int = 0) -> Tensor:
        """Returns the vectors (B, features) of a batch. skip: tokens at the beginning that are not pooled."""
        layout = layout_of([len(row) for row in rows], self.model.device)
        ids = grid([row.ids for row in rows], layout)
        if getattr(model.towers()[0].embed, "types", None) is not None:
            types = grid([row.type_ids for row in rows], layout)
            layout = layout._replace(marks=Marks(types)) if types.any() else layout
        x = self.pooling(model.features(Batch(ids, layout, ids)), layout, skip)
        for step in self.steps:
            x = step(x)
        return x

    def encode(self, texts: Sequence[str]) -> list[tokenizers.Encoding]:
        """Returns the tokens of each text, special tokens included. Raises UserError for a text without tokens."""
        try:
            rows = self.tokenizer.encode_batch_fast(list(texts))
        except TypeError:  # the library does not say that a text has half of a surrogate pair
            for number, text in enumerate(texts):
                if any("\ud800" <= c <= "\udfff" for c in text):
                    raise UserError(f"text {number} holds half of a character; remove it") from None
            raise
        for number, row in enumerate(rows):
            if not row.ids:
                raise UserError(f"text {number} has no tokens, so it has no vector; leave it out")
        return rows

    def beginning(self, prompt: str) -> int:
        """Returns how many tokens a prompt takes at the beginning of a text, special tokens before it included."""
        row = self.tokenizer.encode(prompt)
        return len(row) - row.special_tokens_mask[-1]


def batches(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Returns numbers of texts, the shortest first, in batches of at most `most` tokens, or of one text.

    A batch ends before a longer text where it has ENOUGH tokens already: a small batch costs less than padding.
    """
    out = list[list[int]]()
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        last = out[-1] if out else []
        longer = bool(last) and lengths[i] > lengths[last[0]] and len(last) * lengths[last[0]] >= ENOUGH
        if not last or longer or (len(last) + 1) * lengths[i] > most:
            out.append([])
        out[-1].append(i)
    return out


def side_by_side(work: Callable[[list[int]], None], jobs: Sequence[list[int]], threads: int) -> None:
    """Does all jobs, each on a thread of its own where there are enough of them.

    Several threads in one job would wait for each other at every product.
    """
    if threads == 1 or len(jobs) < 2 * threads:
        for job in jobs:
            work(job)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(work, jobs):
                pass
    finally:
        torch.set_num_threads(threads)  # for threads that begin later


def layout_of(lengths: Sequence[int], device: torch.device) -> Layout:
    if min(lengths) == max(lengths):
        return dense(len(lengths), lengths[0], device=device)
    return right_padded(torch.tensor(lengths, device=device), max(lengths))


def grid(rows: Sequence[Sequence[int]], layout: Layout) -> Tensor:
    """Returns (B, T) with zeros where there is padding."""
    width = layout.positions.shape[1]
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=layout.positions.device)
