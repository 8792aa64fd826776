"""Small trained models, and a server of them in a thread of the test."""

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import pytest

import transduce as td

uvicorn = pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

from transduce.serve.asking import Served  # noqa: E402
from transduce.serve.http import Limits, Server  # noqa: E402
from transduce.serve.notices import install  # noqa: E402
from transduce.serve.server import Uvicorn, listening  # noqa: E402

SMALL = {
    "model.width": 64, "model.layers": 1, "model.mixer.heads": 2, "model.feedforward.hidden": 64,
    "batch.batch_tokens": 512, "train.max_steps": 3, "train.samples": 2, "schedule.warmup_steps": 1,
    "train.threads": 1, "train.device": "cpu", "train.precision": "fp32",
}  # fmt: skip
TEXT = "".join(f"the quick brown fox {n} jumps over the lazy dog\n" for n in range(60))


class Running(NamedTuple):
    server: Server
    port: int
    own: Uvicorn

    def ask(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Returns the status and the body, as JSON where it is some."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def settle(self) -> None:
        """Waits until no engine has work: after a refusal, what was asked with it leaves in the next step."""
        for one in self.server.served.values():
            until(lambda one=one: one.engine.load == (0, 0))


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.002)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, td.Transducer]:
    """Models of text, three bodies, and one of each other task that a route serves."""
    out = tmp_path_factory.mktemp("runs")
    (out / "text.txt").write_text(TEXT, "utf-8")
    (out / "table.tsv").write_text("".join(f"{'odd' if n % 2 else 'even'}\tred dog {n}\n" for n in range(40)))
    play = {**SMALL, "data.path": str(out / "text.txt"), "batch.max_length": 32}
    given = {"data.path": str(out / "text.txt"), "data.unit": "line", "tokenizer": "char"}
    lines = {**SMALL, **given}
    talks = (f'{{"prompt": "red dog {n}?", "completion": "dog {n}"}}\n' for n in range(40))
    (out / "talks.jsonl").write_text("".join(talks), "utf-8")
    (out / "words.jsonl").write_text("".join(
        f'{{"words": ["Ann", "saw", "{n}"], "tags": ["B-PER", "O", "O"]}}\n' for n in range(30)
    ), "utf-8")  # fmt: skip
    asked = ({"context": f"the dog {n} is red", "question": "red?", "answers": f"dog {n}"} for n in range(30))
    (out / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), "utf-8")
    found = ({"question": f"dog {n}?", "passage": f"the dog {n} is red"} for n in range(30))
    (out / "found.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    sizes = {f"data.{split}_size": size for split, size in (("train", 60), ("valid", 4), ("test", 4))}
    bare = {key: value for key, value in SMALL.items() if not key.startswith("model.mixer")}
    runs = {
        "play": ("shakespeare", play),
        "lines": ("text", lines),
        "lstm": ("text", {**bare, **given, "model.mixer": "lstm", "model.positions": "none"}),
        "delta": ("text", {**lines, "model.mixer.kind": "gated-delta", "model.positions": "none"}),
        "talk": ("sft", {**SMALL, "data.path": str(out / "talks.jsonl"), "tokenizer": "char"}),
        "dates": ("dates", {**SMALL, **sizes}),
        "labels": ("classify", {**SMALL, "data.path": str(out / "table.tsv"), "tokenizer": "char"}),
        "tags": ("tag", {**SMALL, "data.path": str(out / "words.jsonl"), "tokenizer": "char"}),
        "asked": ("answer", {**SMALL, "data.path": str(out / "asked.jsonl"), "tokenizer": "char"}),
        "found": ("rank", {**SMALL, "data.path": str(out / "found.jsonl"), "tokenizer": "char"}),
        "encoder": ("text", {**lines, "model.kind": "encoder", "objective.kind": "masked-lm", "batch.packing": False}),
    }
    return {
        name: td.load(td.train(recipe, {**more, "name": name}, out=out, quiet=True).path, device="cpu")
        for name, (recipe, more) in runs.items()
    }


Start = Callable[..., Any]


@pytest.fixture(scope="session")
def start() -> Start:
    @contextmanager
    def running(
        models: dict[str, td.Transducer], limits: Limits, rows: int = 6, queue: int = 256
    ) -> Generator[Running]:
        server = Server([Served(name, model, rows, queue) for name, model in models.items()], limits)
        where = listening("127.0.0.1", 0)
        config = uvicorn.Config(server.app, log_config=None, access_log=False, lifespan="off", ws="none", http="h11")
        own = Uvicorn(config, server)
        own.capture_signals = nullcontext  # type: ignore[method-assign]  # a thread has no signals
        thread = threading.Thread(target=lambda: asyncio.run(own.serve(sockets=[where])), daemon=True)
        thread.start()
        while not own.started:
            time.sleep(0.01)
        yield Running(server, where.getsockname()[1], own)
        own.should_exit = True
        thread.join(10)
        server.close()

    return running


@pytest.fixture(scope="session")
def served(models: dict[str, td.Transducer], start: Start) -> Iterator[Running]:
    install()
    with start(models, Limits(timeout=60)) as one:
        yield one
