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
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Only what tune=lora, dora or prefix trained, for PEFT.")
    ] = False,
    json: Annotated[bool, option("path, certificate (as certificate.json)")] = False,
) -> None:
    """Write a run in the form of Hugging Face: weights, tokeniser, configs, and a certificate that they are the same.

    transduce export runs/text my-model
    transduce export runs/tuned my-adapter --adapter
    """
    from transduce import api

    api.export(run, folder, checkpoint=checkpoint, adapter=adapter)
    if adapter:
        return document({"path": folder}) if json else None
    if json:
        from transduce.exchange import certificate

        return document({"path": folder, "certificate": certificate.read_certificate(folder)})
    from transduce.cli import show

    show.certificate(folder)
