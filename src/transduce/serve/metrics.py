"""Counters of a server, and their text for Prometheus."""

from bisect import bisect_left
from collections import Counter

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


class Histogram:
    """Times in seconds."""

    def __init__(self) -> None:
        self.counts, self.total = [0] * (len(BUCKETS) + 1), 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: str) -> list[str]:
        out, running = list[str](), 0
        for edge, count in zip((*BUCKETS, "+Inf"), self.counts, strict=True):
            running += count
            out.append(f'{name}_bucket{{{labels},le="{edge}"}} {running}')
        return [*out, f"{name}_sum{{{labels}}} {self.total:.6f}", f"{name}_count{{{labels}}} {running}"]


class Meters:
    """Counters of one engine. read, written: tokens. cancelled: requests whose client went away."""

    def __init__(self) -> None:
        self.read = self.written = self.cancelled = 0
        self.steps, self.firsts = Histogram(), Histogram()

    def step(self, seconds: float) -> None:
        self.steps.add(seconds)

    def first(self, seconds: float) -> None:
        self.firsts.add(seconds)


class Answers:
    """How often each route answered with each status."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()


HELP = {
    "transduce_tokens_read_total": ("counter", "Tokens of prompts and sources."),
    "transduce_tokens_written_total": ("counter", "Tokens written."),
    "transduce_cancelled_total": ("counter", "Requests whose client went away."),
    "transduce_rows_used": ("gauge", "Rows that are taken."),
    "transduce_waiting": ("gauge", "Requests that wait for rows."),
    "transduce_step_seconds": ("histogram", "Time of a step of all rows together."),
    "transduce_first_token_seconds": ("histogram", "Time from a request to its first token."),
    "transduce_answers_total": ("counter", "Answers by route and status."),
}


def exposition(engines: "dict[str, tuple[Meters, tuple[int, int]]]", answers: Answers) -> str:
    """Returns the text. engines: by the name of the model, what it counts, and its rows and its queue."""
    values: dict[str, list[str]] = {name: [] for name in HELP}
    for model, (meters, (used, waiting)) in engines.items():
        labels = f'model="{escaped(model)}"'
        numbers = (meters.read, meters.written, meters.cancelled, used, waiting)
        for name, number in zip(HELP, numbers, strict=False):
            values[name].append(f"{name}{{{labels}}} {number}")
        values["transduce_step_seconds"] += meters.steps.lines("transduce_step_seconds", labels)
        values["transduce_first_token_seconds"] += meters.firsts.lines("transduce_first_token_seconds", labels)
    for (route, status), count in sorted(answers.counts.items()):
        values["transduce_answers_total"].append(
            f'transduce_answers_total{{route="{escaped(route)}",status="{status}"}} {count}'
        )
    lines = list[str]()
    for name, (kind, text) in HELP.items():
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *values[name]]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Returns a value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
