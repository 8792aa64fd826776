"""The output of the commands: findings, plans, evaluations and tokens, as tables that fit the terminal."""

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from transduce.api import Plan, Prepared
from transduce.data.doctor import Findings, Lengths, Token
from transduce.data.imported import way
from transduce.exchange.certificate import NAME as CERTIFICATE
from transduce.exchange.certificate import read_certificate
from transduce.prefer.comparison import Compared
from transduce.runs.run import Run
from transduce.tasks.evaluate import Evaluation
from transduce.tasks.task import TaskConfig
from transduce.text.tokenizer import Tokenizer
from transduce.training.progress import Display, clock

BAR = 30  # columns of the longest bar

console = Console(highlight=False, soft_wrap=False)


def table(title: str, *columns: str, rows: Iterable[Sequence[str]]) -> None:
    """Prints a table whose first column is text and whose others are numbers."""
    out = Table()
    for i, column in enumerate(columns):
        out.add_column(column, justify="right" if i else "left")
    for row in rows:
        out.add_row(*map(escape, row))
    console.print(Text(title, style="bold"))
    console.print(out)


def policies(rows: Sequence[Compared]) -> None:
    """Prints how the answers of several models compare, then an answer of each to the first prompts."""
    judges = list(rows[0].rewards)
    heads = [head for judge in judges for head in (judge, f"better than {rows[0].name} by {judge}")]
    cells = [
        [row.name, *(cell for j in judges for cell in (f"{row.rewards[j]:.2f}", f"{row.wins[j]:.2f}")),
         f"{row.kl:.1f}", f"{row.length:.1f}"]
        for row in rows
    ]  # fmt: skip
    table("answers to prompts that were held out", "", *heads, f"nats from {rows[0].name}", "tokens", rows=cells)
    for number in range(len(rows[0].answers)):
        for row in rows:
            console.print(Text(f"{number + 1} {row.name:5} {' '.join(row.answers[number].split())}"), soft_wrap=True)


def evaluation(result: Evaluation, task: TaskConfig, title: str, examples: int) -> None:
    """Prints the measures of an evaluation, then some examples."""
    console.print(Text(title, style="bold"))
    rows = [("loss", f"{result.loss:.4f} nats per {task.unit}")]
    for measure in result.measures:
        if not (value := result.values[measure.kind]).means:
            continue
        ends = "" if value.low is None or value.high is None else f" to {measure.text(value.high)}"
        text = measure.text(value.value) + (
            f"  ({measure.text(value.low)}{ends})" if ends and value.low is not None else ""
        )
        text += f"  {value.note}" if value.note else ""
        if value.baseline is not None:
            text += f"  [{value.baseline[0]}: {measure.text(value.baseline[1])}]"
        rows.append((measure.label, text))
    rows.append((f"{task.unit}s", f"{result.count:,}"))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        console.print(Text(f"{name:{width}}  {text}"), soft_wrap=True)
    if result.grid is not None:
        Display(title, 0).grid(result.grid)
    Display(title, 0).samples(result.samples[:examples], task.tabular)
    if (verdict := result.verdict) is not None:
        console.print(Text(f"! {verdict}", style="bold yellow"), soft_wrap=not console.is_terminal)


def next_commands(run: Run) -> None:
    """Prints commands that use a finished run."""
    path = shlex.quote(str(run.path))
    text = ' "3 de mayo de 2021"' if run.recipe.data.kind == "dates" else ' "..."' * run.recipe.task.takes_inputs
    verb = run.recipe.task.command(run.recipe.model)
    if verb is not None:
        console.print("next: " + escape(f"transduce {verb} {path}{text}"), soft_wrap=True)
    split = "test" if "test" in (run.result or {}) else "valid"
    console.print(f"{'next:' if verb is None else '     '} transduce evaluate {path} --split {split}", soft_wrap=True)


