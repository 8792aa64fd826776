"""Code in a folder is never run, whichever file it is in and whichever command reads it."""

import ast
import builtins
import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import transduce
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange import certificate, remote_code

JSONS = (
    "config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json",
    "generation_config.json", "processor_config.json", "preprocessor_config.json", "image_processor_config.json",
    "feature_extractor_config.json", "video_preprocessor_config.json", "chat_template.json", "modules.json",
    "config_sentence_transformers.json", "sentence_bert_config.json", "1_Pooling/config.json", "adapter_config.json",
    "quantize_config.json", "vocab.json",
)  # fmt: skip
AUTO = {f"Auto{kind}": "evil.Evil" for kind in (
    "Config", "Model", "ModelForMaskedLM", "Tokenizer", "Processor", "ImageProcessor", "FeatureExtractor",
)}  # fmt: skip
HIDDEN = (AUTO, {**AUTO, "AutoTokenizer": ["evil.Evil", "evil.Evil"]}, ["evil.Evil", None], "evil.Evil")


@pytest.fixture
def mark(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What code of the folder writes. Whoever is asked whether it may run says yes."""
    mark = tmp_path / "it ran"
    code = f"from pathlib import Path\nPath({str(mark)!r}).write_text('x')\n"
    copy = Path(shutil.copytree(published, tmp_path / "model"))
    for name in (
        "evil", "modeling_bert", "tokenization_bert", "configuration_bert", "custom_st", "conftest", "setup",
        "__init__", "sitecustomize", "custom_generate/generate", "1_Pooling/custom_st",
    ):  # fmt: skip
        (copy / f"{name}.py").parent.mkdir(exist_ok=True)
        (copy / f"{name}.py").write_text(f"{code}class Evil: pass\n")
    reduced = f"c__builtin__\nexec\n(S{code!r}\ntR.".encode()
    for name in ("pytorch_model.bin", "training_args.bin", "model.pt", "tokenizer.pkl", "optimizer.pt"):
        (copy / name).write_bytes(reduced)
    (copy / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    monkeypatch.setattr(builtins, "input", lambda *asked: "y")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return mark


def commands(copy: Path, out: Path) -> list[list[str]]:
    return [
        ["import", str(copy), str(out / "run")],
        ["embed", str(copy), "a rose"],
        ["parity", str(copy), str(copy)],
        ["export", str(copy), str(out / "exported")],
        ["score", str(copy), "a rose"],
    ]


def planted(path: Path, value: Any, deep: bool) -> None:
    """auto_map in a JSON file, at its top or inside."""
    data = json.loads(path.read_text()) if path.exists() else {}
    if isinstance(data, list):
        data[0] = {**data[0], "auto_map": value}
    else:
        data = {**data, "more": [{"auto_map": value}]} if deep else {**data, "auto_map": value}
    path.write_text(json.dumps(data))


def test_nothing_runs_where_nothing_names_it(mark: Path, tmp_path: Path) -> None:
    for command in commands(mark.parent / "model", tmp_path):
        assert main(command) in (0, 2)
    assert not mark.exists()
    assert (tmp_path / "run/certificate.json").is_file()
    assert (tmp_path / "exported/certificate.json").is_file()


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", JSONS)
def test_a_file_that_names_code_is_refused_and_nothing_runs(
    mark: Path, tmp_path: Path, name: str, deep: bool, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    copy = mark.parent / "model"
    for value in HIDDEN[: 1 if deep else None]:
        planted(copy / name, value, deep)
        for command in commands(copy, tmp_path):
            if "/" in name and command[0] != "embed":
                continue  # nothing else reads it
            assert main(command) == 2, command
            assert "auto_map" in capsys.readouterr().err, command
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["custom_st.Transformer", "evil.Transformer", "1_Pooling.custom_st.Transformer"])
def test_modules_of_the_folder_are_refused(mark: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    copy = mark.parent / "model"
    (copy / "modules.json").write_text(json.dumps([{"type": kind, "path": ""}]))
    assert main(["embed", str(copy), "a rose"]) == 2
    assert "code of the folder's own" in capsys.readouterr().err
    assert not mark.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "1_Pooling/config.json", "tokenizer.json", "config.json"])
def test_a_pickle_under_another_name_is_not_opened(mark: Path, tmp_path: Path, name: str) -> None:
    copy = mark.parent / "model"
    shutil.copyfile(copy / "pytorch_model.bin", copy / name)
    for command in commands(copy, tmp_path):
        assert main(command) in ((0, 2) if "/" in name else (2,))
    assert not mark.exists()


def test_an_escaped_name_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(r'{"auto\u005fmap": {"AutoModel": "evil.Evil"}}')
    with pytest.raises(UserError, match="has auto_map"):
        remote_code.require_none(tmp_path)
    (tmp_path / "config.json").write_bytes(json.dumps({"auto_map": AUTO}).encode("utf-16"))
    with pytest.raises(UserError, match="has auto_map"):
        remote_code.require_none(tmp_path)


def test_a_token_of_that_name_is_no_code(tmp_path: Path) -> None:
    for name in ("vocab.json", "tokenizer.json", "added_tokens.json"):
        (tmp_path / name).write_text(json.dumps({"auto_map": 17, "model": {"vocab": {"auto_map": 17}}}))
    (tmp_path / "trainer_state.json").write_text("{")
    remote_code.require_none(tmp_path)


def test_every_call_that_could_run_code_forbids_it() -> None:
    calls = 0
    for path in Path(transduce.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr not in ("from_pretrained", "pipeline"):
                    continue
                said = {keyword.arg: keyword.value for keyword in node.keywords}
                for key, wanted in (("trust_remote_code", False), ("local_files_only", True)):
                    value = said.get(key)
                    assert isinstance(value, ast.Constant), f"{path}:{node.lineno} {key}"
                    assert value.value is wanted, f"{path}:{node.lineno} {key}"
                calls += 1
    assert calls >= 3


def test_weights_of_the_run_are_those_of_the_file(mark: Path, tmp_path: Path) -> None:
    """The pickles beside model.safetensors are read by nobody."""
    assert main(["import", str(mark.parent / "model"), str(tmp_path / "run")]) == 0
    ours = load_file(tmp_path / "run/best/model.safetensors")
    theirs = load_file(mark.parent / "model/model.safetensors")
    assert sum(x.double().sum() for x in ours.values()) == pytest.approx(
        float(sum(x.double().sum() for x in theirs.values())), abs=1e-6
    )
    assert certificate.read_certificate(tmp_path / "run")["compared_with"] == "transformers"
