"""Every architecture: small, it decodes what it learns, with and without a source, and every parameter learns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from transduce import recipes
from transduce.config import from_data
from transduce.errors import UserError
from transduce.generate.packed import reader
from transduce.inspect.combinations import EXACT, built, deviation, pair, rows
from transduce.model.architecture import ModelConfig
from transduce.objectives.objective import token_loss
from transduce.recipes import architectures
from transduce.runs import assumed

SMALL = {"heads": 2, "kv_heads": 1, "hidden": 24, "size": 8, "width": 16, "layers": 2, "times": 1, "dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class Holder:
    model: ModelConfig


def small(data: Any) -> Any:
    """The same shape with every size reduced."""
    if isinstance(data, Mapping):
        return {k: SMALL[k] if k in SMALL and isinstance(v, int | float) else small(v) for k, v in data.items()}
    return [small(x) for x in data] if isinstance(data, list) else data


def config(name: str, translates: bool) -> ModelConfig:
    return from_data(
        Holder, {"model": small(architectures.model(name, "encoder-decoder" if translates else "decoder"))}
    ).model


@pytest.mark.parametrize("translates", [True, False], ids=["pairs", "texts"])
@pytest.mark.parametrize("name", architectures.names())
def test_an_architecture_decodes_what_it_learns(name: str, translates: bool) -> None:
    model = built(config(name, translates))
    assert model.takes_source == translates
    assert deviation(model) < EXACT
    batch = pair(model, rows((3, 7), 5), rows((6, 4), 6))
    token_loss(model, batch, 0.0).total.backward()
    learning = [(name, p.grad) for name, p in model.named_parameters() if p.requires_grad]
    without = [name for name, gradient in learning if gradient is None or not gradient.isfinite().all()]
    assert not without


@pytest.mark.parametrize("name", architectures.names())
def test_an_architecture_can_be_read_with_packed_weights(name: str) -> None:
    """The copy that decodes on a CPU has other modules inside; nothing may depend on those it replaces."""
    model = built(config(name, True)).float()
    assert deviation(reader(model)) < 1e-4


@pytest.mark.parametrize("name", architectures.names())
def test_an_architecture_can_stand_in_any_recipe(name: str) -> None:
    for recipe, more in (("dates", {}), ("multi30k", {"data.path": "x"}), ("shakespeare", {"data.path": "x"})):
        data = recipes.read(recipe, [("model", name), ("model.width", 24), *more.items()], shape=assumed.shape)
        assert data["model"]["width"] == 24
        assert data["model"]["kind"] == ("decoder" if recipe == "shakespeare" else "encoder-decoder")


def test_the_base_of_a_model_is_the_model() -> None:
    wide = ("model.width", 32)
    ways = [[("model.base", "lstm-2014"), wide], [wide, ("model", "lstm-2014")]]
    one, other = (recipes.read("dates", way, shape=assumed.shape)["model"] for way in ways)
    assert one == other
    assert one["mixer"]["kind"] == "lstm"
    assert "heads" not in one["mixer"]


def test_a_recipe_file_may_start_from_an_architecture(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: dates\nmodel: {base: bahdanau-2014, width: 32}\n")
    data = recipes.read(str(file), shape=assumed.shape)
    assert data["model"]["width"] == 32
    assert data["model"]["cross_place"] == "inside"
    file.write_text("base: dates\nmodel: bahdanau\n")
    with pytest.raises(UserError, match="no architecture `bahdanau`; did you mean `bahdanau-2014`"):
        recipes.read(str(file), shape=assumed.shape)


def test_the_deep_lstms_of_sutskever_have_the_published_number_of_parameters() -> None:
    """384M with embeddings of 160,000 and 80,000 words; 64M of them, all that recurs, are ours at full size."""
    model = from_data(Holder, {"model": architectures.model("sutskever-2014", "encoder-decoder")}).model
    with torch.device("meta"):
        stacks = model.assemble(5).stacks()
    recurrent = sum(p.numel() for stack in stacks for p in stack.parameters())
    assert recurrent == 8 * 4 * (2 * 1000 * 1000 + 1000)
    assert recurrent + 1000 * (160_000 + 80_000 + 80_000) + 80_000 == 384_112_000
