"""Outside tasks/ and model/ nobody asks which model or which task it has: those answer with a value, or do the work."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import transduce
from transduce.config import kinds
from transduce.model import models
from transduce.model.architecture import ModelConfig
from transduce.tasks.task import TaskConfig

ROOT = Path(transduce.__file__).parent
OWN = ("tasks", "model")  # where a source or a document may be asked for
FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in OWN]


def below(cls: type) -> set[str]:
    """The names of the kinds of a class, without itself."""
    return {one.__name__ for direct in cls.__subclasses__() for one in (direct, *direct.__subclasses__())}


MODELS, TASKS = below(models.Model), {kind.__name__ for kind in kinds(TaskConfig.folder).values()}
NAMES = {*kinds(TaskConfig.folder), *kinds(ModelConfig.folder)}  # translate, language, ..., encoder-decoder, ...


def questions(source: str) -> Iterator[str]:
    """Yields what a module asks of a model or a task, as code."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, asked]):
                asks = names(asked) & (MODELS | TASKS)
            case ast.match_case():
                asks = names(node.pattern) & (MODELS | TASKS)
            case ast.Compare():
                constants = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
                asks = "kind" in names(node) and constants & NAMES
            case ast.If() | ast.IfExp() | ast.While():
                asks = names(node.test) & {"takes_source", "replies"}
            case _:
                asks = isinstance(node, ast.Attribute) and node.attr == "takes_source"
        if asks:
            yield ast.unparse(getattr(node, "test", node))


def names(node: ast.AST) -> set[str]:
    """The names and attributes in a piece of code."""
    found = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return found | {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}


def test_nobody_asks() -> None:
    found = {path.relative_to(ROOT).as_posix(): list(questions(path.read_text("utf-8"))) for path in FILES}
    assert {name: asked for name, asked in found.items() if asked} == {}


@pytest.mark.parametrize(
    "source",
    [
        "if model.takes_source: ...",
        "x = 1 if task.replies else 2",
        "assert isinstance(model, EncoderDecoder)",
        "ok = isinstance(one.model, Decoder | EncoderOnly)",
        "if isinstance(task := recipe.task, LanguageConfig): ...",
        'writes = recipe.task.kind != "language"',
        'if config.kind in ("encoder", "decoder"): ...',
        "match model:\n case EncoderOnly(): ...",
    ],
)
def test_what_a_question_looks_like(source: str) -> None:
    assert list(questions(source))


def test_the_kinds_are_known() -> None:
    assert {"EncoderDecoder", "Decoder", "EncoderOnly"} <= MODELS
    assert {"TranslateConfig", "LanguageConfig", "ClassifyConfig"} <= TASKS
    assert len(FILES) > 200
