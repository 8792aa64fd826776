"""`transduce export`: a run becomes a folder that transformers opens."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, option
from transduce.cli.options import Checkpoint, Run


def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to write.", show_default=False)],
    checkpoint: Checkpoint = "best",
    json: Annotated[bool, option("path, certificate (as certificate.json)")] = False,
) -> None:
    """Write a run in the form of Hugging Face: weights, tokeniser, configs, and a certificate that they are the same.

    transduce export runs/text my-model
    """
    from transduce import api

    api.export(run, folder, checkpoint=checkpoint)
    if json:
        from transduce.exchange import certificate

        return document({"path": folder, "certificate": certificate.read(folder)})
    from transduce.cli import show

    show.certificate(folder)
