"""Pairs of source and target, right and wrong, and what a trained model holds of them."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import torch

from transduce.generate.inputs import prepare
from transduce.model.layout import dense
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.training.train import train
from transduce.transducer import Transducer

Pair = tuple[str, str]


def trained(recipe: Recipe, folder: Path) -> Transducer:
    """Trains a recipe as `transduce train` does, and returns it with its best weights on the validation pairs."""
    run = train(recipe, folder, quiet=True)
    opened = open_run(run)
    return Transducer(opened.model.eval(), opened.readers, opened.recipe)


def by_steps(model: Transducer, pair: Pair) -> float:
    """Returns log p of a target, read one token at a time."""
    source, target = (model.tokenizer.encode(text) for text in pair)
    inputs = prepare(model.model, model.tokenizer, [source], None)
    assert inputs.sources is not None
    ids = [*inputs.prompts[0], *target, model.tokenizer.eos]
    total, network = 0.0, model.model
    with torch.inference_mode():
        memory = network.remember(torch.tensor(inputs.sources), dense(1, len(inputs.sources[0])))
        state = network.init_state(1, len(ids))
        for t, (last_token, following) in enumerate(pairwise(ids)):
            hidden, state = network.step(torch.tensor([[last_token]]), dense(1, 1, t), state, memory)
            total += float(network.token_head(hidden)[0, 0].double().log_softmax(-1)[following])
    return total


def shuffled(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Returns every target's words in another order; a target without another order stays."""
    random, others = Random(seed), list[Pair]()
    for source, target in pairs:
        words, other = target.split(), target.split()
        while other == words and len(set(words)) > 1:
            random.shuffle(other)
        others.append((source, target if other == words else " ".join(other)))
    return others


def foreign(pairs: Sequence[Pair]) -> list[Pair]:
    """Returns every source with the target of the next pair."""
    return [(source, pairs[i - 1][1]) for i, (source, _) in enumerate(pairs)]
