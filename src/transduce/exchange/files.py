"""The tensors of a directory: one safetensors file, or several with an index. Nothing is unpickled, ever."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from transduce.errors import UserError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class Files:
    """Names, shapes and types are known at once; a tensor is read when it is asked for, one file open at a time.

    where: the file of each tensor. shapes: tensors on the meta device, which hold no numbers.
    """

    def __init__(self, folder: Path, single: str = SINGLE) -> None:
        """single: the name of the one file, where there is no index.

        Raises UserError for a folder without safetensors, an index that lies, and a damaged file.
        """
        self.folder, self.where, self.shapes = folder, dict[str, Path](), dict[str, Tensor]()
        index = self.index() if (folder / INDEX).exists() and not (folder / single).exists() else None
        for file in sorted({folder / single} if index is None else {folder / name for name in index.values()}):
            if not file.is_file():
                raise UserError(self.missing(file))
            with opened(file) as reader:
                for name in cast("list[str]", reader.keys()):
                    if name in self.where:
                        raise UserError(f"{name} is in {self.where[name].name} and in {file.name}; keep one of them")
                    part = reader.get_slice(name)
                    dtype = DTYPES.get(part.get_dtype())
                    if dtype is None:
                        raise UserError(f"{name} in {file} is of type {part.get_dtype()}, which is not read here")
                    self.where[name], self.shapes[name] = file, shape(part.get_shape(), dtype, name, file)
        for name, file in (index or {}).items():
            if self.where.get(name) != folder / file:
                raise UserError(f"{folder / INDEX} says that {name} is in {file}, but it is not; download both again")

    def index(self) -> dict[str, str]:
        """Returns tensor name -> file name, all of them beside the index."""
        path = self.folder / INDEX
        names = cast("object", read_json(path).get("weight_map"))
        if not isinstance(names, dict) or not names:
            raise UserError(f"{path} has no weight_map, which says where each tensor is; download it again")
        for name, file in cast("dict[str, Any]", names).items():
            if (
                not isinstance(file, str)
                or Path(file).name != file
                or "\\" in file
                or not file.isprintable()
                or not file.endswith(".safetensors")
            ):
                raise UserError(f"{path} says that {name} is in {file!r}, which is not a safetensors file beside it")
        return cast("dict[str, str]", names)

    def missing(self, file: Path) -> str:
        """Returns the sentence for a file that is not there."""
        names = sorted(p.name for p in self.folder.glob("*")) if self.folder.is_dir() else []
        if INDEX in names and file.name != SINGLE:
            files = sorted({*self.index().values()})
            lost = [name for name in files if name not in names]
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            return (
                f"{self.folder} has {len(files) - len(lost)} of the {len(files)} files that {INDEX} names; download "
                f"{lost[0]}{more}"
            )
        pickles = [name for name in names if name.endswith(PICKLES)]
        if pickles:
            return (
                f"{self.folder} has weights only in {pickles[0]}, which may run code when it is read; "
                f"save them as safetensors where you trust them"
            )
        if others := [name for name in names if name.endswith((".gguf", ".onnx", ".tflite"))]:
            return f"{self.folder} has weights only as {others[0]}, which is not read here; take those in safetensors"
        if others := [name for name in names if name.endswith(".safetensors")]:
            return f"{self.folder} has {', '.join(others[:3])}, but a model's file is {SINGLE}; rename it"
        return f"{file} does not exist; the folder of a model holds {SINGLE}, or {INDEX} and the files it names"

    def read(self, *names: str) -> list[Tensor]:
        """Returns the tensors of these names. Each is read from the file, not kept here."""
        out: dict[str, Tensor] = {}
        for file in dict.fromkeys(self.where[name] for name in names):
            with opened(file) as reader:
                out |= {name: reader.get_tensor(name) for name in names if self.where[name] == file}
        return [out[name] for name in names]


@contextmanager
def opened(file: Path) -> Generator[Any]:
    """Opens a safetensors file, whose header is checked against its length. Raises UserError where that fails."""
    try:
        with cast(Any, safe_open)(file, "pt") as reader:
            yield reader
    except (SafetensorError, OSError) as error:
        raise UserError(damage(file, str(error))) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the library's own kind, which is no Exception
            raise
        raise UserError(damage(file, str(error))) from None


def damage(file: Path, reason: str) -> str:
    """Returns the sentence for a file that is not safetensors."""
    with suppress(OSError), file.open("rb") as stream:
        head = stream.read(4)
        if head == b"PK\x03\x04" or head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            return f"{file} is a pickle, which may run code when it is read; save it as safetensors where you trust it"
    return f"{file} is damaged ({reason}); download it again"


def shape(sizes: list[int], dtype: torch.dtype, name: str, file: Path) -> Tensor:
    """Returns a tensor without numbers. Raises UserError for sizes that no tensor has."""
    try:
        return torch.empty(sizes, dtype=dtype, device="meta")
    except (RuntimeError, TypeError, OverflowError):
        raise UserError(f"{name} in {file} is said to be {sizes}, which no tensor can be; download it again") from None


def read_json(path: Path) -> Mapping[str, Any]:
    """Returns a JSON object. Raises UserError."""
    try:
        data: object = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; the folder of a model has one") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); download it again") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds a {type(data).__name__}, not an object; download it again")
    return cast("dict[str, Any]", data)


def require_new(folder: Path) -> None:
    """Raises UserError unless a folder can be made, or is empty. The folders above it are made."""
    if folder.is_symlink() and not folder.exists():
        raise UserError(f"{folder} is a link to nothing; name another directory, or remove it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already; name another directory, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}); name another directory") from None
