"""A table: which tensors of a checkpoint are which parameters of a model. One interpreter reads and writes it.

Strict both ways: every name of the checkpoint is in a row, or silent on purpose, and so is every parameter.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from transduce.errors import UserError
from transduce.exchange.files import Files
from transduce.exchange.names import require_alike
from transduce.exchange.ops import SAME, Op


@dataclass(frozen=True)
class Row:
    """Tensors of Hugging Face and of ours, and how one becomes the other."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    op: Op = SAME

    def at(self, layer: int) -> "Row":
        """Returns the row of a layer: `{i}` in names is its number."""
        theirs, ours = (tuple(name.replace("{i}", str(layer)) for name in names) for names in (self.theirs, self.ours))
        return replace(self, theirs=theirs, ours=ours)


def row(theirs: str | tuple[str, ...], ours: str | tuple[str, ...], op: Op = SAME) -> Row:
    """Returns a row of one name or several on either side of the table."""
    left, right = ((names,) if isinstance(names, str) else names for names in (theirs, ours))
    return Row(left, right, op)


def pair(theirs: str, ours: str, op: Op = SAME, *, bias: bool = True) -> list[Row]:
    """Returns weight and, if the module has one, bias under two names. op: of the weight."""
    rows = [row(f"{theirs}.weight", f"{ours}.weight", op)]
    return [*rows, row(f"{theirs}.bias", f"{ours}.bias")] if bias else rows


