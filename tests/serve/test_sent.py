"""A model of pictures reads pictures that were sent, and no file of the server's machine."""

import base64
import io
from pathlib import Path

import pytest

import transduce as td

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
Image = pytest.importorskip("PIL.Image", reason="the extra `vision` is not installed")

from transduce.serve.http import Limits  # noqa: E402


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, start):
    folder = tmp_path_factory.mktemp("photos")
    for label, value in (("dark", 20), ("light", 230)):
        (folder / label).mkdir()
        for n in range(6):
            Image.new("L", (8, 8), value + n).save(folder / label / f"{n}.png")
    more = {
        "data.path": str(folder), "model.width": 32, "model.layers": 1, "model.mixer.heads": 2,
        "model.embedding.patch": 4, "train.max_steps": 2, "schedule.warmup_steps": 1,
        "train.threads": 1, "train.device": "cpu", "train.precision": "fp32",
    }  # fmt: skip
    run = td.train("see", {**more, "name": "see"}, out=tmp_path_factory.mktemp("runs"), quiet=True).path
    model = td.load(run, device="cpu")
    with start({"see": model}, Limits(timeout=60)) as served:
        yield served, model, folder


def test_pictures_are_sent(seen) -> None:
    served, model, folder = seen
    path = folder / "dark" / "0.png"
    sent = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    status, body = served.ask("/classify", {"text": sent})
    assert status == 200
    expected = model.classify(str(path))
    assert body["labels"][0]["label"] == expected.label
    assert body["labels"][0]["probability"] == pytest.approx(expected.probability, abs=1e-6)
    _, body = served.ask("/predict", {"inputs": [sent, sent]})
    assert [row["label"] for row in body["predictions"]] == [expected.label] * 2


def test_no_file_of_the_machine_is_opened(seen) -> None:
    served, _, folder = seen
    for path in (str(folder / "dark" / "0.png"), "/etc/passwd", "../x.png", f"{folder}/dark/0.png#0", ""):
        for route, key in (("/classify", "text"), ("/predict", "inputs"), ("/inspect/attention", "text")):
            status, answer = served.ask(route, {key: [path] if key == "inputs" else path})
            assert status == 400, (route, path)
            assert "this model reads" in answer["error"]["message"]


def test_what_is_no_picture_is_told_without_a_path(seen) -> None:
    served, _, _ = seen
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 7).save(buffer, "PNG")
    for content, message in ((b"no picture", "file 1"), (buffer.getvalue()[:40], "file 1")):
        sent = "data:image/png;base64," + base64.b64encode(content).decode()
        status, answer = served.ask("/classify", {"text": sent})
        assert status == 400
        assert message in answer["error"]["message"]
        assert str(Path("/tmp")) not in answer["error"]["message"]
    assert served.ask("/classify", {"text": "data:image/png;base64,***"})[0] == 400
