"""What a server promises: an answer is what it is alone, to the last bit; who leaves frees rows; nothing is lost."""

import json
import socket
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import transduce as td
from transduce.errors import UserError
from transduce.generate.config import GenerateConfig
from transduce.generate.rows import Request
from transduce.serve.engine import Busy, Closing, Engine, Late, sentence
from transduce.serve.metrics import Meters

from .conftest import until


def mixed(count: int) -> list[tuple[str, dict[str, Any]]]:
    """Requests of many kinds and lengths, to all models."""
    text = "the quick brown fox jumps over the lazy dog " * 3
    out = list[tuple[str, dict[str, Any]]]()
    for n in range(count):
        model, year = ("play", "lines", "lstm", "delta")[n % 4], 1990 + n
        to = {"model": model, "prompt": text[: 1 + 7 * n % 90], "max_tokens": 1 + 5 * n % 23}
        drawn = {"temperature": 0.9, "seed": n, "n": 1 + n % 3, "top_p": 0.9, "logprobs": 0}
        out.append(
            (
                ("/v1/completions", {**to, "temperature": 0, "logprobs": 2}),
                ("/v1/completions", {**to, **drawn}),
                ("/v1/completions", {**to, "beam_size": 3}),
                ("/score", {"model": model, "text": to["prompt"], "top": 2}),
                ("/translate", {"model": "dates", "text": f"7 May {year}", "beam_size": 1 + n % 4, "max_tokens": 15}),
                ("/classify", {"model": "labels", "text": [f"red dog {n}", "dog"]}),
                ("/v1/embeddings", {"model": "encoder", "input": to["prompt"], "encoding_format": "base64"}),
            )[n % 7]
        )
    return out


def content(answer: tuple[int, Any]) -> Any:
    """The answer without its name and time."""
    status, body = answer
    assert status == 200, body
    return {key: value for key, value in body.items() if key not in ("id", "created")}


def test_sixty_at_once_get_the_bits_that_each_gets_alone(served: Any):
    requests = mixed(60)

    def answered(one: tuple[str, dict[str, Any]]) -> Any:
        return content(served.ask(*one))

    alone = list(map(answered, requests))
    with ThreadPoolExecutor(30) as pool:
        together = list(pool.map(answered, reversed(requests)))[::-1]
    assert together == alone
    for one in served.server.served.values():
        assert one.engine.load == (0, 0)
        assert one.engine.rows is None or one.engine.rows.lane.nbytes == 0


def test_greedy_and_beams_are_those_of_the_library(served: Any, models: Any):
    prompt, text = "the quick", "3 May 2021"
    _, body = served.ask("/v1/completions", {"model": "play", "prompt": prompt, "max_tokens": 12, "temperature": 0})
    assert body["choices"][0]["text"] == models["play"].generate(prompt, max_new_tokens=12, temperature=0)
    _, body = served.ask("/translate", {"model": "dates", "text": text, "beam_size": 3, "nbest": 2})
    best = models["dates"].translate(text, beam_size=3, nbest=2)
    assert [one["text"] for one in body["translations"][0]["nbest"]] == [one.text for one in best]
    assert body["translations"][0]["log_p"] == pytest.approx(best[0].score, abs=1e-4)


def test_a_text_of_blanks_is_answered_at_once(served: Any):
    _, body = served.ask("/translate", {"model": "dates", "text": [" ", ""]})
    assert [one["text"] for one in body["translations"]] == ["", ""]


@pytest.fixture
def engine(models: dict[str, td.Transducer]):
    model = models["lstm"]
    engine = Engine(model.model, model.tokenizer, 2, 3, Meters())
    yield engine
    engine.close()


LONG = Request([4, 5], GenerateConfig(max_new_tokens=100_000, suppress=(2,)), 100_000)  # for a model without positions


