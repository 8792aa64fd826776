"""Encoder, decoder, and the two together."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.model.batch import Batch
from transduce.model.embed.embedding import Embedding
from transduce.model.heads.head import Head, PooledHead, TokenHead
from transduce.model.layout import Layout, documents
from transduce.model.ops.precision import lowered
from transduce.model.positions.position import Positions
from transduce.model.posterior import Posterior
from transduce.model.process.process import Process
from transduce.model.stack import Stack
from transduce.model.state import State


class Tower(NamedTuple):
    """An embedding and the stack on it. name: "encoder" or "decoder" where a model has both, else ""."""

    name: str
    embed: Embedding
    stack: Stack


class Model(nn.Module, ABC):
    """Ids to hidden states to predictions. `features` is for training, `step` for decoding; `head` predicts.

    head: None where hidden states are all that is wanted. heads: others beside it, by name.
    """

    takes_source: ClassVar[bool] = False
    writes: ClassVar[bool] = True  # token by token; else every token sees those behind it too
    head: Head | None
    heads: nn.ModuleDict
    limit: int | None  # first position that cannot be encoded
    process: Process | None = None  # how data become noise, for a model that removes it
    classes: int = 0  # that such a model can be asked for
    guides: bool = False  # it also knows what it is to be asked for nothing, from which what is asked for is set off

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def token_head(self) -> TokenHead:
        """Returns the head, which predicts tokens. Raises UserError if it does not."""
        if not isinstance(self.head, TokenHead):
            raise UserError(f"{without(self.head)}, so it predicts no tokens; use model.head=linear")
        return self.head

    @property
    def pooled_head(self) -> PooledHead:
        """Returns the head, which predicts something of each row. Raises UserError if it does not."""
        if not isinstance(self.head, PooledHead):
            raise UserError(f"{without(self.head)}, so it predicts nothing of a whole text; use model.head=classes")
        return self.head

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    @abstractmethod
    def features(self, batch: Batch) -> Tensor:
        """Returns hidden states (B, T, M) of the inputs of a batch, which sit where `arranged` says."""

    def arranged(self, layout: Layout) -> Layout:
        """Returns the layout of the hidden states of inputs of a layout."""
        return self.towers()[-1].embed.arrange(layout)

    @abstractmethod
    def init_state(self, batch: int, max_len: int) -> State:
        """Returns empty memories for `batch` rows of up to max_len tokens."""

    @abstractmethod
    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        """Takes the next (R, T) tokens of every row -> hidden states (R, T, M) and the state. memory: what `remember`
        gave; R may be K times its rows, for K beams of each source that stand side by side.
        """

    @abstractmethod
    def towers(self) -> list[Tower]:
        """Returns the encoder, then the decoder, or the only one."""

    def stacks(self) -> list[Stack]:
        """Returns those of the towers: for compilation, recomputation and counting, block by block."""
        return [tower.stack for tower in self.towers()]

    def given(self, ids: Tensor, layout: Layout, source: Tensor, source_layout: Layout) -> Batch:
        """Returns a batch of ids (B, T), with the source (B, N) where the model reads one; its targets are the ids."""
        return Batch(ids, layout, ids)

    @property
    def takes_requests(self) -> bool:
        """Says whether a model that removes noise can be asked for something: a class, or what a caption says."""
        return bool(self.classes)

    def request_of(self, batch: Batch) -> Tensor:
        """Returns what is asked for in each row of a batch, as `denoise` takes it: (B,) classes."""
        return batch.targets

    def no_request(self, rows: int) -> Tensor:
        """Returns the same of rows in which nothing is asked for."""
        return torch.full((rows,), -1, device=self.device)

    def denoise(self, x: Tensor, time: Tensor, given: Tensor, layout: Layout) -> Tensor:
        """Returns what the process has a model predict of noisy x (B, ...) at times (B,), in the shape of x.

        given: (B,) classes, -1: none; or what else `request_of` and `no_request` return. Raises UserError where a model
        removes no noise.
        """
        raise UserError("this model is not told how noisy its inputs are; use model.kind=denoiser")

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """(c, h, w) of the latents that it makes of a picture, for a model that makes any."""
        return None

    def to_latents(self, pictures: Tensor) -> Posterior:
        """(B, C, H, W) -> the latents of pictures. Raises UserError where a model makes none."""
        raise UserError(NO_LATENTS)

    def from_latents(self, latents: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, C, H, W): the pictures of latents. Raises UserError where a model makes none."""
        raise UserError(NO_LATENTS)

    def require_source(self, source: object) -> None:
        """Raises UserError where a source is given to a model that reads none, or None to one that reads one."""
        if source is not None:
            raise UserError("this model has no encoder, so it reads no source; give the text as a prompt")

    def remember(self, source: Tensor | None, layout: Layout | None) -> State:
        """Returns what the decoder reads of the source ids (B, N) at every step; None where a model reads no source.

        Raises UserError where `require_source` does.
        """
        self.require_source(source)


class OneTower(Model):
    """Embedding, stack, head."""

    def __init__(self, embed: Embedding, stack: Stack, head: Head | None) -> None:
        super().__init__()
        self.embed, self.stack, self.head = embed, stack, head
        self.limit = limit_of(stack, embed)

    def features(self, batch: Batch) -> Tensor:
        self.require_source(batch.source)
        return self.stack(self.embed(batch.inputs, batch.layout), self.embed.arrange(batch.layout))[0]

    def towers(self) -> list[Tower]:
        return [Tower("", self.embed, self.stack)]


