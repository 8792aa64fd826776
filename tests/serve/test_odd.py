"""Odd requests, bodies and ways to send them: no answer says that the server failed, and nothing is left behind.

`pytest tests/serve/test_odd.py --fuzz-cases 400` sends 10,000 of them.
"""

import http.client
import json
import random
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from transduce.serve.http import POSTS

EACH = 25  # requests of a case
ALLOWED = {200, 400, 404, 413}
HALF = 2000  # requests from which on memory is looked at


TEXT: list[Any] = [
    "the quick",
    "",
    " ",
    "a" * 300,
    "\u00e4\u5b57\U0001f600",
    "\ud800",
    "</s>",
    "\x00",
    ["a", "red dog"],
    [],
]
IDS: list[Any] = [[5, 6, 7], [[5], [6, 7]], [], [10**9], [-1], [True]]
NUMBERS: list[Any] = [0, 1, 2, 3, -1, 0.5, 1.0, 1e308, -1e308, 10**30, 10**400, 1e-320, 2**63]
ODD: list[Any] = [None, True, False, "", "x", [], {}, [[]], {"a": [{}]}, [None], *NUMBERS]
TALK: list[Any] = [
    [{"role": "user", "content": "red dog 7?"}], [{"role": "nobody", "content": "a"}], [{}], [{"role": "user"}], "a",
    [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}],
]  # fmt: skip
FORMS: list[Any] = [{"type": "text"}, {"type": "json_object"}, {"type": "json_schema"}, {"type": 3}, {}]
DECODING: dict[str, list[Any]] = {
    "temperature": [0, 0.7, *NUMBERS], "top_k": [1, 5, *NUMBERS], "top_p": [0.5, *NUMBERS], "min_p": [0.1, *NUMBERS],
    "seed": [1, 7, *NUMBERS], "beam_size": [1, 2, *NUMBERS], "nbest": NUMBERS, "stop": ["q", ["q", "u"], [""], [3]],
    "repetition_penalty": [1.2, *NUMBERS], "no_repeat_ngram": [2, *NUMBERS], "min_new_tokens": [2, *NUMBERS],
    "logit_bias": [{"5": 1}, {"-1": 2}, {"5": 1e308}, {"99999": 1}], "n": [1, 2, *NUMBERS], "typical_p": NUMBERS,
    "suppress": [[2], [10**9], ["a"]], "length_penalty": NUMBERS, "stream": [True, False], "forced_bos": NUMBERS,
    "regex": ["[a-c]+", "[a-", "(((((a*)*)*)*)*)*"], "json_schema": ["{}", "{", '{"type": "no"}'],
}  # fmt: skip
WRITERS = ["play", "lines", "lstm", "delta"]
ROUTES: dict[str, tuple[list[str], dict[str, list[Any]], dict[str, list[Any]]]] = {  # models, needed keys, others
    "/v1/completions": (WRITERS, {"prompt": [*TEXT, *IDS]}, {
        **DECODING, "logprobs": [0, 2, *NUMBERS], "echo": [True], "suffix": ["a"], "return_token_ids": [True],
        "response_format": FORMS, "stream_options": [{"include_usage": True}, {"a": 1}], "best_of": NUMBERS,
    }),
    "/v1/chat/completions": (["talk"], {"messages": TALK}, {
        **DECODING, "logprobs": [True], "top_logprobs": [2, *NUMBERS], "tools": [[], [{}]],
    }),
    "/v1/responses": (["talk"], {"input": ["red dog 7?", *TALK, *TEXT]}, {
        **DECODING, "instructions": TEXT, "text": [{"format": one} for one in FORMS], "top_logprobs": NUMBERS,
        "include": [["message.output_text.logprobs"], ["a"]], "previous_response_id": ["a"],
        "metadata": [{"a": "\ud800"}],
    }),
    "/v1/embeddings": (["encoder"], {"input": TEXT}, {"encoding_format": ["base64", "x"], "dimensions": NUMBERS}),
    "/translate": (["dates"], {"text": ["3 May 2021", *TEXT]}, {**DECODING}),
    "/classify": (["labels"], {"text": TEXT}, {}),
    "/score": ([*WRITERS, "dates"], {"text": TEXT}, {"source": TEXT, "target": TEXT, "top": [2, *NUMBERS]}),
    "/embed": (["encoder"], {"text": TEXT}, {}),
    "/predict": (["labels", "dates", "tags"], {"inputs": [["red dog 3"], *TEXT]}, {}),
    "/tag": (["tags"], {"text": TEXT}, {}),
    "/answer": (["asked"], {"question": ["red?", *TEXT], "context": ["the dog is red", *TEXT]}, {}),
    "/rerank": (["found"], {"query": ["dog?", ""], "documents": [["a", "b"], *TEXT]}, {"top_n": NUMBERS}),
    "/tokenize": ([*WRITERS, "dates"], {"text": TEXT}, {"prompt": TEXT, "return_token_strs": [True]}),
    "/detokenize": ([*WRITERS, "dates"], {"ids": IDS}, {"tokens": IDS}),
    "/inspect/stages": (["play", "lstm", "dates"], {"text": ["the quick", *TEXT]}, {
        "mixer": ["layer 1 mix", "a", *NUMBERS], "head": [1, 2, *NUMBERS], "temperature": [0.7, *NUMBERS],
        "target": TEXT,
    }),
    "/inspect/attention": (["play", "lstm", "dates"], {"text": ["the quick", *TEXT]}, {"layer": NUMBERS}),
}  # fmt: skip
MOST = ("/v1/completions", "/v1/chat/completions", "/translate")  # routes that take max_tokens


