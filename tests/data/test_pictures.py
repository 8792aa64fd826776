"""Pictures out of files: every kind as people see it, and a sentence for what cannot be read."""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from transduce.data import pictures
from transduce.data.pictures import decoded, head, pixels, resized
from transduce.data.readers.pictures import Pictures, moments
from transduce.errors import UserError

RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def flat(colour: tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (4, 2)) -> Image.Image:
    return Image.new(mode, size, colour)


def colours(path: Path, channels: int = 3, background: int = 255) -> np.ndarray:
    return pixels(decoded(str(path), channels, background))


def png(path: Path, width: int, height: int) -> Path:
    """A PNG whose header says how large it is, with no pixels behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    return path


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 128, 257, 30000, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "wide.png")
    assert colours(tmp_path / "wide.png", 1)[0, 0].tolist() == [0, 0, 1, 117, 255]
    assert colours(tmp_path / "wide.png", 3)[:, 0, 3].tolist() == [117] * 3
    assert head(str(tmp_path / "wide.png")) == (1, 5, 1, False)


def test_a_palette_has_its_colours_and_what_it_leaves_out_shows_the_background(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putdata([0, 1])
    picture.save(tmp_path / "palette.png")
    assert colours(tmp_path / "palette.png").transpose(1, 2, 0)[0].tolist() == [list(RED), list(BLUE)]
    assert head(str(tmp_path / "palette.png")).colour
    picture.save(tmp_path / "hole.png", transparency=1)
    assert colours(tmp_path / "hole.png").transpose(1, 2, 0)[0].tolist() == [list(RED), list(WHITE)]
    assert colours(tmp_path / "hole.png", background=0).transpose(1, 2, 0)[0].tolist() == [list(RED), list(BLACK)]


@pytest.mark.parametrize(("mode", "colour"), [("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))])
def test_what_is_transparent_shows_the_background_not_what_is_hidden(
    mode: str, colour: tuple[int, ...], tmp_path: Path
) -> None:
    flat(colour, mode).save(tmp_path / "clear.png")
    assert (colours(tmp_path / "clear.png") == 255).all()
    flat((*colour[:-1], 128), mode).save(tmp_path / "half.png")
    assert colours(tmp_path / "half.png", background=100)[-1, 0, 0] == pytest.approx(100 * 127 / 255, abs=1)


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_exif_says(turn: int, tmp_path: Path) -> None:
    """As in the standard: 6 is a camera that was turned, so that its right is the top."""
    seen = np.array([[10, 60, 110], [160, 200, 250]], dtype=np.uint8)
    stored = {
        1: seen, 2: seen[:, ::-1], 3: seen[::-1, ::-1], 4: seen[::-1], 5: seen.T, 6: np.rot90(seen),
        7: np.rot90(seen, 2).T, 8: np.rot90(seen, -1),
    }[turn]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(colours(tmp_path / "turned.png", 1)[0], seen)
    assert head(str(tmp_path / "turned.png"))[:2] == (2, 3)


def test_of_what_moves_it_is_the_first_frame(tmp_path: Path) -> None:
    flat(RED).save(tmp_path / "moves.gif", save_all=True, append_images=[flat(BLUE), flat(WHITE)])
    assert colours(tmp_path / "moves.gif")[:, 0, 0].tolist() == list(RED)
    assert head(str(tmp_path / "moves.gif")).frames == 3


@pytest.mark.parametrize("cover", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (100_000, 1), (1, 100_000), (7, 3)])
def test_any_shape_gets_the_size(size: tuple[int, int], cover: bool, tmp_path: Path) -> None:
    flat(RED, size=size).save(tmp_path / "odd.png")
    read = resized(decoded(str(tmp_path / "odd.png"), 3, 255), 8, 6, "bilinear", cover)
    assert (pixels(read) == np.array(RED)[:, None, None]).all()
    assert pixels(read).shape == (3, 8, 6)


def test_a_picture_that_is_covered_keeps_its_proportions_and_its_middle() -> None:
    wide = Image.new("L", (12, 4))
    wide.paste(200, (4, 0, 8, 4))
    assert (pixels(resized(wide, 4, 4, "bilinear", cover=True)) == 200).all()
    assert not (pixels(resized(wide, 4, 4, "bilinear", cover=False)) == 200).all()


def test_a_bomb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    large, huge = png(tmp_path / "large.png", 9_000, 9_000), png(tmp_path / "huge.png", 60_000, 60_000)
    for look in (head, lambda value: decoded(value, 3, 255)):
        with pytest.raises(UserError, match=r"says that it has 9,000 x 9,000 pixels, more than 67,108,864; make it"):
            look(str(large))
        with pytest.raises(UserError, match="has more than 67,108,864 pixels; make it smaller, or remove it"):
            look(str(huge))


def broken(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    cut, text, empty = tmp_path / "cut.jpg", tmp_path / "text.jpg", tmp_path / "empty.png"
    noise.save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    text.write_text("this is no picture")
    empty.write_bytes(b"")
    short = png(tmp_path / "short.png", 300, 300)
    fractions = tmp_path / "fractions.tif"
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(fractions)
    return {
        "cut off": (cut, r"cut\.jpg is broken \(.*truncated.*\); replace it, or remove it"),
        "no picture": (text, r"text\.jpg is no picture that can be read; remove it"),
        "empty": (empty, r"empty\.png is empty; remove it"),
        "short": (short, r"short\.png is broken"),
        "absent": (tmp_path / "absent.png", r"absent\.png: no such file"),
        "a folder": (tmp_path, r"is a folder, but a picture is asked for"),
        "fractions": (fractions, r"holds fractions"),
    }


@pytest.mark.parametrize("kind", ["cut off", "no picture", "empty", "short", "absent", "a folder", "fractions"])
def test_what_cannot_be_read_gets_one_sentence(kind: str, tmp_path: Path) -> None:
    path, sentence = broken(tmp_path)[kind]
    with pytest.raises(UserError, match=sentence) as refusal:
        decoded(str(path), 3, 255)
    assert "\n" not in str(refusal.value)


def test_without_pillow_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=r"pip install 'transduce\[vision\]'"):
        decoded("a.png", 3, 255)


def test_numbers_are_those_of_the_processor_of_vit(tmp_path: Path) -> None:
    """From files, to 1e-6: of another size, upright and wide, grey and in colour."""
    draw = np.random.default_rng(0)
    files = []
    for i, shape in enumerate([(50, 40, 3), (224, 224, 3), (30, 90, 3), (33, 57)]):
        files.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(files[-1])
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    theirs = ViTImageProcessorPil(image_mean=list(mean), image_std=list(deviation))
    expected = theirs([Image.open(file).convert("RGB") for file in files], return_tensors="np")["pixel_values"]
    reader = Pictures(height=224, width=224, channels=3, fit_by="stretch", mean=mean, deviation=deviation)
    np.testing.assert_allclose(reader.encode(files, "image"), expected, rtol=0, atol=1e-6)


def test_a_reader_is_fitted_to_the_training_data(tmp_path: Path) -> None:
    names = []
    for i, (size, value) in enumerate([((6, 8), 0), ((10, 4), 255), ((8, 8), 51)]):
        names.append(str(tmp_path / f"{i}.png"))
        flat((value,), "L", size).save(names[-1])
    reader = Pictures().fit(names, "image")
    assert (reader.height, reader.width, reader.channels) == (6, 6, 1)
    assert reader.mean == pytest.approx((0.4,))
    assert reader.deviation == pytest.approx((np.std([0, 1, 0.2]),), abs=1e-6)
    some = reader.encode(names, "image")
    assert abs(some.mean()) < 1e-5
    assert some.std() == pytest.approx(1, abs=1e-4)
    flat(RED, size=(8, 8)).save(names[0])
    assert Pictures(mean=(0.5,) * 3, deviation=(0.5,) * 3).fit(names, "image").channels == 3
    flat((7,), "L", (8, 4)).save(names[0])
    assert Pictures().fit(names[:1], "image").deviation == (1.0,)


def test_the_moments_are_those_of_numpy() -> None:
    some = np.random.default_rng(0).integers(0, 256, (5, 3, 7, 4), dtype=np.uint8)
    means, deviations = moments(some)
    np.testing.assert_allclose(means, (some / 255).mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(deviations, (some / 255).std((0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"channels": 2}, "neither 1"), ({"background": 300}, "from 0, black"), ({"height": 100_000}, "at most 4096"),
        ({"channels": 1, "mean": (0.1, 0.2, 0.3)}, "3 numbers, but the pictures have 1"),
        ({"deviation": (0.0,)}, "must be more than 0"),
    ],
)  # fmt: skip
def test_odd_readers_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Pictures(**options)  # type: ignore[arg-type]


def test_what_names_no_picture_is_refused_by_its_row() -> None:
    with pytest.raises(UserError, match=r"row 2 of the column `image` is None, which names no picture"):
        Pictures(height=1, width=1, channels=1, mean=(0,), deviation=(1,)).encode(["a", None], "image")


def test_names_of_pictures() -> None:
    assert [pictures.name_of(Path(name)) for name in ("a.JPG", "b.png", "c.txt", "png")] == [True, True, False, False]
