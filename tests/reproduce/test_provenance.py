"""A result is bound to the code that it ran through, and to no other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transduce.reproduce import provenance
from transduce.reproduce.experiment import Experiment, named
from transduce.reproduce.experiments.sigma_pi import parity
from transduce.reproduce.experiments.vanishing_gradient import slope
from transduce.reproduce.provenance import PACKAGE, Code, changed, traced
from transduce.reproduce.store import UNKNOWN, Store
from transduce.reproduce.tracing import LEFT_OUT, untraced

from .conftest import small

Edit = Callable[[str, str, str], Path]


@pytest.fixture(scope="module")
def code() -> Code:
    """That of an experiment with an encoder and with learned, rotary and sinusoidal positions."""
    experiment = small("order-blind")
    torch.manual_seed(0)
    return traced(lambda: experiment.measure(0, None))[1]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """A copy of the package with a text of one file replaced where it stands first."""

    def edit(file: str, old: str, new: str) -> Path:
        package = tmp_path / "transduce"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        text = (package / file).read_text("utf-8")
        assert old in text
        (package / file).write_text(text.replace(old, new, 1), "utf-8")
        return package

    return edit


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model/init/init.py", "normal(sizes.scale * std)", "normal(0.1 * sizes.scale * std)"),  # start of positions
        ("model/positions/absolute.py", "base: float = 10_000.0", "base: float = 1_000.0"),
        ("model/ops/attention.py", "return y.transpose(1, 2)", "return 2 * y.transpose(1, 2)"),
        ("model/mixers/mixer.py", "class MixerConfig(Part):", "class MixerConfig(Part):\n    count: int = 1"),
        ("model/models.py", "class Encoder(nn.Module):", "class Encoder(nn.Module):\n    training = False"),
        ("reproduce/fit.py", 'PLAIN = {"residual": {"kind": "pre-norm"', 'PLAIN = {"residual": {"kind": "post-norm"'),
        ("reproduce/draw.py", "def means(", "def means(*_):\n    return []\n\n\ndef means("),
        ("reproduce/experiments/order_blind.py", "ids.flip(1)", "ids.flip(0)"),
    ],
)
def test_other_numbers_make_a_result_older(code: Code, edited: Edit, file: str, old: str, new: str) -> None:
    assert changed(code, edited(file, old, new)) == [file]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model/positions/absolute.py", '"""Fixed sines and cosines', '"""Sines and cosines'),
        ("model/positions/absolute.py", "require_at_least(0, offset=self.offset)\n", "require_even(self.offset)\n"),
        ("model/ops/attention.py", "masked_fill(~seen, 0.0)", "masked_fill(~seen, 1.0)"),
        ("model/architecture/base.py", "require_at_least(1, width=", "require_at_least(2, width="),
        ("model/architecture/base.py", "are added to the embedding, which", "belong to the embedding, which"),
        ("config/reading.py", "must be a mapping of keys to values", "must be keys with values"),
        ("errors.py", '"""', '"""!', ),
        ("reproduce/mark.py", "Returns three significant digits", "Returns three digits"),
        ("reproduce/experiments/order_blind.py", "cannot tell the order of its tokens", "cannot tell their order"),
        ("model/mixers/delta.py", "import", "import math\nimport"),
        ("model/heads/head.py", "class Head(nn.Module, ABC):", "class Head(nn.Module, ABC):\n    asked = True\n"),
        ("data/read.py", '"""', '"""!'),
    ],
)  # fmt: skip
def test_other_words_and_other_parts_do_not(code: Code, edited: Edit, file: str, old: str, new: str) -> None:
    assert changed(code, edited(file, old, new)) == []


def test_a_file_that_is_gone_is_named(code: Code, tmp_path: Path) -> None:
    package = tmp_path / "transduce"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "model/norms/norm.py").unlink()
    assert changed(code, package) == ["model/norms/norm.py"]


def test_what_ran_is_named_and_nothing_else(code: Code) -> None:
    names = {
        f"{module.removeprefix('transduce.')}.{name}" for module, part in code.items() for name in part["functions"]
    }
    ran = {"model.positions.absolute.Learned.add", "model.positions.absolute.sinusoid", "model.models.Encoder.__init__",
           "model.init.init.XavierInit.rules", "model.mixers.attention.Attention.encode", "reproduce.fit.learn",
           "reproduce.experiments.order_blind.OrderBlind.trained"}  # fmt: skip
    defaults = {"model.architecture.encoder_decoder.EncoderDecoderConfig", "model.residual.residual.ResidualConfig"}
    assert ran | defaults <= names
    assert not {name for name in names if "delta" in name or name.split(".")[-1].startswith("require")}
    assert not {module for module in code if any(f"{module}.".startswith(f"{left}.") for left in LEFT_OUT)}


def test_the_same_run_has_the_same_code_again(code: Code) -> None:
    """Nothing is missing because an earlier run has left it in a cache."""
    experiment = small("order-blind")
    assert traced(lambda: experiment.measure(1, None))[1] == code
    cached = small("imputation")
    assert traced(lambda: cached.measure(0, None))[1] == traced(lambda: cached.measure(0, None))[1]


def test_tracing_changes_no_number() -> None:
    experiment = small("reversed-source")
    torch.manual_seed(0)
    plain = experiment.measure(0, None)
    torch.manual_seed(0)
    assert traced(lambda: experiment.measure(0, None))[0] == plain


def test_what_is_timed_is_not_traced() -> None:
    def both() -> None:
        with untraced():
            parity(1, 1)
        slope([1.0, 0.5])

    assert [part["functions"] for part in traced(both)[1].values()] == [["slope"]]
    with untraced():
        pass


def test_a_failure_ends_the_tracing() -> None:
    for _ in range(2):  # a second tracer beside a first would be refused
        with pytest.raises(ZeroDivisionError):
            traced(lambda: 1 / 0)


def test_results_are_older_once_the_code_has_changed(
    tmp_path: Path, edited: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, experiment = Store(tmp_path / "results"), named("sigma-pi")()
    for seed in experiment.seeds:
        store.measure(experiment, seed, None)
    assert store.older(experiment) == []
    package = edited("reproduce/experiments/sigma_pi.py", "features.pinverse()", "(2 * features.pinverse())")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    assert store.older(experiment) == ["reproduce/experiments/sigma_pi.py"]
    assert len(store.results(experiment)) == 3, "what is older is shown all the same"


@pytest.mark.parametrize(
    "code",
    [None, {}, [], 3, {"transduce.x": 3}, {"transduce.x": {}}, {"transduce./x": {"functions": [], "digest": "y"}}],
)
def test_results_that_do_not_name_their_code_are_older(tmp_path: Path, code: object) -> None:
    store, experiment = Store(tmp_path), named("sigma-pi")()
    result = {**store.measure(experiment, 0, None), "code": code}
    if code is None:
        del result["code"]  # as results were written before
    store.path("sigma-pi", 0).write_text(json.dumps(result), "utf-8")
    assert store.older(experiment) == [UNKNOWN]


def test_a_result_without_its_numbers_is_none(tmp_path: Path) -> None:
    store, experiment = Store(tmp_path), named("sigma-pi")()
    result = store.measure(experiment, 0, None)
    assert store.result(experiment, 0) is not None
    for key in ("measurements", "seconds", "hash"):
        damaged = {name: value for name, value in result.items() if name != key}
        store.path("sigma-pi", 0).write_text(json.dumps(damaged), "utf-8")
        assert store.result(experiment, 0) is None


def test_equal_codes_of_two_files_are_told_apart() -> None:
    one, other = (compile("def f(): return 1", path, "exec").co_consts[0] for path in (str(PACKAGE / "a.py"), "b.py"))
    assert one == other
    experiment: Experiment = named("sigma-pi")()
    assert list(traced(lambda: experiment.measure(0, None))[1]) == ["transduce.reproduce.experiments.sigma_pi"]
