"""`transduce tokenizer`: make a tokeniser by itself, and look at how it cuts a text."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from transduce.cli.documents import document, line, line_option, option
from transduce.cli.words import given, lines
from transduce.errors import UserError

app = typer.Typer(help="Train a tokeniser, or see how one cuts a text.", no_args_is_help=True)


@app.command()
def train(
    files: Annotated[list[str], typer.Argument(help="Texts; .gz too.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Directory for tokenizer.json.")] = Path("tokenizer"),
    kind: Annotated[str, typer.Option(help="bpe, unigram, word, char or byte.")] = "bpe",
    vocab_size: Annotated[int | None, typer.Option(help="Tokens at most.")] = None,
    json: Annotated[bool, option("path, kind, vocab_size")] = False,
) -> None:
    """Make a tokeniser for your texts."""
    from transduce import api

    if (out / "tokenizer.json").exists():
        raise UserError(f"{out / 'tokenizer.json'} exists already; choose another directory with --out")
    tokenizer = api.train_tokenizer(files, kind, **given(vocab_size=vocab_size))
    tokenizer.save(out)
    if json:
        return document({"path": out / "tokenizer.json", "kind": kind, "vocab_size": tokenizer.vocab_size})
    sys.stdout.write(f"{out / 'tokenizer.json'}: {tokenizer.vocab_size} tokens\n")


@app.command()
def show(
    where: Annotated[Path, typer.Argument(metavar="RUN", help="A run, or a directory with tokenizer.json.")],
    text: Annotated[str | None, typer.Argument(help="Default: lines of standard input.", show_default=False)] = None,
    json: Annotated[bool, line_option("text, tokens, ids")] = False,
) -> None:
    """Show how a text is cut: its tokens, and the id of each below."""
    from transduce.cli.show import tokens
    from transduce.runs.run import Run
    from transduce.text.tokenizer import Tokenizer

    tokenizer = Run(where).tokenizer if (where / "tokenizer").is_dir() else Tokenizer.load(where)
    for each in [text] if text is not None else lines("-"):
        if json:
            ids = tokenizer.encode(each)
            line({"text": each, "tokens": tokenizer.pieces(ids), "ids": ids})
        else:
            tokens(tokenizer, each)
