"""A hash of what a function does: its code, its defaults, what it closes over and what it calls.

Two functions of equal source that close over other numbers have other hashes; the same function in
another process has the same one. Functions of installed packages count by their name: their
versions are recorded with every run.
"""

import functools
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

# what was met before, by its id; the value is kept so that no other gets its id
Seen = dict[int, tuple[int, Any]]
_HOOKS_AND_TREES = re.compile(r"^_(parameters|buffers|modules|non_persistent.*|.*hooks.*)$")
_INSTALLED = tuple(sysconfig.get_paths()[key] for key in ("stdlib", "purelib", "platlib"))


def code_sha256(value: Any) -> str:
    """SHA-256 of a function's code, defaults, closure and the functions of a user's that it calls.

    Args:
        value: any callable (a function, a lambda, a method, a partial, an object, a module), or a
            tuple that holds some.
    """
    digest = hashlib.sha256()
    for piece in _pieces(value, {}):
        digest.update(piece.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _pieces(value: Any, seen: Seen) -> Iterator[str]:
    """What a value is, as texts that do not depend on the process."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | type(...)):
        yield f"{type(value).__name__} {value!r}"
        return
    if id(value) in seen:
        yield f"again {seen[id(value)][0]}"
        return
    seen[id(value)] = len(seen), value
    yield f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, CodeType):
        yield from _code_pieces(value, seen)
    elif isinstance(value, ModuleType | BuiltinFunctionType):
        yield value.__name__
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
        if not _is_installed(value.__module__):
            yield from _mapping_pieces(_own_members(value), seen)
    elif isinstance(value, FunctionType):
        yield from _function_pieces(value, seen)
    elif isinstance(value, MethodType):
        yield from _pieces(value.__func__, seen)
        yield from _pieces(value.__self__, seen)
    elif isinstance(value, functools.partial):
        for part in (value.func, value.args, value.keywords):
            yield from _pieces(part, seen)
    elif isinstance(value, torch.Tensor):
        numbers = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
        yield f"{tuple(value.shape)} {value.dtype} {_sha(numbers.tobytes())}"
    elif isinstance(value, np.ndarray):
        shown = value.tolist() if value.dtype.hasobject else _sha(value.tobytes())
        yield f"{value.shape} {value.dtype} {shown}"
    elif isinstance(value, TransformerBridge):
        yield "a model, whose weights are recorded with every run"
    elif isinstance(value, nn.Module):
        yield from _pieces(type(value), seen)
        yield from _mapping_pieces(value.state_dict(), seen)
        own = {k: v for k, v in vars(value).items() if not _HOOKS_AND_TREES.match(k)}
        yield from _mapping_pieces(own | dict(value.named_children()), seen)
    elif isinstance(value, Mapping):
        yield from _mapping_pieces(value, seen)
    elif isinstance(value, set | frozenset):
        # each by itself: the order of a set is the process'
        yield from sorted(" ".join(_pieces(one, {})) for one in value)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _pieces(one, seen)
    else:
        yield from _object_pieces(value, seen)


def _function_pieces(function: FunctionType, seen: Seen) -> Iterator[str]:
    yield f"{function.__module__}.{function.__qualname__}"
    if _is_installed(function.__module__):
        return
    yield from _code_pieces(function.__code__, seen)
    yield from _pieces(function.__defaults__, seen)
    yield from _pieces(function.__kwdefaults__, seen)
    for cell in function.__closure__ or ():
        try:
            yield from _pieces(cell.cell_contents, seen)
        except ValueError:  # not filled yet
            yield "empty cell"
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name
            yield from _pieces(function.__globals__[name], seen)


def _code_pieces(code: CodeType, seen: Seen) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars}"
    for constant in code.co_consts:
        yield from _pieces(constant, seen)


def _names(code: CodeType) -> set[str]:
    """The global names that a function's code, and the functions inside it, may read."""
    inner = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _object_pieces(value: Any, seen: Seen) -> Iterator[str]:
    """An object by its class and its attributes; one without attributes by its text."""
    yield from _pieces(type(value), seen)
    attributes = getattr(value, "__dict__", None)
    if attributes is not None:
        yield from _mapping_pieces(attributes, seen)
        return
    shown = repr(value)
    yield "" if " at 0x" in shown else shown


def _own_members(kind: type) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if not _is_installed(base.__module__):
            members |= {
                name: getattr(member, "__func__", member)
                for name, member in vars(base).items()
                if name not in ("__dict__", "__weakref__", "__doc__", "__module__")
            }
    return {n: m.fget if isinstance(m, property) else m for n, m in members.items()}


def _mapping_pieces(mapping: Mapping[Any, Any], seen: Seen) -> Iterator[str]:
    for key in sorted(mapping, key=str):
        yield str(key)
        yield from _pieces(mapping[key], seen)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_installed(module: str | None) -> bool:
    """Whether a module belongs to Python or to an installed package."""
    top = (module or "").partition(".")[0]
    if top == "interp" or (top in sys.stdlib_module_names and top != "__main__"):
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None)
    return file is not None and any(Path(file).is_relative_to(folder) for folder in _INSTALLED)
