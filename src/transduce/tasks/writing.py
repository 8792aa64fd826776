"""Texts written of pictures and of sounds, for the tasks that do so: two stacks whose inputs differ, and their answers.

Tested in tests/tasks/test_listener.py.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.inputs import Shown
from transduce.model.architecture import EncoderDecoderConfig
from transduce.model.embed.embedding import EmbeddingConfig
from transduce.model.embed.table import TableConfig
from transduce.model.models import Model
from transduce.tasks.answer import Answer, answer, distinct, room
from transduce.text.tokenizer import Tokenizer

M = TypeVar("M", bound=EncoderDecoderConfig)


def apart(model: M, embedding: EmbeddingConfig) -> M:
    """Returns the same with an embedding of what is no text, and a table of its own for the decoder."""
    return replace(
        model, embedding=embedding, decoder_embedding=model.decoder_embedding or TableConfig(), tie_positions=False,
        tie_embeddings="none" if model.tie_embeddings == "none" else "output",
    )  # fmt: skip


def written(
    model: Model, tokenizer: Tokenizer, options: GenerateConfig, sources: Sequence[Tensor],
    opens: Sequence[int] | None = None,
) -> list[list[Answer]]:  # fmt: skip
    """Returns the n best texts of each source, the best first.

    sources: equal in shape, as the encoder reads them.
    opens: the ids that each text begins with (None: those of the tokeniser).
    Raises UserError where a guess at what comes is asked for.
    """
    if options.draft is not None:
        raise UserError("captions and transcripts are written without guesses at what comes; leave generate.draft out")
    begin = list((opens or tokenizer.marks.opens)[: 1 if options.forced_bos is not None else None])
    given = [Shown(one.to(model.dtype)) for one in sources]
    hypotheses = decode(
        model, tokenizer, options, source=given, prompt=[begin] * len(given),
        limits=room(model, options, [max(1, len(begin))] * len(given)),
    )  # fmt: skip
    answers = [[answer(tokenizer, h, options) for h in row] for row in hypotheses]
    return answers if options.temperature > 0 else [distinct(row) for row in answers]
