"""A hash of code and of the values that it uses, so that a changed function is noticed."""

import functools
import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_LIBRARIES = tuple(
    str(Path(sysconfig.get_paths()[name]))
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
# versions and the package's own source are compared by themselves
_OURS = "interp"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def code_sha256(*values: Any) -> str:
    """SHA-256 of functions and classes: their code, defaults and closure, and what they call.

    Functions and global values that the code names are followed, as long as they are the user's:
    those of installed libraries and of this package count by their names. Tensors and arrays count
    by their bytes, other objects by their attributes. Where code stands in a file, its comments and
    its docstring count for nothing.

    Args:
        *values: functions, classes, objects, or mappings and sequences of them.

    Returns:
        64 hexadecimal digits.
    """
    walk = _Walk()
    for value in values:
        walk.add(value)
    return walk.digest.hexdigest()


def is_library(module: str | None) -> bool:
    """Whether a module is installed or part of Python, so that a version stands for its code.

    Args:
        module: its dotted name; None where something has no module.

    Returns:
        False for a script, a notebook and a module of the user's own.
    """
    if not module or module == "__main__":
        return False
    if module.partition(".")[0] in (_OURS, *sys.builtin_module_names):
        return True
    module_found = sys.modules.get(module)
    path = getattr(module_found, "__file__", None)
    if path is None:
        spec = getattr(module_found, "__spec__", None)
        return spec is not None and spec.origin in ("built-in", "frozen")
    return str(path).startswith(_LIBRARIES)


class _Walk:
    """Goes through everything that a value reaches, each object once."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        # what has been met is kept, so that no other object takes its address
        self.met: dict[int, tuple[int, Any]] = {}

    def add(self, value: Any) -> None:
        """Take one value into the hash."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            self._say(type(value).__name__, repr(value))
            return
        if id(value) in self.met:
            self._say("again", self.met[id(value)][0])
            return
        self.met[id(value)] = (len(self.met), value)
        if isinstance(value, ModuleType):
            self._say("module", value.__name__)
        elif isinstance(value, CodeType):
            self._code(value)
        elif isinstance(value, FunctionType):
            self._function(value)
        elif isinstance(value, MethodType):
            self._say("method", value.__name__)
            self.add(value.__func__)
            self.add(value.__self__)
        elif isinstance(value, functools.partial):
            self._say("partial", "")
            for part in (value.func, value.args, value.keywords):
                self.add(part)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, BuiltinFunctionType):
            self._say("built-in", value.__qualname__)
        else:
            self._object(value)

    def _function(self, function: FunctionType) -> None:
        inner = inspect.unwrap(function)
        if inner is not function:
            self.add(inner)
        name = f"{function.__module__}.{function.__qualname__}"
        if is_library(function.__module__):
            # a function that a library made around the user's own still closes over it
            self._say("library", name)
            self._cells(function)
            return
        self._say("function", function.__name__)
        self.add(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        self._cells(function)
        for name in _names(function.__code__):
            if name in function.__globals__:
                self._say("global", name)
                self.add(function.__globals__[name])
                self._members(function.__globals__[name], function.__code__)

    def _members(self, value: Any, code: CodeType) -> None:
        """Of a module of the user's: what the code may take from it."""
        if isinstance(value, ModuleType) and not is_library(value.__name__):
            for name in _names(code):
                if name in vars(value):
                    self._say("member", name)
                    self.add(vars(value)[name])

    def _cells(self, function: FunctionType) -> None:
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # it is not filled yet
                self._say("cell", "empty")

    def _code(self, code: CodeType) -> None:
        constants = code.co_consts
        documented = _has_docstring(code)
        self._say("code", code.co_code.hex())
        for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars):
            self._say("names", names)
        for place, constant in enumerate(constants):
            # without a docstring its place is taken by None
            self.add(None if documented and place == 0 else constant)

    def _class(self, kind: type) -> None:
        self._say("class", f"{kind.__module__}.{kind.__qualname__}")
        if is_library(kind.__module__):
            return
        for base in kind.__bases__:
            self.add(base)
        for name, member in sorted(vars(kind).items()):
            if name in ("__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"):
                continue
            self._say("attribute", name)
            if isinstance(member, classmethod | staticmethod):
                member = member.__func__
            if isinstance(member, property):
                for part in (member.fget, member.fset, member.fdel):
                    self.add(part)
            else:
                self.add(member)

    def _object(self, value: Any) -> None:
        self.add(type(value))
        if isinstance(value, Mapping):
            for key, item in value.items():
                self.add(key)
                self.add(item)
        elif isinstance(value, set | frozenset):
            self._say("set", sorted(map(_shown, value)))
        elif isinstance(value, list | tuple):
            self._say("length", len(value))
            for item in value:
                self.add(item)
        elif (content := _bytes_of(value)) is not None:
            self._say("bytes", hashlib.sha256(content).hexdigest())
        elif hasattr(value, "state_dict"):  # a torch module: hooks and caches do not count
            self.add(dict(value.state_dict()))
        elif hasattr(value, "__dict__"):
            self.add({name: vars(value)[name] for name in sorted(vars(value))})
        else:
            self._say("value", _shown(value))

    def _say(self, kind: str, what: Any) -> None:
        text = f"{kind}\0{what}"
        self.digest.update(f"{len(text)}\0{text}".encode("utf-8", "backslashreplace"))


def _has_docstring(code: CodeType) -> bool:
    """Whether the first constant is the docstring of a function."""
    if sys.version_info >= (3, 13):
        return bool(code.co_flags & 0x4000000)
    function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
    return bool(function and code.co_consts and isinstance(code.co_consts[0], str))


def _names(code: CodeType) -> list[str]:
    """Names that a code object, or one inside it, looks up; each once, in order."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= dict.fromkeys(_names(constant))
    return list(names)


def _bytes_of(value: Any) -> bytes | None:
    """Type, shape and bytes of a tensor or an array; None for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        head = f"{value.dtype}{tuple(value.shape)}".encode()
        return head + bytes(flat.view(torch.uint8).numpy().data)
    if torch is not None and isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy().data)
    if numpy is not None and isinstance(value, numpy.ndarray):
        return f"{value.dtype}{value.shape}".encode() + value.tobytes()
    return None


def _shown(value: Any) -> str:
    """A value as text, without its address in memory."""
    return _ADDRESS.sub("", f"{type(value).__qualname__} {value!r}")
