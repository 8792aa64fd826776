"""Models in the form of Hugging Face, as models and runs of ours."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer as Raw
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.errors import UserError
from transduce.exchange import certificate
from transduce.exchange import importing as imported
from transduce.exchange.sample_lines import lines
from transduce.generate import rules
from transduce.text.published import File, published
from transduce.text.tokenizer import Tokenizer

transformers: Any = pytest.importorskip("transformers")

END = "<|endoftext|>"
LINES = lines(1000)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.utils.logging.disable_progress_bar()


def bytes_bpe(folder: Path, size: int = 500, specials: tuple[str, ...] = (END,)) -> Raw:
    made = Raw(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LINES[:200], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return made


def say(folder: Path, name: str, **values: Any) -> None:
    (folder / f"{name}.json").write_text(json.dumps(values))


def saved(folder: Path, config: Any, kind: str, **special: Any) -> Any:
    torch.manual_seed(0)
    made = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_((2 if kind.startswith("T5") else 8) if parameter.ndim > 1 else 1)
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    size = bytes_bpe(folder).get_vocab_size()
    say(folder, "tokenizer_config", tokenizer_class="GPT2Tokenizer", bos_token=END, eos_token=END, unk_token=END)
    config = transformers.GPT2Config(
        vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=96, bos_token_id=0, eos_token_id=0
    )
    saved(folder, config, "GPT2LMHeadModel")
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose tokeniser adds <s>, with more rows than tokens, several ends, and a template for conversations."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    made = bytes_bpe(folder, 400, ("<s>", "</s>", "<|eot|>"))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair=None, special_tokens=[("<s>", 0)])
    made.save(str(folder / "tokenizer.json"))
    say(folder, "tokenizer_config", tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    config = transformers.LlamaConfig(
        vocab_size=512, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=48, max_position_embeddings=96, bos_token_id=0, eos_token_id=[2, 1],
    )  # fmt: skip
    saved(folder, config, "LlamaForCausalLM")
    return folder


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder-decoder whose sources end in </s> and whose answers begin with <pad>."""
    folder = tmp_path_factory.mktemp("models") / "tiny-marian"
    made = bytes_bpe(folder, 400, ("</s>", "<unk>", "<pad>"))
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair=None, special_tokens=[("</s>", 0)])
    made.save(str(folder / "tokenizer.json"))
    tokens = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    say(folder, "tokenizer_config", tokenizer_class="PreTrainedTokenizerFast", **tokens)
    config = transformers.MarianConfig(
        vocab_size=400, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, pad_token_id=2,
        decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, max_position_embeddings=96, bos_token_id=0,
        eos_token_id=0, decoder_start_token_id=2, forced_eos_token_id=None, scale_embedding=True,
    )  # fmt: skip
    saved(folder, config, "MarianMTModel")
    return folder


