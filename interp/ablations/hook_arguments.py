"""Whether a user's own hook takes what the positions of its batch are."""

import inspect
from collections.abc import Callable
from typing import Any

ARGUMENT = "positions"
"""The argument by which a hook asks."""


def asks_positions(function: Callable[..., Any]) -> bool:
    """Whether a hook has an argument `positions`."""
    try:
        return ARGUMENT in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a callable without a signature
        return False


def needs_positions(function: Callable[..., Any]) -> bool:
    """Whether a hook has an argument `positions` without a default."""
    if not asks_positions(function):
        return False
    return inspect.signature(function).parameters[ARGUMENT].default is inspect.Parameter.empty
