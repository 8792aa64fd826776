"""Jinja templates of conversations, rendered where they can do nothing but write a bounded text in bounded steps.

A template comes with a model, so it is not trusted: jinja2's immutable sandbox keeps it from everything but its
variables, and every loop, call and text that it makes is counted here.
"""

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from transduce.errors import UserError

STEPS = 1_000_000  # rounds of loops and calls of one rendering
LONGEST = 1_000_000  # characters of any text that a template makes
OPENS, CLOSES = "\ue002", "\ue003"  # around what stands inside {% generation %}
PADS = {
    "center",
    "ljust",
    "rjust",
    "zfill",
    "expandtabs",
    "format",
    "format_map",
}  # methods that make long texts at once
WITHOUT = ("center", "indent", "wordwrap", "format", "pprint", "urlize", "random")  # filters that do, or that draw

Rendered = Callable[[Mapping[str, Any]], str]


class Refused(Exception):
    """The template refuses the conversation, by `raise_exception`."""


class Unbounded(Exception):
    """A template that goes beyond its bounds."""


class Meter:
    """The steps that a rendering may still take."""

    def __init__(self) -> None:
        self.left = STEPS

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unbounded(f"takes more than {STEPS:,} steps")

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yields the values of a loop, and counts them."""
        for value in values:
            self.step()
            yield value

    def sized(self, value: Any) -> Any:
        """Returns a value. Raises Unbounded where it is a text or a list that is too long."""
        if isinstance(value, str | list | tuple | dict):
            values = cast("Sequence[Any]", value)
            if len(values) > LONGEST:
                raise Unbounded(f"makes more than {LONGEST:,} characters")
            return values
        return value


@functools.lru_cache(maxsize=16)
def compiled(source: str) -> Rendered:
    """Returns what renders a template with its variables. Raises UserError where it is no template.

    What is returned raises UserError, too: where the template refuses what it is given, or does what none has to.
    """
    import jinja2
    from jinja2.exceptions import SecurityError

    environment = made()
    meters: list[Meter] = environment.meters
    try:
        code = environment.compile(bounded(environment.parse(source)))
        template = jinja2.Template.from_code(environment, code, environment.make_globals(None))
    except jinja2.TemplateSyntaxError as error:
        what = f"the chat template is not Jinja ({error.message}, line {error.lineno})"
        raise UserError(f"{what}; give another with task.chat, such as chatml") from None
    except RecursionError:
        raise UserError("the chat template is nested too deeply; give another with task.chat, such as chatml") from None

    def render(variables: Mapping[str, Any]) -> str:
        meters.append(Meter())
        try:
            return meters[-1].sized("".join(map(meters[-1].sized, template.generate(variables))))
        except Refused as refusal:
            raise UserError(f"the chat template refuses this conversation: {refusal}") from None
        except SecurityError as error:
            what = f"the chat template reaches for what no template needs ({error})"
            raise UserError(f"{what}; give another with task.chat, such as chatml") from None
        except Unbounded as error:
            raise UserError(f"the chat template {error}; give another with task.chat, such as chatml") from None
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            what = f"the chat template fails ({type(error).__name__}: {error})"
            raise UserError(f"{what}; check the roles of the messages, or give another with task.chat") from None
        except RecursionError:
            raise UserError("the chat template calls itself without end; give another with task.chat") from None
        finally:
            meters.pop()

    return render


def made() -> Any:
    """Returns the environment of templates: as transformers has it, with a meter, and without the clock."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} ... {% endgeneration %}: what the assistant writes, as transformers marks it."""

        tags = {"generation"}  # noqa: RUF012  # as jinja2 reads it

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            marks = [nodes.Output([nodes.TemplateData(mark)]).set_lineno(line) for mark in (OPENS, CLOSES)]
            return [marks[0], *body, marks[1]]

    class Environment(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "*", "**", "%"))

        def __init__(self) -> None:
            super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"])
            self.meters = list[Meter]()

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in PADS and super().is_safe_attribute(obj, attr, value)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "%" and isinstance(left, str):
                raise Unbounded("formats text with %, which may be of any length")
            if operator in ("*", "**"):
                sizes = [len(x) if isinstance(x, str | list | tuple) else abs(x) for x in (left, right)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                if max(sizes) > LONGEST or sizes[0] * sizes[1] > LONGEST or (operator == "**" and sizes[1] > 64):
                    raise Unbounded("multiplies to what is too long")
            return self.meters[-1].sized(super().call_binop(context, operator, left, right))

        def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            self.meters[-1].step()
            return self.meters[-1].sized(super().call(context, obj, *args, **kwargs))

    environment: Any = Environment()

    def metered(values: Iterable[Any]) -> Iterator[Any]:
        return environment.meters[-1].each(values)

    filters: dict[str, Any] = environment.filters

    def checked(own: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(own)
        def call(*args: Any, **kwargs: Any) -> Any:
            environment.meters[-1].step()
            return environment.meters[-1].sized(own(*args, **kwargs))

        return call

    environment.filters = {name: checked(own) for name, own in filters.items() if name not in WITHOUT}
    environment.filters["tojson"] = checked(as_json)
    environment.filters["metered"] = metered
    environment.filters["sized"] = checked(as_it_is)
    environment.globals = {"raise_exception": refuse, "namespace": environment.globals["namespace"], "range": range_of}
    return environment


def bounded(tree: Any) -> Any:
    """Returns the syntax tree of a template, whose loops and joined texts go through the meter."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def through(name: str, node: Any) -> Any:
        return nodes.Filter(node, name, [], [], None, None).set_lineno(node.lineno)

    class Metered(NodeTransformer):
        def visit_For(self, node: Any) -> Any:
            self.generic_visit(node)
            node.iter = through("metered", node.iter)
            return node

        def visit_Concat(self, node: Any) -> Any:
            self.generic_visit(node)
            return through("sized", node)

    return Metered().visit(tree)


def as_it_is(value: Any) -> Any:
    return value


def refuse(message: str) -> None:
    raise Refused(message)


def range_of(*ends: int) -> range:
    numbers = range(*ends)
    if len(numbers) > STEPS:
        raise Unbounded(f"takes more than {STEPS:,} steps")
    return numbers


def as_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **_: Any) -> str:
    """Returns a value as JSON, without the escapes of HTML that Jinja's own filter has."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=None if indent is None else min(int(indent), 8))