@dataclass(frozen=True)
class Extra:
    """A Hugging Face tensor that is not a parameter: its numbers are computed. It need not be in a file.

    make: of our parameters, by name. written: whether a file of ours has it.
    """

    name: str
    make: Callable[[Mapping[str, Tensor]], Tensor]
    written: bool = True

    def check(self, stored: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Raises UserError unless a file holds what is computed here, as near as its type can say it."""
        expected = self.make(parameters)
        near = max(1e-4, torch.finfo(stored.dtype).eps) if stored.is_floating_point() else 0.0
        if stored.shape != expected.shape or not torch.allclose(
            stored.double(), expected.double(), rtol=0.0, atol=near
        ):
            raise UserError(
                f"{self.name} holds other numbers than are computed in its place, so the file would give other results"
            )


@dataclass(frozen=True)
class Unread(Extra):
    """A tensor that a class has, and computes nothing with: a file may hold any numbers there."""

    def check(self, stored: Tensor, parameters: Mapping[str, Tensor]) -> None:
        """Does nothing."""


@dataclass(frozen=True)
class Table:
    """rows: all of them, layers written out. prefix: what their names may begin with, or may not.

    copies: name -> the name that it repeats. bare: written without the prefix. endings: of names as they once were, and
    as they are. extras: tensors that are computed. A name that is missing is taken from a copy of it.
    silent: patterns, found anywhere in a name, of tensors that no model reads (masks, frequencies, versions).
    """

    rows: tuple[Row, ...]
    prefix: str = ""
    copies: tuple[tuple[str, str], ...] = ()
    bare: bool = False
    endings: tuple[tuple[str, str], ...] = ()
    extras: tuple[Extra, ...] = ()
    silent: tuple[str, ...] = ()

    def load(self, model: nn.Module, files: Files, dtype: torch.dtype | None = None) -> None:
        """Gives a model, whose parameters may be on the meta device, the numbers of a checkpoint.

        dtype: of the parameters; None: as in the files. Everything is checked before any number is read. Raises
        UserError that names what is missing, in surplus, or of another shape.
        """
        names, parameters = self.names(files.where), dict(model.named_parameters())
        self.check(names, files, parameters)
        loaded: dict[str, Tensor] = {}
        for line in self.rows:
            tensors = line.op.read(files.read(*(names[name] for name in line.theirs)))
            converted = (x.to(dtype or x.dtype) for x in tensors)
            loaded |= {name: x.contiguous() for name, x in zip(line.ours, converted, strict=True)}
        for copy, name in self.copies:
            if copy in names and not torch.equal(*files.read(names[copy], names[name])):
                raise UserError(f"{names[copy]} should repeat {names[name]}, with which it is tied, but it differs")
        for extra in self.extras:
            if extra.name in names:
                extra.check(files.read(names[extra.name])[0], parameters)
        replace_parameters(model, {id(parameters[name]): x for name, x in loaded.items()})

    def differing(self, model: nn.Module, files: Files) -> Iterator[str]:
        """Yields the names of tensors of a checkpoint whose numbers are not those of a model's parameters."""
        names, parameters = self.names(files.where), dict(model.named_parameters())
        for line in self.rows:
            tensors = line.op.read(files.read(*(names[name] for name in line.theirs)))
            for name, x in zip(line.ours, tensors, strict=True):
                if not torch.equal(parameters[name], x.to(parameters[name].dtype)):
                    yield names[line.theirs[0]]

    def names(self, present: Iterable[str]) -> dict[str, str]:
        """Returns the table's name of each Hugging Face tensor -> its name in the checkpoint, with or without the
        prefix.
        """
        names = {name for line in self.rows for name in line.theirs}
        names |= {name for name, _ in self.copies} | {extra.name for extra in self.extras}
        out: dict[str, str] = {}
        for name in present:
            full = name
            for old, new in self.endings:
                full = full.removesuffix(old) + new if full.endswith(old) else full
            full = self.prefix + full if full not in names and self.prefix + full in names else full
            if full in out:
                raise UserError(f"{name} and {out[full]} are the same tensor under two names; keep one of them")
            out[full] = name
        for copy, name in self.copies:
            if name not in out and copy in out:
                out[name] = out.pop(copy)
        return out

    def check(self, names: Mapping[str, str], files: Files, parameters: Mapping[str, Tensor]) -> None:
        names_of_rows, copies = [name for line in self.rows for name in line.theirs], dict(self.copies)
        silent = re.compile("|".join(self.silent) or "$.")
        rest = names.keys() - set(names_of_rows) - copies.keys() - {extra.name for extra in self.extras}
        missing = [name for name in names_of_rows if name not in names]
        surplus = [names[name] for name in sorted(rest) if not silent.search(name)]
        require_alike(files.folder, missing, surplus, names.values())
        ours = [name for line in self.rows for name in line.ours]
        assert sorted(ours) == sorted(parameters), sorted(set(ours) ^ set(parameters))  # a mistake of the table
        for line in self.rows:
            theirs = [files.shapes[names[name]] for name in line.theirs]
            for name, x in zip(line.theirs, theirs, strict=True):
                if not x.is_floating_point():
                    kind = str(x.dtype).removeprefix("torch.")
                    raise UserError(f"{names[name]} in {files.folder} is of type {kind}; weights are floating-point")
            try:
                converted = line.op.read(theirs)
            except (RuntimeError, IndexError):  # of other dimensions than the operation is made for
                converted = [theirs[0]] * len(line.ours)
            for name, x in zip(line.ours, converted, strict=True):
                if x.shape != parameters[name].shape:
                    shapes = " and ".join(str(list(one.shape)) for one in theirs)
                    raise UserError(
                        f"{names[line.theirs[0]]} in {files.folder} is {shapes}, but config.json asks for "
                        f"{list(parameters[name].shape)}" + ("" if len(line.ours) == 1 else f" in {name}")
                    )

    def write(self, model: nn.Module) -> dict[str, Tensor]:
        """Returns a model's parameters under the names of Hugging Face, and in its shapes."""
        parameters = {name: x.detach() for name, x in model.named_parameters()}
        out: dict[str, Tensor] = {}
        for line in self.rows:
            tensors = line.op.write([parameters[name] for name in line.ours])
            out |= {name: x.contiguous() for name, x in zip(line.theirs, tensors, strict=True)}
        dtype = next(iter(parameters.values())).dtype
        out |= {extra.name: extra.make(parameters).to(dtype) for extra in self.extras if extra.written}
        return {name.removeprefix(self.prefix): x for name, x in out.items()} if self.bare else out


def layers(rows: Iterable[Row], count: int) -> list[Row]:
    """Returns the rows of one layer, written out for all."""
    rows = list(rows)
    return [line.at(i) for i in range(count) for line in rows]


def replace_parameters(model: nn.Module, tensors: Mapping[int, Tensor]) -> None:
    """Puts tensors in the place of parameters, by the id of the old one; what was tied stays tied."""
    new = {old: nn.Parameter(x) for old, x in tensors.items()}
    for module in model.modules():
        for name, old in module.named_parameters(recurse=False, remove_duplicate=False):
            setattr(module, name, new[id(old)])
