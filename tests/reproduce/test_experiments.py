"""Every experiment that the folder holds: what it states, and that it measures what it states."""

import dataclasses
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transduce.errors import UserError
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import Experiment, named, names
from transduce.reproduce.mark import finite
from transduce.reproduce.provenance import changed, traced

from .conftest import small


@pytest.mark.parametrize("name", names())
def test_what_is_stated_before_a_run(name: str) -> None:
    experiment = named(name)()
    assert experiment.claim.endswith(".")
    assert experiment.claim.count(". ") == 0, "one sentence"
    assert experiment.source
    assert experiment.marks
    assert len(experiment.seeds) == len(set(experiment.seeds)) == 3
    assert 0 < experiment.minutes <= 10
    assert all(field.default is not dataclasses.MISSING for field in dataclasses.fields(experiment))


@pytest.mark.parametrize("name", names())
def test_it_measures_what_its_marks_ask_for_and_draws_it(name: str, folder: Callable[[str], Path]) -> None:
    experiment = small(name)
    torch.manual_seed(0)
    result, code = traced(lambda: finite(experiment.measure(0, folder(name))))
    assert type(experiment).__module__ in code
    assert changed(code) == []
    measured = [result] * len(experiment.seeds)
    json.dumps(measured, allow_nan=False)
    for mark in experiment.marks:
        assert mark.what in measured[0], mark.what
        ruined = [{**measured[0], mark.what: "nan"}] * len(experiment.seeds)
        assert not mark.holds(ruined)
        assert experiment.verdict(ruined) == "failed"
        met = [{**result, **{m.what: meeting(experiment, m.what) for m in experiment.marks}} for result in measured]
        assert experiment.verdict(met).startswith("held"), "the marks contradict each other"
    figure = experiment.plot(measured)
    for axes in figure.axes:
        assert axes.get_title()
        assert axes.get_xlabel()
    figure.canvas.draw()


def meeting(experiment: Experiment, what: str) -> float:
    """A value of a measurement that meets every mark on it."""
    marks = [mark for mark in experiment.marks if mark.what == what]
    return sum(mark.threshold for mark in marks) / len(marks)


@pytest.mark.parametrize("name", ["reversed-source", "batch-mates", "associative-retrieval", "gru-and-lstm"])
def test_the_same_seed_measures_the_same_and_another_does_not(name: str, text: Path) -> None:
    experiment = small(name)

    def measured(seed: int) -> str:
        torch.manual_seed(seed)
        return json.dumps(experiment.measure(seed, text))

    assert measured(0) == measured(0) != measured(1)


def test_settings_and_marks_make_the_hash() -> None:
    one, same, other = named("lenet")(), named("lenet")(), small("lenet")
    assert one.hash == same.hash != other.hash

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Lenient(named("lenet")):  # type: ignore[misc]
        marks = named("lenet").marks[:1]

    assert Lenient().hash != one.hash


def test_a_name_that_is_none() -> None:
    with pytest.raises(UserError, match=r"there is no experiment lennet; did you mean lenet\?"):
        named("lennet")


def test_text_that_is_not_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give --data DIR, a folder with train\.txt and valid\.txt"):
        small("gru-and-lstm").measure(0, None)
    with pytest.raises(UserError, match=r"train\.txt does not exist"):
        small("gru-and-lstm").measure(0, tmp_path)


def test_text_may_be_packed(text: Path, tmp_path: Path) -> None:
    for name in ("train.txt", "valid.txt"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((text / name).read_bytes()))
    plain, packed = Corpus.read(text), Corpus.read(tmp_path)
    assert torch.equal(plain.train, packed.train)
    assert torch.equal(plain.valid, packed.valid)


def test_without_all_seeds_there_is_no_verdict() -> None:
    experiment: Experiment = named("sigma-pi")()
    measured = experiment.measure(0, None)
    assert experiment.verdict([measured]) == "incomplete"
    assert experiment.verdict([measured] * 3) == "held at once"
