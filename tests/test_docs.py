"""The code in the documents runs."""

import re
import sys
import types
from pathlib import Path

import pytest

from transduce.testing.laws import LAWS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def moving_average(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    text = (DOCS / "adding-a-mixer.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(code.strip().splitlines()) < 60
    module = types.ModuleType("moving_average")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "adding-a-mixer.md", "exec"), vars(module))
    return module


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_mixer_of_the_page_obeys_the_laws(moving_average: types.ModuleType, law) -> None:
    from transduce.model.positions.position import Positions

    law(moving_average.MovingAverageConfig().build(16, Positions()), 16)
