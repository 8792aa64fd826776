"""Experiments whose subject has been made wrong on purpose: the marks must see it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from transduce.config import from_data
from transduce.reproduce.corpus import Corpus
from transduce.reproduce.experiment import Experiment, named
from transduce.reproduce.experiments import (
    batch_mates,
    leak_guard,
    linear_is_fast_weights,
    order_blind,
    representation_collapse,
    warm_up,
)
from transduce.reproduce.mark import finite

from .conftest import small


def missed(experiment: Experiment, text: Path | None = None) -> set[str]:
    """The measurements that do not meet their marks."""
    torch.manual_seed(0)
    measured = finite(experiment.measure(0, text))
    return {mark.what for mark in experiment.marks if not mark.holds([measured])}


def part_of(name: str, **settings: Any) -> Experiment:
    return from_data(named(name), settings)


def test_inputs_that_do_not_collapse_are_seen(monkeypatch: pytest.MonkeyPatch, text: Path) -> None:
    experiment = part_of("representation-collapse", batch=4, trained_layers=2, trained_width=16, steps=2)
    right = {what for what in missed(experiment, text) if what.startswith("45 / 2")}
    assert right <= {"45 / 2, Pre-LN"}  # which lies at its mark with the default start values
    wrong = {"Pre-LN": "post-norm", "Post-LN": "pre-norm", "ResiDual": "residual-dual"}
    monkeypatch.setattr(representation_collapse, "PLACEMENTS", wrong)
    assert {"45 / 2, Pre-LN", "45 / 2, Post-LN"} <= missed(experiment, text)


@pytest.mark.parametrize(
    ("part", "wrong", "seen"),
    [
        ("linear_attention", lambda q, k, v: (q @ k.T).tril(-1) @ v, "attention - programmer"),
        ("chunks", lambda q, k, v: (q @ k.T).triu() @ v, "chunks - programmer"),
        ("delta_rule_loop", lambda q, k, v, beta, S: (2 * v, S), "delta rule: chunks - step by step"),
        (
            "normalised_attention",
            lambda q, k, v: (q @ k.T).tril() @ v,
            "normalised attention - a programmer with one more value",
        ),
    ],
)
def test_a_form_that_is_another_function_is_seen(
    monkeypatch: pytest.MonkeyPatch, part: str, wrong: Any, seen: str
) -> None:
    experiment = part_of("linear-is-fast-weights", tokens=[16, 70])
    assert not missed(experiment)
    monkeypatch.setattr(linear_is_fast_weights, part, wrong)
    assert seen in missed(experiment)


@pytest.mark.parametrize(
    ("norm", "swapped", "seen"),
    [
        ("layer-norm", "batch-norm", {"other rows, layer-norm, training", "later tokens, layer-norm, training"}),
        ("rms-norm", "batch-norm", {"other rows, rms-norm, training"}),
        ("batch-norm", "layer-norm", {"other rows, batch-norm, training", "later tokens, batch-norm, training"}),
    ],
)
def test_a_norm_that_looks_at_other_rows_is_seen(
    monkeypatch: pytest.MonkeyPatch, norm: str, swapped: str, seen: set[str]
) -> None:
    experiment = part_of("batch-mates")
    assert not missed(experiment)
    real = batch_mates.decoder

    def decoder(symbols: int, seed: int, **changes: Any) -> Any:
        return real(symbols, seed, **{**changes, "norm": swapped if changes["norm"] == norm else changes["norm"]})

    monkeypatch.setattr(batch_mates, "decoder", decoder)
    assert missed(experiment) == seen


def test_positions_where_there_should_be_none_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = part_of("order-blind", steps=2)
    shuffling = {"change under shuffling, none", "change under shuffling, sinusoidal"}
    assert not missed(experiment) & shuffling
    real, swap = order_blind.tagger, {"none": "sinusoidal", "sinusoidal": "none"}

    def tagger(*sizes: int, positions: str, **changes: Any) -> Any:
        return real(*sizes, positions=swap.get(positions, positions), **changes)

    monkeypatch.setattr(order_blind, "tagger", tagger)
    assert shuffling <= missed(experiment)


@pytest.mark.parametrize(("name", "right"), [("with a wrong shift", True), ("with mask", False)])
def test_a_model_that_reads_what_it_is_to_write_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str, right: bool
) -> None:
    experiment = part_of("leak-guard", tokens=8, width=32, steps=200, rate=5e-3)
    monkeypatch.setattr(leak_guard, "KINDS", (name,))

    def holding() -> list[bool]:
        measured = experiment.measure(0, None)
        return [mark.holds([measured]) for mark in experiment.marks if mark.what in measured]

    assert holding() == [True, True]
    monkeypatch.setattr(leak_guard, "read", lambda text, name: text[:, :-1] if right else text[:, 1:])
    assert holding() == [False, False]


def test_the_rate_rises_in_a_line_and_stays() -> None:
    rates = [warm_up.rising(step, 1e-3, 400) for step in (0, 199, 399, 400, 10_000)]
    assert rates == pytest.approx([2.5e-6, 5e-4, 1e-3, 1e-3, 1e-3])
    assert warm_up.rising(0, 1e-3, 0) == 1e-3


def test_only_the_run_with_a_warm_up_depends_on_it(monkeypatch: pytest.MonkeyPatch, text: Path) -> None:
    experiment = small("warm-up")
    before = experiment.measure(0, text)
    monkeypatch.setattr(warm_up, "rising", lambda step, rate, warm_up: rate)
    after = experiment.measure(0, text)
    assert before["Post-LN with warm-up"] != after["Post-LN with warm-up"]
    assert all(before[name] == after[name] for name in ("Post-LN", "Pre-LN"))


def test_training_that_is_looked_at_between_is_the_same(text: Path) -> None:
    experiment, corpus = small("warm-up"), Corpus.read(text)
    assert isinstance(experiment, warm_up.WarmUp)
    whole, [last] = experiment.train(corpus, 0, "pre-norm", 2, 1e-3, 20, warm_up=15)
    again, [early, late] = experiment.train(corpus, 0, "pre-norm", 2, 1e-3, 7, 20, warm_up=15)
    assert whole == again
    assert last == late < early