def imported(run: Run) -> None:
    """Prints commands that use an imported model."""
    path = shlex.quote(str(run.path))
    verb = run.recipe.task.command(run.recipe.model) or "embed"
    console.print("next: " + escape(f'transduce {verb} {path} "..."'), soft_wrap=True)
    more = f"transduce train {path}/config.yaml name={shlex.quote(run.path.name)} {way(run.recipe.task.reads)}"
    console.print("      " + escape(more), soft_wrap=True)


def certificate(folder: Path) -> None:
    """Prints the certificate of an exported folder: the model it was compared with, and the differences."""
    entries = read_certificate(folder)
    rows = [
        ("compared with", entries["compared_with"]),
        ("parameters", f"{entries['parameters']:,}"),
        (
            "largest difference of logits",
            f"{entries['largest_logit_difference']:.3g}, allowed {entries['tolerance']:.3g}",
        ),
        ("greedy tokens alike", entries["greedy_tokens_alike"]),
        ("lines with the same ids", entries["lines_with_the_same_ids"]),
    ]
    facts(f"{folder / CERTIFICATE}", [row for row in rows if row[1] != "0 of 0"])  # encoders write nothing


def plan(estimate: Plan) -> None:
    """Prints parameters, work, memory and time of a recipe."""
    counted, probe, train = estimate.costs, estimate.probe, estimate.recipe.train
    total = sum(counted.parameters.values())
    for sentence in estimate.sample:
        console.print(Text(sentence), soft_wrap=not console.is_terminal)
    rows = [(part, f"{n:,}", f"{n / total:.1%}") for part, n in counted.parameters.items()]
    table(estimate.recipe.name, "part", "parameters", "share", rows=[*rows, ("all", f"{total:,}", "")])
    facts("FLOPs per token, padding not counted", [
        ("forward", number(counted.forward_flops / counted.tokens)),
        ("training", number(counted.training_flops / counted.tokens)),
    ])  # fmt: skip
    parts = {"weights": counted.weights, "optimizer": counted.optimizer}
    if train.ema is not None:
        parts["average of the weights"] = estimate.average
    parts["an update of the widest batch"] = counted.update
    parts["  of which gradients"] = counted.gradients
    parts["  of which activations"] = counted.activations
    parts["all"] = estimate.memory
    if estimate.device.type != "cuda":
        parts["of the process, with libraries and data"] = estimate.process
    facts("memory of training, at most", [(name, size(n)) for name, n in parts.items()])
    state = {"fixed": counted.state.fixed, "per token": counted.state.per_token}
    if counted.state.per_source_token:
        state["per token of the source"] = counted.state.per_source_token
    facts("state of one row in decoding", [(name, size(n)) for name, n in state.items()])
    epochs = train.max_steps * train.accumulate / estimate.batches
    about = "about " if estimate.sample else ""
    length = [("steps", f"{train.max_steps:,}"), ("epochs", f"{epochs:.1f} of {about}{estimate.batches:,} batches")]
    if probe is not None and estimate.seconds is not None:
        rate = counted.training_flops / counted.tokens * probe.tokens_per_second
        how = f"{number(rate)}FLOP/s; measured over {probe.updates} updates on {estimate.device}"
        length += [
            ("tokens per second", f"{probe.tokens_per_second:,.0f} ({how})"),
            ("time", f"{clock(estimate.seconds)}, and validation on top"),
        ]
    facts("training", length)


def prepared(result: Prepared) -> None:
    """Prints the sizes of prepared data, and how to train on them."""
    rows = [
        (split, f"{counts['rows']:,}", ", ".join(f"{n:,} of {column}" for column, n in counts["tokens"].items()))
        for split, counts in result.splits.items()
    ]
    table(f"{result.path}: {size(result.bytes)} in {result.shards} shards", "split", "rows", "tokens", rows=rows)
    use = f"To train on them, add prepared={shlex.quote(str(result.path))} to the recipe."
    console.print(Text(use), soft_wrap=True)


