"""The Python functions that a task's definition names."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from interp.tasks.task import Task


def functions_of(task: Task) -> list[Callable[..., Any]]:
    """The functions that a task's definition names (`!function`), and its class.

    Those of a group are its members', in their order.

    Args:
        task: a task, or a group of tasks.

    Returns:
        Functions and classes; empty where the definition names none.
    """
    harness = task._harness
    members = getattr(harness, "members", (harness,))
    functions: list[Callable[..., Any]] = []
    for member in members:
        # two classes of this package come before the one that the definition names (`fixed_task`)
        functions.append(type(member).__mro__[2])
        config = member.config
        names = (
            [field.name for field in dataclasses.fields(config)]
            if dataclasses.is_dataclass(config)
            else list(vars(config))
        )
        functions += [f for name in names for f in _callables(getattr(config, name, None))]
    return functions


def _callables(value: Any) -> Iterator[Callable[..., Any]]:
    if callable(value):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _callables(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _callables(item)
