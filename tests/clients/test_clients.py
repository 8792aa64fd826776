"""What we export, opened by the programs of others: they write what we write."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import transduce as td
from transduce import api
from transduce.exchange.sentences import SentenceEncoder
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import EncoderOnly
from transduce.transducer import Transducer

transformers: Any = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "LICENSE").read_text("utf-8")
PROMPTS = [" ".join(TEXT.split()[i : i + 4]) for i in range(0, 1400, 70)]
NEW = 32
SMALL: dict[str, Any] = {
    "model.width": 32, "model.layers": 2, "model.mixer.heads": 2, "model.feedforward.hidden": 128, "train.threads": 1,
    "batch.batch_tokens": 1024, "train.samples": 4, "train.max_steps": 150, "train.validate_every": 150,
    "schedule.warmup_steps": 5, "optimizer.learning_rate": 0.01, "train.precision": "fp32",
}  # fmt: skip
LINES: dict[str, Any] = {
    **SMALL, "tokenizer.vocab_size": 400, "batch.max_length": 64, "generate.temperature": 0.0,
    "model.residual.dropout": 0.0,
}  # fmt: skip
BLOCKS: dict[str, Any] = {
    "model.feedforward.kind": "mlp", "model.norm": "layer-norm", "model.positions.kind": "learned",
    "model.positions.limit": 128,
}  # fmt: skip
GPT: dict[str, Any] = {**BLOCKS, "model.feedforward.activation": "gelu-tanh"}
BERT: dict[str, Any] = {
    **BLOCKS, "model.feedforward.activation": "gelu", "model.kind": "encoder", "objective": "masked-lm",
    "model.residual.kind": "post-norm", "model.scale_embedding": False, "model.embedding.norm": True,
    "model.embedding.types": 2, "tokenizer.kind": "word",
}  # fmt: skip


class Exported:
    """A run as we use it, and the folder that it was written to."""

    def __init__(self, folder: Path, name: str, recipe: str, overrides: dict[str, Any]) -> None:
        run = td.train(recipe, {**overrides, "name": name}, out=folder / "runs", quiet=True).path
        self.folder, self.ours = folder / name, td.load(run, device="cpu")
        api.export(run, self.folder)
        transformers.utils.logging.disable_progress_bar()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder)

    def pieces(self, texts: list[str]) -> list[list[str]]:
        return [self.tokenizer.convert_ids_to_tokens(ids) for ids in self.tokenizer(texts)["input_ids"]]

    def text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


@pytest.fixture(scope="module", params=["LlamaForCausalLM", "GPT2LMHeadModel"])
def decoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    more = GPT if request.param == "GPT2LMHeadModel" else {}
    overrides = {**LINES, **more, "data.path": str(ROOT / "LICENSE")}
    made = Exported(tmp_path_factory.mktemp("clients"), request.param, "text", overrides)
    assert transformers.AutoConfig.from_pretrained(made.folder).architectures == [request.param]
    return made


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    more = {"data.train_size": 2000, "data.valid_size": 20, "data.test_size": 20}
    return Exported(tmp_path_factory.mktemp("clients"), "dates", "dates", {**SMALL, **more})


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    overrides = {**LINES, **BERT, "data.path": str(ROOT / "LICENSE")}
    return Exported(tmp_path_factory.mktemp("clients"), "bert", "text", overrides)


def sources(ours: Transducer) -> list[str]:
    return list(ours.recipe.data.load()["test"]["source"])


def written(ours: Transducer, prompts: list[str]) -> list[str]:
    return [ours.generate(prompt, max_new_tokens=NEW) for prompt in prompts]


def block(number: int) -> str:
    """The Python of docs/exporting.md."""
    text = (ROOT / "docs" / "exporting.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number]


def test_the_pipeline_of_transformers_writes_the_same_text(decoder: Exported):
    pipe = transformers.pipeline("text-generation", str(decoder.folder), device="cpu")
    found = pipe(PROMPTS, max_new_tokens=NEW, do_sample=False, return_full_text=False)
    assert [one[0]["generated_text"] for one in found] == written(decoder.ours, PROMPTS)


def test_transformers_translates_alike(dates: Exported):
    given, wanted = sources(dates.ours), dates.ours.translate(sources(dates.ours))
    try:
        pipe = transformers.pipeline("text2text-generation", str(dates.folder), device="cpu")
    except KeyError:  # transformers 5 has no pipeline for it
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(dates.folder)
        found = model.generate(**dates.tokenizer(given, return_tensors="pt", padding=True))
        assert dates.tokenizer.batch_decode(found, skip_special_tokens=True) == wanted
    else:
        assert [one["generated_text"] for one in pipe(given, num_beams=1)] == wanted


def test_the_pipelines_of_an_encoder_see_what_we_see(encoder: Exported):
    model = encoder.ours.model
    assert isinstance(model, EncoderOnly)
    pipe = transformers.pipeline("fill-mask", str(encoder.folder), device="cpu")
    features = transformers.pipeline("feature-extraction", str(encoder.folder), device="cpu")
    for prompt in PROMPTS:
        text = f"{prompt} {pipe.tokenizer.mask_token} the License"
        found = pipe(text, tokenizer_kwargs={"split_special_tokens": False}, top_k=5)
        ids = torch.tensor(pipe.tokenizer([text], split_special_tokens=False)["input_ids"])
        place = ids[0].tolist().index(encoder.ours.tokenizer.mask)
        with torch.inference_mode():
            hidden = model.features(Batch(ids, dense(1, ids.shape[1]), ids))
            best = model.head(hidden)[0, place].softmax(-1).topk(5)
        assert [one["token"] for one in found] == best.indices.tolist()
        assert [one["score"] for one in found] == pytest.approx(best.values.tolist(), abs=1e-5)
        plain = torch.tensor(features.tokenizer([prompt], split_special_tokens=True)["input_ids"])
        with torch.inference_mode():
            wanted = model.features(Batch(plain, dense(1, plain.shape[1]), plain))
        seen = features(prompt, tokenize_kwargs={"split_special_tokens": True})
        torch.testing.assert_close(torch.tensor(seen), wanted, atol=1e-5, rtol=0)


def test_sentence_transformers_opens_an_encoder_and_gives_its_vectors(encoder: Exported, tmp_path: Path):
    theirs: Any = pytest.importorskip("sentence_transformers")
    ours = SentenceEncoder.read(encoder.folder)
    ours.write(tmp_path / "sentences")
    found = theirs.SentenceTransformer(str(tmp_path / "sentences"), device="cpu").encode(PROMPTS)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(ours.embed(PROMPTS)), atol=1e-5, rtol=0)


def test_ctranslate2_writes_the_same_text(decoder: Exported, tmp_path: Path):
    ctranslate2: Any = pytest.importorskip("ctranslate2")
    ctranslate2.converters.TransformersConverter(str(decoder.folder)).convert(str(tmp_path / "out"))
    generator = ctranslate2.Generator(str(tmp_path / "out"), compute_type="float32", intra_threads=1)
    how = {"max_length": NEW, "sampling_topk": 1, "include_prompt_in_result": False}
    found = [one.sequences_ids[0] for one in generator.generate_batch(decoder.pieces(PROMPTS), **how)]
    assert [decoder.text(ids) for ids in found] == written(decoder.ours, PROMPTS)


def test_ctranslate2_translates_alike_with_the_loader_of_the_page(dates: Exported, tmp_path: Path):
    ctranslate2: Any = pytest.importorskip("ctranslate2")
    loaders: Any = ctranslate2.converters.transformers
    kept = loaders._MODEL_LOADERS["MarianConfig"]
    try:
        exec(compile(block(0), "exporting.md", "exec"), {"DIR": str(dates.folder), "OUT": str(tmp_path / "out")})
    finally:
        loaders._MODEL_LOADERS["MarianConfig"] = kept
    translator = ctranslate2.Translator(str(tmp_path / "out"), compute_type="float32", intra_threads=1)
    given = sources(dates.ours)
    how = {"beam_size": 1, "max_decoding_length": dates.ours.recipe.generate.max_new_tokens}
    found = [one.hypotheses[0] for one in translator.translate_batch(dates.pieces(given), **how)]
    ids = [dates.tokenizer.convert_tokens_to_ids(pieces) for pieces in found]
    assert [dates.text(row) for row in ids] == dates.ours.translate(given)


def test_llama_cpp_writes_the_same_text(decoder: Exported, tmp_path: Path):
    llama_cpp: Any = pytest.importorskip("llama_cpp", exc_type=(ImportError, OSError, RuntimeError))
    pytest.importorskip("sentencepiece", reason="the converter of llama.cpp needs it")
    if "LLAMA_CPP" not in os.environ:
        pytest.skip("LLAMA_CPP does not name a folder of llama.cpp, in which its converter lies")
    (tmp_path / "to_gguf.py").write_text(block(1), "utf-8")
    command = [sys.executable, str(tmp_path / "to_gguf.py"), os.environ["LLAMA_CPP"], str(decoder.folder)]
    subprocess.run([*command, "--outfile", str(tmp_path / "out.gguf"), "--outtype", "f32"], check=True)
    model = llama_cpp.Llama(str(tmp_path / "out.gguf"), n_ctx=96, n_threads=1, type_k=0, type_v=0, verbose=False)
    assert [model.tokenize(prompt.encode()) for prompt in PROMPTS] == decoder.tokenizer(PROMPTS)["input_ids"]
    how = {"max_tokens": NEW, "temperature": 0.0, "repeat_penalty": 1.0}
    found = [model.create_completion(prompt, **how)["choices"][0]["text"] for prompt in PROMPTS]
    model.close()
    assert found == written(decoder.ours, PROMPTS)
