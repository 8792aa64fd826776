"""The code in the documents runs."""

import re
import shlex
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce.cli.main import run
from transduce.inspect.combinations import EXACT, built, combination, deviation, language_model, mixers
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import Positions
from transduce.testing.laws import LAWS

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {  # the files that docs/classification.md names: a first line, and one of each row
    "sms.tsv": ("", "{label}\t{text}"),
    "a.csv": ("number,class,review", "{i},{label},{text}"),
    "a.tsv": ("what it is\twhat it says", "{label}\t{text}"),
    "c.txt": ("", "{label}:fine {text}"),
}
CLASSIFIERS = [
    line.partition("#")[0].strip()
    for line in (DOCS / "classification.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("transduce train classify") and "start=" not in line
]
EXAMPLES = {"MinimalGatedUnitConfig": 0, "MovingAverageConfig": 1}


@pytest.fixture(params=EXAMPLES)
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MixerConfig:
    text = (DOCS / "adding-a-mixer.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[EXAMPLES[request.param]]
    assert len([line for line in code.splitlines() if line.strip()]) < 60
    module: Any = types.ModuleType(request.param)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "adding-a-mixer.md", "exec"), vars(module))
    return vars(module)[request.param]()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_mixers_of_the_page_obey_the_laws(config: MixerConfig, law) -> None:
    mixer = config.build(16, Positions())
    XavierInit().apply(mixer, Sizes(16, 0, 1), seed=0)
    law(mixer, 16)


def test_the_mixers_of_the_page_stand_anywhere(config: MixerConfig) -> None:
    assert deviation(built(language_model(config))) < EXACT
    assert deviation(built(combination(config, mixers()["attention"], config))) < EXACT
    assert deviation(built(combination(mixers()["attention"], config, config))) < EXACT


@pytest.mark.parametrize("command", CLASSIFIERS)
def test_the_commands_of_classification_train(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, (first, row) in TABLES.items():
        rows = [row.format(i=i, label=("ham", "spam")[i % 2], text=f"message {i} of many") for i in range(30)]
        Path(name).write_text("\n".join([first, *rows] if first else rows) + "\n", encoding="utf-8")
    small = ["model.width=16", "train.max_steps=1", "schedule.warmup_steps=0", "tokenizer.vocab_size=300"]
    assert run([*shlex.split(command)[1:], *small]) == 0
    (path,) = Path("runs").iterdir()
    assert (path / "readers" / "label.json").is_file()
    labels = {answer.label for answer in td.load(path).classify(["message 1 of many", "another"])}
    assert labels <= {"ham", "spam"}
    assert set(td.load(path).classify("message")[2]) == {"ham", "spam"}
