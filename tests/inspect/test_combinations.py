"""Encoders, crosses and decoders of any mixers, put together, decode step by step what they give at once."""

import itertools
import random

import pytest

from transduce.errors import UserError
from transduce.inspect.combinations import EXACT, built, combination, deviation, language_model, mixers
from transduce.model.architecture.between import NEEDS

NAMES = list(mixers())
PAIRS = [*itertools.product(NAMES, repeat=2)]


def roles() -> dict[str, list[str]]:
    """Which mixers can stand where, by building a model with each in that place."""
    attention, able = mixers()["attention"], {role: list[str]() for role in NEEDS if role != "inside"}
    for name, mixer in mixers().items():
        for role, found in able.items():
            places = {"encoder": attention, "cross": attention, "decoder": attention} | {role: mixer}
            try:
                combination(**places).build(5)
                found.append(name)
            except UserError as error:
                if "cannot stand" not in str(error):
                    raise
    return able


ABLE = roles()
DRAW = random.Random(0)
# Every decoder with every cross, and every encoder several times; the whole cube is a command.
CASES = [(DRAW.choice(ABLE["encoder"]), cross, decoder) for cross in ABLE["cross"] for decoder in ABLE["decoder"]]
CASES += [(encoder, "attention", "attention") for encoder in ABLE["encoder"]]


@pytest.mark.parametrize(("encoder", "cross", "decoder"), CASES)
def test_a_combination_decodes_what_it_learnt(encoder: str, cross: str, decoder: str) -> None:
    found = mixers()
    assert deviation(built(combination(found[encoder], found[cross], found[decoder]))) < EXACT


@pytest.mark.parametrize("decoder", ABLE["decoder"])
def test_a_language_model_of_any_mixer(decoder: str) -> None:
    assert deviation(built(language_model(mixers()[decoder]))) < EXACT


def test_some_places_have_no_meaning() -> None:
    assert 3 < len(ABLE["cross"]) < len(NAMES)
