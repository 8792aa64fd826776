"""The stages of a Transformer on a text of one's own, with their numbers: from the table of vectors to the next token.

They are those of one layer, one mixer and one head, recorded while the model runs. Scores and their softmax, which a
kernel keeps to itself, are computed again from the queries and keys that it was given.

Tested in tests/inspect/test_stages.py.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.sample import candidates
from transduce.inspect.looking import labels, places
from transduce.inspect.mixing import Read, Stage, noted, of_mixer
from transduce.inspect.recording import Recording, recording
from transduce.model.batch import Batch
from transduce.model.embed.table import Table
from transduce.model.heads.head import PooledHead, TokenHead
from transduce.model.layout import Layout, dense
from transduce.model.models import Model

LIKELIEST = 20  # tokens whose logits are shown
Names = Callable[[Sequence[int]], list[str]]


class Stages(NamedTuple):
    """The stages of one mixer. mixer: its name. mixers: those of the model. heads: how many the mixer has."""

    mixer: str
    mixers: list[str]
    heads: int
    stages: list[Stage]


def stages(
    model: Model, inputs: Sequence[int], names: Names, source: Sequence[int] | None = None, mixer: str | None = None,
    head: int = 1, config: GenerateConfig = GenerateConfig(),  # noqa: B008
) -> Stages:  # fmt: skip
    """Returns the stages of a model on inputs, which are ids as it reads them.

    names: ids to texts for people. source: ids, for a model that reads one.
    mixer: its name, as in `looking.maps` (None: the first of the last tower). Of a block that is applied several times,
        the first application is shown. head: from 1.
    config: how the next token is drawn; its rules about what may be written are left out.
    Raises UserError for a mixer or a head that the model does not have.
    """
    model.require_source(source)
    every, end = list(places(model)), model.towers()[-1]
    wanted = [one for one in every if (one.tower.stack is end.stack if mixer is None else one.name == mixer)]
    if not wanted:
        raise UserError(f"there is no mixer `{mixer}`; this model has {', '.join(one.name for one in every)}")
    place, training, device = wanted[0], model.training, model.device
    model.eval()
    try:
        with torch.no_grad():
            ids, here = torch.tensor([list(inputs)], device=device), dense(1, len(inputs), device=device)
            there = None if source is None else torch.tensor([list(source)], device=device)
            layout = None if source is None else dense(1, len(source), device=device)
            with recording(place) as notes:
                hidden = model.features(Batch(ids, here, ids, there, layout))
            own = list(source or ()) if place.tower.name == "encoder" else list(inputs)
            entered = notes["embedded"]
            assert entered is not None
            rows = labels(names, own, len(entered))
            crosses = bool(notes.calls) and notes.calls[0].role == "read"
            read = Read(place, rows, labels(names, list(source or ()), notes.sources) if crosses else rows)
            heads, mixed = of_mixer(read, notes, head)
            out = [*before(read, notes, own), *mixed, *behind(read, notes)]
            if place.tower.stack is end.stack:
                out += ending(model, hidden, model.arranged(here), rows, names, config)
    finally:
        model.train(training)
    return Stages(place.name, [one.name for one in every], heads, out)


def before(read: Read, notes: Recording, ids: list[int]) -> list[Stage]:
    """Returns the stages up to what the mixer reads."""
    embed, first, out = read.place.tower.embed, read.place.block is read.place.tower.stack.blocks[0], list[Stage]()
    if isinstance(embed, Table):
        times = "" if embed.scale == 1.0 else f", times {embed.scale:.4g}"
        vectors = embed.weight[torch.tensor(ids, device=embed.weight.device)] * embed.scale
        out.append(Stage("lookup", f"Each token is a row of the table of vectors{times}.", read.rows, None, vectors))
    more = notes["positions"]
    if more is None:
        nothing = "Nothing is added to the vectors: the layers see to the order of tokens, where they know it."
        out.append(Stage("positions", nothing))
    else:
        out.append(Stage("positions", "To each vector that of its place is added.", read.rows, None, more))
    recorded = noted(read, notes, {
        "embedded": "What enters the first layer.",
        "layer in": "What enters this layer.",
        "mixer in": f"What {read.place.child} reads: the stream, behind its norm where one stands before it.",
    })  # fmt: skip
    return out + [one for one in recorded if one.name != "layer in" or not first]


def behind(read: Read, notes: Recording) -> list[Stage]:
    """Returns the stages from behind the mixer to the end of the layer."""
    return noted(read, notes, {
        "added": "The stream, to which that was added (and normed, where a norm stands behind).",
        "feed in": "What the feed-forward network reads, each token by itself.",
        "between": "Its features between its two maps, behind the function that bends them.",
        "feed out": "What it returns.",
        "layer out": "The stream that leaves this layer.",
    })  # fmt: skip


def ending(
    model: Model, hidden: Tensor, layout: Layout, rows: list[str], names: Names, config: GenerateConfig
) -> list[Stage]:
    """Returns the stages behind the last layer. hidden: (1, T, M)."""
    head, out = (
        model.head,
        [Stage("hidden states", "What leaves the stack, behind its last norm.", rows, None, hidden[0])],
    )
    if isinstance(head, PooledHead):
        prediction = head(hidden, layout)
        return [*out, Stage("prediction", "What the head makes of the whole text.", ["text"], None, prediction)]
    if not isinstance(head, TokenHead):
        return [*out, Stage("prediction", "No head makes tokens of them here; `transduce predict` says what is made.")]
    logits = head(hidden[:, -1])
    values, best = logits[0].topk(min(LIKELIEST, logits.shape[-1]))
    tokens, log_p = names(best.tolist()), logits[0].log_softmax(-1)[best]
    what = f"follow {rows[-1]!r}" if model.writes else f"stand in the place of {rows[-1]!r}"
    text = f"What may {what}: the likeliest of {logits.shape[-1]:,} tokens, and e^logit divided by the sum of all."
    out.append(Stage("logits", text, tokens, ["logit", "p"], torch.stack([values, log_p.exp()], 1)))
    if not model.writes:
        return out
    if config.temperature <= 0:
        return [*out, Stage("sampling", f"At temperature 0 the likeliest is written: {tokens[0]!r}.")]
    weights, order = candidates(logits, config)
    mass = weights[0].double().cumsum(-1)
    bounds = torch.stack([mass - weights[0], mass, weights[0].double()], 1) / mass[-1]
    if order is not None:  # those that are left, in the order in which they are drawn from
        bounds = bounds.new_zeros(logits.shape[-1], 3).index_copy(0, order[0], bounds)
    text = f"At temperature {config.temperature:g}, a random number from 0 to 1 draws the token in whose part it falls."
    return [*out, Stage("sampling", text, tokens, ["from", "to", "share"], bounds[best])]
