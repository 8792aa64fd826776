"""evaluate, translate, generate and score, on hardly trained models: what they print does not depend on quality."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import transduce
from transduce.cli.main import main

from .conftest import DATES

LINES = ["3 May 2021", "", "4.5.2021", "   ", "2021年11月20日", "20 nov. 2026"]
STDIN = ("\n".join(LINES) + "\n").encode()


def test_a_line_in_is_a_line_out_in_order(cli: Any, dates: Path) -> None:
    model = transduce.load(dates)
    found = cli("translate", dates, stdin=STDIN)
    assert found.code == 0, found.err
    out = found.out.split("\n")
    assert out.pop() == ""
    assert len(out) == len(LINES)
    assert out == [model.translate(line).replace("\n", " ") if line.strip() else "" for line in LINES]


def test_predict_gives_what_the_command_of_the_task_gives(cli: Any, dates: Path, letters: Path) -> None:
    assert cli("predict", dates, stdin=STDIN).out == cli("translate", dates, stdin=STDIN).out
    written = transduce.load(letters).generate("the")
    assert cli("predict", letters, "the").out == " ".join(written.splitlines()) + "\n"


def test_arguments_are_texts_of_their_own(cli: Any, dates: Path) -> None:
    assert cli("translate", dates, *LINES[:1], LINES[4]).out.splitlines() == transduce.load(dates).translate(
        [LINES[0], LINES[4]]
    )


def test_the_last_line_needs_no_end(cli: Any, dates: Path) -> None:
    assert cli("translate", dates, stdin=STDIN.rstrip()).out == cli("translate", dates, stdin=STDIN).out
    assert cli("translate", dates, stdin=b"").out == ""


def test_nbest_prints_number_score_and_text(cli: Any, dates: Path) -> None:
    rows = [line.split("\t") for line in cli("translate", dates, *LINES[:1], LINES[2], "--nbest", "3").out.splitlines()]
    assert [row[0] for row in rows] == ["0", "0", "0", "1", "1", "1"]
    model = transduce.load(dates)
    best = model.translate(LINES[0], nbest=3)
    assert [row[2] for row in rows[:3]] == [candidate.text for candidate in best]
    assert [float(row[1]) for row in rows[:3]] == pytest.approx([candidate.score for candidate in best], abs=1e-5)


def test_score_prints_total_tokens_mean_and_the_line(cli: Any, dates: Path, tmp_path: Path) -> None:
    lines = ["3 May 2021\t2021-05-03", "x\t2"]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    found = cli("score", dates, "pairs.tsv")
    assert found.code == 0, found.err
    assert found.out == cli("score", dates, stdin=("\n".join(lines)).encode()).out
    for line, row in zip(lines, found.out.splitlines(), strict=True):
        total, tokens, mean, source, target = row.split("\t")
        assert f"{source}\t{target}" == line
        assert int(tokens) == len(target) + 1  # and the end
        assert float(total) / int(tokens) == pytest.approx(float(mean), abs=1e-5)
        assert float(total) < 0


@pytest.mark.parametrize(("line", "count"), [("no tab", 0), ("a\tb\tc", 2)])
def test_a_line_that_is_no_pair(cli: Any, dates: Path, tmp_path: Path, line: str, count: int) -> None:
    (tmp_path / "pairs.tsv").write_text(f"a\tb\n{line}\n", "utf-8")
    for where, found in (
        ("pairs.tsv", cli("score", dates, "pairs.tsv")),
        ("standard input", cli("score", dates, stdin=f"a\tb\n{line}\n".encode())),
    ):
        assert found.code == 2
        assert found.err == f"transduce: {where}, line 2: there are {count} tabs; write source<TAB>target\n"


def test_input_that_is_not_utf8(cli: Any, dates: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_bytes(b"a\tb\n\xe9\tc\n")
    told = (
        "is not UTF-8: line 2 has the byte 0xe9 at offset {}; convert it, for example with iconv -f latin1 -t utf-8\n"
    )
    assert cli("score", dates, "pairs.tsv").err.startswith(f"transduce: pairs.tsv {told.format(4)}")
    assert cli("translate", dates, stdin=b"a\n\xe9\n").err.startswith(f"transduce: standard input {told.format(2)}")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default recipe whose model reads 20 tokens."""
    out = tmp_path_factory.mktemp("runs")
    words = ("model.positions.kind=learned", "model.positions.limit=20", "batch.max_length=20", "name=short")
    assert main(["train", *DATES, *words, "--out", str(out), "--quiet"]) == 0
    return out / "short"


