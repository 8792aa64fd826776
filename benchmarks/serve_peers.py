"""One server beside another on the same model: what a token costs, and how long clients wait for it.

    python benchmarks/serve_peers.py [--peer "transformers serve"] [--rounds 3] [--new 48] [--width 768] [--layers 12]
    python benchmarks/serve_peers.py --slow [--rounds 10]

A GPT-2 of random weights with 8,000 tokens, float32, one thread for each server; `transformers serve` and
`transduce serve` of it run side by side and are asked in turn, over HTTP with streams, by one client and by eight at
once. Printed: CPU milliseconds of the server for each token; and of what clients see, in milliseconds, the time to the
first token and between tokens, at the median and the 99th percentile. A peer is a command that takes the folder of a
model and --port.

--slow: ours alone, asked by seven clients while an eighth reads as fast as they do, or one byte a second.
"""

import argparse
import http.client
import itertools
import json
import os
import shlex
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple, cast

import torch
import transformers
from common import machine

WORDS, READ = 8000, 16
NOTHING: dict[str, Any] = {}
MUCH: dict[str, Any] = {"logprobs": 20}  # what the eighth client is sent, which is more to read


def vocabulary() -> tuple[dict[str, int], list[str]]:
    """Tokens of bytes and of words of three letters, each behind a space, and the merges that make them."""
    points = [*range(33, 127), *range(161, 173), *range(174, 256)]
    signs = [chr(p) for p in points] + [chr(256 + n) for n in range(256 - len(points))]
    letters, tokens, merges = string.ascii_lowercase, list(signs), list[str]()
    for length in (1, 2, 3):
        for word in itertools.product(letters, repeat=length):
            if len(tokens) < WORDS - 1:
                tokens.append("\u0120" + "".join(word))
                merges.append(f"{tokens[-1][:-1]} {word[-1]}")
    return {token: n for n, token in enumerate([*tokens, "<|endoftext|>"])}, merges


def write(folder: Path, width: int, layers: int) -> None:
    """Writes the folder of a model. It never writes the end, or what is no whole word."""
    tokens, merges = vocabulary()
    (folder / "vocab.json").write_text(json.dumps(tokens))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer: Any = cast(Any, transformers).GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    end = tokens["<|endoftext|>"]
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_embd=width, n_layer=layers, n_head=width // 64, n_positions=1024,
        bos_token_id=end, eos_token_id=end,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight[[n for word, n in tokens.items() if len(word) != 4]] = 0
    model.save_pretrained(folder)


