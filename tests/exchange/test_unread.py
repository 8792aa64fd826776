"""What is no model that is read here: one true sentence with what to do."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import transduce as td
from transduce import api
from transduce.errors import UserError
from transduce.exchange import checkpoint, unread
from transduce.exchange.families.family import families
from transduce.exchange.names import reason
from transduce.exchange.sentences import SentenceEncoder

PEFT = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}


def config(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def renamed(folder: Path, change: Callable[[str], str], **more: torch.Tensor) -> None:
    tensors = {change(name): x for name, x in load_file(folder / "model.safetensors").items()}
    save_file({**tensors, **more}, folder / "model.safetensors", {"format": "pt"})


def sharded(folder: Path) -> None:
    index = dict.fromkeys(load_file(folder / "model.safetensors"), "model-00001-of-00002.safetensors")
    index[next(iter(index))] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")


def only(folder: Path, *names: str) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


def without_weights(folder: Path, name: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"x")


def peft(folder: Path) -> None:
    only(folder)
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    save_file({"base_model.model.a.lora_A.weight": torch.zeros(2, 2)}, folder / "adapter_model.safetensors")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (only, "is empty; give a run"),
    "GGUF alone": (lambda d: only(d, "model.Q4_K_M.gguf"), r"only as GGUF, for llama\.cpp \(model\.Q4_K_M\.gguf\)"),
    "GGUF and config.json": (lambda d: without_weights(d, "m.gguf"), r"weights only as m\.gguf, .* in safetensors"),
    "ONNX alone": (lambda d: only(d, "model.onnx"), r"only as ONNX \(model\.onnx\)"),
    "ONNX and config.json": (lambda d: without_weights(d, "model.onnx"), r"weights only as model\.onnx"),
    "a pickle": (lambda d: without_weights(d, "pytorch_model.bin"), r"only in pytorch_model\.bin, which may run code"),
    "weights of TensorFlow": (lambda d: without_weights(d, "tf_model.h5"), r"only in tf_model\.h5"),
    "another name": (lambda d: (d / "model.safetensors").rename(d / "x.safetensors"), r"has x\.safetensors, .* rename"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "does not exist; the folder of a model holds"),
    "no config.json": (lambda d: (d / "config.json").unlink(), "has weights, but no config.json"),
    "an adapter": (peft, "an adapter of org/base.* --base (DIR|MODEL)"),
    "an adapter in a model's folder": (
        lambda d: (d / "adapter_config.json").write_text(json.dumps(PEFT)),
        "an adapter of org/base.* --base (DIR|MODEL)",
    ),
    "weights of an adapter": (
        lambda d: renamed(d, lambda n: n, **{"bert.encoder.layer.0.attention.self.query.lora_A.weight": torch.ones(2)}),
        "they are those of an adapter; merge it",
    ),
    "a file too few": (sharded, "1 of the 2 files that .* names; download model-00002-of-00002.safetensors"),
    "GPTQ": (
        lambda d: config(d, quantization_config={"quant_method": "gptq", "bits": 4}),
        r"quantised \(gptq\), .*take the folder that they were made of",
    ),
    "AWQ": (lambda d: config(d, quantization_config={"quant_method": "awq"}), r"quantised \(awq\)"),
    "bitsandbytes": (
        lambda d: config(d, quantization_config={"load_in_4bit": True, "quant_method": "bitsandbytes"}),
        r"quantised \(bitsandbytes\)",
    ),
    "GPTQ as it was": (
        lambda d: (d / "quantize_config.json").write_text('{"bits": 4, "quant_method": "gptq"}'),
        r"quantised \(gptq\)",
    ),
    "quantised, and config.json says nothing": (
        lambda d: renamed(d, lambda n: n.replace("query.weight", "query.qweight")),
        "its weights are quantised",
    ),
    "a wrapper's names": (lambda d: renamed(d, lambda n: f"module.{n}"), r"it has them as module\.\.\.\.; they"),
    "names of torch.compile": (lambda d: renamed(d, lambda n: f"_orig_mod.{n}"), r"it has them as _orig_mod\."),
    "more layers than there are": (
        lambda d: config(d, num_hidden_layers=2), r"lacks .*config.json asks for more layers than there are \(1\)"
    ),
    "a head of a classifier": (
        lambda d: renamed(d, lambda n: n, **{"classifier.weight": torch.ones(2, 16)}),
        r"head of a classifier, .*AutoModel\.from_pretrained",
    ),
    "the class of a classifier": (
        lambda d: config(d, architectures=["BertForMultipleChoice"]),
        r"is of a 'BertForMultipleChoice', the head of which .*AutoModel\.from_pretrained",
    ),
    "an unknown tensor": (
        lambda d: renamed(d, lambda n: n, odd=torch.ones(2)),
        r"beyond what this model has, odd; no model of its config\.json computes with that",
    ),
    "folders of models": (
        lambda d: only(d, "a/x", "b/config.json", "d/x", "e/config.yaml", "f/g/config.yaml", "e/best/config.json"),
        r"is not a model itself, but holds runs \(e, f/g\) and models \(b\); give one of them",
    ),
    "a cache of a hub": (
        lambda d: only(d, ".locks/x", "models--a--b/snapshots/0f/config.json", "models--a--b/blobs/x", "version.txt"),
        r"but holds models \(models--a--b/snapshots/0f\); give one",
    ),
    "folders of nothing": (lambda d: only(d, "a", "b", "c", "z/x"), r"config\.json, only z/, a, b and 1 more; give"),
    "something else": (lambda d: only(d, "notes.txt"), r"neither config\.yaml nor config\.json, only notes\.txt; give"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_each_is_told_in_one_sentence(name: str, published: Path, tmp_path: Path) -> None:
    change, told = SPOILT[name]
    folder = Path(shutil.copytree(published, tmp_path / "model"))
    change(folder)
    for way in (
        lambda: td.load(folder, device="cpu"),
        lambda: api.import_model(folder, tmp_path / "run"),
        lambda: SentenceEncoder.read(folder),
    ):
        with pytest.raises(UserError, match=told) as raised:
            way()
        assert "\n" not in str(raised.value)
        assert "choose another name" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_what_is_given_instead_of_a_directory(published: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a file; give the directory it is in"):
        td.load(published / "model.safetensors")
    with pytest.raises(UserError, match="does not exist; `transduce train` makes runs"):
        td.load(tmp_path / "nothing")
    run = api.import_model(published, tmp_path / "run").path
    with pytest.raises(UserError, match=r"is a checkpoint of a run; give the run, .*run, and checkpoint=step-"):
        td.load(run / "last")
    (run / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"a run whose config\.yaml is missing"):
        td.load(run)


def test_models_are_looked_for_in_a_thousand_folders_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "MOST", 5)
    only(tmp_path, *(f"{i}/config.json" for i in range(8)), "0/config.yaml")
    assert unread.models(tmp_path) == {"runs": ["0"], "models": ["1", "2", "3", "4"]}
    only(tmp_path, *(f"{i}/a/config.json" for i in range(8)))
    assert unread.models(tmp_path) == {"runs": [], "models": []}
    only(tmp_path, "a/b/c/d/config.json", "a/b/e/config.json")
    assert unread.models(tmp_path)["models"] == ["a/b/e"]


def test_the_way_that_is_told_for_a_classifier_leads_there(published: Path, tmp_path: Path) -> None:
    transformers: Any = pytest.importorskip("transformers")
    folder = Path(shutil.copytree(published, tmp_path / "model"))
    settings = transformers.AutoConfig.from_pretrained(folder)
    transformers.BertForMultipleChoice(settings).save_pretrained(folder)
    with pytest.raises(UserError) as raised:
        td.load(folder, device="cpu")
    code = re.search(r"transformers\.AutoModel\.\S+\(NEW\)", str(raised.value))
    assert code is not None
    eval(code[0], {"transformers": transformers, "NEW": tmp_path / "new"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(folder / name, tmp_path / "new" / name)
    assert td.load(tmp_path / "new", device="cpu").embed(["a rose"]).shape == (1, 16)


def test_classes_with_a_head_of_a_classifier_are_told_for_every_family() -> None:
    transformers: Any = pytest.importorskip("transformers")
    for family in families():
        stem = re.match(r".*?(?=For|Model|LMHead|MTModel)", family.architectures[0])
        assert stem is not None
        for kind in ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"):
            if hasattr(transformers, stem[0] + kind):
                told = unread.other_class(Path("x"), family.model_type, stem[0] + kind, family.architectures)
                assert "AutoModel.from_pretrained('x')" in told


def test_fewer_layers_than_there_are(tmp_path: Path) -> None:
    present = [f"layers.{i}.weight" for i in range(3)]
    assert "asks for fewer layers than there are (3)" in reason(tmp_path, [], present[2:], present)
    assert "the files are not whole" in reason(tmp_path, ["layers.1.bias"], [], present)


HEADED = [("Bert", "ForMaskedLM"), ("Roberta", "ForMaskedLM"), ("MPNet", "ForMaskedLM"), ("Electra", "ForPreTraining"),
          ("DistilBert", "ForMaskedLM"), ("Albert", "ForMaskedLM"), ("DebertaV2", "ForMaskedLM")]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), HEADED, ids=[name for name, _ in HEADED])
def test_an_encoder_whose_head_is_not_in_the_files(name: str, kind: str, tmp_path: Path) -> None:
    """Folders of sentence encoders name the class that was trained before."""
    from transduce.model.layout import dense
    from transduce.testing.families import check_bytes, ids, saved

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = {"dim": 16, "hidden_dim": 24, "n_layers": 1, "n_heads": 2} if name == "DistilBert" else sizes
    options = {**small, "vocab_size": 30, "max_position_embeddings": 24, "pad_token_id": 1, "embedding_size": 8}
    for key in () if name in ("Albert", "Electra") else ("embedding_size",):
        del options[key]
    theirs = saved(f"{name}Config", f"{name}Model", options, tmp_path)
    config(tmp_path, architectures=[f"{name}{kind}"])
    found: Any = checkpoint.read(tmp_path)
    tokens = ids(theirs)
    expected = theirs(tokens).last_hidden_state
    torch.testing.assert_close(found.model.encode(tokens, dense(*tokens.shape)), expected, atol=1e-4, rtol=0)
    assert found.family.architecture(found.config) == f"{name}Model"
    check_bytes(theirs, tmp_path, tmp_path / "out")
    lost = load_file(tmp_path / "model.safetensors")
    del lost[next(name for name in lost if name.endswith("word_embeddings.weight"))]
    save_file(lost, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="lacks"):
        checkpoint.read(tmp_path)
