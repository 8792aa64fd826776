"""The law of decoding in batches: an input gets the tokens and the score that it gets alone, to the last bit."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import torch

from transduce.generate.config import GenerateConfig
from transduce.generate.decode import decode
from transduce.model.layout import dense
from transduce.model.models import Model

SIZE = 101  # of the vocabulary that models under this law are built for
LENGTHS = (1, 40, 16, 7, 200)  # tokens of the inputs: one, whole blocks, and awkward numbers
WAYS = (
    GenerateConfig(max_new_tokens=4),
    GenerateConfig(max_new_tokens=4, beam_size=5),
    GenerateConfig(max_new_tokens=4, temperature=1.0, nbest=2),
)


class Inputs(TypedDict):
    """Inputs of `decode`, one of the two."""

    source: list[list[int]] | None
    prompt: list[list[int]] | None


class Numbers(NamedTuple):
    """A vocabulary without text."""

    bos: int = 1
    eos: int = 2

    def decode(self, ids: list[int], /) -> str:
        return " ".join(map(str, ids))


def inputs_for(model: Model, lengths: Sequence[int]) -> Inputs:
    """Returns random inputs of several lengths: sources where the model reads one, else prompts."""
    generator = torch.Generator().manual_seed(0)
    inputs: list[list[int]] = [torch.randint(3, SIZE, (n,), generator=generator).tolist() for n in lengths]
    one, layout = torch.tensor([inputs[0]]), dense(1, 1)
    reads = model.given(one, layout, one, layout).source is not None
    return {"source": inputs if reads else None, "prompt": None if reads else inputs}


def together(model: Model) -> None:
    """Decodes inputs of many lengths alone and all at once: greedily, with beams, and by sampling.

    Raises AssertionError where a token or a bit of a score differs. The law holds on CPUs, in float32, for heads of 32
    features or more and sizes that are multiples of 16. With other sizes a vector of the processor may stay partly
    empty, which depends on the rows of the batch, and an empty part is computed in another way.
    """
    given = inputs_for(model, LENGTHS)
    inputs = given["source"] or given["prompt"] or ()
    for way in WAYS:
        alone, beside = (
            [[(h.ids, h.score.hex()) for h in row] for row in hypotheses]
            for hypotheses in (
                decode(model, Numbers(), way, batch_size=size, **given, alike=True) for size in (1, len(inputs))
            )
        )
        for ids, one, other in zip(inputs, alone, beside, strict=True):
            assert one == other, (
                f"together, {way.beam_size} beams, temperature {way.temperature}: an input of {len(ids)} tokens gives "
                f"{one} alone and {other} in a batch"
            )
