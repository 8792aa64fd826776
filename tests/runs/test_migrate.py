"""Two runs of schema 1, made by the last version that wrote it, open, say what they said and go on as they would have.

`data/NAME` is the run after 8 updates, `data/NAME.json` what it said then, `data/NAME-step-16.safetensors` its weights
(with ema: their average) after 8 more, both by that version: in order of the parameters, whose names stand in the JSON.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import transduce
from transduce.config import from_data, to_data
from transduce.model.architecture import DecoderConfig, EncoderConfig, EncoderDecoderConfig
from transduce.plain_yaml import read_file
from transduce.runs import checkpoint
from transduce.runs.migrate import SCHEMA, former_names, renamed, upgraded, with_heads
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run, read_recipe
from transduce.runs.weights import read_weights, weights
from transduce.training.train import train

DATA = Path(__file__).parent / "data"
NAMES = ["letters", "reversal"]  # a decoder of parallel blocks; an encoder-decoder with ema, muon and an average


def told(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text())


@pytest.fixture(params=NAMES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """A copy of one of the runs."""
    shutil.copytree(DATA / request.param, tmp_path / request.param, symlinks=True)
    return Run(tmp_path / request.param)


def test_they_are_old(old: Run) -> None:
    assert yaml.safe_load((old.path / "config.yaml").read_text())["schema"] == 1 < SCHEMA
    assert checkpoint.schema(old.last.resolve()) == 1
    assert any(".parts.0." in name for name in checkpoint.read_tensors(old.last / "model.safetensors"))


def test_they_say_what_they_said(old: Run) -> None:
    expected, model = told(old.path.name), transduce.load(old.path)
    texts: list[str] = expected["asked"]
    answers = model.translate(texts) if old.path.name == "reversal" else [model.generate(text) for text in texts]
    assert [str(answer) for answer in answers] == expected["said"]


def test_they_go_on_to_the_weights_that_they_would_have_had(old: Run) -> None:
    """Moments of two optimisers, the average of weights and random states are taken up; the last checkpoints, one of
    either schema, are averaged."""
    expected, recipe = told(old.path.name), old.recipe
    own: Any = to_data(replace(recipe, train=replace(recipe.train, max_steps=16)))
    own["data"]["path"] = str(DATA / "texts")
    recipe = from_data(Recipe, own)
    run = train(recipe, old.path.parent, quiet=True)
    model = transduce.load(run.path, checkpoint="last").model
    file = "ema.safetensors" if recipe.train.ema else "model.safetensors"
    found = read_weights(model, run.last.resolve() / file)
    theirs = checkpoint.read_tensors(DATA / f"{old.path.name}-step-16.safetensors")
    assert checkpoint.schema(run.last.resolve()) == SCHEMA
    assert read_recipe(run.path) == recipe
    for (name, _), value in zip(model.named_parameters(), theirs.values(), strict=True):
        if name.endswith(".k.bias"):  # softmax cancels it: its gradient is rounding, whose sign alone Adam follows
            continue
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=0)  # another processor rounds otherwise
    assert run.result is not None
    assert run.result["averaged"] == expected["averaged"]
    assert run.result["valid"]["loss"] == pytest.approx(expected["valid"], abs=1e-4)


def test_they_may_go_on_where_the_keys_are_the_same_and_nothing_else(old: Run) -> None:
    recipe = old.recipe
    assert recipe.schema == SCHEMA
    with pytest.raises(transduce.UserError, match=r"is a run of another config: train\.seed \(there 3, now 4\)"):
        train(replace(recipe, train=replace(recipe.train, seed=4)), old.path.parent, quiet=True)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_keep_their_order_and_numbers_under_new_names(name: str) -> None:
    """Start values are drawn in order, so the order of names is part of what a seed means."""
    model = read_recipe(DATA / name).model.build(9 if name == "reversal" else 10)
    names = former_names(model)
    assert [names.get(old, old) for old in told(name)["parameters"]] == [new for new, _ in model.named_parameters()]


MODELS: dict[str, tuple[Any, dict[str, str]]] = {
    "inside, with a bridge": (
        EncoderDecoderConfig,
        {
            "encoder.stack.blocks.0.parts.0.mixer.ahead.input.weight": "encoder.stack.blocks.0.mix.ahead.input.weight",
            "decoder.stack.blocks.0.residuals.0.norm.weight": "decoder.stack.blocks.0.mix_residual.norm.weight",
            "decoder.stack.blocks.0.parts.0.mix.mixer.hidden.weight": "decoder.stack.blocks.0.mix.hidden.weight",
            "decoder.stack.blocks.0.parts.0.mix.bridge.maps.0.weight": "decoder.stack.blocks.0.bridge.maps.0.weight",
            "decoder.stack.blocks.0.parts.0.cross.mixer.score.weight": "decoder.stack.blocks.0.cross.score.weight",
            "decoder.stack.blocks.0.parts.1.feedforward.up.weight": "decoder.stack.blocks.0.feed.up.weight",
            "decoder.stack.blocks.0.residuals.1.norm.weight": "decoder.stack.blocks.0.feed_residual.norm.weight",
        },
    ),
    "before": (
        EncoderDecoderConfig,
        {
            "decoder.stack.blocks.0.parts.0.mixer.q.weight": "decoder.stack.blocks.0.cross.q.weight",
            "decoder.stack.blocks.0.parts.1.mixer.q.weight": "decoder.stack.blocks.0.mix.q.weight",
            "decoder.stack.blocks.0.residuals.0.norm.bias": "decoder.stack.blocks.0.cross_residual.norm.bias",
        },
    ),
    "one norm for all": (
        DecoderConfig,
        {
            "stack.blocks.1.residuals.0.norm.weight": "stack.blocks.1.residual.norm.weight",
            "stack.blocks.1.parts.0.parts.0.mixer.q.weight": "stack.blocks.1.mix.q.weight",
            "stack.blocks.1.parts.0.parts.1.feedforward.up.bias": "stack.blocks.1.feed.up.bias",
        },
    ),
    "pairs of sentences": (
        EncoderConfig,
        {
            "pooler.weight": "heads.pair.dense.weight",
            "pooler.bias": "heads.pair.dense.bias",
            "pair.weight": "heads.pair.output.weight",
            "pair.bias": "heads.pair.output.bias",
        },
    ),
    "a pooler": (
        EncoderConfig,
        {"pooler.weight": "heads.pooled.dense.weight", "pooler.bias": "heads.pooled.dense.bias"},
    ),
    "beside": (
        EncoderConfig,
        {
            "stack.blocks.0.parts.2.mixer.value.weight": "stack.blocks.0.beside.value.weight",
            "stack.blocks.0.residuals.2.norm.weight": "stack.blocks.0.beside_residual.norm.weight",
        },
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "inside, with a bridge": {
        "mixer": "gru", "encoder_mixer": {"kind": "bidirectional", "mixer": "gru"}, "bridge": "project",
        "cross": "additive", "cross_place": "inside", "positions": "none",
    },
    "before": {"cross_place": "before"},
    "one norm for all": {"residual": {"kind": "parallel", "norms": "one"}},
    "pairs of sentences": with_heads({"pooler": True, "pair_classes": 2}),
    "a pooler": with_heads({"pooler": True, "pair_classes": 0}),
    "beside": {"layers": [{"beside": {"kind": "convolution", "kernel": 3}}], "residual": "post-norm"},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_kind_of_block_is_named_by_what_is_in_it(name: str) -> None:
    """As schema 1 had them, written out by hand."""
    config, expected = MODELS[name]
    model: nn.Module = from_data(config, {"width": 8, "layers": 2, **OPTIONS[name]}).build(11)
    names, state = former_names(model), weights(model)
    assert expected.items() <= names.items()
    assert set(names.values()) <= model.state_dict().keys()
    assert len(set(names.values())) == len(names), "no two are one"
    back = {new: old for old, new in names.items()}
    written: dict[str, Tensor] = {back.get(new, new): x for new, x in state.items()}
    assert {n: x.data_ptr() for n, x in renamed(written, model, 1).items()} == {
        n: x.data_ptr() for n, x in state.items()
    }
    moments = {f"exp_avg/{n}": x for n, x in written.items()}
    assert renamed(moments, model, 1).keys() == {f"exp_avg/{n}" for n in state}
    assert renamed(written, model, SCHEMA).keys() == written.keys()


def test_a_recipe_of_another_schema() -> None:
    data = {"name": "x", "tokenizer": {"kind": "char"}}
    assert upgraded(data) == data
    assert upgraded({**data, "schema": 1}) == {
        **data, "schema": SCHEMA, "tokenizer": {"kind": "char", "normalise": "none"}
    }  # fmt: skip
    encoder = {"kind": "encoder", "width": 8, "pooler": False, "pair_classes": 0}
    for pooler, classes, heads in (
        (False, 0, {}),
        (True, 0, {"pooled": {"kind": "vector", "pool": ["first"], "hidden": True}}),
        (True, 3, {"pair": {"kind": "classes", "classes": 3, "pool": ["first"], "hidden": True}}),
    ):
        old = {"schema": 1, "model": {**encoder, "pooler": pooler, "pair_classes": classes}}
        new = {"kind": "encoder", "width": 8, "heads": heads}
        assert upgraded(old) == {"schema": SCHEMA, "model": new}
        assert to_data(from_data(EncoderConfig, new))["heads"].keys() == heads.keys()
    for schema in (0, SCHEMA, SCHEMA + 1, "1", None, True):
        assert upgraded({**data, "schema": schema}) == {**data, "schema": schema}


@pytest.mark.parametrize(("pooler", "classes"), [(False, 0), (True, 0), (True, 3)])
def test_what_stood_on_an_encoder_is_a_head(pooler: bool, classes: int) -> None:
    """pooler: (M, M), pair: (classes, M), as schema 1 had them."""
    model = {"kind": "encoder", "width": 8, "layers": 1, "pooler": pooler, "pair_classes": classes}
    new = upgraded(read_file(yaml.safe_dump({"schema": 1, "model": model}), "config.yaml"))["model"]
    built = from_data(EncoderConfig, {key: value for key, value in new.items() if key != "kind"}).build(11)
    names, shapes = former_names(built), {name: tuple(x.shape) for name, x in built.state_dict().items()}
    old = {name: shapes[names[name]] for name in names if name.startswith("p")}
    expected: dict[str, tuple[int, ...]] = {"pooler.weight": (8, 8), "pooler.bias": (8,)} if pooler else {}
    assert old == expected | ({"pair.weight": (classes, 8), "pair.bias": (classes,)} if classes else {})
    assert set(names.values()) <= shapes.keys()
