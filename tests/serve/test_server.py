"""The command: it serves, ends well at SIGTERM with everything answered, and says what is wrong in a sentence."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from transduce.cli.main import main


def test_sigterm_finishes_what_was_taken(models: Any):
    run = models["lines"].run
    words = [sys.executable, "-m", "transduce", "serve", str(run), "--port", "0", "--device", "cpu"]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        port = int(line.rstrip("/\n").rpartition(":")[2])
        body = {"prompt": "the", "max_tokens": 400, "temperature": 0, "suppress": [2], "stream": True}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.readline()
            server.send_signal(signal.SIGTERM)
            events = [line for line in answer.read().decode().split("\n\n") if line.startswith("data:")]
        assert events[-1] == "data: [DONE]"
        assert json.loads(events[-2][5:])["choices"][0]["finish_reason"] == "length"
        rest = server.communicate(timeout=120)[1]
        assert server.returncode == 0, rest
        assert "Traceback" not in rest


def test_sigterm_under_load_loses_nothing(models: Any):
    """What was taken is answered, though most of it waits for rows."""
    run = models["lines"].run
    words = [sys.executable, "-m", "transduce", "serve", str(run), "--port", "0", "--device", "cpu", "--rows", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*words, "--no-log"], stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        timer = threading.Timer(120, server.kill)
        timer.start()
        port = int(server.stderr.readline().rstrip("/\n").rpartition(":")[2])
        body = {"prompt": "the", "max_tokens": 150, "temperature": 0, "suppress": [2]}
        given = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode())
        kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def answered() -> Any:
            with urllib.request.urlopen(given, timeout=60) as answer:
                return json.load(answer)

        def taken() -> int:
            kept.request("GET", "/metrics")
            text = kept.getresponse().read().decode()
            here = re.findall(r"^transduce_(?:rows_used|waiting)\{.*\} (\d+)$", text, re.MULTILINE)
            done = re.findall(r'^transduce_answers_total\{route="/v1/completions",.*\} (\d+)$', text, re.MULTILINE)
            return sum(map(int, here + done))

        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(answered) for _ in range(12)]
            while taken() < 12:  # each is counted once it is in the queue, until it is answered and after
                pass
            kept.close()
            server.send_signal(signal.SIGTERM)
            choices = [one.result()["choices"][0] for one in answers]
        assert {one["finish_reason"] for one in choices} == {"length"}
        assert server.wait() == 0
        timer.cancel()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere"),
        (["RUN", "RUN"], "two runs are called"),
        (["RUN", "--key", "short"], "key of 8"),
        (["RUN", "--host", "256.0.0.1"], "cannot be listened on"),
    ],
)
def test_what_cannot_be_served_is_said(
    models: Any, words: Any, sentence: Any, capsys: Any, tmp_path: Any, monkeypatch: Any
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("abc\n")
    words = [str(models["lines"].run) if word == "RUN" else word for word in words]
    assert main(["serve", *words, "--port", "0"]) == 2
    assert sentence in capsys.readouterr().err
