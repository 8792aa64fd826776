"""The certificate of a folder: the results of the comparison when it was written, and the hashes of its files."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from transduce.disk import digest
from transduce.errors import UserError
from transduce.exchange.answers import Answers, Questions
from transduce.exchange.files import read_json
from transduce.exchange.sample_lines import lines
from transduce.model.heads.linear import LinearHead
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.text.tokenizer import Tokenizer

NAME = "certificate.json"
TOLERANCE = 1e-4  # of logits, in float32, and of their greatest where that is more than 1
ROWS, TOKENS, NEW = 4, 24, 64
NAMES = {"logits": "logits", "pair": "logits of pairs", "pooled": "pooled vectors"}
ENDS = ("end", "decoder end")  # the last hidden states, which are the outputs of a model without logits
SEAL, AGAIN = "sha256", "take the folder again, or import or export it again"
PACKAGES = ("transduce", "torch", "transformers", "tokenizers", "safetensors")


class Findings(NamedTuple):
    """The differences of two models' answers to the same questions.

    logits: the greatest difference of the outputs; `output` says which outputs these are.
    tolerance: the greatest difference that is allowed.
    agreed: of `new` tokens that both wrote, how many are equal from the first one on.
    lines: of `of` lines, how many have the same ids.
    first: the first layer whose difference exceeds its tolerance, or None.
    odd: a line whose ids differ, or None.
    numbers: at least one of the models computes outputs without NaN.
    """

    logits: float
    tolerance: float
    agreed: int
    new: int
    lines: int
    of: int
    first: str | None
    odd: str | None
    numbers: bool = True
    output: str = "logits"

    @property
    def passed(self) -> bool:
        return (
            self.numbers and self.logits <= self.tolerance and self.agreed == self.new and self.lines == self.of
        )  # fmt: skip


def questions(model: Model, tokenizer: Tokenizer, begins: Sequence[int] = (), count: int = 1000) -> Questions:
    """Returns generated rows of ids, a prompt, and lines of text.

    Half of the rows are texts, half are drawn from all ids, since a tokeniser may know hardly a word of the texts.
    begins: the ids that every answer begins with, or none.
    count: of lines.
    """
    text = [line for line in lines(count) if line.strip()]
    most = TOKENS if model.limit is None else min(TOKENS, model.limit)
    stream = [i for row in tokenizer.encode_batch(text[:200]) for i in row] or [tokenizer.bos]
    stream *= -(-2 * ROWS * most // len(stream))
    ids, source = (torch.tensor(stream[n * ROWS * most :][: ROWS * most]).view(ROWS, most) for n in range(2))
    for n, rows in enumerate((ids, source)):
        rows[::2] = drawn(model, tokenizer, rows[::2], seed=n)
    start = torch.tensor(begins[:1], dtype=torch.int64)
    ids[:, : len(start)] = start
    prompt = ids[:1, : len(start) or max(1, min(5, most // 2))]
    room = NEW if model.limit is None else max(1, min(NEW, model.limit - prompt.shape[1]))
    new = room if isinstance(model.head, LinearHead) and model.writes else 0
    layout = dense(ROWS, most)
    return Questions(ids, model.given(ids, layout, source, layout).source, prompt, new, lines(count))


def drawn(model: Model, tokenizer: Tokenizer, rows: Tensor, seed: int) -> Tensor:
    """Returns as many rows of random ids of text.

    The id of padding is left out, also that from which positions are counted in some families.
    """
    pad = getattr(getattr(getattr(model, "embed", None), "positions", None), "offset", 0) - 1
    known = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.silent and i not in (pad, tokenizer.unk)]
    if not known:
        return rows
    chosen = torch.randint(len(known), rows.shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(known)[chosen]


def compare(ours: Answers, other: Answers) -> Findings:
    """Returns the differences of two models' answers to the same questions: of layers, of text, and of ids."""
    shared = [name for name in other.layers if name in ours.layers]
    worst = {name: (difference(ours.layers[name], other.layers[name]), limit_of(other.layers[name])) for name in shared}
    first = next((name for name, (gap, most) in worst.items() if not gap <= most), None)
    ends = [name for name in (*NAMES, *(() if "logits" in shared else ENDS)) if name in shared]
    output = max(ends, key=lambda name: worst[name][0] / worst[name][1])
    agreed = next((i for i, (a, b) in enumerate(zip(ours.text, other.text, strict=False)) if a != b), None)
    new, shorter = (choose(len(ours.text), len(other.text)) for choose in (max, min))
    pairs = list(zip_longest(ours.ids, other.ids))
    odd = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    return Findings(
        *worst[output], shorter if agreed is None else agreed, new, sum(a == b for a, b in pairs), len(pairs), first,
        None if odd is None else f"line {odd + 1}: {shown(ours.ids, odd)} here, {shown(other.ids, odd)} there",
        not any(ours.layers[name].isnan().any() and other.layers[name].isnan().any() for name in ends), output,
    )  # fmt: skip


def shown(rows: Sequence[Sequence[int]], line: int) -> str:
    """Returns the first ids of a line as text."""
    return str(list(rows[line][:12])) if line < len(rows) else "nothing"


def limit_of(x: Tensor) -> float:
    """Returns the greatest difference from x that is allowed."""
    scale = float(x.abs().max()) if x.numel() else 1.0
    return TOLERANCE * max(1.0, scale if scale < float("inf") else 1.0)


