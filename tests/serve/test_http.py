"""Who may ask, how much, and what is said to the others."""

import base64
import random
import socket
from contextlib import ExitStack
from typing import Any

import pytest
import torch

from transduce.serve.http import Limits
from transduce.serve.metrics import Histogram, escaped

from .conftest import until

ROUTES = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/translate", "/classify", "/score", "/embed"]
KEY = {"Authorization": "Bearer open sesame"}


@pytest.fixture(scope="module")
def strict(models: Any, start: Any):
    limits = Limits(key="open sesame", bytes=2000)
    with start({"lines": models["lines"]}, limits, rows=1, queue=1) as one:
        yield one


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/models", "/score", "/nowhere"])
def test_every_route_wants_the_key(strict: Any, path: Any):
    status, body = strict.ask(path, headers={"Authorization": "Bearer open sesam"})
    assert status == 401
    assert "key" in body["error"]["message"]
    word = base64.b64encode(b"anyone:open sesame").decode()
    assert strict.ask(path, headers={"Authorization": f"Basic {word}"})[0] != 401
    assert strict.ask(path, headers={"Authorization": "Basic %%%"})[0] == 401


def test_other_hosts_and_other_sites_are_refused(strict: Any):
    assert strict.ask("/health", headers={**KEY, "Host": "evil.example"})[0] == 403
    assert strict.ask("/health", headers={**KEY, "Origin": "http://evil.example"})[0] == 403
    here = f"127.0.0.1:{strict.port}"
    assert strict.ask("/health", headers={**KEY, "Host": here, "Origin": f"http://{here}"})[0] == 200


def test_too_many_bytes_are_not_parsed(strict: Any):
    assert strict.ask("/score", b"[" * 2001, KEY)[0] == 413
    assert strict.ask("/score", b"[" * 1999, KEY)[0] == 400


def test_what_is_no_request_gets_a_sentence(served: Any):
    for body, words in {
        b"\xff": "UTF-8", b"{": "JSON", b"[]": "object", b'{"a": NaN}': "NaN", b"[" * 100_000: "",
        b'{"model": "play", "prompt": 3}': "prompt", b'{"model": "play", "prompt": "a", "max_tokens": "x"}': "max",
        b'{"model": "nobody"}': "no model", b'{"prompt": "a"}': "several",
        b'{"model": "play", "prompt": "a", "n": true}': "whole number", b'{"model": "play", "prompt": [9999]}': "9999",
        b'{"model": "play", "prompt": "a", "seed": ' + b"9" * 4000 + b"}": "",
        b'{"model": "play", "prompt": ""}': "stream",
        b'{"model": "play", "prompt": "a", "temprature": 1}': "did you mean `temperature`",
        b'{"model": "play", "prompt": "a", "presence_penalty": 1}': "repetition_penalty",
        b'{"model": "play", "prompt": "a", "stream": true, "beam_size": 2}': "stream with beam_size=1",
        b'{"model": "dates", "prompt": "a"}': "use translate", b'{"model": "labels", "prompt": "a"}': "writes no text",
    }.items():  # fmt: skip
        status, answer = served.ask("/v1/completions", body)
        assert status in (400, 404), answer
        assert words in answer["error"]["message"]
    talk = {"model": "play", "messages": [{"role": "user", "content": "a"}]}
    assert "not on conversations" in served.ask("/v1/chat/completions", talk)[1]["error"]["message"]
    assert "not an encoder" in served.ask("/embed", {"model": "play", "text": "a"})[1]["error"]["message"]
    assert served.ask("/classify", {"model": "play", "text": "a"})[0] == 400
    assert served.ask("/nowhere", headers={})[0] == 404
    assert served.ask("/score")[0] == 405


def test_odd_bodies_never_break_the_server(served: Any):
    """Bodies drawn at random from what routes know and what they do not: no answer says that the server failed."""
    draw = random.Random(0)
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        1,
        3,
        1e308,
        -0.5,
        10**30,
        "",
        "a",
        "\udc00",
        [],
        [1],
        [[1, 2]],
        ["a"],
        {},
        {"a": [{}]},
    ]
    keys = ["prompt", "text", "messages", "input", "max_tokens", "n", "temperature", "top_k", "top_p", "seed", "stop",
            "logprobs", "echo", "stream", "logit_bias", "beam_size", "source", "target", "top", "what"]  # fmt: skip
    for _ in range(300):
        body: dict[str, Any] = {key: draw.choice(values) for key in draw.sample(keys, draw.randrange(6))}
        body |= {"model": draw.choice(["play", "dates", "labels", "encoder"])}
        if body.get("max_tokens") is None:
            body["max_tokens"] = 2
        status, answer = served.ask(path := draw.choice(ROUTES), body)
        assert status in (200, 400), (path, body, answer)
        if status == 400:
            assert "Traceback" not in answer["error"]["message"]
            assert len(answer["error"]["message"].splitlines()) == 1


def test_tokens_there_and_back(served: Any):
    _, body = served.ask("/tokenize", {"model": "play", "text": ["the fox", ""]})
    assert body["tokens"][0] == list("the fox")
    assert served.ask("/detokenize", {"model": "play", "ids": body["ids"][0]})[1]["text"] == "the fox"
    assert served.ask("/detokenize", {"model": "play", "ids": [-1]})[0] == 400


