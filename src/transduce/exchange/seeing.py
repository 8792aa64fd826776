"""Models that see, of Hugging Face as runs, and runs as their folders: pictures in the place of text.

A certificate compares numbers and logits of both sides from the same files of pictures.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from transduce.data.images import IMAGE
from transduce.data.imported import Imported
from transduce.data.loader import BatchConfig
from transduce.data.pictures import require_pillow
from transduce.data.readers.labels import Labels
from transduce.data.readers.pictures import Pictures
from transduce.data.readers.reader import Readers
from transduce.errors import UserError
from transduce.exchange import certificate, processor
from transduce.exchange import checkpoint as published
from transduce.exchange.answers import Answers
from transduce.exchange.contents import Folder, is_of, save, whole
from transduce.exchange.files import read_json
from transduce.model.batch import Batch
from transduce.model.layout import dense
from transduce.model.models import Model
from transduce.objectives.rows import ClassificationConfig
from transduce.optim.adamw import AdamWConfig
from transduce.optim.schedule import Constant
from transduce.runs.opening import open_run
from transduce.runs.recipe import Recipe
from transduce.runs.run import Run
from transduce.runs.seal import seal
from transduce.tasks.classifying import LABEL
from transduce.tasks.see import SeeConfig

PIXELS = 1e-6  # the greatest difference of numbers that is allowed
SIZES = ((50, 70), (300, 211), (33, 33), (1, 9))  # of the pictures that are compared, beside one of the model's size


def sees(folder: Path) -> bool:
    """Says whether the model of a folder reads pictures."""
    return is_of(folder, "sees")


def names_of(folder: Path, count: int) -> tuple[str, ...]:
    """Returns the names of classes in config.json, else their numbers. Raises UserError for names that repeat."""
    labels: Any = read_json(folder / "config.json").get("id2label")
    table = cast("dict[str, Any]", labels) if isinstance(labels, dict) else {}
    names = tuple(str(table.get(str(i), f"LABEL_{i}")) for i in range(count))
    if len(set(names)) < count:
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f"{folder / 'config.json'} calls two classes {twice!r}; give them names of their own in id2label"
        )
    return names


def read_folder(folder: Path, origin: Path | None = None) -> Folder:
    """Reads a folder with config.json, preprocessor_config.json and safetensors. Raises UserError.

    origin: the place that the recipe names (None: the folder).
    """
    weights_read = published.read(folder)
    if weights_read.model.head is None:
        named = read_json(folder / "config.json").get("architectures", ["ViTModel"])[0]
        raise UserError(
            f"{folder} holds a {named}, which has no classes and tells nothing; import one with a classifier"
        )
    reader = processor.read(folder, weights_read.vocab_size)
    labels = Labels(names=names_of(folder, weights_read.model.pooled_head.size))
    task = SeeConfig(
        pixels=(reader.height, reader.width), channels=reader.channels, fit_by=reader.fit_by, resample=reader.resample,
        background=reader.background, mean=reader.mean, deviation=reader.deviation,
    )  # fmt: skip
    data = Imported(origin=str((origin or folder).resolve()))
    recipe = Recipe(
        name=folder.resolve().name.strip(".") or "imported", data=data, tokenizer=None, model=weights_read.config,
        task=task, objective=ClassificationConfig(), batch=BatchConfig(batch_tokens=32, max_length=2),
        optimizer=AdamWConfig(learning_rate=2e-5), schedule=Constant(),
    )  # fmt: skip
    readers = Readers(None, {IMAGE: reader, LABEL: labels})
    task.shaped(recipe.model, readers)  # refuses pictures of another size than the model's
    return Folder(weights_read.model, readers, recipe)


def write(folder: Path, out: Path) -> Run:
    """Makes a run of the model in a folder, untrained here, with a certificate. Raises UserError, leaving nothing."""
    certificate.require_intact(folder)
    require_pillow()
    with whole(out) as beside:
        contents = read_folder(folder)
        save(contents, folder, beside, ("config.json", processor.NAME))
        model, readers = open_run(Run(beside))[:2]
        seal(beside)
        files = (path for path in beside.rglob("*") if path.is_file() and not path.parent.is_symlink())
        hashed = certificate.hashes(beside, (p for p in files if not ({"best", "last"} & set(p.parts))))
        sources = certificate.hashes(folder, (path for path in folder.glob("*") if path.is_file()))
        certify(model, cast(Pictures, readers[IMAGE]), folder, beside, "the run", hashed, read=sources)
    return Run(out)


def export(model: Model, readers: Readers, recipe: Recipe, folder: Path) -> None:
    """Writes a run that sees as a folder that transformers opens, with a certificate. Raises UserError."""
    require_pillow()
    reader, labels = cast(Pictures, readers[IMAGE]), cast(Labels, readers[LABEL])
    with whole(folder) as beside:
        names = {
            "id2label": {str(i): name for i, name in enumerate(labels.names)},
            "label2id": {name: i for i, name in enumerate(labels.names)},
        }
        shaped = recipe.task.shaped(recipe.model, readers)
        published.write(model, shaped, reader.channels, beside, None, names)
        processor.write(reader, beside)
        files = certificate.hashes(beside, (path for path in beside.iterdir() if path.is_file()))
        certify(model, reader, beside, beside, "the run", files)


def certify(
    model: Model, reader: Pictures, folder: Path, out: Path, what: str, files: dict[str, str], **more: Any
) -> None:
    """Compares a model and its reader with transformers on a folder, and writes a certificate into `out`.

    Raises UserError where they differ.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pictures = drawn(Path(scratch), reader)
        ours = answers(model, reader.encode(pictures, IMAGE))
        if certificate.has_transformers():
            against, other = "transformers", of_transformers(folder, pictures)
        else:
            again = read_folder(folder)
            against = "a second reading of the folder, since transformers is not installed"
            other = answers(again.model, cast(Pictures, again.readers[IMAGE]).encode(pictures, IMAGE))
    apart = certificate.difference(ours.layers["pixels"], other.layers["pixels"])
    if not apart <= PIXELS:
        raise UserError(f"{what} reads pictures otherwise than {against}: numbers differ by up to {apart:.3g}")
    findings = certificate.compare(ours, other)
    certificate.require_equal(findings, what, against)
    parameters = sum(p.numel() for p in model.parameters())
    entries = certificate.document(findings, against, parameters, files, largest_pixel_difference=apart, **more)
    certificate.write(out, entries)