@pytest.mark.parametrize("line", [b"3 May " * 9, b"\xff", b"x" * 100_001])
@pytest.mark.parametrize("command", ["translate", "score"])
def test_what_comes_before_a_line_that_is_refused_is_printed(cli: Any, short: Path, command: str, line: bytes) -> None:
    """Wherever in the file it is: nothing before it is lost, nothing after it is printed."""
    end = b"\t2021-05-03" if command == "score" else b""
    good = [b"%d May 2021" % (n + 1) + end for n in range(9)]
    alone = cli(command, short, stdin=b"\n".join(good)).out.splitlines()
    for place in (0, 1, 4, 8):
        found = cli(command, short, stdin=b"\n".join([*good[:place], line + end, *good[place:]]))
        assert found.code == 2
        assert found.out.splitlines() == alone[:place]
        assert found.err.startswith("transduce: standard input")
        assert f"line {place + 1}" in found.err
        assert found.err.count("\n") == 1


def test_a_missing_file_or_run_or_checkpoint(cli: Any, dates: Path) -> None:
    missing = cli("score", dates, "pairs.tsv")
    assert (missing.code, missing.err) == (2, "transduce: pairs.tsv does not exist\n")
    Path("mine.yaml").write_text("base: dates\n", "utf-8")
    assert cli("translate", "mine.yaml", "x").err.startswith("transduce: mine.yaml is a recipe, not a run; `transduce")
    assert cli("translate", "runs/nothing", "x").err.startswith(
        "transduce: runs/nothing does not exist; `transduce train`"
    )
    found = cli("translate", dates, "x", "--checkpoint", "step-9")
    assert found.code == 2
    assert "has no checkpoint `step-9`; there are best, last, step-00000002, step-00000004" in found.err
    Path("empty").mkdir()
    assert cli("translate", "empty", "x").err.startswith("transduce: empty is empty; give a run")


def test_a_damaged_checkpoint_is_refused_and_another_can_be_used(cli: Any, dates: Path, tmp_path: Path) -> None:
    run = shutil.copytree(dates, tmp_path / "run", symlinks=True)
    weights = run / "checkpoints/step-00000004/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    broken = cli("translate", run, "x", "--checkpoint", "step-00000004")
    assert broken.code == 2
    assert "step-00000004 cannot be used: model.safetensors is not what was written" in broken.err
    assert cli("translate", run, "x", "--checkpoint", "step-00000002").code == 0


def test_a_pickle_is_refused_as_weights(cli: Any, dates: Path, tmp_path: Path) -> None:
    import hashlib
    import json

    run = shutil.copytree(dates, tmp_path / "run", symlinks=True)
    best = (run / "best").resolve()
    used = best / "ema.safetensors"
    used.write_bytes(b"\x80\x02}q\x00.")
    hashes = json.loads((best / "DONE").read_text())
    hashes[used.name] = hashlib.sha256(used.read_bytes()).hexdigest()
    (best / "DONE").write_text(json.dumps(hashes))
    found = cli("translate", run, "x")
    assert found.code == 2
    assert "is a pickle, which can run any code when it is read, so it is refused" in found.err


def test_evaluate_prints_every_metric_and_samples(cli: Any, dates: Path) -> None:
    found = cli("evaluate", dates, "--split", "valid", "--samples", "2", "--beam-size", "2")
    assert found.code == 0, found.err
    measured = transduce.load(dates, overrides={"generate.beam_size": 2}).evaluate("valid")
    assert f"loss         {measured.loss:.4f} nats per token\n" in found.out
    assert f"perplexity   {math.exp(measured.loss):.3f}  (" in found.out
    assert "BLEU" not in found.out  # a date is one word
    assert f"exact match  {measured.values['exact'].value:.2%}" in found.out
    assert sum(line.count("│") == 5 for line in found.out.splitlines()) == 2


def test_evaluate_reads_other_data_and_names_the_splits_there_are(cli: Any, dates: Path) -> None:
    more = cli("evaluate", dates, "data.test_size=9", "--data.seed", "3")
    assert "tokens       99\n" in more.out
    none = cli("evaluate", dates, "--split", "dev")
    assert none.err == "transduce: the data has no split `dev`; it has train, valid, test: use --split test\n"
    assert "best checkpoint, test" in cli("evaluate", dates).out


def test_evaluate_without_a_test_split_measures_valid_and_says_so(cli: Any, letters: Path) -> None:
    found = cli("evaluate", letters)
    assert found.code == 0, found.err
    assert "best checkpoint, valid" in " ".join(found.out.split())
    asked = cli("evaluate", letters, "--split", "test")
    assert asked.code == 2
    assert asked.err == "transduce: the data has no split `test`; it has train, valid: use --split valid\n"


