"""The prefix of a run as PEFT keeps it: PEFT computes the same with it, and what PEFT keeps becomes a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange import checkpoint, peft_prefix
from transduce.model.layout import dense
from transduce.testing.families import ROWS, TOKENS, arguments, ids, logits_of, predicted, saved
from transduce.text.byte import Byte
from transduce.tune.prefix import PrefixTuning, prefixed

from .test_peft_adapter import FAMILIES, SIZES

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore::UserWarning:peft")
P = 5


def base(family: str, folder: Path, **sizes: Any) -> Any:
    config, architecture, options = FAMILIES[family]
    theirs = saved(config, architecture, {**SIZES, **options, **sizes}, folder / "base")
    theirs.name_or_path = theirs.config._name_or_path = str(folder / "base")
    return theirs


def adapter(folder: Path, **sizes: Any) -> Any:
    """A prefix with random numbers before a tiny GPT-2, as PEFT makes and saves it."""
    peft = pytest.importorskip("peft")
    theirs = base("gpt2", folder, **sizes)
    torch.manual_seed(3)
    asks = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=P)
    adapted = peft.get_peft_model(theirs, asks).eval()
    adapted.save_pretrained(folder / "adapter")
    return adapted


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_peft_computes_the_same(family: str, tmp_path: Path) -> None:
    """Of positions that are added, and of those that turn queries and keys in fewer key heads than query heads."""
    peft = pytest.importorskip("peft")
    theirs = base(family, tmp_path)
    opened = checkpoint.read(tmp_path / "base")
    PrefixTuning(tokens=P).adapt(opened.model, torch.Generator().manual_seed(4))
    peft_prefix.write(opened.model, opened.config, opened.vocab_size, str(tmp_path / "base"), tmp_path / "adapter")
    batch = opened.model.given(ids(theirs), dense(ROWS, TOKENS), ids(theirs, ROWS, 11, seed=2), dense(ROWS, 11))
    before = logits_of(theirs(**arguments(batch)))
    adapted = peft.PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
    with torch.no_grad():
        expected = logits_of(adapted(input_ids=batch.inputs))
        ours = predicted(opened.model, opened.model.features(batch))
    assert before is not None
    assert expected is not None
    assert (expected - before).abs().max() > 1e-3, "the prefix changes something"
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    again = checkpoint.read(tmp_path / "base").model
    assert peft_prefix.put(again, tmp_path / "adapter") == PrefixTuning(tokens=P)
    for one, other in zip(prefixed(again), prefixed(opened.model), strict=True):
        assert torch.equal(one.prefix.keys, other.prefix.keys)
        assert torch.equal(one.prefix.values, other.prefix.values)


def test_a_prefix_of_peft_becomes_a_run_and_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapted = adapter(tmp_path, vocab_size=259)
    Byte().train([]).save(tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "base" / "tokenizer.json")
    where, run = str(tmp_path / "adapter"), str(tmp_path / "run")
    assert main(["import", where, run, "--base", str(tmp_path / "base")]) == 0
    assert "transformers and peft" in capsys.readouterr().out
    shutil.move(tmp_path / "base", tmp_path / "gone")
    loaded = td.load(run, device="cpu")
    assert loaded.recipe.tune == PrefixTuning(tokens=P)
    given = torch.tensor([loaded.tokenizer.encode("so it is")])
    layout = dense(*given.shape)
    with torch.no_grad():
        expected = adapted(input_ids=given).logits
        opened = predicted(loaded.model, loaded.model.features(loaded.model.given(given, layout, given, layout)))
    torch.testing.assert_close(opened, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match=r"no class of transformers has keys and values of its own .*: --adapter"):
        api.export(run, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    api.export(run, tmp_path / "back", adapter=True)
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("adapter", "back"))
    assert one.keys() == other.keys()
    assert all(torch.equal(x, other[name]) for name, x in one.items())


@pytest.mark.parametrize("family", ["bert", "marian", "bloom"])
def test_what_peft_cannot_express_is_one_sentence(family: str, tmp_path: Path) -> None:
    if family == "bloom":
        saved(
            "BloomConfig",
            "BloomForCausalLM",
            {**SIZES, "hidden_size": 32, "n_layer": 2, "n_head": 4},
            tmp_path / "base",
        )
    else:
        base(family, tmp_path)
    opened = checkpoint.read(tmp_path / "base")
    PrefixTuning(tokens=P).adapt(opened.model, torch.Generator())
    with pytest.raises(UserError, match=r"^PEFT (has a prefix of decoders|does not say what positions add)"):
        peft_prefix.write(opened.model, opened.config, opened.vocab_size, "base", tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def spoil(folder: Path, **settings: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize(("change", "sentence"), [
    ("count", "wants"), ("tensors", "but a prefix is prompt_embeddings alone"), ("text", "num_virtual_tokens=many"),
    ("both", "prefix of an encoder-decoder"), ("gone", "does not exist"),
])  # fmt: skip
def test_a_prefix_of_another_model_is_one_sentence(change: str, sentence: str, tmp_path: Path) -> None:
    adapter(tmp_path)
    folder, model = tmp_path / "adapter", checkpoint.read(tmp_path / "base").model
    file = folder / "adapter_model.safetensors"
    if change == "count":
        spoil(folder, num_virtual_tokens=P + 1)
    elif change == "text":
        spoil(folder, num_virtual_tokens="many")
    elif change == "both":
        spoil(folder, num_transformer_submodules=2)
    elif change == "gone":
        file.unlink()
    else:
        save_file({**load_file(file), "base_model.model.x": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=sentence):
        peft_prefix.put(model, folder)
