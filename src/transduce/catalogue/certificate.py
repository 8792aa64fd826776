"""The certificate of a folder: what was compared when it was written, and the hashes of its files."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from transduce.catalogue.lines import lines
from transduce.catalogue.sides import Asked, Given
from transduce.errors import UserError
from transduce.model.heads.linear import LinearHead
from transduce.model.models import EncoderOnly, Model
from transduce.text.tokenizer import Tokenizer
from transduce.weights.files import read_json

NAME = "certificate.json"
TOLERANCE = 1e-4  # of logits, in float32, and of their greatest where that is more than 1
ROWS, TOKENS, NEW = 4, 24, 64
PACKAGES = ("transduce", "torch", "transformers", "tokenizers", "safetensors")


class Findings(NamedTuple):
    """Of two sides. logits: the greatest difference. agreed: tokens written alike from the first one on, of `new`.

    lines: how many of them have the same ids. first: the layer from which on the two differ, or None.
    """

    logits: float
    tolerance: float
    agreed: int
    new: int
    lines: int
    of: int
    first: str | None
    odd: str | None  # a line whose ids differ
    numbers: bool = True  # whether the logits are some, on either side

    @property
    def passed(self) -> bool:
        return self.logits <= self.tolerance and self.agreed == self.new and self.lines == self.of


def questions(model: Model, tokenizer: Tokenizer, count: int = 1000) -> Asked:
    """Texts cut into rows of ids, a prompt, and lines: all made here."""
    text = [line for line in lines(count) if line.strip()]
    most = TOKENS if model.limit is None else min(TOKENS, model.limit)
    stream = [i for row in tokenizer.encode_batch(text[:200]) for i in row] or [tokenizer.bos]
    stream *= -(-2 * ROWS * most // len(stream))
    ids, source = (torch.tensor(stream[n * ROWS * most :][: ROWS * most]).view(ROWS, most) for n in range(2))
    marks = tokenizer.marks
    if model.takes_source:
        start = torch.tensor([list(marks.opens[:1] or [tokenizer.bos])])
        ids = torch.cat([start.expand(ROWS, -1), ids[:, 1:]], 1)
        prompt = start
    else:
        prompt = ids[:1, : max(1, min(5, most // 2))]
    room = NEW if model.limit is None else max(1, min(NEW, model.limit - prompt.shape[1]))
    new = room if isinstance(model.head, LinearHead) and not isinstance(model, EncoderOnly) else 0
    return Asked(ids, source if model.takes_source else None, prompt, new, lines(count))


def compare(ours: Given, other: Given) -> Findings:
    """The differences of two answers to the same questions."""
    shared = [name for name in other.layers if name in ours.layers]
    last = shared[-1]  # the logits; of models without, the hidden states
    logits, tolerance = difference(ours.layers[last], other.layers[last]), limit_of(other.layers[last])
    worst = {name: difference(ours.layers[name], other.layers[name]) for name in shared}
    first = next((name for name in shared if not worst[name] <= limit_of(other.layers[name])), None)
    written = list(zip(ours.text, other.text, strict=False))
    agreed = next((i for i, (a, b) in enumerate(written) if a != b), len(written))
    pairs = list(zip(ours.ids, other.ids, strict=True))
    odd = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    return Findings(
        logits, tolerance, agreed, len(written), sum(a == b for a, b in pairs), len(pairs), first,
        None if odd is None else f"line {odd + 1}: {ours.ids[odd][:12]} here, {other.ids[odd][:12]} there",
        not (ours.layers[last].isnan().any() and other.layers[last].isnan().any()),
    )  # fmt: skip


def limit_of(x: Tensor) -> float:
    scale = float(x.abs().max())
    return TOLERANCE * max(1.0, scale if scale < float("inf") else 1.0)


def difference(a: Tensor, b: Tensor) -> float:
    """The greatest absolute one; infinite where shapes differ or something is not a number."""
    if a.shape != b.shape:
        return float("inf")
    same = (a == b) | (a.isnan() & b.isnan())
    found = float(torch.where(same, 0.0, (a.double() - b.double()).abs()).max()) if a.numel() else 0.0
    return found if found == found else float("inf")


def require_equal(found: Findings, what: str, against: str) -> None:
    """Raise UserError, naming the first layer, unless everything agrees."""
    if not found.numbers:
        raise UserError(f"{what} computes logits that are no numbers, and so does {against}; its weights are spoilt")
    if not found.logits <= found.tolerance:
        begins = f"they part at {found.first}" if found.first else "no single layer says where"
        raise UserError(
            f"{what} computes other logits than {against}: they differ by up to {found.logits:.3g}, where "
            f"{found.tolerance:.3g} is allowed; {begins}"
        )
    if found.agreed < found.new:
        raise UserError(f"{what} writes other text than {against}, from token {found.agreed + 1} of {found.new} on")
    if found.lines < found.of:
        raise UserError(
            f"{what} reads {found.of - found.lines} of {found.of} lines as other ids than {against} ({found.odd})"
        )


def has_transformers() -> bool:
    return find_spec("transformers") is not None


def document(found: Findings, against: str, parameters: int, files: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """What certificate.json says."""
    return {
        "compared_with": against,
        "parameters": parameters,
        "largest_logit_difference": found.logits,
        "tolerance": found.tolerance,
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
    (folder / NAME).write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(folder: Path) -> Mapping[str, Any]:
    return read_json(folder / NAME)


def require_intact(folder: Path) -> None:
    """Raise UserError if a folder has a certificate, and a file that is not the one it tells of."""
    if not (folder / NAME).exists():
        return
    known: Any = read_json(folder / NAME).get("files")
    if not isinstance(known, dict):
        raise UserError(f"{folder / NAME} has no hashes of files; remove it to use the folder without")
    for name, expected in cast("dict[str, Any]", known).items():
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise UserError(f"{folder / NAME} tells of a file {name!r} that is not there; take the folder again")
        if digest(path) != expected:
            raise UserError(f"{path} is not the file of {NAME} (its sha256 differs); take the folder again")


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
