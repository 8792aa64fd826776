"""The certificate of a folder: what was compared when it was written, and the hashes of its files."""

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
from transduce.exchange.answers import Asked, Given
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
ENDS = ("end", "decoder end")  # the last hidden states, which are what comes out of a model without logits
SEAL, AGAIN = "sha256", "take the folder again, or import or export it again"
PACKAGES = ("transduce", "torch", "transformers", "tokenizers", "safetensors")


class Findings(NamedTuple):
    """How far the answers of two sides are apart.

    logits: the greatest difference of what comes out, which `output` names; tolerance: what is allowed there.
    agreed: tokens written alike from the first one on, of `new`.
    lines: how many of them have the same ids, of `of`.
    first: the layer from which on the two differ, or None.
    """

    logits: float
    tolerance: float
    agreed: int
    new: int
    lines: int
    of: int
    first: str | None
    odd: str | None  # a line whose ids differ
    numbers: bool = True  # whether everything that comes out is finite or infinite, on one side at least
    output: str = "logits"

    @property
    def passed(self) -> bool:
        return (
            self.numbers and self.logits <= self.tolerance and self.agreed == self.new and self.lines == self.of
        )  # fmt: skip


def questions(model: Model, tokenizer: Tokenizer, begins: Sequence[int] = (), count: int = 1000) -> Asked:
    """Returns rows of ids, a prompt, and lines: all made here.

    begins: the ids that every answer begins with, if there are such. Half of the rows are texts, half are drawn from
    all ids, since a tokeniser may know hardly a word of the texts.
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
    return Asked(ids, model.given(ids, layout, source, layout).source, prompt, new, lines(count))


def drawn(model: Model, tokenizer: Tokenizer, rows: Tensor, seed: int) -> Tensor:
    """Returns as many rows of ids that are text. That of padding is none, also where positions are counted from it."""
    pad = getattr(getattr(getattr(model, "embed", None), "positions", None), "offset", 0) - 1
    known = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.silent and i not in (pad, tokenizer.unk)]
    if not known:
        return rows
    chosen = torch.randint(len(known), rows.shape, generator=torch.Generator().manual_seed(seed))
    return torch.tensor(known)[chosen]


def compare(ours: Given, other: Given) -> Findings:
    """The differences of two answers to the same questions: of everything that comes out, of text, and of ids."""
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
    """The first ids of a line."""
    return str(list(rows[line][:12])) if line < len(rows) else "nothing"


def limit_of(x: Tensor) -> float:
    scale = float(x.abs().max()) if x.numel() else 1.0
    return TOLERANCE * max(1.0, scale if scale < float("inf") else 1.0)


def difference(a: Tensor, b: Tensor) -> float:
    """The greatest absolute one; infinite where shapes differ, and where something is not a number on either side."""
    if a.shape != b.shape:
        return float("inf")
    gap = torch.where(a == b, 0.0, (a.double() - b.double()).abs())
    found = float(gap.max()) if gap.numel() else 0.0
    return found if found == found else float("inf")


def require_equal(found: Findings, what: str, against: str) -> None:
    """Raise UserError, naming the first layer, unless everything agrees."""
    output = NAMES.get(found.output, "hidden states")
    if not found.numbers:
        raise UserError(f"{what} computes {output} that are not numbers, and so does {against}; its weights are spoilt")
    if not found.logits <= found.tolerance:
        begins = f"they part at {found.first}" if found.first else "no single layer says where"
        raise UserError(
            f"{what} computes other {output} than {against}: they differ by up to {found.logits:.3g}, where "
            f"{found.tolerance:.3g} is allowed; {begins}"
        )
    if found.agreed < found.new:
        raise UserError(f"{what} writes other text than {against}, from token {found.agreed + 1} of {found.new} on")
    if found.lines < found.of:
        raise UserError(
            f"{what} reads {found.of - found.lines} of {found.of} lines as other ids than {against} ({found.odd})"
        )


def require_same_settings(ours: Sequence[int], other: Sequence[int] | None, against: str) -> dict[str, str]:
    """What the certificate says of text that was written by generation_config.json. Raises UserError unless alike."""
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


def document(found: Findings, against: str, parameters: int, files: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """What certificate.json says."""
    return {
        "compared_with": against,
        "parameters": parameters,
        "largest_logit_difference": found.logits,
        "tolerance": found.tolerance,
        "compared": NAMES.get(found.output, "hidden states"),
        "greedy_tokens_alike": f"{found.agreed} of {found.new}",
        "lines_with_the_same_ids": f"{found.lines} of {found.of}",
        "versions": versions(),
        **more,
        "files": dict(files),
    }


def versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hashes(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): digest(path) for path in sorted(files)}


def write(folder: Path, said: Mapping[str, Any]) -> None:
    """Writes certificate.json, with the hash of what it says."""
    text = json.dumps({**said, SEAL: seal(said)}, indent=1, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", "utf-8")


def seal(said: Mapping[str, Any]) -> str:
    """Returns the sha256 of what a certificate says, however it is laid out."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> Mapping[str, Any]:
    """Returns what certificate.json says. Raises UserError where that is not what was written."""
    said = dict(read_json(folder / NAME))
    expected = said.pop(SEAL, None)  # older ones have none
    if expected is not None and expected != seal(said):
        raise UserError(f"{folder / NAME} is not what was written (its own sha256 differs); {AGAIN}")
    return said


def require_intact(folder: Path) -> None:
    """Raises UserError if a folder or a run has a certificate, and a file that is not the one it tells of.

    A run that was trained since has another config, and checkpoints that have hashes of their own.
    """
    if not (folder / NAME).exists():
        return
    known: Any = read(folder).get("files")
    if not isinstance(known, dict):
        raise UserError(f"{folder / NAME} has no hashes of files; {AGAIN}, or remove it to use the folder without")
    trained = (folder / "env.json").exists()  # what a training writes first
    for name, expected in cast("dict[str, Any]", known).items():
        path, place = folder / name, Path(name)
        if trained and place.parts[:1] in (("config.yaml",), ("hashes.json",), ("checkpoints",)):
            continue
        if place.is_absolute() or ".." in place.parts or not path.is_file():
            raise UserError(f"{folder / NAME} tells of a file {name!r} that is not there; {AGAIN}")
        if digest(path) != expected:
            raise UserError(f"{path} is not the file of {NAME} (its sha256 differs); {AGAIN}")


def require_source(folder: Path, run: Path) -> None:
    """Raises UserError unless the files of a folder are those that a run was imported from."""
    known: Any = read(run).get("read") if (run / NAME).exists() else {}
    for name, expected in cast("dict[str, Any]", known or {}).items():
        path = folder / name
        if path.is_file() and digest(path) != expected:
            raise UserError(f"{path} is not the file that {run} was imported from (its sha256 differs); import it anew")
