"""`transduce catalogue`: published models, what each changed, and who comes from whom."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transduce.cli import catalogue_documents as documents
from transduce.cli.documents import document, option
from transduce.cli.output import for_programs
from transduce.cli.words import fold
from transduce.errors import UserError

if TYPE_CHECKING:
    from transduce.catalogue.entry import Entry

app = typer.Typer(help="Browse published models: shapes, sizes, sources, family tree.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="An id of `transduce catalogue ls`.", show_default=False)]


@app.command("ls")
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(help="Words of the name, lab or use.", show_default=False)
    ] = None,
    family: Annotated[str | None, typer.Option(help="encoder, decoder, encoder-decoder, system, vision, ...")] = None,
    objective: Annotated[str | None, typer.Option(help="masked-lm, causal-lm, ...")] = None,
    year: Annotated[str | None, typer.Option(help="2019, 2019..2021, 2019.. or ..2021")] = None,
    sort: Annotated[str | None, typer.Option(help="id, year, params or lab")] = None,
    json: Annotated[bool, option(f"a list of objects with {documents.ENTRY}")] = False,
) -> None:
    """List models; all conditions must hold."""
    from transduce.catalogue import query

    entries = query.select(family, objective, year, " ".join(words or ()), sort)
    if json:
        return document([documents.entry(one) for one in entries])
    if not entries:
        print("no model meets all of these conditions", file=sys.stderr)
        return
    width = max(len(entry.id) for entry in entries)
    print(f"{'id':{width}}  year  {'family':22}  {'parameters':>17}  objective")
    for entry in entries:
        count = query.params(entry)
        size = "" if count is None else f"{'' if entry.counted else 'about '}{count:,}"
        print(f"{entry.id:{width}}  {entry.year}  {entry.family:22}  {size:>17}  {', '.join(entry.objective)}")
    if sys.stdout.isatty():
        print(f"{len(entries)} models; transduce catalogue show {entries[-1].id}", file=sys.stderr)


@app.command()
def show(name: Name, json: Annotated[bool, option(documents.ENTRY)] = False) -> None:
    """Everything about one model."""
    from transduce.catalogue.entry import entry
    from transduce.catalogue.lineage import chain, shape

    model = entry(name)
    if json:
        return document(documents.entry(model))
    print(f"{model.name} ({model.lab}, {model.year})")
    fact("changes", model.changes)
    fact("from", " <- ".join(one.id for one in chain(model)))
    fact("source", f"{model.source}  {model.link}".strip())
    fact("family", model.family + (f"; {model.heading} in arXiv:2302.07730" if model.heading else ""))
    fact("objective", ", ".join(model.objective))
    fact("use", model.use)
    for number, stage in enumerate(model.training, 1):
        fact("training" if number == 1 else "", f"{number}. {stage}")
    fact("parameters", parameters(model))
    if model.published is not None and model.published.active:
        fact("", f"{model.published.active:,} of them active for a token, as published")
    own_shape = shape(model)
    if own_shape:
        owner = next(one.id for one in chain(model) if one.shape)
        fact("shape", "as published" if owner == model.id else f"that of {owner}")
        for key, value in own_shape.items():
            mark = "  (assumed)" if key in model.assumed else ""
            print(f"  {key} = {plain(value)}{mark}")
    if not model.buildable:
        fact("not built", "its shape was not published, or too little of it")
    fact("evidence", model.evidence)
    if model.fitted:
        fact("fitted", "what is not published was chosen to meet the printed total: agreement proves nothing")
    fact("notes", model.notes)


@app.command()
def params(name: Name, json: Annotated[bool, option(documents.COUNT)] = False) -> None:
    """Count the parameters of one model, part by part, and what it costs."""
    from transduce.catalogue.entry import entry
    from transduce.catalogue.ledger import line, remarks

    counted = line(entry(name))
    if json:
        return document(documents.line(counted))
    if counted.costs is None:
        raise UserError(counted.why)
    costs, total = counted.costs, f"{counted.params:,}"
    for part, count in [*costs.parts.items(), *counted.beside.items()]:
        print(f"{count:>{len(total)},}  {part.replace('_', ' ')}")
    equal = (
        ""
        if counted.expected is None
        else "; another count gives " + ("the same" if counted.expected == counted.params else f"{counted.expected:,}")
    )
    print(f"{total}  parameters{equal}")
    if costs.active != costs.params:
        fact("active", f"{costs.active:,} for a token")
    fact("forward", f"{rounded(costs.flops)} floating-point operations for a token, without the scores of attention")
    if costs.source_flops:
        fact("", f"{rounded(costs.source_flops)} for a token of the source")
    if costs.state:
        whole = f"{rounded(costs.full)} bytes for all {costs.context:,}"
        fact("memory", f"{costs.state:,} bytes for a token that the decoder has read, in 2 bytes a number; {whole}")
    if costs.source_state:
        fact("", f"{costs.source_state:,} for a token of the source")
    fact("training", f"{rounded(costs.training_bytes)} bytes: weights, gradients and the moments of AdamW in float32")
    fact("notes", "; ".join(remarks(counted)))


@app.command()
@for_programs
def counts(
    out: Annotated[Path | None, typer.Option(help="Write the table into this file.", show_default=False)] = None,
    json: Annotated[bool, option(f"a list of objects with {documents.COUNT}")] = False,
) -> None:
    """Count all models of text, as a table in Markdown."""
    from transduce.catalogue import ledger

    if json:
        return document(map(documents.line, ledger.lines()))
    text = ledger.page(ledger.lines())
    if out is None:
        sys.stdout.write(text)
        return
    out.write_text(text, encoding="utf-8")
    print(out)


@app.command()
def tree(
    name: Annotated[str | None, typer.Argument(help="Only what came of this one.", show_default=False)] = None,
    svg: Annotated[Path | None, typer.Option(help="Draw it into this file.", show_default=False)] = None,
    json: Annotated[bool, option("a list of objects with label, ids, children")] = False,
) -> None:
    """The family tree; sizes of one model are one line."""
    from transduce.catalogue import picture
    from transduce.catalogue.lineage import tree as grown

    nodes = grown(name)
    if json:
        return document(documents.tree(nodes))
    if svg is not None:
        svg.write_text(picture.svg(nodes), encoding="utf-8")
        print(svg)
        return
    for line in picture.lines(nodes):
        print(line)


@app.command()
def diff(
    first: Name,
    second: Name,
    json: Annotated[bool, option("first, second, differences (key: [value, value])")] = False,
) -> None:
    """Where the shapes of two models differ."""
    from transduce.catalogue.entry import entry
    from transduce.catalogue.lineage import differences

    one, other = entry(first), entry(second)
    if json:
        return document(documents.differences(one, other, differences(one, other)))
    rows = [("", one.id, other.id)]
    rows += [(pair.key, plain(pair.first), plain(pair.second)) for pair in differences(one, other)]
    if len(rows) == 1:
        print(f"{one.id} and {other.id} have the same shape")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for key, a, b in rows:
        print(f"{key:{widths[0]}}  {a:{widths[1]}}  {b}")


def fact(key: str, value: str) -> None:
    """Prints a line of `show`, folded; nothing for an empty value."""
    if value:
        print(fold(f"{key:11} {value}", sys.stdout, 12))


def plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def parameters(model: "Entry") -> str:
    """Returns the published and the counted parameters, and by how much they differ.

    The count is Hugging Face's, which ours meets for every model of text (`transduce catalogue counts` makes it
    again): to look something up, torch need not be there.
    """
    from transduce.catalogue.entry import TEXT
    from transduce.catalogue.lineage import counted, deviation, off_by

    words, scope = list[str](), ""
    if model.published is not None:
        scope = "" if model.published.scope == "all" else f" ({model.published.scope})"
        words.append(f"{model.published.label or f'{model.published.params:,}'} published{scope}")
    count = counted(model)
    if count is not None:
        text, of = model.family in TEXT, count.of if count is model.counted else ""
        how = "counted" if model.buildable else "counted of attention and feed-forwards alone"
        as_ = f" (as {of})" if text else f" ({of})"
        words.append(f"{count.params:,} {how if text else 'counted by others'}" + (as_ if of else ""))
    off = deviation(model, None if count is None else count.params)
    if off is not None:
        words.append(off_by(off) + (" there" if scope else ""))
    return ", ".join(words)


def rounded(number: int) -> str:
    """Returns three digits and a word."""
    for size, word in ((10**15, "quadrillion"), (10**12, "trillion"), (10**9, "billion"), (10**6, "million")):
        if number >= size:
            return f"{number / size:.3g} {word}"
    return f"{number:,}"
