"""The inputs of decoding and scoring: ids as a model reads them, and how long each answer may get."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.layout import Layout, dense, right_padded
from transduce.model.models import Model

Ids = Sequence[Sequence[int]]


class Vocabulary(Protocol):
    """The part of a tokeniser that decoding needs. `decode` is called only where there are stop texts.

    Two more attributes are used where they exist:
    ends: ids that end a text, as eos does.
    barred: ids that no text has; they are never chosen.
    """

    @property
    def bos(self) -> int: ...
    @property
    def eos(self) -> int: ...
    def decode(self, ids: list[int], /) -> str: ...


class Shown(list[int]):
    """A source that is a picture. As ids it is one number, which no token has, and which names it.

    numbers: (C, H, W), as the encoder reads it.
    """

    def __init__(self, numbers: Tensor) -> None:
        whole = numbers.detach().cpu().contiguous().numpy().tobytes()
        super().__init__([(1 << 62) + (int.from_bytes(hashlib.blake2b(whole, digest_size=7).digest()))])
        self.numbers = numbers


class Inputs(NamedTuple):
    """Rows of ids.

    sources: each ends in </s> (None: the model reads none).
    prompts: the decoder reads them first; each has at least one id.
    """

    sources: list[list[int]] | None
    prompts: list[list[int]]

    def rows(self, index: Sequence[int]) -> "Inputs":
        """Returns the inputs with these numbers."""
        sources = None if self.sources is None else [self.sources[i] for i in index]
        return Inputs(sources, [self.prompts[i] for i in index])

    def by_length(self) -> list[int]:
        """Returns the numbers of the inputs, the shortest first."""
        lengths = [len(p) for p in self.prompts]
        if self.sources is not None:
            lengths = list(zip(map(len, self.sources), lengths, strict=True))
        return sorted(range(len(lengths)), key=lengths.__getitem__)


def prepare(model: Model, vocabulary: Vocabulary, source: Ids | None, prompt: Ids | None) -> Inputs:
    """Returns inputs with the special tokens of training. Raises UserError where they do not suit the model.

    With a source, </s> ends it and <s> begins the prompt; both are added where they are missing. Without a source the
    prompt stays as it is, and an empty one becomes <s>.
    """
    bos, eos = vocabulary.bos, vocabulary.eos
    model.require_source(source)
    if source is None:
        if prompt is None:
            raise UserError("this model continues text; give it a prompt, which may be empty")
        return Inputs(None, [list(row) or [bos] for row in prompt])
    if prompt is not None and len(prompt) != len(source):
        raise UserError(f"there are {len(source)} sources but {len(prompt)} prompts; give one for each source, or none")
    sources = [row if isinstance(row, Shown) else [*row, *([] if row and row[-1] == eos else [eos])] for row in source]
    prompts = [[*([] if row and row[0] == bos else [bos]), *row] for row in prompt or [()] * len(source)]
    return Inputs(sources, prompts)


def greatest(model: Model, config: GenerateConfig, inputs: Inputs, limits: Sequence[int] | None) -> list[int]:
    """Returns the greatest number of new tokens of each input.

    Raises UserError where the model has fewer positions than that takes.
    """
    most = [config.max_new_tokens] * len(inputs.prompts)
    if (whole := config.max_length) is not None:
        if longest := next((len(row) for row in inputs.prompts if len(row) >= whole), 0):
            raise UserError(
                f"a prompt has {longest} tokens, and max_length={whole} counts them too, so none is left to write; "
                f"set max_new_tokens=20, which counts new tokens alone"
            )
        most = [min(new, whole - len(row)) for new, row in zip(most, inputs.prompts, strict=True)]
    if limits is not None:
        if len(limits) != len(most) or min(limits, default=1) < 1:
            raise UserError(f"limits={list(limits)} must be one number for each of {len(most)} inputs, each at least 1")
        most = [min(a, b) for a, b in zip(most, limits, strict=True)]
    if inputs.sources is not None and config.max_length_ratio is not None:
        ratio = [math.ceil(config.max_length_ratio * (len(row) - 1)) + 10 for row in inputs.sources]
        known = [not isinstance(row, Shown) for row in inputs.sources]  # a picture is not so and so long
        most = [min(a, b) if some else a for a, b, some in zip(most, ratio, known, strict=True)]
    if model.limit is not None:
        for row in inputs.sources or ():
            if len(row) > model.limit:
                raise UserError(f"a source has {len(row)} tokens, but this model can read {model.limit}; shorten it")
        for new, row in zip(most, inputs.prompts, strict=True):
            if len(row) > model.limit:
                raise UserError(f"a prompt has {len(row)} tokens, but this model can read {model.limit}; shorten it")
            if len(row) + new - 1 > model.limit:
                fit = model.limit - len(row) + 1
                raise UserError(
                    f"{new} new tokens after a prompt of {len(row)} are more than the {model.limit} positions of this "
                    f"model; set max_new_tokens={fit}"
                )
    return most


def pad(rows: Ids, device: torch.device) -> tuple[Tensor, Layout]:
    """Returns (B, T) ids with zeros on the right, and their layout; of pictures their numbers (B, C, H, W)."""
    if shown := [row.numbers for row in rows if isinstance(row, Shown)]:
        return torch.stack(shown).to(device), dense(len(shown), 1, device=device)
    lengths = [len(row) for row in rows]
    width = max(lengths)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=device)
    if min(lengths) == width:
        return ids, dense(len(rows), width, device=device)
    return ids, right_padded(torch.tensor(lengths, device=device), width)
