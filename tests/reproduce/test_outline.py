"""What of a module counts: what computes, not what is said, refused or shown."""

import ast
from pathlib import Path

import pytest

from transduce.reproduce.outline import asked_for, outline, shape
from transduce.reproduce.provenance import PACKAGE, Source

BEFORE = '''"""A module."""
from math import cos, sin, tan

SCALE = 2.0
OTHER = 5
TABLE = {"one": sin}
configure(rounding=1)

def helper(x):
    return 7 * x

def unused(x):
    return cos(x)

class Base:
    rate: float = 0.1

class One(Base):
    """Says what."""
    claim = "It holds."
    minutes: float = 3
    size: int = 4

    def run(self, x: int) -> float:
        "Runs."
        if x < 0:
            why = "small"
            raise ValueError(f"{x} is too {why}")
        assert x < 100, "large"
        require_even(x)
        y = SCALE * TABLE["one"](x)  # a comment
        return helper(y)

    def other(self):
        return tan(1)

    def plot(self):
        return 1
'''
ROOTS = ("One.run", "helper")


def text(source: str, *, experiment: bool = True) -> str:
    return str(shape(outline(source, ROOTS, experiment=experiment)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A module", "Another"),
        ("Says what", "Says more"),
        ('"Runs."', '"Walks."'),
        ("It holds", "It does not"),
        ("float = 3", "float = 4"),
        ("# a comment", "# two"),
        ("return 1\n", "return 2\n"),
        ("x: int", "x: float"),
        ("-> float", "-> int"),
        ("is too", "is far too"),
        ("x < 0", "x < 1"),
        ("x < 100", "x < 50"),
        ("require_even(x)", "require_odd(x)"),
        ("OTHER = 5", "OTHER = 6"),
        ("cos(x)", "2 * cos(x)"),
        ("tan(1)", "tan(2)"),
        ("import cos, sin, tan", "import acos, cos, sin, tan"),
    ],
)
def test_what_does_not_compute_does_not_count(old: str, new: str) -> None:
    assert BEFORE.count(old) == 1
    assert text(BEFORE) == text(BEFORE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("rounding=1", "rounding=2"),  # a statement that acts by itself
        ("7 * x", "8 * x"),
        ("SCALE * TABLE", "SCALE + TABLE"),
        ("return helper(y)", "return y"),
        ("rate: float = 0.1", "rate: float = 0.2"),
        ("size: int = 4", "size: int = 5"),
        ("One(Base)", "One"),
        ("import cos, sin, tan", "import asin as sin, cos, tan"),
        ('{"one": sin}', '{"one": abs}'),
        ("def other", "def run_more"),  # a method may stand in for that of a base class
        ("if x < 0:", "if (x := x + 1) < 0:"),
        ("def run(self, x: int)", "def run(self, x: int = 3)"),
    ],
)
def test_what_computes_counts(old: str, new: str) -> None:
    assert BEFORE.count(old) == 1
    assert text(BEFORE) != text(BEFORE.replace(old, new))


def test_only_of_an_experiment_are_claims_and_pictures_words() -> None:
    for old, new in (("It holds", "It does not"), ("return 1\n", "return 2\n")):
        changed = BEFORE.replace(old, new)
        same = text(BEFORE, experiment=False) == text(changed, experiment=False)
        assert same is (old == "return 1\n"), "a method that did not run has only its name"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("model/ops/*.py")), ids=lambda path: path.stem)
def test_any_other_line_in_any_function_counts(path: Path) -> None:
    """One more statement in a function changes the outline if the function is a root, and only then."""
    source = path.read_text("utf-8")
    names = list(functions(ast.parse(source)))
    for name in names:
        tree = ast.parse(source)
        functions(tree)[name].body.append(ast.parse("count = 0").body[0])
        roots = {other for other in names if other != name}
        assert digest(source, {name}) != digest(ast.unparse(tree), {name}), name
        assert digest(source, roots) == digest(ast.unparse(tree), roots), name


def digest(source: str, roots: set[str]) -> str:
    return str(shape(outline(source, roots)))


def functions(tree: ast.AST, prefix: str = "") -> dict[str, ast.FunctionDef]:
    """By qualified name, those of a module and of its classes; of two of a name, such as those of a property, none."""
    parts = [part for part in ast.iter_child_nodes(tree) if isinstance(part, ast.FunctionDef | ast.ClassDef)]
    once = [part for part in parts if sum(part.name == other.name for other in parts) == 1]
    found: dict[str, ast.FunctionDef] = {}
    for part in once:
        if isinstance(part, ast.FunctionDef):
            found[f"{prefix}{part.name}"] = part
        else:
            found |= functions(part, f"{prefix}{part.name}.")
    return found


MEMBERS = """
class One:
    scale: ClassVar[float] = 2.0
    size, other = 3, 4
    rate: float = 0.1
    _hidden = 5

    def run(self):
        return self.scale

    def forward(self):
        return 1

    def stop(self):
        return 2
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("scale: ClassVar[float] = 2.0", "scale: ClassVar[float] = 3.0", False),
        ("size, other = 3, 4", "size, other = 3, 5", True),
        ("rate: float = 0.1", "rate: float = 0.2", False),  # a field, which settings may fill
        ("_hidden = 5", "_hidden = 6", False),
        ("def forward", "def backwards", False),  # which torch calls by name
        ("def stop", "def halt", True),
        ("    def stop", "    def __post_init__(self):\n        require_positive(self.rate)\n\n    def stop", True),
        ("    def stop", "    def __post_init__(self):\n        self.rate = 3\n\n    def stop", False),
    ],
)
def test_a_member_counts_if_it_is_asked_for(old: str, new: str, same: bool) -> None:
    def text(source: str) -> str:
        members = set(asked_for(outline(source, ["One.run"])))
        return str(shape(outline(source, ["One.run"], members=members)))

    assert MEMBERS.count(old) == 1
    assert (text(MEMBERS) == text(MEMBERS.replace(old, new))) is same


def test_a_file_that_is_gone_is_another() -> None:
    name = {"LayerNorm.build"}
    digests = Source(PACKAGE).digests({"transduce.model.norms.norm": name, "transduce.model.gone": name})
    assert len(set(digests.values())) == 2
