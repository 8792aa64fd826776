"""An encoder with a generator: one table, two sizes, and what another training takes of it."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

import transduce as td
from transduce.config import from_data, to_data
from transduce.errors import UserError
from transduce.model.architecture.electra import ElectraConfig
from transduce.model.models import Electra

SMALL = {"width": 12, "layers": 2, "mixer": {"heads": 3}, "generator_width": 6, "generator_layers": 1}


def test_the_table_is_shared_and_the_generator_smaller() -> None:
    model = from_data(ElectraConfig, SMALL).build(40)
    assert isinstance(model, Electra)
    assert model.generator.embed.weight is model.embed.weight
    assert model.generator.token_head.weight is model.embed.weight
    assert (len(model.stack.blocks), len(model.generator.stack.blocks)) == (2, 1)
    assert model.generator.stack.blocks[0].mix_residual.norm.weight.shape == (6,)
    assert [name for name, _ in model.named_parameters() if name.endswith("embed.weight")] == ["embed.weight"]
    half = from_data(ElectraConfig, {"width": 12, "layers": 1, "mixer": {"heads": 3}})
    assert half.generator.width == 6


def test_its_body_is_an_encoder_without_the_generator() -> None:
    config = from_data(ElectraConfig, SMALL)
    data = to_data(config.body())
    assert data["kind"] == "encoder"
    assert not [key for key in data if key.startswith("generator")]
    assert config.body().body() == config.body()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="generator_width=0"):
        from_data(ElectraConfig, {**SMALL, "generator_width": 0})


def test_a_classifier_starts_from_the_encoder_and_the_run_goes_on_exactly(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the rat ran to the man\n" * 60)
    tiny = {
        "data.path": str(tmp_path / "t.txt"), "data.valid_fraction": 0.2, "model.layers": 1, "model.width": 16,
        "model.mixer.heads": 2, "model.generator_width": 8, "model.feedforward.hidden": 32, "batch.max_length": 16,
        "tokenizer.vocab_size": 280, "batch.batch_tokens": 128, "schedule.kind": "constant", "train.max_steps": 6,
        "schedule.warmup_steps": 1, "train.validate_every": 3, "train.threads": 1,
    }  # fmt: skip
    once = td.train("pretrain-electra", tiny, out=tmp_path / "a", quiet=True)
    td.train("pretrain-electra", {**tiny, "train.max_steps": 3}, out=tmp_path / "b", quiet=True)
    twice = td.train("pretrain-electra", tiny, out=tmp_path / "b", quiet=True)
    assert (once.last / "model.safetensors").read_bytes() == (twice.last / "model.safetensors").read_bytes()
    assert "perplexity" not in (once.result or {})["valid"]
    rows = [f"{'ab'[i % 2]}\tthe {['cat', 'rat'][i % 2]} sat {i} times" for i in range(40)]
    (tmp_path / "c.tsv").write_text("\n".join(["label\ttext", *rows]) + "\n")
    over = {
        "data.path": str(tmp_path / "c.tsv"), "start": str(once.path), "train.max_steps": 3, "train.threads": 1,
        "schedule.warmup_steps": 1, "batch.batch_tokens": 256, "batch.max_length": 16, "train.validate_every": 3,
    }  # fmt: skip
    tuned = td.train("classify", over, out=tmp_path / "c", quiet=True)
    assert tuned.recipe.model.kind == "encoder"
    names, tensors = (load_file(run.best / "model.safetensors") for run in (tuned, once))
    assert any(name.startswith("generator.") for name in tensors)
    assert not any(name.startswith("generator.") for name in names)
