"""The shape of the code: files and functions stay small; import-linter holds who imports whom."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "interp").rglob("*.py")) + sorted((ROOT / "experiments").rglob("*.py"))
PACKAGES = sorted(path.parent.name for path in (ROOT / "interp").glob("*/__init__.pyi"))
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 60, 7


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Those that count: keyword-only ones of a public function are its options, and do not."""
    options = 0 if not node.name.startswith("_") else len(node.args.kwonlyargs)
    return len(node.args.posonlyargs) + len(node.args.args) + options


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_size(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            length -= len((ast.get_docstring(node) or "").splitlines())
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"
            assert parameters(node) <= MOST_PARAMETERS, f"{node.name} has too many parameters"


def test_no_test_file_imports_another():
    """What several test files need is in `tests/helpers`."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            module = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
            if module and module.startswith("tests.") and ".test_" in module:
                found.append(f"{path}: {module}")
    assert found == []


@pytest.mark.slow
def test_nothing_imports_the_experiments():
    for path in (ROOT / "interp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("experiments")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_none_is_hidden_by_a_module(package):
    face = import_module(f"interp.{package}")
    for name in face.__all__:
        value = getattr(face, name)
        if inspect.ismodule(value):
            assert value.__name__ == f"interp.{package}.{name}"
    modules = {path.stem for path in (ROOT / "interp" / package).glob("*.py")}
    hidden = {n for n in face.__all__ if n in modules and not inspect.ismodule(getattr(face, n))}
    assert not hidden


def test_the_documented_subpackages_are_there_in_a_fresh_interpreter():
    """Each is reached from `interp` alone, and reaching it loads no torch."""
    names = [name for name in PACKAGES if name not in ("cli", "engine")]
    code = "import sys, interp\n" + "".join(f"interp.{name}\n" for name in names)
    code += "print('torch' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.strip() == "False"