def facts(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Prints names and values under a title."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    console.print(Text(title, style="bold"))
    for name, value in rows:
        console.print(Text(f"  {name:{width}}  {value}"))


def findings(data: Findings) -> None:
    """Prints the data of a recipe, their faults, and rows as the model will see them."""
    for sentence in (*data.looked_at, *data.sources):
        console.print(Text(sentence), soft_wrap=not console.is_terminal)
    names = list(data.splits)
    splits = data.splits.values()
    rows = [
        ("examples", *(f"{s.examples:,}" for s in splits)),
        ("tokens", *(f"{sum(c.tokens for c in s.columns.values()):,}" for s in splits)),
        ("unknown tokens", *(f"{max((c.unknown for c in s.columns.values()), default=0):.2%}" for s in splits)),
        ("too long", *(f"{s.overlong:,} ({s.truncated:.2%})" for s in splits)),
        ("tokens lost to that", *(f"{s.lost:.2%}" for s in splits)),
        ("empty", *(f"{sum(c.empty for c in s.columns.values()):,}" for s in splits)),
        ("repeated", *(f"{s.duplicates:,}" for s in splits)),
        ("same source, other target", *(f"{s.disagreeing:,}" for s in splits)),
        ("target = source", *(f"{s.copies:,}" for s in splits)),
    ]
    table("data", "", *names, rows=rows)
    for name, split in list(data.splits.items())[:1]:
        for label, column in split.columns.items():
            histogram(f"tokens of a {label}, {name}: mean {column.mean:.1f}, longest {column.longest}", column)
    for (first, second), shared in data.overlap.items():
        console.print(f"{second} shares {shared:,} of {data.splits[second].examples:,} examples with {first}")
    of_it = " of what was looked at" if data.looked_at else ""
    if data.vocab_size:
        console.print(f"vocabulary of {data.vocab_size:,}, {data.unused:,} never used in training")
    console.print(f"{data.batches:,} batches in an epoch{of_it}, {data.padding:.1%} of their slots empty")
    for number_, row in enumerate(data.preview, 1):
        console.print(Text(f"row {number_}", style="bold"), Text("(green: learnt; grey: read only)", style="dim"))
        if row.source:
            console.print(Text("  source  "), pieces(row.source), sep="")
        console.print(Text("  target  "), pieces(row.target), sep="")
    for sentence in data.advice():
        console.print(Text(f"! {sentence}", style="bold yellow"), soft_wrap=not console.is_terminal)
    if not data.advice():
        console.print("nothing suspicious", style="green")


def histogram(title: str, column: Lengths) -> None:
    """Prints a bar per range of lengths."""
    most = max((bar.texts for bar in column.histogram), default=1)
    console.print(Text(title, style="bold"))
    for bar in column.histogram:
        blocks = "█" * max(round(BAR * bar.texts / most), bar.texts > 0)
        console.print(Text(f"  {f'{bar.low}-{bar.high}':>12} {blocks:{BAR}} {bar.texts:,}"))


def pieces(tokens: Iterable[Token]) -> Text:
    """Returns tokens beside one another in alternating shades; green is trained on."""
    out = Text()
    for i, token in enumerate(tokens):
        style = ("green" if token.trained else "bright_black") + (" underline" if i % 2 else "")
        out.append(token.text.replace("\n", "↵"), style=style)
    return out


def tokens(tokenizer: Tokenizer, line: str) -> None:
    """Prints a row of tokens, and their ids."""
    ids = tokenizer.encode(line)
    console.print(Text("|".join(piece.replace("\n", "↵") for piece in tokenizer.pieces(ids))), soft_wrap=True)
    console.print(Text(" ".join(map(str, ids)), style="dim"), soft_wrap=True)


def size(count: float) -> str:
    """Returns bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def number(count: float) -> str:
    """Returns a large number with its prefix."""
    for prefix in ("", "k", "M", "G", "T"):
        if count < 1000:
            return f"{count:.3g} {prefix}"
        count /= 1000
    return f"{count:.3g} P"
