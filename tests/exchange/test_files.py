"""Folders that lie: one sentence each, never a crash, and nothing large is allocated before the check."""

import json
import os
import random
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import transduce as td
from transduce.disk import digest
from transduce.errors import UserError
from transduce.exchange import certificate, checkpoint
from transduce.exchange.files import INDEX, SINGLE, Files
from transduce.model.architecture import DecoderConfig
from transduce.model.init.init import NormalInit
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.positions.absolute import LearnedConfig

VOCAB = 300


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small GPT-2 with its tokeniser."""
    folder = tmp_path_factory.mktemp("models") / "sound"
    config = DecoderConfig(
        width=16, layers=2, mixer=AttentionConfig(heads=2), positions=LearnedConfig(limit=32), init=NormalInit(),
        scale_embedding=False,
    )  # fmt: skip
    checkpoint.write(config.build(VOCAB), config, VOCAB, folder, more={"bos_token_id": 0, "eos_token_id": 0})
    vocabulary = {"<|end|>": 0} | {c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.add_special_tokens(["<|end|>"])
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (folder / "generation_config.json").write_text('{"eos_token_id": 0, "max_new_tokens": 4}')
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def test_the_folder_is_sound(folder: Path):
    assert isinstance(td.load(folder, device="cpu").generate("ab"), str)


def header(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the header of the safetensors file; the data stay as they are."""
    data = (folder / SINGLE).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    said = json.loads(data[8 : 8 + size])
    change(said)
    text = json.dumps(said).encode()
    (folder / SINGLE).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


WTE = "transformer.wte.weight"


def wte(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda said: said[WTE].update(values)


LIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "offset beyond the end": (wte(data_offsets=[0, 1 << 40]), "is damaged"),
    "end before the beginning": (wte(data_offsets=[64, 0]), "is damaged"),
    "shape of other bytes": (wte(shape=[1 << 40, 1 << 20]), "is damaged"),
    "shape that overflows": (wte(shape=[1 << 63, 1 << 63, 4]), "is damaged"),
    "negative shape": (wte(shape=[-1, 16]), "is damaged"),
    "no such type": (wte(dtype="F4096"), "is damaged"),
    "type of other bytes": (wte(dtype="F64"), "is damaged"),
    "overlapping": (lambda said: said.update(again=dict(said[WTE])), "is damaged"),
    "empty and absurd": (
        lambda said: said.update(absurd={"dtype": "F32", "shape": [0, 1 << 62], "data_offsets": [0, 0]}),
        r"is damaged|beyond what this model has|no tensor can be",
    ),
}


@pytest.mark.parametrize("lie", list(LIES))
def test_headers_that_lie_are_refused(folder: Path, lie: str):
    change, message = LIES[lie]
    header(folder, change)
    with pytest.raises(UserError, match=message):
        td.load(folder, device="cpu")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, -1, -1000])
def test_truncated_files_are_refused(folder: Path, size: int):
    data = (folder / SINGLE).read_bytes()
    (folder / SINGLE).write_bytes(data[:size])
    with pytest.raises(UserError, match="is damaged"):
        td.load(folder, device="cpu")


def test_a_header_that_says_it_is_long_costs_no_memory(folder: Path):
    data = (folder / SINGLE).read_bytes()
    tracemalloc.start()
    for size in (1 << 62, 1 << 32, 90_000_000, len(data)):
        (folder / SINGLE).write_bytes(struct.pack("<Q", size) + data[8:])
        with pytest.raises(UserError, match="is damaged"):
            Files(folder)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95"])
def test_a_pickle_under_the_name_of_safetensors_is_refused(folder: Path, head: bytes):
    (folder / SINGLE).write_bytes(head + b"x" * 100)
    with pytest.raises(UserError, match="is a pickle, which may run code"):
        td.load(folder, device="cpu")


def test_pickles_are_not_read(folder: Path):
    (folder / SINGLE).unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"weights only in pytorch_model\.bin, which may run code"):
        td.load(folder, device="cpu")


def sharded(folder: Path, files: dict[str, str]) -> None:
    tensors = safetensors.torch.load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    half = len(tensors) // 2
    names = list(tensors)
    for file, chosen in (("a.safetensors", names[:half]), ("b.safetensors", names[half:])):
        safetensors.torch.save_file({name: tensors[name] for name in chosen}, folder / file, {"format": "pt"})
    where = {name: "a.safetensors" if i < half else "b.safetensors" for i, name in enumerate(names)}
    (folder / INDEX).write_text(json.dumps({"weight_map": {**where, **files}}))


