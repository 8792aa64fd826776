"""`transduce import`: a published model becomes a run."""

from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, option


def import_(
    source: Annotated[
        str, typer.Argument(metavar="DIR", help="config.json and safetensors; an adapter of PEFT; or hub:OWNER/NAME.")
    ],
    out: Annotated[Path | None, typer.Argument(metavar="[OUT]", help="The run; default: runs/NAME.")] = None,
    base: Annotated[
        str | None, typer.Option(metavar="DIR", help="The model of an adapter; default: where the adapter says.")
    ] = None,
    json: Annotated[bool, option("path, certificate (as certificate.json)")] = False,
) -> None:
    """Make a run of a model in the form of Hugging Face.

    It is held against transformers, where that is installed, and the certificate is kept in the run.
    """
    from transduce import api

    run = api.import_model(source, out, base=base)
    if json:
        from transduce.exchange import certificate

        return document({"path": run.path, "certificate": certificate.read_certificate(run.path)})
    from transduce.cli import show

    show.certificate(run.path)
    show.imported(run)