def request(number: int) -> tuple[str, bytes]:
    """Returns the route and the body."""
    draw = random.Random(number)
    path = draw.choice(list(ROUTES))
    models, needed, others = ROUTES[path]
    body: dict[str, Any] = {
        "model": draw.choice(models),
        **{key: draw.choice(values[:2]) for key, values in needed.items()},
    }
    body |= {
        key: draw.choice(others[key])
        for key in draw.sample(list(others), min(len(others), draw.choice([0, 1, 1, 2, 4])))
    }
    way = draw.choice(
        ["good", "good", "good", "value", "kind", "missing", "unknown", "bytes", "cut", "deep", "digits", "other"]
    )
    if way == "value":
        key = draw.choice(list(needed))
        body[key] = draw.choice(needed[key])
    if way == "kind":
        body[draw.choice(list(body))] = draw.choice(ODD)
    if way == "missing":
        del body[draw.choice(list(body))]
    if way == "unknown":
        body[draw.choice(["what", "", "\udc00", "modle", "max_tokens ", "é" * 200])] = draw.choice(ODD)
    if way == "other":
        path = draw.choice(list(ROUTES))
    if path in MOST:
        body.setdefault("max_tokens", draw.choice([1, 2, 3]))
    if path == "/v1/responses":
        body.setdefault("max_output_tokens", draw.choice([1, 2, 3]))
    return path, broken(json.dumps(body).encode(), way, draw)


def broken(data: bytes, way: str, draw: random.Random) -> bytes:
    """Returns a body, with its bytes changed, cut, nested or lengthened."""
    at = draw.randrange(len(data))
    if way == "bytes":
        return data[:at] + bytes(draw.randrange(256) for _ in range(draw.choice([1, 2, 9]))) + data[at + 1 :]
    if way == "cut":
        return data[:at]
    if way == "deep":
        levels = draw.choice([5, 500, 50_000])
        return (
            data[:-1]
            + b', "deep": '
            + draw.choice([b"[", b'{"a":']) * levels
            + draw.choice([b"", b"]" * levels])
            + b"}"
        )
    if way == "digits":
        return data[:-1] + b', "seed": ' + b"9" * draw.choice([20, 4300, 4301, 100_000]) + b"}"
    return data


def resident() -> int:
    """Returns the memory of this process in KiB."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])


def test_routes_are_all_of_them():
    assert set(ROUTES) == set(POSTS)


@pytest.mark.timeout(0)
def test_odd_bodies_get_a_sentence(served: Any, request_count: Any, capfd: Any):
    first, count = request_count
    line, threads, memory = (
        http.client.HTTPConnection("127.0.0.1", served.port, timeout=60),
        threading.active_count(),
        0,
    )
    seen = dict.fromkeys(ALLOWED, 0)
    for number in range(first, first + count):
        path, body = request(number)
        line.request("POST", path, body)
        answer = line.getresponse()
        text = answer.read().decode()
        assert answer.status in ALLOWED, (number, path, body[:500], text)
        seen[answer.status] += 1
        if answer.status != 200:
            message = json.loads(text)["error"]["message"]
            assert message, (number, path, body[:500])
            assert len(message.splitlines()) == 1, (number, path, body[:500], message)
            assert "Traceback" not in message
            assert len(message) < 1000, (number, path, body[:500], message)
        if number == first + count // 2:
            memory = resident()
    line.close()
    assert min(seen[200], seen[400]) > count // 50, seen
    assert "Traceback" not in capfd.readouterr().err
    assert threading.active_count() <= threads + 1
    served.settle()
    assert count < HALF or resident() < 1.02 * memory


@pytest.fixture
def request_count(pytestconfig: Any):
    return pytestconfig.getoption("--fuzz-seed") * EACH, pytestconfig.getoption("--fuzz-cases") * EACH


def test_pipelined_requests_are_answered_in_their_order(served: Any):
    bodies = [json.dumps({"model": "play", "text": text}).encode() for text in ("a", "bb", "ccc")]
    head = "POST /tokenize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(b"".join(head.format(len(body)).encode() + body for body in bodies))
        seen = b""
        while seen.count(b'"ids"') < 3:
            seen += line.recv(65536)
    places = [seen.index(json.dumps([list(text)], separators=(",", ":")).encode()) for text in ("a", "bb", "ccc")]
    assert places == sorted(places)


HERE = b"Host: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x00\xff" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /score HTTP/1.1\r\n" + HERE + b"Content-Length: x\r\n\r\n",
        b"POST /score HTTP/1.1\r\n" + HERE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_ends_the_line_alone(served: Any, sent: Any, capfd: Any):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        line.sendall(sent)
        answer = line.recv(4096)
    assert answer.split()[1] in (b"400", b"403", b"431")
    assert served.ask("/health")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


def test_slow_headers_hold_up_nobody(served: Any):
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as line:
        for part in (b"POST /tokenize HT", b"TP/1.1\r\nHost: 127.", b"0.0.1\r\nContent-Length: 32\r\n"):
            line.sendall(part)
            time.sleep(0.05)
            assert served.ask("/health")[0] == 200
        line.sendall(b'\r\n{"model": "play",')
        assert served.ask("/health")[0] == 200
        line.sendall(b' "text": "ab"} ')
        assert line.recv(4096).split()[1] == b"200"
