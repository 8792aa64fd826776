"""The family of the page on how to add one is true to transformers."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from transduce.exchange import checkpoint
from transduce.exchange.families.family import families

pytest.importorskip("transformers")

PAGE = Path(__file__).parents[3] / "docs" / "adding-a-family.md"
TINY = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "vocab_size": 53,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip


@pytest.mark.parametrize(
    "options", [{}, {"tie_word_embeddings": False, "scale_embedding": False, "hidden_act": "relu"}], ids=str
)
def test_the_family_of_the_page(options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, PAGE.name, "exec"), vars(module))
    monkeypatch.setattr(checkpoint, "families", lambda: (*families(), module.BioGPT()))
    module.check(tmp_path, **TINY, **options)
