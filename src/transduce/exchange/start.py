"""Models to start a training from: runs, and folders as transformers has them."""

from pathlib import Path

from transduce.errors import UserError
from transduce.exchange import hub, importing, unread
from transduce.exchange.certificate import require_intact
from transduce.runs.opening import open_run
from transduce.runs.run import Run
from transduce.runs.start import Start
from transduce.runs.weights import weights


def open_start(where: str) -> Start:
    """Opens a run, a folder with config.json, or hub:OWNER/NAME. Raises UserError."""
    folder = hub.snapshot(where) if where.startswith(hub.PREFIX) else Path(where)
    if (folder / "config.yaml").is_file():
        importing.require_certificate(Run(folder))
        opened = open_run(Run(folder))
        return Start(where, opened.recipe, opened.readers, weights(opened.model))
    if not folder.is_dir():
        way = "give a run, a folder with config.json and safetensors, or hub:OWNER/NAME"
        raise UserError(f"start={where} is not a directory; {way}")
    if not (folder / "config.json").is_file():
        raise UserError(f"start: {unread.explanation(folder)}")
    require_intact(folder)
    model = importing.read_folder(folder)
    return Start(where, model.recipe.resolve(), model.readers, weights(model.model))