def test_generate_streams_what_generate_gives(cli: Any, letters: Path) -> None:
    words = ["--temperature", "0.9", "--top-k", "20", "--top-p", "0.95", "--seed", "5", "--max-new-tokens", "40"]
    found = cli("generate", letters, "the ", *words)
    assert found.code == 0, found.err
    model = transduce.load(letters)
    text = model.generate("the ", temperature=0.9, top_k=20, top_p=0.95, seed=5, max_new_tokens=40)
    assert found.out == f"the {text}\n"
    assert 20 < len(text.replace("<unk>", "?")) <= 40  # hardly trained, it may write what it has never seen
    assert cli("generate", letters, "the ", *words).out == found.out
    assert cli("generate", letters, "-", *words, stdin=b"the ").out == found.out


def test_samples_have_seeds_that_follow_each_other(cli: Any, letters: Path) -> None:
    words = ["--temperature", "1", "--max-new-tokens", "20"]
    both = cli("generate", letters, "a", *words, "--seed", "1", "--samples", "2").out
    one, two = (cli("generate", letters, "a", *words, "--seed", seed).out[:-1] for seed in "12")
    assert both == f"{one}\n{'-' * 40}\n{two}\n"
    assert one != two


def test_generate_stops_before_a_stop_text(cli: Any, letters: Path) -> None:
    words = ["--temperature", "0", "--max-new-tokens", "40"]
    whole = cli("generate", letters, "a", *words).out.removesuffix("\n")
    stop = whole[5:7]
    assert cli("generate", letters, "a", *words, "--stop", stop).out == whole[: whole.index(stop, 1)] + "\n"


def test_generate_refuses_what_contradicts_itself(cli: Any, letters: Path, dates: Path) -> None:
    assert (
        "top_k acts on sampling, but temperature=0"
        in cli("generate", letters, "a", "--temperature", "0", "--top-k", "3").err
    )
    for run, words in ((letters, ["--top-p", "0"]), (letters, ["--temperature", "-1"]), (dates, [])):
        found = cli("generate", run, "a", *words)
        assert (found.code, found.out) == (2, "")  # the prompt is not printed first
    assert "trained on a stream, which has no beginning; give a prompt" in cli("generate", letters).err
    assert "this model answers a source; use translate" in cli("generate", dates, "a").err
    assert "has no encoder, so it cannot translate; use generate" in cli("translate", letters, "a").err


def test_score_of_a_language_model_takes_a_text_per_line(cli: Any, letters: Path) -> None:
    rows = cli("score", letters, stdin=b"the fox\n\ndog\n").out.splitlines()
    assert [row.split("\t", 3)[3] for row in rows] == ["the fox", "", "dog"]
    assert [int(row.split("\t")[1]) for row in rows] == [6, 0, 2]


def test_tokenizer_show(cli: Any, dates: Path) -> None:
    out = cli("tokenizer", "show", dates, "3 M").out.splitlines()
    assert out[0] == "3| |M"
    assert out[1] == " ".join(map(str, transduce.load(dates).tokenizer.encode("3 M")))
    assert cli("tokenizer", "show", dates / "tokenizer", stdin=b"3 M\n").out.splitlines() == out


