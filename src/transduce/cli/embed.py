"""`transduce embed`: texts or pictures to vectors, and those that are nearest to a query."""

import json as json_
import sys
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from transduce.cli.documents import line, line_option
from transduce.cli.opening import tell
from transduce.cli.options import Device, Precision
from transduce.cli.words import lines, names_of_lines, results
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.exchange.sentences import Vectors

    Embed = Callable[[list[str]], Vectors]
    Results = Iterator[tuple[int, str, Vectors]]

Folder = Annotated[
    Path, typer.Argument(help="Of sentence-transformers, an encoder, or a run of one.", show_default=False)
]
Texts = Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Or pictures. Default: lines of stdin.")]
KEYS = "text (of a picture: image, its file), vector; with --search: score, line, text"
LINES = 8192  # read at once, so that a file of any size passes through; each chunk is batched by length


def embed(
    folder: Folder,
    texts: Texts = None,
    file: Annotated[str | None, typer.Option(help="Take the lines of this file; - is stdin.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write X.npy (one matrix) or X.jsonl; default: JSONL here.")] = None,
    search: Annotated[str | None, typer.Option(metavar="QUERY", help="Rank the texts by likeness to this one.")] = None,
    captions: Annotated[
        bool, typer.Option("--captions", metavar="", help="Of a model of pictures: TEXT are captions, not pictures.")
    ] = False,
    top: Annotated[int, typer.Option(help="With --search: how many to print.", min=1)] = 5,
    precision: Precision = None,
    batch_tokens: Annotated[int, typer.Option(help="Most tokens of a batch.", min=1)] = 4096,
    device: Device = "auto",
    json: Annotated[bool, line_option(KEYS)] = False,
) -> None:
    """Turn arguments, a file or standard input into vectors, a text (or a line) each.

    JSONL: {"text": ..., "vector": [...]}. With --search: cosine, number of the line and line, in tabs. A model of
    pictures and captions takes files, folders and globs of pictures, and a text to search for; with --captions texts,
    and a picture to search for.

    transduce embed DIR --file faq.txt --search "how do I pay?"

    transduce embed RUN icons/*.png --search "a red arrow"
    """
    if texts and file is not None:
        raise UserError(f"there are texts, and --file {file}; give one of them")
    if out is not None and (out.suffix not in (".npy", ".jsonl") or search is not None):
        what = "with --search nothing is written" if search is not None else "the name must end in .npy or .jsonl"
        raise UserError(f"--out {out} cannot be: {what}")
    from transduce.api import load
    from transduce.config import from_data
    from transduce.exchange.sentences import SentenceEncoder
    from transduce.runs.quantised import read_in
    from transduce.runs.recipe import TrainConfig
    from transduce.tasks.embed import TaskVectors
    from transduce.training.train import device_of

    seeing, expand = False, list[str]
    if (folder / "config.yaml").is_file():
        model = load(folder, device=device, precision="fp32" if precision == "bf16" else precision)
        encoder, reading, seeing, expand = model.sentences, model.reading, model.task.embeds_inputs, model.task.expand
    else:
        encoder = SentenceEncoder.read(folder)
        encoder.model.to(device_of(from_data(TrainConfig, {"device": device})))
        reading = read_in(encoder.model, "fp32" if precision in (None, "bf16") else precision)
    tell(reading)
    if encoder.note:
        print(encoder.note, file=sys.stderr)

    if captions and not seeing:
        raise UserError("--captions says that texts are no pictures, but this model reads texts alone; leave it out")
    low = "bf16" if precision == "bf16" else "fp32"

    def of_texts(some: list[str]) -> "Vectors":
        return encoder.embed(some, batch_tokens=batch_tokens, precision=low)

    def of_pictures(some: list[str]) -> "Vectors":
        assert isinstance(encoder, TaskVectors)
        return encoder.embed_inputs(some, precision=low)

    name, pictured = "-" if file is None else file, seeing and not captions
    key, vectors = ("image", of_pictures) if pictured else ("text", of_texts)
    inputs = (expand(texts) if pictured else texts) if texts else lines(name)
    place = names_of_lines(None if texts else name)
    vectors_of = results(inputs, LINES, vectors, place)
    if search is not None:
        query = (of_pictures if captions else of_texts)([search])[0]
        for score, number, text in ranked(query, inputs, vectors, top, place):
            if json:
                line({"score": score, "line": number, key: text})
            else:
                sys.stdout.write(f"{score:.4f}\t{number}\t{text}\n")
    elif out is None:
        rows(vectors_of, sys.stdout, key)
    elif out.suffix == ".jsonl":
        with out.open("w", encoding="utf-8") as stream:
            rows(vectors_of, stream, key)
    else:
        matrix(vectors_of, encoder.features, out)


def rows(results: "Results", stream: TextIO, key: str) -> None:
    """Writes a JSON object for each text, as they come. key: of the text."""
    for _, text, vector in results:
        numbers = [float(f"{x:.9g}") for x in vector.tolist()]  # nine digits are a float32
        stream.write(json_.dumps({key: text, "vector": numbers}, ensure_ascii=False) + "\n")
        stream.flush()


def matrix(results: "Results", features: int, out: Path) -> None:
    """Writes (texts, features) float32 to one file; where a text is refused, the vectors of those before it."""
    import numpy as np

    parts = [np.zeros((0, features), np.float32)]
    try:
        for _, _, vector in results:
            parts.append(vector[None])
    finally:
        np.save(out, np.concatenate(parts), allow_pickle=False)


def ranked(
    query: "Vectors", texts: Iterable[str], vectors: "Embed", top: int, place: Callable[[int], str]
) -> list[tuple[float, int, str]]:  # fmt: skip
    """Returns (cosine, line, text) of the `top` texts nearest to the query in direction; blank ones are left out.

    query: its vector. Lines count from 1.
    """
    import numpy as np

    def units(some: list[str]) -> "Vectors":
        rows = vectors(some)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def scores(chunk: list[str]) -> list[float | None]:
        cosines = iter((units([text for text in chunk if text.strip()]) @ direction).tolist())
        return [next(cosines) if text.strip() else None for text in chunk]

    direction, best = query / max(float(np.linalg.norm(query)), 1e-12), list[tuple[float, int, str]]()
    for number, text, score in results(texts, LINES, scores, place):
        if score is not None and (len(best) < top or score > best[-1][0]):
            best = nsmallest(top, [*best, (score, number, text)], key=lambda one: (-one[0], one[1]))
    return best