def test_tokens_as_other_clients_ask_for_them(served: Any, models: Any):
    tokenizer = models["dates"].tokenizer
    _, body = served.ask("/tokenize", {"model": "dates", "prompt": "3 Oct", "return_token_strs": True})
    assert body["tokens"] == tokenizer.whole("3 Oct")
    assert body["count"] == len(body["tokens"]) == len(body["token_strs"])
    _, bare = served.ask("/tokenize", {"model": "dates", "prompt": "3 Oct", "add_special_tokens": False})
    assert bare["tokens"] == tokenizer.encode("3 Oct")
    assert served.ask("/detokenize", {"model": "dates", "tokens": bare["tokens"]})[1] == {
        "prompt": tokenizer.decode(bare["tokens"])
    }
    status, about = served.ask("/tokenizer_info?model=dates")
    assert (status, about["eos_token"], about["eos_token_id"]) == (200, "</s>", tokenizer.eos)
    assert about["vocab_size"] == tokenizer.vocab_size
    assert served.ask("/tokenizer_info?model=nobody")[0] == 404
    assert served.ask("/tokenizer_info?model=dates&colour=red")[0] == 400


def test_words_answers_and_passages_are_those_of_the_library(served: Any, models: Any):
    texts = ["Ann saw 7", "Bob"]
    _, body = served.ask("/tag", {"model": "tags", "text": texts})
    assert [(tuple(one["words"]), tuple(one["tags"])) for one in body["taggings"]] == [
        (one.words, one.tags) for one in models["tags"].tag(texts)
    ]
    context = "the dog 7 is red"
    _, body = served.ask("/answer", {"model": "asked", "question": ["red?", "dog?"], "context": context})
    assert body["answers"] == [one._asdict() for one in models["asked"].answer(["red?", "dog?"], context)]
    assert served.ask("/answer", {"model": "asked", "question": ["a", "b", "c"], "context": ["d", "e"]})[0] == 400
    documents = ["the dog 1 is red", "the dog 2 is red", "3"]
    ranked = models["found"].rank("dog 2?", documents)
    _, body = served.ask("/rerank", {
        "model": "found", "query": "dog 2?", "documents": documents, "top_n": 2, "return_documents": True,
    })  # fmt: skip
    assert [one["index"] for one in body["results"]] == list(ranked.order[:2])
    assert [one["relevance_score"] for one in body["results"]] == pytest.approx(ranked.scores[:2])
    assert body["results"][0]["document"]["text"] == documents[ranked.order[0]]
    for route, other in (("/tag", "labels"), ("/answer", "tags"), ("/rerank", "labels")):
        asked = {"text": "a"} if route == "/tag" else {"query": "a", "documents": ["b"]}
        asked = {"question": "a", "context": "b"} if route == "/answer" else asked
        status, answer = served.ask(route, {"model": other, **asked})
        assert status == 400
        assert "; use " in answer["error"]["message"]


def test_scores_are_those_of_the_library(served: Any, models: Any):
    texts = ["the quick brown", "x", "dog jumps over the lazy fox " * 4]
    for name in ("play", "lines", "lstm", "delta"):
        _, body = served.ask("/score", {"model": name, "text": texts})
        rows = [[t["log_p"] for t in one["tokens"] if t["log_p"] is not None] for one in body["scores"]]
        for row, one in zip(rows, models[name].score(texts), strict=True):
            assert row == pytest.approx(one.tokens, abs=1e-5)
    _, body = served.ask("/score", {"model": "dates", "source": "3 May 2021", "target": "2021-05-03"})
    (one,) = models["dates"].score([("3 May 2021", "2021-05-03")])
    assert [t["log_p"] for t in body["scores"][0]["tokens"]] == pytest.approx(one.tokens, abs=1e-5)


def test_predictions_of_any_task(served: Any, models: Any):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the server computes
    _, body = served.ask("/predict", {"model": "labels", "inputs": ["red dog 3"]})
    assert body["lines"] == [models["labels"].classify("red dog 3").label]
    _, body = served.ask("/embed", {"model": "encoder", "text": ["red", "dog"]})
    ours = models["encoder"].embed(["red", "dog"]).tolist()
    torch.set_num_threads(threads)
    assert body["vectors"] == ours


def test_metrics_are_text_for_prometheus(served: Any):
    served.settle()
    status, text = served.ask("/metrics")
    assert status == 200
    assert 'transduce_rows_used{model="play"} 0' in text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    samples = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    assert all(any(name.startswith(known) for known in names) for name, _, _ in samples)
    assert all(float(value) >= 0 for _, _, value in samples)


def test_histogram_and_labels():
    times = Histogram()
    times.add(0.03)
    times.add(99)
    lines = times.lines("x", "")
    assert lines[-1] == "x_count{} 2"
    assert lines[-3].endswith('le="+Inf"} 2')
    assert escaped('a"\n') == 'a\\"\\n'


ENDLESS = b'{"prompt": "the", "max_tokens": 100000, "temperature": 0, "suppress": [2]}'


def test_what_takes_too_long_is_late(models: Any, start: Any):
    with start({"lstm": models["lstm"]}, Limits(timeout=1)) as short:
        status, answer = short.ask("/v1/completions", ENDLESS)
        assert (status, "--timeout" in answer["error"]["message"]) == (408, True)
        short.settle()


def test_a_full_queue_says_when_to_come_again(models: Any, start: Any):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(ENDLESS)
    with start({"lstm": models["lstm"]}, Limits(timeout=600), rows=1, queue=1) as full, ExitStack() as lines:
        for load in ((1, 0), (1, 1)):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", full.port)))
            line.sendall(head + ENDLESS)
            until(lambda load=load: full.server.served["lstm"].engine.load == load)
        line = lines.enter_context(socket.create_connection(("127.0.0.1", full.port), timeout=60))
        line.sendall(head + ENDLESS)
        status, _, rest = line.makefile("rb").read1().partition(b"\r\n")
        assert status.split()[1] == b"429"
        assert b"retry-after: 1" in rest.lower()
        lines.close()
        full.settle()