def drawn(folder: Path, reader: Pictures) -> list[str]:
    """Returns files of pictures with shades and noise, of several sizes, grey where the model reads grey."""
    from PIL import Image

    rng, out = np.random.default_rng(0), list[str]()
    for number, (height, width) in enumerate((*SIZES, (reader.height, reader.width))):
        y, x = np.linspace(0, 3, height)[:, None, None], np.linspace(0, 2, width)[None, :, None]
        shades = 128 + 80 * np.sin(y + x * np.arange(1, 4)) + rng.normal(0, 20, (height, width, 3))
        colours: NDArray[np.uint8] = np.clip(shades, 0, 255).astype(np.uint8)
        out.append(str(folder / f"{number}.png"))
        Image.fromarray(colours if reader.channels == 3 else np.ascontiguousarray(colours[:, :, 0])).save(out[-1])
    return out


@torch.inference_mode()
def answers(model: Model, pixels: NDArray[np.float32]) -> Answers:
    inputs, layout = torch.from_numpy(pixels), dense(len(pixels), 1)  # pyright: ignore[reportUnknownMemberType]
    model.eval()
    hidden = model.features(Batch(inputs, layout, inputs))
    return Answers({"pixels": inputs, "logits": model.pooled_head(hidden, model.arranged(layout))}, [], [])


@torch.inference_mode()
def of_transformers(folder: Path, pictures: Sequence[str]) -> Answers:
    """Returns the answers of the classes of transformers that a folder names, from the same files."""
    import transformers
    from PIL import Image

    some: Any = transformers
    reads = getattr(some, "ViTImageProcessorPil", None) or some.ViTImageProcessor
    model = some.AutoModelForImageClassification.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    ).eval()
    mode = "RGB" if model.config.num_channels == 3 else "L"
    images: list[Any] = [Image.open(path).convert(mode) for path in pictures]
    how = {"input_data_format": "channels_last"} if mode == "L" else {}  # which it could only guess
    if mode == "L":
        images = [np.asarray(image)[:, :, None] for image in images]
    pixels: Tensor = reads.from_pretrained(folder, local_files_only=True, trust_remote_code=False)(
        images, return_tensors="pt", **how
    )["pixel_values"]
    return Answers({"pixels": pixels, "logits": model(pixels).logits}, [], [])
