"""Every annotation of the package is checked whenever a test calls it: types and shapes.

`jaxtyping`'s own import hook binds the arguments of every call anew to compare the shapes of
tensors with each other, which doubles the time of the tests. Only functions that name shapes need
that; the checks of all others are compiled once, by beartype. They are compiled when a function is
first called: a test calls a few of some thousands.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

_with_shapes = jaxtyping.jaxtyped
_with_types = beartype(conf=BeartypeConf(violation_type=TypeError))


def install(*packages: str) -> None:
    """Check the calls of some packages, which must not be imported yet."""
    jaxtyping.jaxtyped = _checked  # type: ignore[assignment]
    jaxtyping.install_import_hook(list(packages), "beartype.beartype")


def _checked(function: Any = None, *, typechecker: Any) -> Any:
    """In the place of `jaxtyping.jaxtyped`; the type checker is always beartype."""
    if function is None:
        return lambda given: _checked(given, typechecker=typechecker)
    if inspect.isclass(function):
        return _of_class(function)
    if isinstance(function, property):
        return property(
            *(
                f and _at_first_call(f, "_compiled")
                for f in (function.fget, function.fset, function.fdel)
            )
        )
    return _at_first_call(function, "_compiled")


def _of_class(checked: Any) -> Any:
    """The fields of a dataclass are those of the `__init__` that it is given."""
    if not dataclasses.is_dataclass(checked):
        return checked
    fills_fields = vars(checked).get("__init__")
    if fills_fields is None:
        return checked
    if any(map(_names_shapes, fills_fields.__annotations__.values())):
        return _with_shapes(checked, typechecker=beartype)
    type.__setattr__(checked, "__init__", _at_first_call(fills_fields, "_with_types"))
    return checked


def _at_first_call(function: Callable[..., Any], check: str) -> Any:
    """The function as it is checked, which is made when it is first called.

    Until then it holds no more than the name of what makes it: `datasets` hashes a function with
    all that it holds, and all of beartype took it a minute.
    """
    checked: Callable[..., Any] | None = None

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            from tests.helpers import type_checks

            checked = getattr(type_checks, check)(function)
        assert checked is not None
        return checked(*args, **kwargs)

    return call


def _compiled(function: Callable[..., Any]) -> Any:
    annotations = getattr(function, "__annotations__", {}).values()
    if any(isinstance(annotation, str) for annotation in annotations):
        # what is quoted may exist for mypy alone, which jaxtyping passes over
        return _with_shapes(function, typechecker=beartype)
    if not any(map(_names_shapes, annotations)):
        return _with_types(function)
    if inspect.isgeneratorfunction(function):
        # its body, and with it beartype's checks, runs among the shapes of whoever draws from it
        return _with_shapes(function, typechecker=beartype)
    return _with_shapes(_with_types(function), typechecker=None)


def _names_shapes(annotation: Any) -> bool:
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_names_shapes, get_args(annotation)))
