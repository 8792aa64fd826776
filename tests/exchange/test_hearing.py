"""Whisper of Hugging Face: the same frames, logits, gradients and tokens from files, in and out again, and tuned."""

import csv
import json
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import decoders, models, pre_tokenizers, trainers

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.data import waves
from transduce.data.readers.log_mel import LogMel
from transduce.errors import Notice, UserError
from transduce.exchange import certificate, checkpoint, extractor, hearing
from transduce.exchange.families.whisper import Whisper
from transduce.exchange.files import Files
from transduce.generate.decode import decode
from transduce.generate.inputs import Shown
from transduce.model.batch import Batch
from transduce.model.embed.frames import FramesConfig
from transduce.model.feedforward.mlp import MLPConfig
from transduce.model.layout import dense
from transduce.model.listener import marked
from transduce.model.mixers.attention import AttentionConfig
from transduce.model.positions.fixed import FixedConfig
from transduce.model.residual.norm_last import PostNormConfig
from transduce.testing.families import saved

transformers: Any = pytest.importorskip("transformers")

TEXTS = ["one two three four", "five six seven eight nine", "zero and one is one", "the end of the sentence"]
SPECIAL = [
    "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|startofprev|>", "<|nospeech|>",
    "<|notimestamps|>",
]  # fmt: skip
SIZES: dict[str, Any] = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 20, "num_mel_bins": 12, "max_source_positions": 50,
    "max_target_positions": 40,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "usual": {},
    "equal stacks, gelu_new": {
        "encoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24, "activation_function": "gelu_new"
    },
}  # fmt: skip