def test_tokenizer_train(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("low lower lowest\n" * 50, "utf-8")
    made = cli("tokenizer", "train", "text.txt", "--out", "made", "--vocab-size", "270")
    assert made.code == 0, made.err
    assert made.out.startswith("made/tokenizer.json: 2")
    assert cli("tokenizer", "show", "made", "lower").out.splitlines()[0].replace("|", "") == "lower"
    assert cli("tokenizer", "train", "text.txt", "--out", "made").err.startswith(
        "transduce: made/tokenizer.json exists"
    )
    assert (
        "`tokenizer.kind` is 'bpq', but must be one of bpe"
        in cli("tokenizer", "train", "text.txt", "--kind", "bpq").err
    )
    assert cli("tokenizer", "train", "txet.txt").err.startswith("transduce: txet.txt does not exist; the nearest name")


def test_inspect_prints_draws_and_says_what_is_missing(cli: Any, dates: Any, letters: Any, tmp_path: Any):
    out = cli("inspect", dates, "3 May 2021", "--target", "2021-05-03", "--device", "cpu")
    assert out.code == 0
    assert "decoder layer 1 cross, mean of 2 heads: the weights of attention" in out.out
    assert cli("inspect", letters, "the fox", "--head", "2", "--layer", "1").out.startswith("layer 1 mix, head 2")
    assert cli("inspect", dates, "3 May", "--out", tmp_path / "map.png").code == 0
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    assert cli("inspect", letters, "the <b>", "--out", tmp_path / "map.html").code == 0
    page = (tmp_path / "map.html").read_text("utf-8")
    assert "&lt;" in page
    assert "src=" not in page
    for words, sentence in {
        ("--layer", "9"): "no map of layer 9", ("--head", "9"): "no head 9", ("--out", "map.pdf"): "must end in .png",
        ("--target", "x"): "reads no source",
    }.items():  # fmt: skip
        result = cli("inspect", letters, "the fox", *words)
        assert result.code == 2
        assert sentence in result.err


VERBS = {
    "translate": ["red dog"], "generate": ["red"], "chat": ["red?"], "classify": ["red"], "tag": ["red dog"],
    "answer": ["red?", "--context", "red dog"], "regress": ["red"], "rank": ["red?", "--passages", "FILE"],
    "predict": ["red"], "embed": ["red"], "inspect": ["red"], "score": ["FILE"], "score --reward": ["FILE"],
    "label": ["FILE"],
    "act": ["--episodes", "2"],
    "draw": [],
    "transcribe": ["FILE"], "caption": ["FILE"],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_on_a_run_of_any_task_ends_well_or_with_a_sentence(
    verb: str, cli: Any, dates: Any, letters: Any, encoder: Any, talk: Any, labels: Any, tags: Any, answers: Any,
    grades: Any, order: Any, acts: Any, plans: Any, ring: Any, spoken: Any, matched: Any, described: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "FILE").write_text("red\tdog\n")
    command, *options = verb.split()
    for run in (
        dates,
        letters,
        encoder,
        talk,
        labels,
        tags,
        answers,
        grades,
        order,
        acts,
        plans,
        ring,
        spoken,
        matched,
        described,
    ):
        result = cli(command, run, *VERBS[verb], *options)
        assert "Traceback" not in result.err, (verb, run)
        assert result.code in (0, 2), (verb, run, result.err)
        assert result.code == 0 or result.err.strip().splitlines()[-1].startswith("transduce: "), (verb, run)


def test_act_plays_and_says_what_is_wrong(cli: Any, acts: Path, tmp_path: Path) -> None:
    out = cli("act", acts, "--world", "graph", "--return", "-3", "--episodes", "19", "--out", tmp_path / "a.gif")
    assert out.code == 0, out.err
    rows = [line.split("\t") for line in out.out.splitlines()]
    assert len(rows) == 20
    assert {row[1] for row in rows[:-1]} == {"asked -3"}
    reached = sum(row[-1] == "reached" for row in rows[:-1])
    assert rows[-1][0].endswith(f"{reached} of 19 reached")
    assert (tmp_path / "a.gif").read_bytes()[:6] in (b"GIF89a", b"GIF87a")
    assert cli("act", acts, "--episodes", "2").out == cli("act", acts, "--episodes", "2").out
    for words, sentence in {
        ("--world", "grph"): "did you mean `graph`?", ("--return", "much"): "is not a return",
        ("--return", "nan"): "is not a return", ("--out", "a.png"): "must end in .gif",
        ("--episodes", "0"): "than or equal to 1", ("--context", "0"): "than or equal to 1",
    }.items():  # fmt: skip
        result = cli("act", acts, *words)
        assert result.code == 2
        assert sentence in result.err
        assert len(result.err.strip().splitlines()) <= 2


def test_act_plans_as_far_and_as_wide_as_asked(cli: Any, acts: Path, plans: Path) -> None:
    out = cli("act", plans, "--episodes", "3", "--horizon", "3", "--beam-size", "4")
    assert out.code == 0, out.err
    assert out.out == cli("act", plans, "--episodes", "3", "--horizon", "3", "--beam-size", "4").out
    assert len(out.out.splitlines()) == 4
    for words, sentence in {
        (plans, "--return", "-3"): "plans for the highest return",
        (plans, "--horizon", "21"): "lower the horizon to 20",
        (plans, "--beam-size", "0"): "than or equal to 1", (acts, "--horizon", "3"): "plans nothing",
        (plans, "--context", "1"): "reads context=1",
    }.items():  # fmt: skip
        result = cli("act", *words)
        assert result.code == 2
        assert sentence in result.err
        assert len(result.err.strip().splitlines()) <= 2