def test_shards_are_read(sound: Path, folder: Path):
    sharded(folder, {})
    assert td.load(folder, device="cpu").generate("ab") == td.load(sound, device="cpu").generate("ab")


@pytest.mark.parametrize(
    "file", ["../a.safetensors", "/etc/passwd", "x/../a.safetensors", "a.bin", "..", "", "c\0.safetensors", 7, None,
             "..\\a.safetensors", "\ud800.safetensors", "missing.safetensors", "b.safetensors"],
)  # fmt: skip
def test_an_index_with_tricks_is_refused(folder: Path, file: Any):
    sharded(folder, {"transformer.h.0.ln_1.bias": file})
    with pytest.raises(UserError, match=r"which is not a safetensors file beside it|names; download missing|it is not"):
        td.load(folder, device="cpu")


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', "{", "[" * 100_000, ""])
def test_a_broken_index_is_refused(folder: Path, index: str):
    sharded(folder, {})
    (folder / INDEX).write_text(index)
    with pytest.raises(UserError, match=r"is no JSON|no weight_map|not an object"):
        td.load(folder, device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModel": "evil.Model"}}, {"n_layer": 10**9}, {"n_embd": 10**9}, {"n_head": 10**9},
        {"n_positions": 10**12}, {"vocab_size": 10**15}, {"n_layer": -1}, {"n_layer": "2"}, {"n_embd": 1e300},
        {"n_inner": 10**18}, {"architectures": ["Evil"]}, {"architectures": 5}, {"model_type": ["gpt2"]},
        {"layer_norm_epsilon": "x"}, {"activation_function": {}}, {"surprise": 1}, {"n_layer": True},
    ],
)  # fmt: skip
def test_absurd_configs_are_refused_before_anything_is_allocated(folder: Path, change: dict[str, Any]):
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **change}))
    tracemalloc.start()
    with pytest.raises(UserError) as told:
        td.load(folder, device="cpu")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert "\n" not in str(told.value)


@pytest.mark.filterwarnings("ignore::transduce.errors.Notice")
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"])
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "{}", "[" * 100_000, '{"model": {"type": "BPE"}}'])
def test_small_files_of_nonsense_are_refused_or_read(folder: Path, name: str, text: str):
    (folder / name).write_text(text)
    if text in ("{}", '{"model": {"type": "BPE"}}') and name != "tokenizer.json":
        with suppress(UserError):
            td.load(folder, device="cpu")
        return
    with pytest.raises(UserError, match=str(folder)):
        td.load(folder, device="cpu")


def test_changed_data_are_caught_by_the_certificate(folder: Path):
    files = certificate.hashes(folder, [path for path in folder.iterdir() if path.is_file()])
    certificate.write(folder, {"files": files})
    td.load(folder, device="cpu")
    data = bytearray((folder / SINGLE).read_bytes())
    data[-3] ^= 1
    (folder / SINGLE).write_bytes(data)
    with pytest.raises(UserError, match=r"model\.safetensors is not the file of certificate\.json"):
        td.load(folder, device="cpu")


def test_a_certificate_tells_of_the_files_of_its_own_folder_alone(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
):
    outside = tmp_path_factory.mktemp("outside") / "file"
    outside.write_text("a secret")
    up = os.path.relpath(outside, folder)
    for name in (up, str(outside), f"x/../{up}", "nothing"):
        certificate.write(folder, {"files": {name: digest(outside)}})
        with pytest.raises(UserError, match="names a file"):
            td.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_flipped_bytes_raise_nothing_but_our_sentence(folder: Path, name: str):
    random.seed(name)
    whole = (folder / name).read_bytes()
    reach = min(len(whole), 3000) if name == SINGLE else len(whole)  # the header; of the data only hashes know
    for _ in range(75):
        data = bytearray(whole)
        for _ in range(random.choice((1, 1, 3))):
            data[random.randrange(reach)] ^= random.randrange(1, 256)
        (folder / name).write_bytes(data)
        with suppress(UserError):
            td.load(folder, device="cpu").generate("ab c", max_new_tokens=2)