def test_a_full_queue_is_busy_and_the_late_and_the_left_end(engine: Engine):
    leaves, steps = threading.Event(), list[int]()

    def hear() -> None:  # in the engine's thread: after each step, and when it is over
        if leaves.is_set():
            one.leave()
            steps.append(sum(engine.meters.steps.counts))

    one = engine.submit(LONG, hear, 600)
    two = engine.submit(LONG, lambda: None, 600)
    until(lambda: one.tokens and two.tokens)
    waiting = [engine.submit(LONG, lambda: None, 600) for _ in range(3)]
    with pytest.raises(Busy):
        engine.submit(LONG, lambda: None, 600)
    for ticket in waiting:
        ticket.deadline = 0
    until(lambda: all(ticket.over for ticket in waiting))
    assert all(isinstance(ticket.error, Late) for ticket in waiting)
    leaves.set()
    until(lambda: one.over)
    assert steps[-1] - steps[0] <= 2
    until(lambda: engine.load == (1, 0))
    assert engine.meters.cancelled == 1
    assert not two.over
    with pytest.raises(UserError, match="has 2"):
        engine.submit(LONG._replace(config=GenerateConfig(beam_size=3)), lambda: None, 1)


def test_an_error_is_of_one_and_the_end_is_told_to_all(engine: Engine):
    def fail() -> None:
        raise UserError("no")

    broken = engine.submit(fail, lambda: None, 600)
    until(lambda: broken.over)
    assert broken.error is not None
    assert sentence(broken.error) == (400, "no")
    rest = engine.submit(LONG, lambda: None, 600)
    until(lambda: rest.tokens)
    engine.close()
    assert isinstance(rest.error, Closing)
    assert sentence(Closing())[0] == 503
    assert sentence(RuntimeError("x"))[0] == 500
    with pytest.raises(Closing):
        engine.submit(LONG, lambda: None, 60)


STREAM = b'{"model": "lstm", "prompt": "the", "max_tokens": 100000, "stream": true, "temperature": 0, "suppress": [2]}'
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(STREAM)


def leave_the_line(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(HEAD + STREAM)
        seen = b""
        while seen.count(b"data:") < 3:
            seen += (part := line.recv(4096))
            assert part, seen


def leave_the_answer(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/completions", STREAM, timeout=20) as answer:
        for _ in range(6):  # an event is two lines
            answer.readline()


def leave_the_client(port: int) -> None:
    openai = pytest.importorskip("openai", reason="the client is not installed")
    given = json.loads(STREAM)
    more = {"suppress": given.pop("suppress")}
    with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
        stream = client.completions.create(**given, extra_body=more)
        for _ in range(3):
            next(stream)
        stream.close()


@pytest.mark.parametrize("leave", [leave_the_line, leave_the_answer, leave_the_client])
def test_whoever_goes_away_frees_the_rows(leave: Any, served: Any):
    one = served.server.served["lstm"]
    before = one.meters.cancelled
    for number in range(7):
        leave(served.port)
        until(lambda: one.engine.load == (0, 0))
        assert one.meters.cancelled == before + number + 1


def test_who_reads_nothing_holds_up_nobody(served: Any):
    with socket.create_connection(("127.0.0.1", served.port)) as line:
        line.sendall(HEAD + STREAM)
        done = threading.Event()
        thread = threading.Thread(target=lambda: (served.ask(*mixed(1)[0]), done.set()))
        thread.start()
        assert done.wait(60)
        thread.join()
    served.settle()


def test_what_waits_for_a_slow_reader_is_bounded(served: Any):
    """Its text is written to the end beside others, and no more than 64 KiB of events stand ready to be sent."""
    body = {"model": "lines", "prompt": "the", "max_tokens": 800, "temperature": 0, "suppress": [2]}
    sent = json.dumps({**body, "stream": True, "logprobs": 20}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", served.port))
        line.sendall(head % len(sent) + sent)
        assert line.recv(1)
        every = served.own.server_state.connections
        (waiting,) = [one for one in every if one.transport.get_extra_info("peername") == line.getsockname()]
        waiting.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        until(lambda: waiting.flow.write_paused)
        served.settle()  # all was written; nothing but a byte was read
        assert 0 < waiting.transport.get_write_buffer_size() < (1 << 16) + (1 << 12)
        text = line.makefile("rb").read()
    assert b"data: [DONE]" in text
    assert text.count(b"data: {") >= 800