class Decoder(OneTower):
    """Its blocks are causal: a language model."""

    def init_state(self, batch: int, max_len: int) -> State:
        return self.stack.init_state(batch, max_len, device=self.device, dtype=self.dtype)

    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        return self.stack(self.embed(ids, layout), self.embed.arrange(layout), state, memory)


class EncoderOnly(OneTower):
    """In its blocks every token sees all others: BERT and its family."""

    writes = False

    def encode(self, ids: Tensor, layout: Layout) -> Tensor:
        """Returns the hidden states (B, T, M) of ids (B, T)."""
        return self.features(Batch(ids, layout, ids))

    def init_state(self, batch: int, max_len: int) -> State:
        raise UserError(NO_STEPS)

    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        raise UserError(NO_STEPS)


class Electra(EncoderOnly):
    """An encoder with a generator of tokens beside it, which is a part of it for objective=replaced-tokens alone."""

    def __init__(self, encoder: EncoderOnly, generator: EncoderOnly) -> None:
        super().__init__(encoder.embed, encoder.stack, encoder.head)
        self.generator = generator


NO_LATENTS = "this model makes no latents of pictures; use model.kind=autoencoder"
NO_STEPS = "an encoder sees a whole text at once, so it writes none token by token; use a decoder for that"


class Encoder(nn.Module):
    """Embedding and stack: (B, N) ids -> (B, S, M), and what each block kept of them for the decoder."""

    def __init__(self, embed: Embedding, stack: Stack) -> None:
        super().__init__()
        self.embed, self.stack = embed, stack

    def forward(self, ids: Tensor, layout: Layout) -> tuple[Tensor, State]:
        hidden, states = self.stack(self.embed(ids, layout), self.embed.arrange(layout))
        return hidden, tuple(parts[0] for parts in states)


class EncoderDecoder(Model):
    """An encoder, and a decoder whose blocks read what they wrote of its output.   Vaswani et al. 2017, fig. 1."""

    takes_source = True

    def __init__(self, encoder: Encoder, decoder: Decoder, by_document: bool = True) -> None:
        """Joins the two. by_document: the decoder finds the documents of a packed row in its memory by itself."""
        super().__init__()
        self.encoder, self.decoder, self.by_document = encoder, decoder, by_document
        limits = [x for x in (decoder.limit, limit_of(encoder.stack, encoder.embed)) if x is not None]
        self.limit = min(limits, default=None)

    @property
    def head(self) -> Head | None:  # type: ignore[override]
        return self.decoder.head

    def features(self, batch: Batch) -> Tensor:
        self.require_source(batch.source)
        assert batch.source is not None
        assert batch.source_layout is not None
        if batch.layout.segments is not None and not self.by_document:
            here, there = documents(batch.layout), documents(batch.source_layout)
            return here.join(self.read(here.split(batch.inputs), here.layout, there.split(batch.source), there.layout))
        return self.read(batch.inputs, batch.layout, batch.source, batch.source_layout)

    def read(self, ids: Tensor, layout: Layout, source: Tensor, source_layout: Layout) -> Tensor:
        """(B, T), (B, N) ids -> (B, T, M)."""
        memory = self.remember(source, source_layout)
        arranged = self.decoder.embed.arrange(layout)
        return self.decoder.stack(self.decoder.embed(ids, layout), arranged, None, memory)[0]

    def given(self, ids: Tensor, layout: Layout, source: Tensor, source_layout: Layout) -> Batch:
        return Batch(ids, layout, ids, source, source_layout)

    def require_source(self, source: object) -> None:
        if source is None:
            raise UserError("this model reads a source and writes an answer to it; give it a source")

    def remember(self, source: Tensor | None, layout: Layout | None) -> State:
        self.require_source(source)
        assert source is not None
        assert layout is not None
        hidden, states = self.encoder(source, layout)
        return self.decoder.stack.remember(lowered(hidden), self.encoder.embed.arrange(layout), states)

    def init_state(self, batch: int, max_len: int) -> State:
        return self.decoder.init_state(batch, max_len)

    def step(self, ids: Tensor, layout: Layout, state: State, memory: State = None) -> tuple[Tensor, State]:
        return self.decoder.step(ids, layout, state, memory)

    def towers(self) -> list[Tower]:
        encoder, decoder = self.encoder, self.decoder
        return [Tower("encoder", encoder.embed, encoder.stack), Tower("decoder", decoder.embed, decoder.stack)]


def without(head: Head | None) -> str:
    """Returns the beginning of a sentence that says which head a model has, where another one is needed."""
    if head is None:
        return "this model has no head (model.head=none)"
    return f"the head of this model gives {head.size:,} number{'s' * (head.size > 1)} per {head.per}"


def limit_of(stack: Stack, embed: Embedding) -> int | None:
    """Returns the smallest position limit of the encodings in a stack and its embedding, where it is one of inputs."""
    if not embed.counts_inputs:
        return None
    limits = [m.limit for part in (stack, embed) for m in part.modules() if isinstance(m, Positions)]
    return min((x for x in limits if x is not None), default=None)
