"""Models in folders: import, export, codes in fewer bits, and the comparison of two models."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transduce.api.opening import load
from transduce.api.recipes import Overrides, changed
from transduce.errors import UserError
from transduce.exchange import acting, drawing, hearing, hub, peft_adapter, peft_prefix, seeing
from transduce.exchange import exporting as exported
from transduce.exchange import importing as imported
from transduce.exchange.parity import Apart, layer_by_layer
from transduce.precision.convert import Precision
from transduce.runs.opening import open_run
from transduce.runs.quantising import quantise as write_codes
from transduce.runs.run import Run
from transduce.tune.prefix import prefixed


def import_model(source: str | Path, out: str | Path | None = None, *, base: str | Path | None = None) -> Run:
    """Makes a run of the model in a Hugging Face folder or of hub:OWNER/NAME, and returns it.

    out: the directory of the run (None: runs/NAME). The last file written in it is certificate.json.
    base: of an adapter as PEFT keeps it, the model that it is for, as `source` (None: where it says itself).

    Raises UserError where the folder is not whole, its model is unknown, or the run would compute other numbers.
    """
    folder = hub.snapshot(str(source)) if str(source).startswith(hub.PREFIX) else Path(source)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a directory; give one with config.json and safetensors, or hub:OWNER/NAME")
    name = str(source).rsplit("/", 1)[-1] if str(source).startswith(hub.PREFIX) else folder.resolve().name
    out = require_new(Path("runs") / name if out is None else Path(out))
    where = hub.snapshot(base) if isinstance(base, str) and base.startswith(hub.PREFIX) else base
    if seeing.sees(folder):
        return seeing.write(folder, out)
    if hearing.hears(folder):
        return hearing.write(folder, out)
    if acting.acts(folder):
        return acting.write(folder, out)
    if drawing.draws(folder):
        return drawing.write(folder, out)
    return imported.write(folder, out, base=None if where is None else Path(where))


def require_new(out: Path) -> Path:
    """Returns a directory that will be written. Raises UserError where it is the current directory."""
    if out.exists() and out.samefile(Path()):
        raise UserError(f"{out} is the directory you are in; name another one, which will be made")
    return out


def export(run: str | Path, folder: str | Path, *, checkpoint: str = "best", adapter: bool = False) -> None:
    """Writes a run as a folder that transformers opens with its own classes. Raises UserError if none of them fits.

    adapter: of a run with tune=lora, dora or prefix, write what was trained alone, as PEFT opens it.
    """
    if adapter:
        opened = open_run(Run(Path(run)), checkpoint, merged=False)
        size, base = opened.recipe.task.size(opened.readers), opened.recipe.start
        put = peft_prefix.write if prefixed(opened.model) else peft_adapter.write
        put(opened.model, opened.recipe.model, size, base, require_new(Path(folder)))
        return
    model = load(run, checkpoint=checkpoint, device="cpu")
    peft_prefix.require_none(model.model)
    if model.task.verb == "draw":
        return drawing.export(model.model, model.readers, model.recipe, require_new(Path(folder)))
    if model.task.sees:
        return seeing.export(model.model, model.readers, model.recipe, require_new(Path(folder)))
    if model.task.hears:
        return hearing.export(model.model, model.readers, model.recipe, Path(run), require_new(Path(folder)))
    if model.task.acts:
        return acting.export(model.model, model.readers, model.recipe, require_new(Path(folder)))
    columns = model.readers.columns
    exported.write(model.model, model.tokenizer, model.recipe, Path(run), require_new(Path(folder)), columns=columns)


def quantise(
    run: str | Path, precision: Precision = "int4", *, checkpoint: str = "best", lines: int = 256,
    overrides: Overrides = (),
) -> dict[str, Any]:  # fmt: skip
    """Writes the weights of a checkpoint in fewer bits beside it, for `load(run, precision=...)`.

    Returns the certificate of these codes.

    precision: "int4" or "int8".
    lines: of the training data, on which codes of four bits are fitted to compensate each other's errors (0: they are
        not fitted).
    overrides: keys of the recipe to change, such as where the data lies now.
    Raises UserError where the run has no weights to convert, or the data cannot be read.
    """
    if precision not in ("int4", "int8"):
        raise UserError(f"precision={precision} has no codes to write; use int4 or int8")
    if lines < 0:
        raise UserError(f"lines={lines} must not be negative; use 256, or 0 for no compensation")
    of_run = Run(Path(run))
    if not (of_run.path / "config.yaml").is_file():
        raise UserError(f"{run} is not a run, beside whose checkpoint codes could lie; import it: transduce import DIR")
    imported.require_certificate(of_run)
    return write_codes(open_run(of_run, checkpoint, changed(of_run.recipe, overrides, "cpu")), precision, lines)


def parity(first: str | Path, second: str | Path, texts: Iterable[str] = (), source: str = "") -> list[Apart]:
    """Returns the differences of two models at every layer, on texts. Raises UserError.

    texts: are read by both models (none: some are made here).
    """
    a, b = (load(path, device="cpu") for path in (first, second))
    return layer_by_layer(a.model, b.model, a.tokenizer, list(texts), source, a.task.begins(a.tokenizer))
