"""The shape of the code: data flows one way, files stay small, nothing heavy at import."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# each may import those before it, never one behind it
FLOW = [
    "errors",
    "model_files",
    "placement",
    "device_hooks",
    "models",
    "ablations",
    "pruning",
    "tasks",
    "chat",
    "requests",
    "replay",
    "narrowing",
    "prefix",
    "shortcuts",
    "packing",
    "token_budget",
    "targets",
    "hook_scoring",
    "entering",
    "stacking",
    "scoring",
    "decode",
    "harness",
    "records",
    "metrics",
    "stats",
    "sampling",
    "resampled",
    "texts",
    "units",
    "identity",
    "plan",
    "execution",
    "results",
    "exports",
    "transport",
    "distributed",
    "sweeps",
    "estimate",
    "attention",
    "lens",
    "similarity",
    "comparison",
    "figures",
    "report",
    "cli",
]
SOURCES = sorted((ROOT / "interp").rglob("*.py")) + sorted((ROOT / "experiments").rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 400, 60, 7


def imported(path: Path) -> set[str]:
    """Names of the modules of the package that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "interp":
                names = [f"interp.{alias.name}" for alias in node.names]
            found |= {n.split(".")[1] for n in names if n.startswith("interp.")}
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {n.split(".")[1] for n in names if n.startswith("interp.")}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_size(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            length -= len((ast.get_docstring(node) or "").splitlines())
            parameters = len(node.args.args) + len(node.args.kwonlyargs)
            assert length <= MOST_FUNCTION_LINES, f"{node.name} has {length} lines"
            assert parameters <= MOST_PARAMETERS, f"{node.name} has {parameters} parameters"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "interp").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT))
)
def test_data_flows_one_way(path):
    module = path.relative_to(ROOT / "interp").parts[0].removesuffix(".py")
    if module == "__init__":
        return
    assert module in FLOW, f"{module} has no place in the flow"
    later = FLOW[FLOW.index(module) + 1 :]
    assert not imported(path) & set(later)


def test_nothing_imports_the_experiments():
    for path in (ROOT / "interp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("experiments")


def test_public_functions_are_documented():
    bare = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in SOURCES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare
