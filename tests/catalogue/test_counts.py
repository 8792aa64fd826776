"""Published shapes are models of our parts, and have as many parameters as others count."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce.catalogue import ledger
from transduce.catalogue.build import config_of, section
from transduce.catalogue.counts import Costs, costs
from transduce.catalogue.entry import TEXT, catalogue, entry
from transduce.catalogue.lineage import shape
from transduce.catalogue.shape import built, translated
from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.inspect.counts import state_bytes
from transduce.model.architecture import DecoderConfig, EncoderDecoderConfig, ModelConfig

LINES = {found.entry.id: found for found in ledger.lines()}
MADE = [name for name, found in LINES.items() if found.costs is not None]
# Where parts share weights across layers, layers differ, sides differ, or experts rest.
ODD = ["albert-base", "gpt-neo-125m", "t5-small", "bart-base", "transformer-xl-enwik8-12l", "deberta-base", "gpt-j-6b"]


def test_every_buildable_text_is_built_and_no_other() -> None:
    assert len(LINES) == 193
    assert set(MADE) == {e.id for e in catalogue().values() if e.family in TEXT and e.buildable}
    assert all("not published" in LINES[name].why for name in LINES.keys() - set(MADE))


@pytest.mark.parametrize("found", LINES.values(), ids=LINES)
def test_the_count_is_that_of_others(found: ledger.Line) -> None:
    """To the last parameter; tied ones once. Of shapes that are not whole, attention and feed-forwards alone.

    So does that of the ancestor whose shape it has: `transduce catalogue show` relies on it.
    """
    assert found.params == found.expected
    if found.entry.counted is not None:
        assert found.params == found.entry.counted.params
        assert found.entry.fitted or found.deviation == pytest.approx(found.entry.deviation)
        if found.entry.counted.active is not None:
            assert found.costs is not None
            assert found.costs.active == found.entry.counted.active


@pytest.mark.parametrize("name", ODD)
def test_two_of_equal_layers_stand_for_all(name: str) -> None:
    found = built(entry(name))
    with torch.device("meta"):
        model = found.model.assemble(found.vocab_size)
    assert costs(found.model, found.vocab_size).params == sum(p.numel() for p in model.parameters())
    if model.writes and not model.takes_source:
        per_token = state_bytes(model.to(torch.bfloat16)).per_token
        assert costs(found.model, found.vocab_size).state == per_token


@pytest.mark.parametrize("name", MADE)
def test_a_model_is_the_same_read_back_from_plain_data(name: str) -> None:
    made = built(entry(name)).model
    assert config_of(name)[0] == made if not LINES[name].beside else from_data(type(made), to_data(made)) == made


def plain(width: int = 8, layers: int = 5, **more: Any) -> DecoderConfig:
    return from_data(DecoderConfig, {"width": width, "layers": layers, "mixer": {"heads": 2}, **more})


def test_operations_are_two_for_each_weight_that_a_token_meets() -> None:
    found: Costs = costs(plain(feedforward={"kind": "mlp", "hidden": 16}, positions="rotary"), 11)
    assert found.flops == 2 * (5 * (4 * 8 * 8 + 2 * 8 * 16) + 11 * 8)
    own = costs(plain(feedforward={"kind": "mlp", "hidden": 16}, positions="learned", tie_embeddings=False), 11)
    assert own.flops == found.flops  # neither the look-up nor positions are products
    experts = {"kind": "experts", "experts": 4, "top": 1, "inner": {"kind": "mlp", "hidden": 16, "bias": False}}
    few = costs(plain(feedforward=experts), 11)
    assert few.flops == found.flops + 2 * 5 * 4 * 8
    assert few.params - few.active == 5 * 3 * 2 * 8 * 16


def test_a_token_of_the_source_meets_the_encoder_and_what_reads_it() -> None:
    data = {"width": 8, "layers": 2, "mixer": {"heads": 2}, "feedforward": {"kind": "mlp", "hidden": 16}}
    found = costs(from_data(EncoderDecoderConfig, data), 11)
    assert found.source_flops == 2 * 2 * (4 * 64 + 2 * 128 + 2 * 64)
    assert found.flops == 2 * (2 * (4 * 64 + 2 * 64 + 2 * 128) + 11 * 8)
    assert found.source_state == 2 * (2 * 8 * 2)
    assert found.training_bytes == 16 * found.params


def test_a_window_bounds_what_is_remembered() -> None:
    neo = LINES["gpt-neo-125m"].costs
    assert neo is not None
    assert neo.context == 2048
    assert neo.full < 0.6 * neo.context * neo.state


def changed(name: str, **more: Any) -> Mapping[str, Any]:
    return {**shape(entry(name)), **more}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("bert-base", {"rope": True}), ("bert-base", {"position": "spiral"}), ("bert-base", {"norm_placement": "in"}),
        ("bert-base", {"activation": "mish"}), ("bert-base", {"final_norm": True}), ("bert-base", {"d_model": "768"}),
        ("gpt-neo-125m", {"attention": {"pattern": "spiral"}}), ("gpt-j-6b", {"norms_per_layer": 2}),
        ("glm-base", {"position_2d": "polar"}), ("deberta-base", {"pos_att_type": ["p2p"]}),
        ("opt-350m", {"position_width": 5}),
    ],
)  # fmt: skip
def test_a_word_that_is_not_understood_is_an_error(name: str, more: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        translated(changed(name, **more), entry(name).family)


def test_build_on_a_device_with_overrides() -> None:
    model = td.build("gpt-3-175b", device="meta", overrides={"layers": 2})
    assert model.device.type == "meta"
    tiny = {"layers": 1, "width": 16, "mixer.heads": 2, "feedforward.hidden": 24}
    made = td.build("roberta-base", device="cpu", overrides=tiny, vocab_size=31)
    assert made.token_head.size == 31
    assert made.limit == 512
    again = td.build("roberta-base", device="cpu", overrides=tiny, vocab_size=31)
    other = td.build("roberta-base", device="cpu", overrides=tiny, vocab_size=31, seed=1)
    drawn = [(a, b) for a, b in zip(other.parameters(), again.parameters(), strict=True) if a.ndim > 1]
    assert not any(torch.equal(a, b) for a, b in drawn)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("bert-bass", {}, "mean bert-base"), ("chatgpt", {}, "not published"), ("ernie-thu", {}, "entity stream"),
        ("vit-b-16", {}, "only models of text"), ("llama-7b", {"device": "tpu"}, "use auto, cpu, cuda or meta"),
        ("switch-xxl", {"device": "cpu"}, "device=meta"), ("llama-7b", {"overrides": {"layer": 2}}, "model.layers"),
    ],
)  # fmt: skip
def test_build_says_what_is_wrong(name: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        td.build(name, **more)


def test_an_entry_can_stand_for_the_model_of_a_recipe(tmp_path: Path) -> None:
    data = {"data.path": "somewhere"}
    model = td.recipe("shakespeare", {**data, "model.layers": 3, "model": "gpt-2-355m"}).model
    assert model == config_of("gpt-2-355m", [("layers", 3)])[0]
    file = tmp_path / "mine.yaml"
    file.write_text("base: shakespeare\nmodel: {base: llama-7b, width: 64, mixer: {heads: 4}}\n")
    model = td.recipe(str(file), data).model
    assert (model.width, model.norm.kind, model.positions.kind) == (64, "rms-norm", "rotary")
    assert td.recipe("dates", {"model": "t5-small", "model.layers": 2}).model.layers == 2
    assert isinstance(td.recipe("dates", {"model": "transformer-base-2017"}).model, ModelConfig)
    assert section("transformer-base-2018") is None
    for name in ("bert-bass", "clip-vit-b-32", "transformer-base-2018"):
        with pytest.raises(UserError, match=name):
            td.recipe("shakespeare", {**data, "model": name})


def test_the_page_is_what_is_counted() -> None:
    """docs/catalogue-counts.md; `transduce catalogue counts --out docs/catalogue-counts.md` writes it again."""
    page = Path(__file__).parents[2] / "docs" / "catalogue-counts.md"
    assert page.read_text("utf-8") == ledger.page(LINES.values())
