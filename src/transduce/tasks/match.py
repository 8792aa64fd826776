"""Matching: vectors of pictures and of texts, so that a picture lies near what it is called."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from transduce.data import looked_at
from transduce.data.captioned import Captioned, groups_of
from transduce.data.columns import TEXT, Columns
from transduce.data.examples import Examples, ids
from transduce.data.images import IMAGE
from transduce.data.pictured import Pictured, PictureRows
from transduce.data.readers.files import named
from transduce.data.readers.reader import Reader, Readers
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.model.architecture import ModelConfig
from transduce.model.architecture.towers import TowersConfig
from transduce.model.models import Model
from transduce.model.towers import Towers
from transduce.tasks.bm25 import rank_of
from transduce.tasks.classify import texts_of
from transduce.tasks.measures.measure import Measure, Sample
from transduce.tasks.measures.retrieval import CaptionAt1, CaptionAt5, PictureAt1, PictureAt5, RetrievalRank, Retrieved
from transduce.tasks.reading import around_of, frame_of, row_outputs
from transduce.tasks.seeing import AT_ONCE, SeeingConfig
from transduce.tasks.task import Split, spread
from transduce.text.tokenizer import Tokenizer

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class MatchConfig(SeeingConfig):
    """A picture and a caption, and a vector of each, so that those that belong together have like vectors.

    Radford et al. 2021, arXiv:2103.00020. The other pairs of a batch are what a picture does not belong to, but for
    those that share the picture or the caption.
    """

    kind: ClassVar[str] = "match"
    reads: ClassVar[tuple[str, ...]] = (IMAGE, TEXT)
    verb: ClassVar[str] = "embed"
    shape: ClassVar[str] = "towers"
    unit: ClassVar[str] = "pair"
    gives: ClassVar[str] = "retrieval"
    embeds: ClassVar[bool] = True
    embeds_inputs: ClassVar[bool] = True

    @classmethod
    def objective(cls, model_kind: str) -> str:
        return "contrastive"

    def readers(self, train: Columns) -> dict[str, Reader]:
        return {IMAGE: self.unfitted().fit(train[IMAGE], IMAGE)}

    def texts(self, columns: Columns) -> Iterable[str]:
        return texts_of(columns[TEXT])

    def around(self, tokenizer: Tokenizer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return around_of(tokenizer)

    def examined(self, splits: Mapping[str, Columns]) -> tuple[Mapping[str, Columns], list[str]]:
        return looked_at.examined(splits, IMAGE, None)

    def shaped(self, model: ModelConfig, readers: Readers) -> ModelConfig:
        """Returns the same for pictures of this size and channels. Raises UserError for another kind of model."""
        if not isinstance(model, TowersConfig):
            raise UserError("task=match reads pictures with one stack and texts with another; use model.kind=towers")
        have = self.reader(readers).channels
        if model.channels not in (None, have):
            raise UserError(f"model.channels={model.channels}, but pictures are read with {have}; leave it out")
        return replace(model, channels=have, embedding=self.embedded(model.embedding, readers))

    def check(self, model: Model, readers: Readers) -> None:
        if not isinstance(model, Towers):
            raise UserError("task=match reads pictures with one stack and texts with another; use model.kind=towers")
        assert all(one.pooled_head.size for one in (model.pictures, model.texts))

    def examples(self, columns: Columns, readers: Readers) -> Captioned:
        tokenizer, captions = readers.text, texts_of(columns[TEXT])
        if len(columns) == 1:
            raise UserError("there is one pair, and no other from which it could be told; give more pairs")
        pictures = named(columns[IMAGE], IMAGE)
        of = Pictured.of(pictures, groups_of(pictures, captions), self.reader(readers), IMAGE, self.augment)
        return Captioned(of, ids(captions, tokenizer), frame_of(tokenizer), tokenizer.pad)

    def unlearnable(self, model: ModelConfig, readers: Readers, name: str, examples: Examples) -> list[str]:
        """Returns a sentence about pairs that share a caption or a picture."""
        which = cast(Captioned, examples).pictures.targets
        _, counts = np.unique(which, return_counts=True)
        again = int(counts[counts > 1].sum())
        if not again:
            return []
        what = f"{name}: {again:,} of {len(which):,} pairs share their caption or their picture with another"
        return [f"{what}; these are no wrong answers to one another"]

    def measures(self) -> tuple[Measure, ...]:
        return RetrievalRank(), CaptionAt1(), CaptionAt5(), PictureAt1(), PictureAt5()

    def vectors(self, model: Model, readers: Readers, texts: Sequence[str]) -> Floats:
        """Returns (texts, features) float32, each of length 1."""
        if not texts:
            return np.zeros((0, model.pooled_head.size), dtype=np.float32)
        return units(np.array(row_outputs(model, readers.text, texts)))

    def vectors_of_inputs(self, model: Model, readers: Readers, inputs: Sequence[Any]) -> Floats:
        """Returns (pictures, features) float32, each of length 1. inputs: files."""
        values = named(inputs, IMAGE)
        unknown = np.full(len(values), -1, dtype=np.int64)
        return self.seen(model, Pictured(values, unknown, self.reader(readers), IMAGE, None))

    @torch.inference_mode()
    def seen(self, model: Model, pictures: Pictured) -> Floats:
        assert isinstance(model, Towers)
        rows, tower = PictureRows(pictures, AT_ONCE), model.pictures
        out = [np.zeros((0, tower.pooled_head.size), dtype=np.float32)]
        for group in rows.fixed():
            batch = rows.build(group).to(model.device)
            vectors = tower.pooled_head(tower.features(batch), tower.arranged(batch.layout))
            out.append(vectors.cpu().numpy())
        return units(np.concatenate(out))

    def predict(
        self, model: Model, readers: Readers, inputs: Sequence[Any], options: GenerateConfig
    ) -> list[list[float]]:  # fmt: skip
        """Returns the vector of each picture, the path of a file."""
        return self.vectors_of_inputs(model, readers, inputs).tolist()

    def line(self, prediction: list[float]) -> str:
        return " ".join(f"{x:.6g}" for x in prediction)

    def samples(
        self, model: Model, readers: Readers, split: Split, options: GenerateConfig, limit: int | None
    ) -> list[Sample]:
        """Returns for each pair the nearest caption of the split, and the ranks both ways: of the nearest right one."""
        if limit == 0:
            return []
        examples, texts = cast(Captioned, split.examples), texts_of(split.columns[TEXT])
        values = list(examples.pictures.values)
        captions, pictures = [*dict.fromkeys(texts)], [*dict.fromkeys(values)]
        first = {value: row for row, value in reversed([*enumerate(values)])}
        seen = self.seen(model, examples.pictures)[[first[value] for value in pictures]]
        scores = seen @ self.vectors(model, readers, captions).T  # (pictures, captions)
        place = {text: i for i, text in enumerate(captions)}, {value: i for i, value in enumerate(pictures)}
        right = np.zeros(scores.shape, dtype=bool)
        for value, text in zip(values, texts, strict=True):
            right[place[1][value], place[0][text]] = True
        out = list[Sample]()
        for row in spread(len(values), limit):
            text, value = texts[row], values[row]
            mine, its = scores[place[1][value]], scores[:, place[0][text]]
            ranks = nearest(mine, right[place[1][value]]), nearest(its, right[:, place[0][text]])
            beside = Retrieved(*ranks)
            out.append(Sample(str(value), text, captions[int(mine.argmax())], None, beside))
        return out


def nearest(scores: Floats, right: NDArray[np.bool_]) -> int:
    """Returns the rank of the first right one by its score, from 1."""
    own = int(np.where(right, scores, -np.inf).argmax())
    return rank_of(scores, own)


def units(rows: NDArray[Any]) -> Floats:
    """Returns rows at length 1, float32."""
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
