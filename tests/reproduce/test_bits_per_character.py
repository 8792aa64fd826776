"""What a text costs by its frequencies and by counts, and a mark that sees a decoder that has learnt no more."""

import math
from pathlib import Path

import pytest
import torch

from transduce.config import from_data
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import named
from transduce.reproduce.experiments.bits_per_character import BitsPerCharacter, counts, entropy
from transduce.reproduce.mark import Measurements


def measured(corpus: Corpus) -> Measurements:
    settings = {"width": 32, "heads": 4, "layers": 1, "tokens": 16, "steps": 80, "rate": 5e-3, "warm_up": 5}
    experiment = from_data(BitsPerCharacter, settings)
    return experiment.run_on(corpus, 0)


def test_a_text_without_order_is_no_better_than_its_frequencies(text: Path) -> None:
    corpus, [mark] = Corpus.read(text), named("bits-per-character").marks
    found = measured(corpus)
    assert mark.holds([found])
    assert found["bits per character"] == pytest.approx(found["validation loss"] / math.log(2))
    generator = torch.Generator().manual_seed(0)
    train, valid = (part[torch.randperm(len(part), generator=generator)] for part in (corpus.train, corpus.valid))
    mixed = measured(Corpus(train, valid, corpus.symbols))
    assert not mark.holds([mixed])
    assert mixed["order-0 entropy"] == pytest.approx(found["order-0 entropy"])


def test_entropy_is_of_the_frequencies() -> None:
    assert entropy(torch.tensor([0, 1, 1, 3])) == pytest.approx(1.5 * math.log(2))
    assert entropy(torch.full((9,), 4)) == 0


@pytest.mark.parametrize("order", [0, 1, 2])
def test_counts_are_those_of_witten_and_bell(order: int) -> None:
    train = torch.randint(4, (60,), generator=torch.Generator().manual_seed(1)).tolist()
    valid = torch.randint(5, (30,), generator=torch.Generator().manual_seed(2)).tolist()

    def likely(character: int, before: list[int]) -> float:
        n = len(before)
        lower = likely(character, before[1:]) if n else 1 / 5
        after = [train[i + n] for i in range(len(train) - n) if train[i : i + n] == before]
        return (after.count(character) + len(set(after)) * lower) / (len(after) + len(set(after))) if after else lower

    costs = [-math.log(likely(valid[i], valid[i - order : i])) for i in range(order, len(valid))]
    assert counts(torch.tensor(train), torch.tensor(valid), 5, order) == pytest.approx(sum(costs) / len(costs))
    assert sum(likely(c, [1, 2][:order]) for c in range(5)) == pytest.approx(1)
