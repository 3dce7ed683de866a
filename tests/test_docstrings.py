"""Every public function says what it does, and what each of its parameters means."""

import inspect
import re
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


def test_modules_that_a_text_names_are_beside_it():
    paths = sorted((ROOT / "interp").rglob("*.py"))
    named = {path: re.findall(r"`(\w+\.py)`", path.read_text()) for path in paths}
    assert sum(map(len, named.values())) > 10
    gone = {
        str(path.relative_to(ROOT)): [name for name in names if not (path.parent / name).exists()]
        for path, names in named.items()
    }
    assert {path: names for path, names in gone.items() if names} == {}
