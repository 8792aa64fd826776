"""Second tries are told: what was changed after a result, and which claims hold at once."""

import dataclasses
from pathlib import Path

import pytest

from transduce.reproduce.experiment import Experiment, named, names
from transduce.reproduce.history import Change
from transduce.reproduce.page import page
from transduce.reproduce.store import Store

DOCS = Path(__file__).parents[2] / "docs"
MISSED_FIRST = ("associative-retrieval", "gradients-at-the-start", "initialisation", "reversed-source", "twelve-layers",
                "vanishing-gradient", "representation-collapse", "sentence-polarity", "human-preferences")  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_every_change_is_told_whole(name: str) -> None:
    for change in named(name).history:
        for part in (change.first, change.gave, change.then, change.why):
            assert part
            assert not part.endswith("."), "the sentence ends behind it"
        assert change.gave.strip("0123456789.") != "", "what was measured says of what"


@pytest.mark.parametrize("name", MISSED_FIRST)
def test_what_missed_first_does_not_hold_at_once(name: str) -> None:
    experiment = named(name)()
    met = {mark.what: mark.threshold for mark in experiment.marks}
    assert experiment.verdict([met] * 3) in ("held after a change", "failed")
    assert any(change.what == "changed" for change in experiment.history)


def test_the_verdict_tells_first_tries_from_second_ones() -> None:
    met, missed = [{"parity of 3, sigma-pi": 1, "parity of 3, additive": 0.5, "sum of products - bilinear map": 0}], {}
    missed = [{**met[0], "parity of 3, sigma-pi": 0.5}]
    change = Change(first="a mark of 2", gave="1, a miss", then="a mark of 1", why="1 is all there is")

    def verdict(*history: Change, results: list[dict[str, float]] = met) -> str:
        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Tried(named("sigma-pi")):  # type: ignore[misc]
            pass

        Tried.history = history
        experiment: Experiment = Tried()
        return experiment.verdict(results * 3)

    assert verdict() == "held at once"
    assert verdict(change) == "held after a change"
    assert verdict(dataclasses.replace(change, what="added")) == "held at once"
    assert verdict(dataclasses.replace(change, what="added"), change) == "held after a change"
    assert verdict(change, results=missed) == verdict(results=missed) == "failed"


def test_no_mark_is_met_by_its_threshold_in_every_seed() -> None:
    """Such a mark stands where the measurement cannot pass it, and nothing can miss it."""
    store = Store(DOCS / "reproductions")
    for name in names():
        experiment = named(name)()
        measured = store.measured(experiment)
        for mark in experiment.marks if measured else ():
            assert mark.relation == "=" or set(mark.values(measured)) != {mark.threshold}, f"{name}: {mark.what} {mark}"


def test_the_page_tells_every_change_and_is_made_of_the_results() -> None:
    made = page(Store(DOCS / "reproductions"), [named(name)() for name in names()])
    assert all(str(change) in made for name in names() for change in named(name).history)
    again = "write it anew: transduce reproduce page --out docs/reproductions"
    assert made == (DOCS / "reproductions.md").read_text("utf-8"), again