@pytest.fixture(params=["gpt2", "llama"])
def decoder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["gpt2", "llama", "marian"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("prompt", ["Deutschland und", "日本", "x"])
def test_a_folder_generates_the_text_of_transformers(decoder: Path, prompt: str):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(decoder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(decoder)
    given = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
    ids = theirs.generate(**given, max_new_tokens=40, do_sample=False, pad_token_id=0, eos_token_id=None)
    ours = td.load(decoder, device="cpu")
    found = ours.generate(prompt, max_new_tokens=40)
    expected = tokenizer.decode(ids[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
    assert found
    assert expected.startswith(found) or found == expected
    assert "".join(ours.stream(prompt, max_new_tokens=40)) == found


def test_several_tokens_may_end_a_text(llama: Path, tmp_path: Path):
    folder = Path(shutil.copytree(llama, tmp_path / "model"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    given = tokenizer("Deutschland", return_tensors="pt", return_token_type_ids=False)
    how = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0}
    size = given["input_ids"].shape[1]
    whole = theirs.generate(**given, **how, eos_token_id=None)[0, size:].tolist()
    last = next(i for i in whole[3:] if i not in whole[:3])
    say(folder, "generation_config", bos_token_id=0, eos_token_id=[2, last])
    ours = td.load(folder, device="cpu")
    assert (ours.tokenizer.eos, ours.tokenizer.ends) == (2, (last,))
    ids = theirs.generate(**given, **how, eos_token_id=[2, last])[0, size:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True) == ours.generate("Deutschland", max_new_tokens=20)
    assert len(ids) < 20


def test_an_encoder_is_a_run_too(tmp_path: Path):
    made = bytes_bpe(tmp_path / "bert", 400, ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"))
    frame = [("[CLS]", 1), ("[SEP]", 2)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=None, special_tokens=frame)
    made.save(str(tmp_path / "bert" / "tokenizer.json"))
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    say(tmp_path / "bert", "tokenizer_config", tokenizer_class="PreTrainedTokenizerFast", **names)
    config = transformers.BertConfig(
        vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=64,
    )  # fmt: skip
    saved(tmp_path / "bert", config, "BertForMaskedLM")
    run = api.import_model(tmp_path / "bert", tmp_path / "run")
    said = certificate.read_certificate(run.path)
    assert (said["greedy_tokens_alike"], said["lines_with_the_same_ids"]) == ("0 of 0", "1000 of 1000")
    assert run.recipe.objective.kind == "masked-lm"
    with pytest.raises(UserError, match="an encoder sees a whole text at once"):
        td.load(run.path, device="cpu").generate("x")


def test_a_folder_translates_as_transformers_does(marian: Path):
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(marian)
    tokenizer = transformers.AutoTokenizer.from_pretrained(marian)
    texts = ["Frankreich und Spanien", "x"]
    found = td.load(marian, device="cpu").translate(texts, max_new_tokens=30)
    for text, mine in zip(texts, found, strict=True):
        given = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        ids = theirs.generate(**given, max_new_tokens=30, do_sample=False, num_beams=1)
        assert tokenizer.decode(ids[0], skip_special_tokens=True) == mine


def test_scores_are_those_of_the_logits_of_transformers(gpt2: Path):
    theirs = transformers.AutoModelForCausalLM.from_pretrained(gpt2)
    ours = td.load(gpt2, device="cpu")
    ids = [0, *ours.tokenizer.encode("a few words"), 0]
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = sum(float(logits[i, ids[i + 1]]) for i in range(len(ids) - 1))
    assert ours.score(["a few words"])[0].total == pytest.approx(expected, abs=1e-3)


def test_tokens_of_the_folder(gpt2: Path, llama: Path, marian: Path):
    first, second, third = (published(path) for path in (gpt2, llama, marian))
    assert (first.pad, first.bos, first.eos, first.marks.before) == (0, 0, 0, ())
    assert (second.bos, second.eos, second.marks.before, second.marks.opens) == (0, 2, (0,), (0,))
    assert second.marks.chat == "{% for m in messages %}{{ m.content }}{% endfor %}"
    assert (third.bos, third.eos, third.pad, third.marks.opens, third.marks.after) == (2, 0, 2, (2,), (0,))
    assert td.load(llama, device="cpu").tokenizer.vocab_size == 512
    for tokenizer in (first, second, third):
        name = tokenizer.tokenizer.id_to_token(tokenizer.eos)
        assert tokenizer.eos not in tokenizer.encode(f"a {name} b")
        assert tokenizer.decode(tokenizer.encode(f"a {name} b")) == f"a {name} b"


@pytest.mark.parametrize("template", [None, "roberta", "added"])
def test_vocab_and_merges_give_the_ids_of_transformers(tmp_path: Path, template: str | None):
    made = bytes_bpe(tmp_path, specials=("<s>", "<pad>", "</s>", "<unk>", END))
    (tmp_path / "tokenizer.json").unlink()
    made.model.save(str(tmp_path))
    if template == "roberta":
        say(tmp_path, "tokenizer_config", tokenizer_class="RobertaTokenizer", cls_token="<s>", sep_token="</s>",
            bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>")  # fmt: skip
    elif template == "added":
        token = {"content": "<new>", "special": True, "normalized": False}
        size = made.get_vocab_size()
        say(tmp_path, "tokenizer_config", tokenizer_class="GPT2Tokenizer", added_tokens_decoder={str(size): token},
            bos_token=END, eos_token=END, unk_token=END, pad_token="<new>")  # fmt: skip
    else:
        say(tmp_path, "special_tokens_map", bos_token=END, eos_token={"content": END}, unk_token=END)
        say(tmp_path, "tokenizer_config", tokenizer_class="GPT2Tokenizer")
    agrees(tmp_path)


@pytest.mark.parametrize("options", [{}, {"do_lower_case": False}, {"strip_accents": False}])
def test_a_vocabulary_of_word_pieces_gives_the_ids_of_transformers(tmp_path: Path, options: dict[str, Any]):
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Raw(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=specials, show_progress=False)
    made.train_from_iterator(LINES[:300], trainer)
    made.model.save(str(tmp_path))
    say(tmp_path, "tokenizer_config", tokenizer_class="BertTokenizer", **options)
    agrees(tmp_path)
    tokenizer = published(tmp_path)
    assert (tokenizer.pad, tokenizer.bos, tokenizer.eos, tokenizer.unk) == (0, 2, 3, 1)
    assert (tokenizer.marks.before, tokenizer.marks.after) == ((2,), (3,))


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_a_config_says_what_stands_around_a_text(tmp_path: Path, begun: bool, ended: bool):
    made = bytes_bpe(tmp_path, 400, ("<s>", "</s>", "<unk>"))
    said = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    say(tmp_path, "tokenizer_config", tokenizer_class="GPT2Tokenizer", add_bos_token=begun, add_eos_token=ended, **said)
    agrees(tmp_path)  # where tokenizer.json says what stands around a text, nothing else is asked
    (tmp_path / "tokenizer.json").unlink()
    made.model.save(str(tmp_path))
    agrees(tmp_path)
    marks = published(tmp_path).marks
    assert (marks.before, marks.after) == ((0,) * begun, (1,) * ended)


def agrees(folder: Path) -> None:
    ours, theirs = published(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert [ours.whole(line) for line in LINES] == theirs(LINES)["input_ids"]


def test_an_imported_run_is_a_run(folder: Path, tmp_path: Path):
    run = api.import_model(folder, tmp_path / "run")
    ours, again = td.load(folder, device="cpu"), td.load(run.path, device="cpu")
    if ours.task.kind == "translate":
        assert again.translate("Frankreich") == ours.translate("Frankreich")
        assert again.score([("a", "b")]) == ours.score([("a", "b")])
    else:
        assert again.generate("Frankreich") == ours.generate("Frankreich")
        assert again.score(["Frankreich"]) == ours.score(["Frankreich"])
    said = certificate.read_certificate(run.path)
    assert said["compared_with"] == "transformers"
    assert said["largest_logit_difference"] <= said["tolerance"]
    assert (said["greedy_tokens_alike"], said["lines_with_the_same_ids"]) == ("64 of 64", "1000 of 1000")
    assert said["read"]["model.safetensors"] == certificate.digest(folder / "model.safetensors")
    for name, sha in said["files"].items():
        assert certificate.digest(run.path / name) == sha
    with pytest.raises(UserError, match="exists already"):
        api.import_model(folder, tmp_path / "run")


def test_training_goes_on_from_what_was_imported(gpt2: Path, tmp_path: Path):
    run = api.import_model(gpt2, tmp_path / "runs" / "mine")
    with pytest.raises(UserError, match="imported, and its data were not; name some of your own"):
        td.train(str(run.path / "config.yaml"), out=tmp_path / "runs", quiet=True)
    (tmp_path / "text.txt").write_text("\n".join(line for line in LINES[100:400] if line.strip()))
    changes = {
        "name": "mine", "data.kind": "text", "data.path": str(tmp_path / "text.txt"), "data.unit": "line",
        "train.max_steps": 4, "train.validate_every": 4, "train.ema": 0.9, "batch.max_length": 32,
        "batch.batch_tokens": 256, "optimizer.learning_rate": 1e-3, "train.threads": 1,
    }  # fmt: skip
    before = td.load(run.path, device="cpu").score(["Frankreich"])[0].total
    trained = td.train(str(run.path / "config.yaml"), changes, out=tmp_path / "runs", quiet=True)
    after = td.load(trained.path, device="cpu").score(["Frankreich"])[0].total
    assert trained.path == run.path
    assert 0 < abs(after - before) < 20
    with pytest.raises(UserError, match=r"is a run of another config: optimizer\.learning_rate"):
        td.train(str(run.path / "config.yaml"), {"optimizer.learning_rate": 1e-4}, out=tmp_path / "runs", quiet=True)


def test_without_transformers_the_certificate_says_so(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    monkeypatch.setattr(certificate, "has_transformers", lambda: False)
    run = api.import_model(gpt2, tmp_path / "run")
    assert "transformers is not installed" in certificate.read_certificate(run.path)["compared_with"]


def test_an_import_that_computes_something_else_is_refused(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):  # fmt: skip
    from transduce.exchange import importing as imported

    read = imported.read_folder

    def wrong(folder: Path) -> Any:
        found = read(folder)
        with torch.no_grad():
            dict(found.model.named_parameters())["stack.blocks.1.feed.up.bias"] += 0.5
        return found

    monkeypatch.setattr(imported, "read_folder", wrong)
    assert main(["import", str(gpt2), str(tmp_path / "run")]) == 2
    assert "computes other logits than transformers" in (told := capsys.readouterr().err)
    assert "they part at end" in told or "they part at layer 2" in told
    assert not (tmp_path / "run").exists()


def test_the_hub_is_its_cache_where_there_is_no_network(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    hub: Any = pytest.importorskip("huggingface_hub")
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "blobs").mkdir()
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in gpt2.iterdir():
        blob = repository / "blobs" / certificate.digest(file)
        shutil.copyfile(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    run = api.import_model("hub:owner/tiny", tmp_path / "run")
    assert td.load(run.path, device="cpu").generate("x") == td.load(gpt2, device="cpu").generate("x")
    with pytest.raises(UserError, match="hub:owner/other cannot be had"):
        api.import_model("hub:owner/other", tmp_path / "other")
    with pytest.raises(UserError, match="hub:no such name cannot be had"):
        api.import_model("hub:no such name", tmp_path / "other")


def test_a_tokeniser_of_others_for_a_model_of_ours(gpt2: Path, tmp_path: Path):
    tokenizer = File(path=str(gpt2)).train([])
    tokenizer.save(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.marks == tokenizer.marks
    assert again.encode_batch(LINES[:50]) == tokenizer.encode_batch(LINES[:50])
    assert again.pieces([0, 5]) == tokenizer.pieces([0, 5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "tokenizer.json").unlink(), r"no tokeniser that is known here: tokenizer\.json, vocab\.json"),
        (lambda d: say(d, "generation_config", eos_token_id=10**6), "eos_token_id=1000000, but the model's table has"),
        (lambda d: say(d, "added_tokens", **{"<x>": 7}), "wants the token <x> at id 7"),
        (
            lambda d: say(d, "tokenizer_config", added_tokens_decoder={"²": {"content": "<x>"}}),
            "an added token that is not a token",
        ),
        (
            lambda d: say(d, "generation_config", max_new_tokens=float("inf")),
            r"generation_config\.json: max_new_tokens",
        ),
        (
            lambda d: say(d, "generation_config", temperature=-1, do_sample=True),
            r"generation_config\.json: temperature",
        ),
    ],
)
def test_folders_that_do_not_fit_together(gpt2: Path, tmp_path: Path, change: Callable[[Path], object], message: str):
    folder = Path(shutil.copytree(gpt2, tmp_path / "model"))
    change(folder)
    with pytest.raises(UserError, match=message):
        td.load(folder, device="cpu")


def reweighted(folder: Path, out: Path, norm: torch.Tensor) -> Path:
    """The folder with another last norm."""
    shutil.copytree(folder, out)
    tensors = safetensors.torch.load_file(out / "model.safetensors")
    safetensors.torch.save_file(
        {**tensors, "transformer.ln_f.weight": norm}, out / "model.safetensors", {"format": "pt"}
    )
    return out


def test_weights_that_are_no_numbers_are_no_model(gpt2: Path, tmp_path: Path):
    spoilt = reweighted(gpt2, tmp_path / "spoilt", torch.full((32,), float("nan")))
    with pytest.raises(UserError, match="logits that are not numbers"):
        api.import_model(spoilt, tmp_path / "run")
    whole = reweighted(gpt2, tmp_path / "whole", torch.ones(32, dtype=torch.int32))
    with pytest.raises(UserError, match=r"ln_f\.weight in .* is of type int32; weights are floating-point"):
        api.import_model(whole, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_directory_we_are_in_is_not_replaced(gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for refused in (lambda: api.import_model(gpt2, "."), lambda: api.export(gpt2, tmp_path)):
        with pytest.raises(UserError, match="is the directory you are in"):
            refused()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="is not a directory; give one with config"):
        api.import_model(tmp_path / "nothing", tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is empty; give a run"):
        api.import_model(tmp_path / "empty", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_parity_shows_every_layer(gpt2: Path, llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["parity", str(gpt2), str(gpt2), "--text", "Frankreich", "--text", "x"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("embedding", "layer 1", "layer 2", "end", "logits"))
    assert "differs" not in shown
    rows = api.parity(gpt2, llama)
    assert [row.near for row in rows if row.name == "embedding"] == [False]


DECODED: list[tuple[dict[str, Any], str]] = [
    ({}, "16 of 16"),
    ({"repetition_penalty": 1.5, "no_repeat_ngram_size": 2}, "16 of 16"),
    ({"num_beams": 3, "length_penalty": 2.0, "early_stopping": True}, "16 of 16"),
    ({"do_sample": True, "top_k": 3, "temperature": 0.7}, "16 of 16"),
    ({"guidance_scale": 2.0}, "not compared: it asks for guidance_scale=2.0"),
    ({"stop_strings": ["x"]}, "not compared: it asks for stop_strings"),
]


@pytest.mark.parametrize(("settings", "found"), DECODED)
@pytest.mark.filterwarnings("ignore::transduce.errors.Notice")
def test_the_certificate_also_decodes_as_the_folder_says(gpt2: Path, tmp_path: Path, settings: Any, found: str):
    folder = Path(shutil.copytree(gpt2, tmp_path / "model"))
    ends = {"eos_token_id": 499, "min_new_tokens": 16, "max_new_tokens": 50}  # no end, so that all tokens are compared
    say(folder, "generation_config", bos_token_id=0, pad_token_id=0, **ends, **settings)
    run = imported.write(folder, tmp_path / "run", lines=20)
    assert certificate.read_certificate(run.path)["tokens_alike_by_generation_config"] == found


def test_an_answer_is_decoded_as_the_folder_says_too(marian: Path, tmp_path: Path):
    folder = Path(shutil.copytree(marian, tmp_path / "model"))
    said = json.loads((folder / "generation_config.json").read_text("utf-8"))
    more = {"num_beams": 4, "no_repeat_ngram_size": 2, "forced_bos_token_id": 9, "min_length": 30}
    say(folder, "generation_config", **{**said, **more})
    run = imported.write(folder, tmp_path / "run", lines=20)
    assert certificate.read_certificate(run.path)["tokens_alike_by_generation_config"] == "16 of 16"


def test_a_run_that_decodes_otherwise_than_the_folder_says_is_refused(
    gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(gpt2, tmp_path / "model"))
    say(folder, "generation_config", bos_token_id=0, eos_token_id=0, pad_token_id=0, repetition_penalty=3.0)
    monkeypatch.setattr(rules, "repeated", lambda x, *_: x)
    with pytest.raises(UserError, match=r"other text than transformers as generation_config\.json says, from token"):
        imported.write(folder, tmp_path / "run", lines=20)