def speech(path: Path, seconds: float, seed: int, rate: int = 16_000) -> Path:
    """Writes a sound that is no speech: tones that rise and fall over noise."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * rate)) / rate
    x = 0.3 * np.sin(2 * np.pi * (250 + 200 * seed) * time * (1 + 0.2 * np.sin(9 * time))) + rng.normal(
        0, 0.02, len(time)
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", "none"))
        file.writeframes((30_000 * np.clip(x, -1, 1)).astype("<i2").tobytes())
    return path


def words(folder: Path) -> Any:
    """Saves a small tokeniser of Whisper, and returns it as transformers reads it."""
    some = tokenizers.Tokenizer(models.BPE())
    some.pre_tokenizer, some.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    some.train_from_iterator(TEXTS, trainer)
    model = json.loads(some.to_str())["model"]
    tokenizer = transformers.WhisperTokenizer(vocab=model["vocab"], merges=[tuple(x) for x in model["merges"]])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.add_tokens([f"<|{n / 50:.2f}|>" for n in range(51)])
    tokenizer.save_pretrained(folder)
    return tokenizer


def livelier(theirs: Any) -> None:
    """Makes the matrices of the decoder larger, so that what is written is not one token again and again."""
    for name, parameter in theirs.model.decoder.named_parameters():
        if parameter.ndim > 1 and "embed" not in name:
            parameter.data.mul_(8)


def make(folder: Path, options: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Saves a random Whisper with all its small files, and returns the model."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = words(folder)
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in ("<|endoftext|>", *SPECIAL)}
    marks = {
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"], "decoder_start_token_id": ids["<|startoftranscript|>"],
    }  # fmt: skip
    theirs = saved(
        "WhisperConfig", "WhisperForConditionalGeneration",
        {**SIZES, "vocab_size": len(tokenizer), **marks, **(options or {})}, folder, change=livelier,
    )  # fmt: skip
    generation = {
        **marks, "max_length": 40, "is_multilingual": True, "return_timestamps": False,
        "lang_to_id": {name: ids[name] for name in ("<|en|>", "<|de|>")},
        "task_to_id": {name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        "no_timestamps_token_id": ids["<|notimestamps|>"], "max_initial_timestamp_index": 50,
        "suppress_tokens": [1, 2, 7, *(ids[name] for name in SPECIAL), *range(ids["<|notimestamps|>"], len(tokenizer))],
        "begin_suppress_tokens": [220, ids["<|endoftext|>"]], "prev_sot_token_id": ids["<|startofprev|>"], **settings,
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    transformers.WhisperFeatureExtractor(feature_size=SIZES["num_mel_bins"], chunk_length=1).save_pretrained(folder)
    return theirs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whisper") / "in"
    make(out)
    return out


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return api.import_model(folder, folder.parent / "run").path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("speech")
    return [speech(out / f"{n}.wav", seconds, n) for n, seconds in enumerate((0.4, 1.0, 0.7, 0.05))]


@pytest.mark.parametrize("name", OPTIONS)
def test_logits_gradients_and_tensors_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = make(tmp_path / "in", OPTIONS[name])
    opened = checkpoint.read(tmp_path / "in", None)
    assert isinstance(opened.family, Whisper)
    assert sum(p.numel() for p in opened.model.parameters()) == theirs.num_parameters()
    frames = torch.randn(3, 100, 12, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(opened.vocab_size, (3, 9), generator=torch.Generator().manual_seed(1))
    layout = dense(3, 9)
    ours = opened.model.token_head(opened.model.features(Batch(ids, layout, ids, frames, dense(3, 100))))
    expected = theirs(input_features=frames.mT, decoder_input_ids=ids).logits
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=0)
    for logits in (ours, expected):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    own = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in opened.model.named_parameters()}
    rows = opened.family.table(opened.config).rows
    written = {k: v for row in rows for k, v in zip(row.theirs, row.op.write([own[x] for x in row.ours]), strict=True)}
    for key, p in theirs.named_parameters():
        if p.grad is None:
            assert key == "model.encoder.embed_positions.weight"
            assert float(written[key].abs().max()) == 0.0, "positions of the encoder are not trained"
        else:
            torch.testing.assert_close(written[key], p.grad, atol=1e-4, rtol=1e-3, msg=lambda m, k=key: f"{k}: {m}")
    checkpoint.write(opened.model, opened.config, opened.vocab_size, tmp_path / "out", opened.family)
    before, after = Files(tmp_path / "in"), Files(tmp_path / "out")
    assert before.where.keys() == after.where.keys()
    assert all(torch.equal(before.read(key)[0], after.read(key)[0]) for key in before.where)
    kept, stated = (json.loads((tmp_path / x / "config.json").read_text()) for x in ("out", "in"))
    assert {key: stated[key] for key in kept} == kept


def test_the_certificate_says_what_was_compared(run: Path) -> None:
    entries = certificate.read_certificate(run)
    assert entries["compared_with"] == "transformers"
    assert entries["largest_logit_difference"] <= 1e-4
    assert entries["largest_gradient_difference"] <= 1e-4
    assert entries["largest_frame_difference"] <= 1e-4
    written = int(entries["greedy_tokens_alike"].split()[0])
    assert entries["greedy_tokens_alike"] == f"{written} of {written}"
    assert written == 32
    assert entries["tokens_alike_by_generation_config"] == "16 of 16"
    assert entries["lines_with_the_same_ids"].split(" of ")[0] == entries["lines_with_the_same_ids"].split(" of ")[1]


def check_written(run: Path, folder: Path, rows: list[tuple[Path, Any]]) -> list[str]:
    """With the prompt of Whisper, and without what its settings suppress; by beams, too. rows: files and samples."""
    theirs = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    extract, model = transformers.WhisperFeatureExtractor.from_pretrained(folder), td.load(run, device="cpu")
    reader, texts = model.readers["sound"], list[str]()
    assert isinstance(reader, LogMel)
    for beams in (1, 3):
        written = model.transcribe([path for path, _ in rows], beam_size=beams, max_new_tokens=30)
        for (path, x), text in zip(rows, written, strict=True):
            given = extract(x, sampling_rate=16_000, return_tensors="pt")["input_features"]
            torch.testing.assert_close(torch.from_numpy(reader.one(str(path))), given[0].mT, atol=1e-4, rtol=0)
            how = {"language": "en", "task": "transcribe", "num_beams": beams, "max_new_tokens": 30}
            assert text == tokenizer.decode(theirs.generate(given, **how)[0], skip_special_tokens=True).strip()
        texts += written
    return texts


def samples_of(sounds: list[Path]) -> list[tuple[Path, Any]]:
    rows = list[tuple[Path, Any]]()
    for path in sounds:
        with wave.open(str(path)) as file:
            rows.append((path, np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 2**15))
    return rows


def test_it_writes_what_transformers_writes_of_the_same_files(run: Path, folder: Path, sounds: list[Path]) -> None:
    model = td.load(run, device="cpu")
    names = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    assert [model.tokenizer.tokenizer.id_to_token(i) for i in model.tokenizer.marks.opens] == names
    assert model.recipe.generate.suppress[:3] == (1, 2, 7)
    assert all(check_written(run, folder, samples_of(sounds)))


def test_it_writes_what_transformers_writes_of_spoken_digits(run: Path, folder: Path, shared: Path) -> None:
    some = sorted((shared / "data" / "fsdd" / "valid").glob("*.wav"))[::60]
    if not some:
        pytest.skip("shared/data/fsdd is not here")
    pytest.importorskip("scipy")
    check_written(run, folder, [(path, waves.resampled(waves.decoded(str(path))[1], 8000, 16_000)) for path in some])


def test_a_sound_alone_has_the_text_it_has_among_others(run: Path, sounds: list[Path]) -> None:
    model = td.load(run, device="cpu")
    for size in (1, 3):
        together = model.transcribed(sounds, beam_size=size)
        assert [model.transcribed([path], beam_size=size)[0] for path in sounds] == together


def test_what_is_longer_than_the_window_is_written_window_by_window(run: Path, tmp_path: Path) -> None:
    model, whole = td.load(run, device="cpu"), speech(tmp_path / "long.wav", 2.5, 3)
    parts = list[Path]()
    with wave.open(str(whole)) as file:
        for n in range(3):
            parts.append(tmp_path / f"part{n}.wav")
            with wave.open(str(parts[-1]), "wb") as out:
                out.setparams((1, 2, 16_000, 0, "NONE", "none"))
                out.writeframes(file.readframes(16_000))
    each = model.transcribed(parts)
    [one] = model.transcribed([whole])
    assert one.text == " ".join(part.text for part in each if part.text)
    assert one.log_p == pytest.approx(sum(part.log_p for part in each), abs=1e-6)


def test_exported_untrained_it_is_the_same_byte_for_byte(run: Path, folder: Path, tmp_path: Path) -> None:
    api.export(run, tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, certificate.NAME}
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes(), name


def table(folder: Path, sounds: list[Path]) -> Path:
    """Writes a table of sounds and texts, all of which stand in either split."""
    for split in ("train", "valid"):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("sound", "text"), *((str(path), TEXTS[n]) for n, path in enumerate(sounds))])
    return folder


def test_it_is_tuned_by_the_recipe_of_transcripts_and_exported_again(
    run: Path, folder: Path, sounds: list[Path], tmp_path: Path
) -> None:
    data = table(tmp_path, sounds)
    values: dict[str, Any] = {
        "start": str(run), "data.path": str(data), "train.max_steps": 150, "train.validate_every": 150,
        "train.ema": None,
        "optimizer.learning_rate": 0.01, "schedule.warmup_steps": 2, "train.threads": 1, "train.device": "cpu",
    }  # fmt: skip
    tuned = td.train("transcribe", values, out=tmp_path / "runs", quiet=True)
    model = td.load(tuned.path, device="cpu")
    assert (model.recipe.model.kind, model.recipe.objective.kind) == ("listener", "translation")
    assert model.recipe.generate == td.load(run, device="cpu").recipe.generate
    assert model.transcribe(sounds) == TEXTS
    position = "encoder.embed.positions.weight"
    before = td.load(run, device="cpu").model.state_dict()
    assert torch.equal(model.model.state_dict()[position], before[position])
    api.export(tuned.path, tmp_path / "out")
    for name in {path.name for path in folder.iterdir()} - {"model.safetensors"}:
        assert (tmp_path / "out" / name).read_bytes() == (folder / name).read_bytes(), name
    again = td.load(api.import_model(tmp_path / "out", tmp_path / "again").path, device="cpu")
    assert again.transcribe(sounds) == TEXTS
    assert check_written(tmp_path / "again", tmp_path / "out", samples_of(sounds))[:4] == TEXTS
    with pytest.raises(UserError, match="all 150 steps are done"):
        td.train("transcribe", values, out=tmp_path / "runs", quiet=True)


def test_a_start_brings_a_rate_that_suits_it(run: Path, sounds: list[Path], tmp_path: Path) -> None:
    values = {"start": str(run), "data.path": str(table(tmp_path, sounds))}
    assert td.recipe("transcribe", values).optimizer.learning_rate == 1e-5
    assert td.recipe("transcribe", {**values, "optimizer.learning_rate": 0.01}).optimizer.learning_rate == 0.01


def test_a_model_that_was_trained_here_is_opened_there(sounds: list[Path], tmp_path: Path) -> None:
    small = {
        "data.path": str(table(tmp_path, sounds)), "model.kind": "listener", "model.width": 16, "model.layers": 1,
        "model.mixer": {"kind": "unbiased-keys", "heads": 2}, "model.positions": {"kind": "learned", "limit": 60},
        "model.source_positions": {"kind": "fixed", "limit": 50}, "model.residual.dropout": 0.0,
        "task.features": {"convention": "whisper", "mels": 12, "seconds": 1}, "batch.max_length": 60,
        "train.max_steps": 30, "train.validate_every": 30, "train.ema": None, "schedule.warmup_steps": 2,
        "train.threads": 1, "train.device": "cpu", "optimizer.learning_rate": 0.01, "generate.max_new_tokens": 30,
    }  # fmt: skip
    run = td.train("transcribe", small, out=tmp_path / "runs", quiet=True)
    api.export(run.path, tmp_path / "out")
    assert certificate.read_certificate(tmp_path / "out")["compared_with"] == "transformers"
    again = td.load(api.import_model(tmp_path / "out", tmp_path / "again").path, device="cpu")
    texts = td.load(run.path, device="cpu").transcribe(sounds)
    assert again.transcribe(sounds, max_new_tokens=30) == texts
    assert any(texts)


def test_what_whisper_cannot_be_is_not_written(run: Path, tmp_path: Path) -> None:
    model = td.load(run, device="cpu")
    config = model.recipe.model
    assert Whisper().express(config, 300) is not None
    for part in ({"mixer": AttentionConfig(heads=2)}, {"positions": FixedConfig()}, {"source_positions": None},
                 {"residual": PostNormConfig()}, {"embedding": FramesConfig(strides=(2, 2))}, {"cross_place": "before"},
                 {"scale_embedding": True}, {"feedforward": MLPConfig(activation="relu")}):  # fmt: skip
        assert Whisper().express(replace(cast(Any, config), **part), 300) is None, part
    recipe = td.recipe("transcribe", {"data.path": str(tmp_path)})
    with pytest.raises(UserError, match=r"no class for a model\.kind=encoder that hears"):
        hearing.export(model.model, model.readers, recipe, run, tmp_path / "out")


def test_another_language_begins_with_its_own_token(run: Path, sounds: list[Path]) -> None:
    model, german = (td.load(run, device="cpu", overrides=x) for x in ({}, {"task.language": "de"}))
    opens, code = model.tokenizer.marks.opens, model.tokenizer.tokenizer.token_to_id("<|de|>")
    frames = torch.from_numpy(model.readers["sound"].windows(str(sounds[0]))[0])
    prompt = [opens[0], code, *opens[2:]]
    ((best,),) = decode(
        model.model,
        model.tokenizer,
        model.recipe.generate,
        source=[Shown(marked(frames, len(frames)))],
        prompt=[prompt],
    )
    assert german.transcribe(sounds[0]) == model.tokenizer.decode(best.ids).strip()
    for name in ("fr", "transcribe"):
        with pytest.raises(UserError, match=rf"has no token <\|{name}\|> in this tokeniser; leave it out"):
            td.load(run, device="cpu", overrides={"task.language": name}).transcribe(sounds[0])


def test_a_model_of_english_alone_names_neither_language_nor_task(tmp_path: Path, sounds: list[Path]) -> None:
    """And weights of 16 bits, and what transformers 5 calls the file that says how sounds are read."""
    theirs = make(tmp_path / "in", is_multilingual=False, suppress_tokens=[1, 2, 7])
    settings, file = json.loads((tmp_path / "in/generation_config.json").read_text()), tmp_path / "in" / extractor.NAME
    theirs.half().save_pretrained(tmp_path / "in")
    settings = {key: value for key, value in settings.items() if not key.endswith("_to_id")}
    (tmp_path / "in/generation_config.json").write_text(json.dumps(settings))
    (tmp_path / "in" / extractor.PROCESSOR).write_text(json.dumps({"feature_extractor": json.loads(file.read_text())}))
    file.unlink()
    run = api.import_model(tmp_path / "in", tmp_path / "run").path
    entries = certificate.read_certificate(run)["tokens_alike_by_generation_config"]
    assert entries == "not compared: the model writes times, though it is asked for none"
    model = td.load(run, device="cpu")
    names = [model.tokenizer.tokenizer.id_to_token(i) for i in model.tokenizer.marks.opens]
    assert names == ["<|startoftranscript|>", "<|notimestamps|>"]
    with pytest.warns(Notice, match="precision int8"):
        assert len(td.load(run, device="cpu", precision="int8").transcribe(sounds)) == 4
    api.export(run, tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_commands_take_it_in_and_out(folder: Path, sounds: list[Path], tmp_path: Path, capsys: Any) -> None:
    assert main(["import", str(folder), str(tmp_path / "run")]) == 0
    assert "greedy tokens alike" in capsys.readouterr().out
    assert main(["transcribe", str(tmp_path / "run"), *map(str, sounds)]) == 0
    assert capsys.readouterr().out.splitlines() == td.load(tmp_path / "run", device="cpu").transcribe(sounds)
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out")]) == 0


def test_what_is_no_whisper_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    def changed(name: str, file: str, **values: Any) -> Path:
        out = tmp_path / name
        out.mkdir()
        for path in folder.iterdir():
            (out / path.name).write_bytes(path.read_bytes())
        data = {**json.loads((out / file).read_text()), **values}
        (out / file).write_text(json.dumps({key: value for key, value in data.items() if value is not None}))
        return out

    config, sounds = "config.json", extractor.NAME
    for name, at, message in (
        ("weighted", changed("weighted", config, use_weighted_layer_sum=True), "use_weighted_layer_sum=True, but only"),
        ("bands", changed("bands", sounds, feature_size=13), "feature_size=13, but config.json has num_mel_bins=12"),
        (
            "length",
            changed("length", sounds, chunk_length=2),
            "makes 200 frames of a sound, but the model .* takes 100",
        ),
        ("dither", changed("dither", sounds, dither=0.1), "dither=0.1, but only 0.0 is done here"),
        ("tongue", changed("tongue", "generation_config.json", language="fr"), "which its tokeniser lacks"),
    ):
        with pytest.raises(UserError, match=message):
            api.import_model(at, tmp_path / f"{name}-run")
        assert not (tmp_path / f"{name}-run").exists()
    (tmp_path / "length" / sounds).unlink()
    with pytest.raises(UserError, match="nobody knows how its sounds are read"):
        api.import_model(tmp_path / "length", tmp_path / "none")
    with pytest.raises(UserError, match="holds a model that hears; import it"):
        td.load(folder)
    spoilt = changed("spoilt", config)
    tensors = load_file(spoilt / "model.safetensors")
    save_file(
        {**tensors, "model.encoder.layers.0.self_attn.k_proj.bias": torch.zeros(16)}, spoilt / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"k_proj\.bias"):
        api.import_model(spoilt, tmp_path / "none")
    timed = changed("timed", "generation_config.json", return_timestamps=True)
    with pytest.warns(Notice, match="asks for return_timestamps, which is not done here"):
        hearing.read_folder(timed)
