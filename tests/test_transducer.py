"""Answers as text: n best without repetition, blank texts, log p per token, and how exports say how to generate."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import transduce as td
from transduce import api
from transduce.cli.main import main
from transduce.errors import Notice
from transduce.exchange import exporting as exported
from transduce.generate import hugging_face
from transduce.generate.config import SAMPLING, Bias, GenerateConfig
from transduce.generate.decode import decode
from transduce.generate.hypothesis import Hypothesis
from transduce.generate.options import decoding
from transduce.tasks import translate
from transduce.tasks.measures.exact import baseline
from transduce.tasks.measures.measure import Sample

TINY = {
    "data.train_size": 200, "data.valid_size": 8, "data.test_size": 8, "model.width": 16, "model.layers": 1,
    "model.mixer.heads": 2, "model.feedforward.hidden": 32, "batch.batch_tokens": 512, "train.max_steps": 2,
    "train.samples": 4, "schedule.warmup_steps": 1, "train.threads": 1, "train.device": "cpu",
}  # fmt: skip
TEXTS = ["3 de mayo de 2021", "", "4 May 2022", " \t", "5/6/1999"]


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hardly trained, so that ids that no text has are as likely as others."""
    return td.train("dates", TINY, out=tmp_path_factory.mktemp("runs"), quiet=True).path


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("The quick brown fox jumps.\n\nOver the lazy dog it jumps.\n\n" * 40, "utf-8")
    more = {"data.path": str(folder / "text.txt"), "tokenizer": {"kind": "char"}, "batch.max_length": 32}
    shape = {key: x for key, x in TINY.items() if not key.startswith("data.")}
    return td.train("text", {**shape, **more}, out=folder, quiet=True).path


@pytest.mark.parametrize("beam", [1, 8])
def test_a_blank_text_has_a_blank_translation_as_on_the_command_line(dates: Path, beam: int, capsys):
    model = td.load(dates, device="cpu")
    assert model.translate("", beam_size=beam) == model.translate(" \n", beam_size=beam) == ""
    assert model.translate("", nbest=beam) == []
    together = model.translate(TEXTS, beam_size=beam)
    assert together == [model.translate(text, beam_size=beam) for text in TEXTS]
    assert main(["translate", str(dates), *TEXTS, "--device", "cpu", "--beam-size", str(beam)]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == together


def test_no_text_is_among_the_n_best_twice_and_none_holds_an_id_that_is_no_text(dates: Path):
    model = td.load(dates, device="cpu")
    rows = model.answers([TEXTS[0], TEXTS[4]], nbest=12)
    for answers in rows:
        texts = [answer.text for answer in answers]
        assert 0 < len(texts) == len(set(texts))
        assert not any("<" in text for text in texts)
    best = model.translate([TEXTS[0], TEXTS[4]], nbest=12)
    assert [[(a.text, a.log_p) for a in row] for row in rows] == [[tuple(c) for c in row] for row in best]


def test_of_equal_texts_the_best_is_kept_and_of_samples_all(dates: Path, monkeypatch: pytest.MonkeyPatch):
    model = td.load(dates, device="cpu")
    found = [[Hypothesis(ids, score, True) for ids, score in (([5], -1.0), ([6], -2.0), ([5], -3.0), ([7], -4.0))]]
    monkeypatch.setattr(translate, "decode", lambda *_, **__: found)
    a, b, c = (model.tokenizer.decode([i]) for i in (5, 6, 7))
    assert model.translate("x", nbest=4) == [(a, -1.0), (b, -2.0), (c, -4.0)]
    assert [row.text for row in model.translate("x", nbest=4, temperature=1.0)] == [a, b, a, c]


SAMPLED = GenerateConfig(
    temperature=0.7, top_h=0.5, top_k=9, top_p=0.8, min_p=0.1, typical_p=0.9, epsilon_cutoff=0.01, eta_cutoff=0.02,
    max_length=30, min_length=7,
)  # fmt: skip


@pytest.mark.parametrize("asked", [{"temperature": 0.0}, {"beam_size": 3}, {"temperature": 0.0, "beam_size": 3}])
def test_who_asks_for_no_sampling_asks_for_nothing_that_acts_on_it(asked: dict[str, Any]):
    found = decoding(SAMPLED, None, asked)  # type: ignore[arg-type]
    assert found == replace(SAMPLED, **dict.fromkeys(SAMPLING), temperature=0.0, beam_size=asked.get("beam_size", 1))


@pytest.mark.parametrize(
    ("asked", "more"),
    [
        ({}, {}),
        ({"max_new_tokens": 50}, {"max_length": None}),
        ({"max_new_tokens": 50, "max_length": 20}, {}),
        ({"min_new_tokens": 3}, {"min_length": 0}),
        ({"min_new_tokens": 3, "min_length": 5}, {}),
        ({"temperature": 1.0, "top_k": 2}, {}),
    ],
)
def test_what_is_asked_is_not_undone_by_what_the_recipe_says_of_the_whole(asked: dict[str, Any], more: dict[str, Any]):
    assert decoding(SAMPLED, None, asked) == replace(SAMPLED, **asked, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"temperature": 1.0, "max_new_tokens": 60}, {"temperature": 0.0}])