class Running(NamedTuple):
    name: str
    process: subprocess.Popen[bytes]
    port: int
    model: str

    def seconds(self) -> float:
        """CPU seconds so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def started(name: str, command: list[str], folder: str, log: Path) -> Running:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [*command, folder, "--port", str(port)],
        env={**os.environ, **threads},
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(600):
        time.sleep(0.1)
        if process.poll() is not None:
            sys.exit(f"{shlex.join(command)} ended: {log.read_text()[-800:]}")
        try:
            line.request("GET", "/health")
            line.getresponse().read()
        except (OSError, ValueError, http.client.HTTPException):
            line.close()
            continue
        return Running(name, process, port, Path(folder).name if name == "transduce" else folder)
    process.kill()
    sys.exit(f"{shlex.join(command)} does not answer: {log.read_text()[-800:]}")


def prompt(number: int) -> str:
    """A text of READ tokens."""
    words = [word.replace("\u0120", " ") for word in vocabulary()[0] if len(word) == 4 and word[0] == "\u0120"]
    return "".join(words[(97 * number + 31 * n) % len(words)] for n in range(READ))


def asks(server: Running, number: int, new: int) -> dict[str, Any]:
    """The body of a request."""
    return {"model": server.model, "prompt": prompt(number), "max_tokens": new, "temperature": 0, "stream": True}


def stream(server: Running, number: int, new: int, more: dict[str, Any] = NOTHING) -> tuple[float, list[float]]:
    """Seconds to the first token, and between tokens, of one answer."""
    body = {**more, **asks(server, number, new)}
    line, times = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600), list[float]()
    begun = time.perf_counter()
    line.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer, text = line.getresponse(), ""
    assert answer.status == 200, answer.read()
    for row in answer:
        if row.startswith(b"data: {"):
            choices: list[Any] = json.loads(row[6:]).get("choices") or [{}]
            if piece := choices[0].get("text"):
                times.append(time.perf_counter())
                text += piece
    assert len(text.split()) == new, (server.name, len(text.split()), new)
    return times[0] - begun, [b - a for a, b in itertools.pairwise(times)]


def slow(server: Running, new: int, done: Event) -> None:
    """Asks for a long stream and reads a byte of it each second."""
    body = json.dumps({**MUCH, **asks(server, 8, new)})
    head = f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", server.port))
        line.sendall((head + body).encode())
        while not done.wait(1):
            line.recv(1)


def percent(times: list[float]) -> str:
    ordered = sorted(times)
    last = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return f"{1e3 * statistics.median(ordered):.0f} / {1e3 * last:.0f}"


def beside_slow(server: Running, new: int, rounds: int) -> None:
    """Prints what seven clients see while an eighth reads fast, or slowly."""
    rows: dict[str, tuple[list[float], list[float]]] = {"fast": ([], []), "a byte a second": ([], [])}
    for turn, place in itertools.product(range(rounds), (0, 1)):
        way, done = list(rows)[(turn + place) % 2], Event()
        before = server.seconds()
        with ThreadPoolExecutor(8) as pool:
            if way == "fast":
                eighth = pool.submit(stream, server, 8, new, MUCH)
            else:
                eighth = pool.submit(slow, server, new, done)
            times = list(pool.map(stream, repeat(server), range(7), repeat(new)))
            spent = server.seconds() - before
            done.set()
            eighth.result()
        rows[way][0].append(1e3 * spent / (8 * new))
        rows[way][1].extend(gap for _, each in times for gap in each)
    print("| the eighth client reads | CPU ms a token | between tokens of the others, ms, mean | median / p99 |")
    print("| --- | ---: | ---: | ---: |")
    for way, (costs, gaps) in rows.items():
        print(f"| {way} | {statistics.median(costs):.2f} | {1e3 * statistics.mean(gaps):.1f} | {percent(gaps)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", action="append", help="a command (default: transformers serve)")
    for name, usual in (("rounds", 3), ("new", 48), ("width", 768), ("layers", 12)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--slow", action="store_true", help="ours alone, with a client that reads a byte a second")
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as place:
        folder, run = Path(place) / "gpt2", str(Path(place) / "ours")
        folder.mkdir()
        write(folder, asked.width, asked.layers)
        ours = [sys.executable, "-m", "transduce"]
        subprocess.run([*ours, "import", str(folder), run], check=True, stdout=subprocess.DEVNULL)
        serves = [*ours, "serve", "--no-log", "--device", "cpu"]
        servers = list[Running]()
        rows: dict[tuple[int, str], tuple[list[float], list[float], list[float]]] = {}
        try:
            servers.append(started("transduce", serves, run, Path(place) / "log"))
            for number, peer in enumerate([] if asked.slow else asked.peer or ["transformers serve"]):
                more = ["--device", "cpu", "--dtype", "float32"]
                servers.append(started(peer, [*shlex.split(peer), *more], str(folder), Path(place) / f"log{number}"))
            for one, count in itertools.product(servers, (1, 8)):
                with ThreadPoolExecutor(count) as pool:
                    list(pool.map(stream, repeat(one), range(count), repeat(4)))
            if asked.slow:
                beside_slow(servers[0], asked.new, asked.rounds)
            for count in () if asked.slow else (1, 8):
                for turn in range(asked.rounds):
                    for one in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
                        before = one.seconds()
                        with ThreadPoolExecutor(count) as pool:
                            times = list(pool.map(stream, repeat(one), range(count), repeat(asked.new)))
                        costs, firsts, gaps = rows.setdefault((count, one.name), ([], [], []))
                        costs.append(1e3 * (one.seconds() - before) / (count * asked.new))
                        firsts += [first for first, _ in times]
                        gaps += [gap for _, each in times for gap in each]
        finally:
            for one in servers:
                one.process.terminate()
                one.process.wait()
    if not rows:
        return
    print("| clients | server | CPU ms a token | first token, ms, median / p99 | between tokens, ms, median / p99 |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for (count, name), (costs, firsts, gaps) in rows.items():
        print(f"| {count} | {name} | {statistics.median(costs):.1f} | {percent(firsts)} | {percent(gaps)} |")


if __name__ == "__main__":
    main()
