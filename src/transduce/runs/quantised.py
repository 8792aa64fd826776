"""Models in fewer bits: codes that lie beside a checkpoint, or are computed when it is opened."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from transduce.disk import read_json
from transduce.errors import Notice, UserError
from transduce.model.models import Model
from transduce.precision.codes import Int4, Int8
from transduce.precision.convert import Asked, Codes, Precision, convert, matrices
from transduce.precision.measure import able, fastest, speeds
from transduce.runs import checkpoint as checkpoints
from transduce.runs.integrity import fault, recorded
from transduce.runs.weights import best_weights

CERTIFICATE, WEIGHTS = "certificate.json", "model.safetensors"
KINDS: tuple[Precision, ...] = ("bf16", "int8", "int4")


class Reading(NamedTuple):
    """The precision in which a model was opened.

    line: a line about it for the user, or "".
    slower: it is slower than float32 on this machine; a `Notice` has said so.
    """

    precision: Precision = "fp32"
    line: str = ""
    slower: bool = False


FULL = Reading()


def read_in(model: Model, wanted: Asked, checkpoint: Path | None = None) -> Reading:
    """Converts a model to a precision; its matrices in float32 are dropped.

    wanted: fp32 changes nothing; auto is the fastest on this machine of fp32, bf16 and int8, and of int4 where codes
        for it lie beside the checkpoint.
    checkpoint: its directory, whose codes are used where it has some (None: codes are computed here).
    A precision that is slower than float32 on this machine gives a `Notice`.
    Raises UserError where the device cannot multiply in it, and where the codes are not those of this checkpoint.
    """
    if wanted == "fp32":
        return FULL
    if wanted != "auto" and not able(wanted, model.device):
        raise UserError(
            f"precision={wanted} multiplies on a CPU, but the model is on {model.device.type}; use bf16, or device=cpu"
        )
    if not matrices(model):
        return Reading("fp32", f"precision {wanted}: fp32, since this model has no matrix that can lie in fewer bits")
    kinds: list[Precision] = [wanted] if wanted != "auto" else [
        kind for kind in KINDS if able(kind, model.device) and (kind != "int4" or folder(checkpoint, kind) is not None)
    ]  # fmt: skip
    measured = speeds(model, kinds)
    chosen = wanted if wanted != "auto" else fastest(measured)
    if chosen == "fp32":
        tried = "; ".join(f"{kind}: {speed}" for kind, speed in measured.items())
        return Reading("fp32", f"precision auto: fp32, the fastest on this machine ({tried})")
    where = folder(checkpoint, chosen)
    codes = None if where is None else read_codes(where, model)
    share = convert(model, chosen, codes)
    origin = "" if chosen == "bf16" else f", codes of {where}" if where is not None else ", codes computed at opening"
    slower = measured[chosen].mean < 1
    begin = f"precision {chosen}" if wanted != "auto" else f"precision auto: {chosen}"
    pace = f"{measured[chosen]}{' (slower than fp32 on this machine)' if slower else ''}"
    reading = Reading(chosen, f"{begin}, {pace}; {share}{origin}", slower)
    if slower:
        warnings.warn(reading.line, Notice, stacklevel=3)
    return reading


def folder(checkpoint: Path | None, precision: Precision) -> Path | None:
    """Returns the directory of the codes of a checkpoint, or None where it has none."""
    where = None if checkpoint is None else checkpoint.resolve() / precision
    return where if where is not None and where.is_dir() else None


def weights_hash(checkpoint: Path) -> str | None:
    """Returns the sha256 of the weights that a checkpoint is used with, as recorded in its DONE."""
    return recorded(checkpoint)[0].get(best_weights(checkpoint).name)


def read_codes(where: Path, model: Model) -> Codes:
    """Returns the codes in a directory, by the name of the matrix.

    Raises UserError where a file was changed, and where the codes are not of the weights beside them.
    """
    way = f"make it anew with `transduce quantise`, or remove {where}"
    if (problem := fault(where)) is not None:
        raise UserError(f"{where} cannot be used: {problem}; {way}")
    if certificate(where).get("weights") != weights_hash(where.parent):
        raise UserError(f"{where} is of other weights than those of {where.parent}; {way}")
    tensors = checkpoints.read_tensors(where / WEIGHTS)
    parts = matrices(model)
    if odd := sorted({name.rpartition(".")[0] for name in tensors} ^ parts.keys()):
        raise UserError(f"{where} and this model do not have the same matrices (only one of them has {odd[0]}); {way}")
    return {name: codes_of(tensors, name) for name in parts}


def certificate(where: Path) -> dict[str, Any]:
    """Returns the contents of the certificate of codes."""
    return read_json(where / CERTIFICATE)


def codes_of(tensors: dict[str, Tensor], name: str) -> Int8 | Int4:
    """Returns the codes of one matrix. Codes of four bits lie in pairs, the first in the lower half of a byte."""
    codes, scale = tensors[f"{name}.codes"], tensors[f"{name}.scale"]
    if f"{name}.offset" not in tensors:
        return Int8(codes, scale)
    return Int4(unpaired(codes), scale, tensors[f"{name}.offset"])


def tensors_of(codes: Codes) -> dict[str, Tensor]:
    """Returns the tensors with which a file stores codes."""
    out = dict[str, Tensor]()
    for name, one in codes.items():
        out |= {f"{name}.{field}": tensor for field, tensor in one._asdict().items()}
        if isinstance(one, Int4):
            out[f"{name}.codes"] = paired(one.codes)
    return out


def paired(codes: Tensor) -> Tensor:
    """Returns codes of four bits, (N, K) with K even, as (N, K / 2) bytes."""
    return codes[:, ::2] | (codes[:, 1::2] << 4)


def unpaired(codes: Tensor) -> Tensor:
    """Returns the codes that `paired` has put into bytes."""
    return (codes[..., None] >> codes.new_tensor([0, 4])).bitwise_and(15).flatten(1)
