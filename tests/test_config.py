"""Plain data to configs and back."""

import types
from dataclasses import dataclass
from typing import Any

import pytest

from transduce import recipes
from transduce.config import from_data, kinds, merge, nearest, override, schema, to_data
from transduce.errors import UserError
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.mixers.mixer import MixerConfig
from transduce.model.residual.norm_first import PreNormConfig
from transduce.plain_yaml import Word
from transduce.runs import assumed
from transduce.runs.recipe import Recipe


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_comes_back_equal(name: str) -> None:
    recipe = from_data(
        Recipe,
        recipes.read(
            name, [] if name in ("dates", "ring", "sums") else [("data.path", "somewhere")], shape=assumed.shape
        ),
    )
    assert from_data(Recipe, to_data(recipe)) == recipe


def test_keys_left_out_keep_what_the_enclosing_default_chose() -> None:
    config = from_data(EncoderDecoderConfig, {"width": 64, "residual": {"dropout": 0.3}, "mixer": {"heads": 8}})
    assert config.residual == PreNormConfig(dropout=0.3)
    assert config.mixer == AttentionConfig(heads=8)


def test_a_changed_kind_drops_the_keys_of_the_old_one() -> None:
    data: dict[str, Any] = {"model": {"feedforward": {"kind": "mlp", "activation": "relu"}}}
    override(data, "model.feedforward.kind", "gated")
    override(data, "model.feedforward.hidden", Word("24"))
    assert data == {"model": {"feedforward": {"kind": "gated", "hidden": 24}}}
    base = {"a": {"kind": "x", "one": 1}, "b": {"two": 2}}
    assert merge(base, {"a": {"kind": "y"}, "b": {"three": 3}}) == {"a": {"kind": "y"}, "b": {"two": 2, "three": 3}}
    assert base == {"a": {"kind": "x", "one": 1}, "b": {"two": 2}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"width": "wide"}, "`width` is 'wide' \\(str\\), but must be a whole number"),
        ({"width": True}, "`width` needs a value: a whole number, not true"),
        ({"scale_embedding": 1}, "`scale_embedding` is 1 \\(int\\), but must be true or false"),
        ({"widht": 3}, "unknown key `widht`; did you mean `width`\\?"),
        ({"n_head": 3}, "unknown key `n_head`; did you mean `mixer.heads`\\?"),
        (
            {"mixer": {"kind": "atention"}},
            "`mixer.kind` is 'atention', but must be one of .*; did you mean `att",
        ),
        ({"mixer": 3}, "`mixer` is 3; give a kind, or a mapping with `kind`"),
        ({"feedforward": {"activation": "relo"}}, "`feedforward.activation` is 'relo', .* did you mean `relu`\\?"),
        ({"zzz": 3}, "unknown key `zzz`; the keys here are width, layers"),
        ([], "`the configuration` is \\[\\]; it must be a mapping"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_data(DecoderConfig, data)


def test_numbers_as_yaml_gives_them() -> None:
    config = from_data(DecoderConfig, {"residual": {"dropout": "1e-1"}, "width": 32.0})
    assert (config.residual.dropout, config.width) == (0.1, 32)


def test_kinds_are_found_by_walking_the_folder() -> None:
    assert kinds(MixerConfig.folder)["attention"] is AttentionConfig
    assert nearest("n_layer", ["layers", "width"]) == "layers"
    assert nearest("quite different", ["layers", "width"]) is None


def test_the_schema_has_a_branch_for_every_kind_and_a_type_for_every_key() -> None:
    found = schema(Recipe)
    names = set(found["$defs"])
    assert {"Recipe", "EncoderDecoderConfig", "DecoderConfig", "AttentionConfig", "MuonConfig", "Dates"} <= names
    model = found["$defs"]["EncoderDecoderConfig"]
    assert model["properties"]["kind"] == {"const": "encoder-decoder"}
    assert model["properties"]["width"]["type"] == "integer"
    assert model["additionalProperties"] is False
    assert {"$ref": "#/$defs/AttentionConfig"} in model["properties"]["mixer"]["anyOf"]


class Entry:
    """What an entry point of another package looks like from here."""

    name, group, value, dist = "theirs", MixerConfig.folder, "theirs.mixer", None

    def __init__(self, loaded: Any) -> None:
        self.loaded = loaded

    def load(self) -> Any:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded


def found_with(monkeypatch: pytest.MonkeyPatch, loaded: Any) -> dict[str, Any]:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Entry(loaded)] if "mixers" in group else [])
    return dict(kinds.__wrapped__(MixerConfig.folder))


def test_other_packages_add_kinds_by_class_or_module_and_cannot_break_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = dataclass(frozen=True, kw_only=True)(type("Theirs", (MixerConfig,), {"kind": "theirs"}))
    module = types.ModuleType("theirs")
    module.Theirs = theirs  # type: ignore[attr-defined]
    assert found_with(monkeypatch, theirs)["theirs"] is theirs
    assert found_with(monkeypatch, module)["theirs"] is theirs
    with pytest.raises(UserError, match=r"adds `theirs` to transduce.model.mixers, but theirs.mixer cannot be loaded"):
        found_with(monkeypatch, ImportError("no module named theirs"))
    twin = dataclass(frozen=True, kw_only=True)(type("Twin", (MixerConfig,), {"kind": "attention"}))
    with pytest.raises(UserError, match=r"kind `attention` .* is defined twice, by .*AttentionConfig and .*Twin"):
        found_with(monkeypatch, twin)
