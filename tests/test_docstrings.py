"""Every public function says what it does, what each parameter means, and what it returns."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent.name for path in (ROOT / "interp").glob("*/__init__.pyi"))


def public_functions(package: str) -> list:
    face = import_module(f"interp.{package}")
    values = [getattr(face, name) for name in face.__all__]
    return [inspect.unwrap(value) for value in values if inspect.isfunction(value)]


def undescribed(function) -> list[str]:
    """Parameters that the section `Args` of a Google docstring does not name."""
    sections = re.split(r"^(\w+):$", inspect.getdoc(function) or "", flags=re.MULTILINE)
    described = dict(zip(sections[1::2], sections[2::2], strict=True)).get("Args", "")
    named = re.findall(r"^    \**(\w+): ", described, flags=re.MULTILINE)
    return [name for name in inspect.signature(function).parameters if name not in named]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_parameter_of_a_public_function_is_described(package):
    found = {function.__qualname__: undescribed(function) for function in public_functions(package)}
    assert {name: missing for name, missing in found.items() if missing} == {}


def test_a_parameter_that_is_not_described_is_found():
    def half(model, layer):
        """Do something.

        Args:
            model: a bridge.

        Raises:
            UserError: layer: of another kind.
        """

    assert undescribed(half) == ["layer"]
    assert public_functions("stats")


def in_a_face() -> set[tuple[Path, str]]:
    """Module and name of all that the packages offer."""
    found = set()
    for face in (ROOT / "interp").rglob("__init__.pyi"):
        for line in ast.parse(face.read_text()).body:
            if isinstance(line, ast.ImportFrom) and line.level == 1:
                module = face.parent.joinpath(*(line.module or "").split(".")).with_suffix(".py")
                found |= {(module, name.name) for name in line.names}
    return found


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Nodes of a function's body, without those of functions inside it."""
    waiting: list[ast.AST] = [*function.body]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            waiting += ast.iter_child_nodes(node)


def returns_unsaid(function: ast.FunctionDef, *, public: bool) -> bool:
    """Whether a docstring owes the section `Returns` (of a generator or context: `Yields`).

    Owed by every function that a package offers, and by every other whose docstring is longer than
    a line; a docstring of one line names what is returned.
    """
    text = ast.get_docstring(function) or ""
    returned = ast.unparse(function.returns) if function.returns else "None"
    if returned in ("None", "NoReturn") or not (public or "\n" in text):
        return False
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(function))
    wanted = "Yields" if yields else "Returns"
    return re.search(rf"^{wanted}:\n    \S", text, flags=re.MULTILINE) is None


@pytest.mark.slow
def test_every_function_that_returns_something_says_what():
    offered = in_a_face()
    assert len(offered) > 400
    unsaid = [
        f"{path.relative_to(ROOT)}:{function.name}"
        for path in sorted((ROOT / "interp").rglob("*.py"))
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef) and not function.name.startswith("_")
        if returns_unsaid(function, public=(path, function.name) in offered)
    ]
    assert unsaid == []


@pytest.mark.parametrize(
    ("text", "public", "unsaid"),
    [
        ("The layers.", True, True),
        ("The layers.", False, False),
        ("The layers.\n\n    Args:\n        model: a bridge.\n    ", False, True),
        ("The layers.\n\n    Yields:\n        Numbers.\n    ", True, True),
        ("The layers.\n\n    Returns:\n\n    Raises:\n        Error: none.\n    ", True, True),
        ("The layers.\n\n    Returns:\n        Numbers.\n    ", True, False),
    ],
)
def test_a_function_that_does_not_say_what_it_returns_is_found(text, public, unsaid):
    code = f'def layers(model) -> list[int]:\n    """{text}"""\n'
    (function,) = ast.parse(code).body
    assert returns_unsaid(function, public=public) == unsaid


def refuses_unsaid(function: ast.FunctionDef) -> bool:
    """Whether a function raises a UserError itself that its docstring does not name."""
    raised = [ast.unparse(node) for node in own_nodes(function) if isinstance(node, ast.Raise)]
    refuses = any("UserError" in one for one in raised)
    return refuses and "UserError" not in (ast.get_docstring(function) or "")


@pytest.mark.slow
def test_every_public_function_that_refuses_something_says_so():
    unsaid = [
        f"{path.relative_to(ROOT)}:{name}"
        for path, name in sorted(in_a_face())
        if path.exists()
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef) and function.name == name
        if refuses_unsaid(function)
    ]
    assert unsaid == []


def test_a_refusal_that_is_not_said_is_found():
    code = 'def layers(model):\n    """{}"""\n    raise UserError("no layers")\n'
    unsaid, said = (
        ast.parse(code.format(text)).body[0]
        for text in ("The layers.", "The layers.\n\n    Raises:\n        UserError: none.\n    ")
    )
    assert (refuses_unsaid(unsaid), refuses_unsaid(said)) == (True, False)


def test_modules_that_a_text_names_are_beside_it():
    paths = sorted((ROOT / "interp").rglob("*.py"))
    named = {path: re.findall(r"`(\w+\.py)`", path.read_text()) for path in paths}
    assert sum(map(len, named.values())) > 10
    gone = {
        str(path.relative_to(ROOT)): [name for name in names if not (path.parent / name).exists()]
        for path, names in named.items()
    }
    assert {path: names for path, names in gone.items() if names} == {}


def undescribed_constants(module: Path, names: set[str]) -> list[str]:
    """Constants of a module that no text below them describes, as the reference shows it."""
    body = ast.parse(module.read_text()).body
    found = []
    for line, below in zip(body, [*body[1:], ast.Pass()], strict=True):
        match line:
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                described = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                found += [name] if name in names and not described else []
    return found


def test_every_public_constant_is_described():
    names_of: dict[Path, set[str]] = {}
    for module, name in in_a_face():
        if module.is_file():  # else what is offered is a package
            names_of.setdefault(module, set()).add(name)
    found = {module: undescribed_constants(module, names) for module, names in names_of.items()}
    assert {str(module): missing for module, missing in found.items() if missing} == {}


def test_a_constant_that_is_not_described_is_found(tmp_path):
    module = tmp_path / "constants.py"
    module.write_text('FIRST = 1\n"""The first."""\nSECOND: int = 2\nTHIRD = 3\n')
    assert undescribed_constants(module, {"FIRST", "SECOND"}) == ["SECOND"]
