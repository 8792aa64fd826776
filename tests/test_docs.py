"""The code in the documents runs."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from transduce.inspect.combinations import EXACT, built, combination, deviation, language_model, mixers
from transduce.model.init.init import Sizes, XavierInit
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.positions.position import Positions
from transduce.testing.laws import LAWS

DOCS = Path(__file__).parents[1] / "docs"
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