def test_text_that_is_generated_holds_no_id_that_is_no_text(stream: Path, options: dict[str, Any]):
    model = td.load(stream, device="cpu")
    texts = [model.generate("The", seed=seed, **options) for seed in range(8)]
    assert not any("<" in text for text in texts)
    assert texts == ["".join(model.stream("The", seed=seed, **options)) for seed in range(8)]


@pytest.mark.parametrize("kind", ["char", "byte", "word"])
def test_what_is_unknown_is_barred_unless_it_stands_for_a_word(kind: str):
    tokenizer = api.train_tokenizer([__file__], kind)
    barred = {tokenizer.pad, tokenizer.bos}
    assert tokenizer.barred == (barred if kind == "word" else barred | {tokenizer.unk})


def test_scores_and_objects_are_printed(dates: Path, capsys: pytest.CaptureFixture[str]):
    model = td.load(dates, device="cpu")
    ((answer,),) = model.answers(TEXTS[:1])
    how = ["translate", str(dates), *TEXTS[:2], "--device", "cpu"]
    assert main([*how, "--scores"]) == 0
    first, blank = capsys.readouterr().out.split("\n")[:-1]
    assert first.split("\t") == [f"{answer.log_p:.6f}", str(answer.tokens), f"{answer.per_token:.6f}", answer.text]
    assert blank.split("\t") == ["0.000000", "0", "0.000000", ""]
    assert answer.per_token == pytest.approx(answer.log_p / answer.tokens)
    assert main([*how, "--json"]) == 0
    first, blank = map(json.loads, capsys.readouterr().out.split("\n")[:-1])
    assert first == {
        "source": TEXTS[0], "text": answer.text, "log_p": answer.log_p, "tokens": answer.tokens,
        "log_p_per_token": answer.per_token,
    }  # fmt: skip
    assert (blank["text"], blank["tokens"]) == ("", 0)
    assert main([*how, "--nbest", "2", "--scores"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.split("\n")[:-1]]
    assert [row[0] for row in rows] == ["0", "0"]
    assert [row[4] for row in rows] == [a.text for a in model.answers(TEXTS[:1], nbest=2)[0]]


def test_a_text_that_goes_on_is_printed_with_its_log_p(stream: Path, capsys: pytest.CaptureFixture[str]):
    model = td.load(stream, device="cpu")
    answer = model.continuation("The", max_new_tokens=9, seed=3)
    assert answer.text == model.generate("The", max_new_tokens=9, seed=3)
    how = ["generate", str(stream), "The", "--device", "cpu", "--max-new-tokens", "9", "--seed", "3"]
    assert main([*how, "--scores"]) == 0
    *numbers, text = capsys.readouterr().out.split("\t", 3)
    assert numbers == [f"{answer.log_p:.6f}", str(answer.tokens), f"{answer.per_token:.6f}"]
    assert text == f"The{answer.text}\n"
    assert main([*how, "--json", "--samples", "2"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.strip().split("\n"))
    assert (first["prompt"], first["text"], first["log_p"]) == ("The", answer.text, answer.log_p)
    assert second["text"] == model.generate("The", max_new_tokens=9, seed=4)


def test_rules_reach_the_command_line(stream: Path, capsys: pytest.CaptureFixture[str]):
    model = td.load(stream, device="cpu")
    asked: dict[str, Any] = {"repetition_penalty": 1.5, "no_repeat_ngram": 2, "min_new_tokens": 30}
    text = model.generate("The", temperature=0.0, max_new_tokens=40, **asked)
    words = [word for name, value in asked.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    how = ["generate", str(stream), "The", "--device", "cpu", "--temperature", "0", "--max-new-tokens", "40"]
    assert main([*how, *words]) == 0
    assert capsys.readouterr().out == f"The{text}\n"
    pairs = list(zip("The" + text, "he" + text, strict=False))
    assert len(set(pairs)) == len(pairs)
    assert len(text) >= 30


@pytest.mark.parametrize("prompt", ["The quick", "j", ""])
def test_a_document_is_gone_on_with_from_its_beginning(stream: Path, prompt: str):
    """As in training, where every document begins with the token that opens it."""
    model = td.load(stream, device="cpu")
    ids = [*model.tokenizer.marks.opens, *model.tokenizer.encode(prompt)]
    assert ids[0] == model.tokenizer.bos
    expected = decode(model.model, model.tokenizer, GenerateConfig(max_new_tokens=5), prompt=[ids])[0][0]
    found = model.continuation(prompt, temperature=0.0, max_new_tokens=5)
    assert (found.log_p, found.tokens) == (expected.score, expected.length)


def test_a_run_whose_recipe_searches_is_generated_from(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = Path(shutil.copytree(stream, tmp_path / "run", symlinks=True))
    config = (run / "config.yaml").read_text("utf-8")
    config = config.replace("  beam_size: 1\n", "  beam_size: 3\n").replace("temperature: 0.8", "temperature: 0.0")
    (run / "config.yaml").write_text(config, "utf-8")
    (run / "hashes.json").unlink(missing_ok=True)
    assert main(["generate", str(run), "The", "--device", "cpu", "--max-new-tokens", "5"]) == 0
    text = td.load(run, device="cpu").generate("The", max_new_tokens=5)
    assert capsys.readouterr().out == f"The{text}\n"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a", "x"), ("b", "x"), ("c", "y")], ("always answering 'x'", 2 / 3)),
        ([("a", "a"), ("b", "b"), ("c", "y")], ("copying the source", 2 / 3)),
        ([("a", "two words"), ("b", "x")], None),
    ],
)
def test_exact_match_stands_beside_what_needs_no_model(pairs: list[tuple[str, str]], expected: Any):
    samples = tuple(Sample(source, target, "") for source, target in pairs)
    assert baseline(samples) == expected
    assert baseline(()) is None


def test_evaluate_prints_it(dates: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(dates), "--device", "cpu"]) == 0
    assert "exact match  0.00%  (0.00% to 0.00%)  [always answering '" in capsys.readouterr().out


WRITTEN = [
    GenerateConfig(max_new_tokens=40),
    GenerateConfig(max_new_tokens=40, beam_size=4, length_norm="power", early_stopping="never", length_penalty=2.0),
    GenerateConfig(
        max_new_tokens=40, repetition_penalty=1.2, no_repeat_ngram=3, source_repetition_penalty=1.1,
        source_no_repeat_ngram=4, min_new_tokens=5, suppress=(9, 4), begin_suppress=(5,), bad_words=((6, 7), (8,)),
        bias=(Bias(ids=(5,), add=2.0),), forced_bos=5, forced_eos=(2,), exponential_decay=(3.0, 1.5), renormalise=True,
        replace_invalid=True,
    ),
    GenerateConfig(
        max_new_tokens=40, temperature=0.7, top_h=0.5, top_k=9, top_p=0.8, min_p=0.1, typical_p=0.9,
        epsilon_cutoff=0.01, eta_cutoff=0.02,
    ),
    GenerateConfig(max_new_tokens=40, temperature=1.0),
]  # fmt: skip


@pytest.mark.parametrize("config", WRITTEN)
def test_settings_that_are_written_are_read_again(config: GenerateConfig):
    data, unsaid = hugging_face.write(config, True, {0, 1})
    assert unsaid == []
    assert "max_new_tokens" not in hugging_face.write(config, False)[0].keys() | data.keys()
    again, unobeyed, unknown = hugging_face.settings(json.loads(json.dumps(data)), None)
    assert (unobeyed, unknown, again.max_length) == ((), (), 41)
    same = {"max_length": None, "suppress": tuple(sorted({0, 1, *config.suppress}))}
    if config.beam_size == 1:
        same |= {"length_norm": "power", "length_penalty": 1.0, "early_stopping": "heuristic"}
    expected = replace(config, **same)
    assert replace(again, max_length=None) == expected


def test_what_cannot_be_written_is_named(stream: Path, tmp_path: Path):
    config = GenerateConfig(beam_size=3, stop=("x",), max_length_ratio=2.0)
    _, unsaid = hugging_face.write(config, True)
    assert unsaid == [
        "max_length_ratio=2.0", "stop=['x']", "length_norm=gnmt", "a beam in which what has ended keeps its place",
    ]  # fmt: skip
    assert hugging_face.write(config, False)[1] == unsaid[1:]
    model = td.load(stream, device="cpu", overrides={"generate.temperature": 0.0, "generate.stop": ["x"]})
    with pytest.warns(Notice, match=r"generation_config\.json cannot hold stop=\['x'\]; what transformers writes"):
        exported.generating(model.model, model.tokenizer, model.recipe)


def test_an_export_leaves_the_number_of_tokens_to_its_client_and_writes_no_id_that_is_no_text(
    dates: Path, stream: Path, tmp_path: Path
):
    pytest.importorskip("transformers")
    for run, length in ((dates, {"max_length": 17}), (stream, {})):
        api.export(run, tmp_path / run.name)
        data = json.loads((tmp_path / run.name / "generation_config.json").read_text("utf-8"))
        assert {key: data[key] for key in data if key.startswith("max_")} == length
        assert data["suppress_tokens"] == [0, 1, 3]
    again, model = td.load(tmp_path / "dates", device="cpu"), td.load(dates, device="cpu")
    assert again.translate(TEXTS) == model.translate(TEXTS)


def test_what_a_folder_asks_for_in_vain_is_said_in_one_line(dates: Path, tmp_path: Path, capsys):
    api.export(dates, tmp_path / "out")
    (tmp_path / "out" / "certificate.json").unlink()
    path = tmp_path / "out" / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"guidance_scale": 2.0}), "utf-8")
    notice = f"{path} asks for guidance_scale=2.0, which is not done here; texts may differ from those of transformers"
    with pytest.warns(Notice) as found:
        td.load(tmp_path / "out", device="cpu")
    assert [str(one.message) for one in found] == [notice]
    assert main(["translate", str(tmp_path / "out"), "x", "--device", "cpu"]) == 0
    assert capsys.readouterr().err == f"transduce: {notice}\n"