def difference(a: Tensor, b: Tensor) -> float:
    """Returns the greatest absolute difference; infinite for other shapes, or where either tensor has a NaN."""
    if a.shape != b.shape:
        return float("inf")
    gap = torch.where(a == b, 0.0, (a.double() - b.double()).abs())
    greatest = float(gap.max()) if gap.numel() else 0.0
    return greatest if greatest == greatest else float("inf")


def require_equal(findings: Findings, what: str, against: str) -> None:
    """Raises UserError, naming the first layer that differs, unless everything agrees.

    what: the name of the model that is checked.
    against: the name of the other model.
    """
    output = NAMES.get(findings.output, "hidden states")
    if not findings.numbers:
        raise UserError(f"{what} computes {output} that are not numbers, and so does {against}; its weights are spoilt")
    if not findings.logits <= findings.tolerance:
        begins = f"they part at {findings.first}" if findings.first else "no single layer says where"
        raise UserError(
            f"{what} computes other {output} than {against}: they differ by up to {findings.logits:.3g}, where "
            f"{findings.tolerance:.3g} is allowed; {begins}"
        )
    if findings.agreed < findings.new:
        raise UserError(
            f"{what} writes other text than {against}, from token {findings.agreed + 1} of {findings.new} on"
        )
    if findings.lines < findings.of:
        share = f"{findings.of - findings.lines} of {findings.of} lines"
        raise UserError(f"{what} reads {share} as other ids than {against} ({findings.odd})")


def require_same_settings(ours: Sequence[int], other: Sequence[int] | None, against: str) -> dict[str, str]:
    """Returns the entry of a certificate on text that was written with generation_config.json.

    ours, other: the ids of both models (None: the other model does not generate with these settings).
    Raises UserError where the ids differ.
    """
    name = "tokens_alike_by_generation_config"
    if other is None:
        return {name: f"not compared: {against} does not generate by it"}
    agreed = next((i for i, (a, b) in enumerate(zip_longest(ours, other)) if a != b), None)
    if agreed is not None:
        raise UserError(
            f"the run writes other text than {against} as generation_config.json says, from token {agreed + 1} on; "
            f"remove that file from the folder to import the model without it"
        )
    return {name: f"{len(ours)} of {len(other)}"}


def has_transformers() -> bool:
    return find_spec("transformers") is not None


def document(
    findings: Findings, against: str, parameters: int, files: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """Returns the contents of a certificate. more: further entries."""
    return {
        "compared_with": against,
        "parameters": parameters,
        "largest_logit_difference": findings.logits,
        "tolerance": findings.tolerance,
        "compared": NAMES.get(findings.output, "hidden states"),
        "greedy_tokens_alike": f"{findings.agreed} of {findings.new}",
        "lines_with_the_same_ids": f"{findings.lines} of {findings.of}",
        "versions": versions(),
        **more,
        "files": dict(files),
    }


def versions() -> dict[str, str]:
    """Returns the versions of those of PACKAGES that are installed."""
    installed: dict[str, str] = {}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): digest(path) for path in sorted(files)}


def write(folder: Path, entries: Mapping[str, Any]) -> None:
    """Writes certificate.json, with the hash of its entries."""
    text = json.dumps({**entries, SEAL: seal(entries)}, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", "utf-8")


def seal(entries: Mapping[str, Any]) -> str:
    """Returns the sha256 of the entries of a certificate, in whatever order and layout."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def read_certificate(folder: Path) -> Mapping[str, Any]:
    """Returns the entries of certificate.json. Raises UserError where the file was changed after it was written."""
    entries = dict(read_json(folder / NAME))
    expected = entries.pop(SEAL, None)  # older certificates have none
    if expected is not None and expected != seal(entries):
        raise UserError(f"{folder / NAME} is not what was written (its own sha256 differs); {AGAIN}")
    return entries


def require_intact(folder: Path) -> None:
    """Raises UserError if a folder or a run has a certificate, and a file that differs from the one with that hash.

    A run that was trained since then has another config, and checkpoints with hashes of their own.
    """
    if not (folder / NAME).exists():
        return
    known: Any = read_certificate(folder).get("files")
    if not isinstance(known, dict):
        raise UserError(f"{folder / NAME} has no hashes of files; {AGAIN}, or remove it to use the folder without")
    trained = (folder / "env.json").exists()  # the first file that a training writes
    for name, expected in cast("dict[str, Any]", known).items():
        path, relative = folder / name, Path(name)
        if trained and relative.parts[:1] in (("config.yaml",), ("hashes.json",), ("checkpoints",)):
            continue
        if relative.is_absolute() or ".." in relative.parts or not path.is_file():
            raise UserError(f"{folder / NAME} names a file {name!r} that does not exist; {AGAIN}")
        if digest(path) != expected:
            raise UserError(f"{path} is not the file of {NAME} (its sha256 differs); {AGAIN}")


def require_source(folder: Path, run: Path) -> None:
    """Raises UserError unless the files of a folder are those that a run was imported from."""
    known: Any = read_certificate(run).get("read") if (run / NAME).exists() else {}
    for name, expected in cast("dict[str, Any]", known or {}).items():
        path = folder / name
        if path.is_file() and digest(path) != expected:
            raise UserError(f"{path} is not the file that {run} was imported from (its sha256 differs); import it anew")
