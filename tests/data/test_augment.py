"""Pictures changed at random: a pure function of seed, epoch and example, and each change as it is described."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transduce.config import kinds
from transduce.data.augment.affine import AffineConfig, bilinear
from transduce.data.augment.augment import AugmentConfig, augmented
from transduce.data.augment.crop import CropConfig
from transduce.data.augment.erase import EraseConfig
from transduce.data.augment.flip import FlipConfig
from transduce.data.augment.spec_mask import SpecMaskConfig
from transduce.data.images import Images
from transduce.data.loader import BatchConfig, Cursor, Loader
from transduce.data.pictured import Pictured, PictureRows
from transduce.data.readers.pictures import Pictures
from transduce.errors import UserError

CHANGES: list[AugmentConfig] = [
    CropConfig(border=2), CropConfig(border=3, fill="edge"), FlipConfig(), EraseConfig(side=3), AffineConfig(),
]  # fmt: skip
OF_FRAMES: list[AugmentConfig] = [SpecMaskConfig(frames=5, mels=3), SpecMaskConfig(times=1, bands=0, share=1)]


def some(channels: int = 3, height: int = 7, width: int = 9) -> np.ndarray:
    return np.random.default_rng(5).integers(1, 256, (channels, height, width), dtype=np.uint8)


def test_every_change_stands_here() -> None:
    assert {change.kind for change in (*CHANGES, *OF_FRAMES)} == set(kinds(AugmentConfig.folder))
    assert all(change.changes == "pictures" for change in CHANGES)
    assert all(change.changes == "frames" for change in OF_FRAMES)


@pytest.mark.parametrize("shape", [(3, 7, 9), (1, 1, 1), (1, 28, 28)])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.kind)
def test_a_change_draws_from_its_generator_alone_and_keeps_what_it_is_given(
    change: AugmentConfig, shape: tuple[int, int, int]
) -> None:
    picture = some(*shape)
    before = picture.copy()
    first = [change.apply(picture, np.random.default_rng(n)) for n in range(8)]
    np.random.default_rng(99).random()
    again = [change.apply(picture, np.random.default_rng(n)) for n in range(8)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(a.shape == picture.shape and a.dtype == np.uint8 for a in first)
    assert np.array_equal(picture, before)
    assert shape == (1, 1, 1) or any(not np.array_equal(a, first[0]) for a in first)


def test_a_crop_is_a_part_of_the_picture_with_a_border() -> None:
    picture, places = some(), set[tuple[int, int]]()
    wide = np.pad(picture, ((0, 0), (2, 2), (2, 2)))
    for n in range(200):
        moved = CropConfig(border=2).apply(picture, np.random.default_rng(n))
        places |= {(y, x) for y in range(5) for x in range(5) if np.array_equal(wide[:, y : y + 7, x : x + 9], moved)}
    assert len(places) == 25


def test_a_flip_is_the_mirror_image_about_half_the_time() -> None:
    picture = some()
    flips = [FlipConfig().apply(picture, np.random.default_rng(n)) for n in range(200)]
    mirrored = sum(np.array_equal(x, picture[:, :, ::-1]) for x in flips)
    assert mirrored + sum(np.array_equal(x, picture) for x in flips) == 200
    assert 70 < mirrored < 130
    assert np.array_equal(FlipConfig(probability=1).apply(picture, np.random.default_rng(0)), picture[:, :, ::-1])


def test_an_affine_change_of_nothing_is_nothing_and_a_quarter_turn_is_one() -> None:
    picture = some(2, 6, 6)
    still = AffineConfig(degrees=0, scale=1, slant=0)
    assert np.array_equal(still.apply(picture, np.random.default_rng(0)), picture)
    y, x = np.meshgrid(np.arange(6.0), np.arange(6.0), indexing="ij")
    assert np.array_equal(bilinear(picture, x, 5 - y), np.rot90(picture, axes=(1, 2)))
    assert np.array_equal(bilinear(picture, y - 100, x), np.zeros_like(picture))
    half = bilinear(picture, y, x + 0.5)[:, :, :-1].astype(float)
    assert np.abs(half - (picture[:, :, :-1].astype(float) + picture[:, :, 1:]) / 2).max() <= 0.5


@pytest.mark.parametrize("frames", [1, 2, 13, 60])
@pytest.mark.parametrize("change", OF_FRAMES, ids=lambda change: str(change.times))
def test_stretches_and_bands_of_frames_are_masked(change: SpecMaskConfig, frames: int) -> None:
    sound = np.random.default_rng(1).uniform(1, 2, (frames, 7)).astype(np.float32)
    before, stretches, bands = sound.copy(), 0, 0
    for n in range(60):
        masked = change.apply(sound, np.random.default_rng(n))
        assert np.array_equal(masked, change.apply(sound, np.random.default_rng(n)))
        assert masked.dtype == np.float32
        gone = masked == 0
        assert np.array_equal(masked[~gone], sound[~gone])
        times, own = gone.all(1).sum(), gone.all(0).sum()
        assert np.array_equal(gone, gone.all(1)[:, None] | gone.all(0)[None])
        assert times <= change.times * min(change.frames, int(change.share * frames)) or own == 7
        assert own <= change.bands * change.mels or times == frames
        stretches, bands = stretches + (0 < times < frames), bands + (0 < own < 7)
    assert np.array_equal(sound, before)
    assert stretches > 10 or frames < 13
    assert (bands > 10) == bool(change.bands) or frames == 1


def test_a_square_is_erased() -> None:
    picture = some(3, 20, 20)
    erased = EraseConfig(side=4).apply(picture, np.random.default_rng(3))
    changed = (erased != picture).any(0)
    assert 0 < changed.sum() <= 16
    rows, columns = np.nonzero(changed)
    assert np.ptp(rows) < 4
    assert np.ptp(columns) < 4


def test_what_happens_to_an_example_is_a_function_of_seed_epoch_and_example(photos: Path) -> None:
    """Whatever stands beside it, whoever builds the batch, in any order, with any number of workers."""
    split = Images(path=str(photos)).load()["train"]
    reader = Pictures().fit(split["image"], "image")
    targets = np.arange(len(split), dtype=np.int64)
    examples = Pictured.of(split["image"], targets, reader, "image", (CropConfig(border=2), FlipConfig()))
    lazy = replace(examples, pixels=None)

    def epoch(number: int, size: int, seed: int = 1, workers: int = 0, of: Pictured = examples) -> dict[int, bytes]:
        config = BatchConfig(batch_tokens=size, max_length=2, workers=workers)
        loader, out = Loader(of, config, seed=seed), dict[int, bytes]()
        for (epoch, _), batch in loader.stream(Cursor(number, 0)):
            if epoch != number:
                return out
            out |= {i: x.numpy().tobytes() for i, x in zip(batch.examples, batch.inputs, strict=True)}
            assert batch.targets.tolist() == list(batch.examples)
        return out

    first = epoch(0, 8)
    assert len(first) == len(split)
    assert first == epoch(0, 5) == epoch(0, 8, workers=2) == epoch(0, 8, of=lazy)
    assert first != epoch(1, 8)
    assert first != epoch(0, 8, seed=2)
    still = {i: x.numpy().tobytes() for b in Loader(examples, BatchConfig(batch_tokens=8, max_length=2), seed=1).once()
             for i, x in zip(b.examples, b.inputs, strict=True)}  # fmt: skip
    plain = reader.encode(split["image"], "image")
    assert still == {i: x.tobytes() for i, x in enumerate(plain)}
    expected = augmented(examples.bytes(np.array([3]))[0], examples.augment, 77, 3)
    built = PictureRows(examples, 4).build(np.array([[3, 77]]))
    assert np.array_equal(built.inputs[0].numpy(), reader.numbers(expected[None])[0])


def test_packing_and_carrying_are_refused(photos: Path) -> None:
    split = Images(path=str(photos)).load()["valid"]
    reader = Pictures().fit(split["image"], "image")
    examples = Pictured.of(split["image"], np.zeros(len(split), dtype=np.int64), reader, "image", ())
    for option in ("packing", "carry"):
        with pytest.raises(UserError, match=f"batch.{option}=true"):
            examples.rows(BatchConfig(**{option: True}), drop=False)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CropConfig(border=0), "border=0 must be at least 1"), (lambda: FlipConfig(probability=2), "at most 1"),
        (lambda: EraseConfig(side=0), "at least 1"), (lambda: SpecMaskConfig(share=2), "share=2 must be from 0 to 1"),
        (lambda: SpecMaskConfig(mels=-1), "at least 0"), (lambda: AffineConfig(scale=0.5), "are no small changes"),
    ],
)  # fmt: skip
def test_odd_changes_are_refused(make, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make()
