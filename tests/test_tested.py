"""Every module of the core has a test of its name, or says where it is tested, and that test knows it."""

import ast
import re
from pathlib import Path

import pytest

import transduce

ROOT, TESTS = Path(transduce.__file__).parent, Path(__file__).parent
FOLDERS = ("model", "training", "runs", "tasks", "generate", "optim", "tune")
MODULES = [
    path.relative_to(ROOT)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


def own_test(module: Path) -> Path | None:
    """The test of the name of a module: in the folder that mirrors its own, or in that of its room."""
    name = f"test_{module.stem}.py"
    there = (TESTS / module.parent / name, TESTS / module.parts[0] / name)
    return next((path for path in there if path.is_file()), None)


def knows(test: str, module: ast.Module, path: Path) -> bool:
    """Whether a test names something of a module, its kind or its path, or walks all kinds of its folder."""
    names = {one.name for one in module.body if isinstance(one, ast.ClassDef | ast.FunctionDef)}
    kinds = {
        one.value.value
        for one in ast.walk(module)
        if isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "kind" and isinstance(one.value, ast.Constant)
    }
    dotted = ".".join(("transduce", *path.with_suffix("").parts))
    words = {*names, *(f'"{kind}"' for kind in kinds), f"{dotted} import"}
    return "kinds(" in test or any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", test) for word in words)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.as_posix())
def test_a_module_is_tested(module: Path) -> None:
    if own_test(module) is not None:
        return
    code = ast.parse((ROOT / module).read_text("utf-8"))
    named = re.findall(r"Tested in (tests/[\w/]+\.py)", " ".join((ast.get_docstring(code) or "").split()))
    assert named, f"neither test_{module.stem}.py nor a sentence `Tested in tests/...` in the docstring"
    for name in named:
        test = TESTS.parent / name
        assert test.is_file(), f"{name} is not there"
        assert knows(test.read_text("utf-8"), code, module), f"{name} knows nothing of {module}"
