"""Writing what pictures show: it is learnt, does not depend on who else is asked, and beams search as elsewhere."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import transduce as td
from transduce.data.captioned import Described
from transduce.errors import UserError
from transduce.generate.inputs import Shown
from transduce.generate.score import score
from transduce.model.architecture.encoder import EncoderConfig
from transduce.tasks.caption import CaptionConfig
from transduce.transducer import Transducer

SMALL: dict[str, Any] = {
    "model.width": 16, "model.encoder_layers": 1, "model.decoder_layers": 1, "model.mixer.heads": 2,
    "model.embedding.patch": 2, "model.residual.dropout": 0.0, "batch.batch_tokens": 128, "batch.max_length": 8,
    "schedule.warmup_steps": 2, "train.max_steps": 60, "train.validate_every": 60, "train.ema": None,
    "train.threads": 1, "train.device": "cpu", "optimizer.learning_rate": 0.01, "generate.max_new_tokens": 6,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Transducer:
    folder = tmp_path_factory.mktemp("captions")
    for split in ("train", "valid"):
        rows = [f"{path},a {path.parent.name} one" for path in sorted((photos / split).glob("*/*.png"))]
        (folder / f"{split}.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    run = td.train("caption", {"data.path": str(folder), **SMALL}, out=folder / "runs", quiet=True)
    return td.load(run.path)


@pytest.fixture
def pictures(photos: Path) -> list[Path]:
    return sorted((photos / "valid").glob("*/*.png"))


def test_it_writes_what_was_shown(model: Transducer, pictures: list[Path]) -> None:
    texts = model.caption(pictures)
    right = [text == f"a {path.parent.name} one" for text, path in zip(texts, pictures, strict=True)]
    assert sum(right) >= 11, texts
    assert model.caption(pictures[0]) == texts[0]
    assert model.evaluate("valid").values["exact"].value == pytest.approx(sum(right) / 12, abs=0.1)


def test_a_picture_alone_has_the_captions_it_has_among_others(model: Transducer, pictures: list[Path]) -> None:
    exact = replace(model, model=deepcopy(model.model).double().eval())
    together = exact.captions(pictures, beam_size=3, nbest=3)
    for path, expected in zip(pictures, together, strict=True):
        [alone] = exact.captions([path], beam_size=3, nbest=3)
        assert [one.text for one in alone] == [one.text for one in expected]
        assert [one.log_p for one in alone] == pytest.approx([one.log_p for one in expected], abs=1e-9)


def test_a_caption_has_the_log_p_of_its_words(model: Transducer, pictures: list[Path]) -> None:
    """What decoding adds up, word by word from a state, is what one pass over the whole caption gives."""
    reader = model.readers["image"]
    assert isinstance(model.task, CaptionConfig)
    numbers = torch.from_numpy(model.task.reader(model.readers).encode(list(map(str, pictures)), "image"))
    assert reader is model.task.reader(model.readers)
    best = [row[0] for row in model.captions(pictures, beam_size=4)]
    targets = model.tokenizer.encode_batch([one.text for one in best], answers=True)
    scored = score(model.model, model.tokenizer, sources=[Shown(one) for one in numbers], targets=targets)
    assert [one.log_p for one in best] == pytest.approx([one.total for one in scored], abs=1e-4)


def test_rules_and_samples_hold_for_pictures(model: Transducer, pictures: list[Path]) -> None:
    red = model.tokenizer.encode("red")[0]
    assert not any("red" in text for text in model.caption(pictures, suppress=(red,)))
    drawn = model.captions(pictures[:2] * 2, temperature=1.0, seed=5, nbest=2)
    assert drawn == model.captions(pictures[:2] * 2, temperature=1.0, seed=5, nbest=2)
    first = model.captions([pictures[1], pictures[0]], temperature=1.0, seed=5, nbest=2)[0]
    assert [one.text for one in drawn[1]] == [one.text for one in first]
    assert [one.log_p for one in drawn[1]] == pytest.approx([one.log_p for one in first], abs=1e-5)
    one, other = Shown(torch.zeros(1, 2, 2)), Shown(torch.ones(1, 2, 2))
    assert one == Shown(torch.zeros(1, 2, 2))
    assert one != other


def test_batches_hold_every_caption_once(model: Transducer) -> None:
    columns = model.recipe.data.load(model.task.reads)["train"]
    examples = model.task.examples(columns, model.readers)
    assert isinstance(examples, Described)
    rows = examples.rows(model.recipe.batch, drop=False)
    groups = rows.plan(np.random.default_rng(0))
    assert sorted(np.concatenate(groups)[:, 0].tolist()) == list(range(36))
    batch = rows.build(groups[0])
    assert batch.source is not None
    assert batch.source.shape[1:] == (3, 8, 10)
    assert len(batch.source) == len(batch.inputs) == len(batch.examples)


def test_what_it_cannot_be_asked_is_said(model: Transducer, pictures: list[Path]) -> None:
    with pytest.raises(UserError, match=r"use model\.kind=encoder-decoder"):
        model.task.shaped(EncoderConfig(), model.readers)
    with pytest.raises(UserError, match="use caption"):
        model.translate("a text")
    with pytest.raises(UserError, match="no such file"):
        model.caption("nowhere.png")
    with pytest.raises(UserError, match="no map of tokens"):
        model.attention(str(pictures[0]))
