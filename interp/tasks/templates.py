"""Task templates in a sandbox: they read rows, and their text and computing time are bounded.

lm-evaluation-harness renders task templates with Jinja, unrestricted. Here the same templates give
the same text, with these exceptions, each of which is an error of one line:

- a template that reads private attributes of a row, which lead to Python;
- a template that writes a null value, which would be asked as the word "None";
- a text of more than `LONGEST` characters, or work that takes more memory than `MEMORY` bytes or
  more computing time than `SECONDS`.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jinja2 import Template, pass_context
from jinja2.sandbox import SandboxedEnvironment

LONGEST = 50_000_000
"""Characters of one rendered text: a context of ten million tokens."""

MEMORY = 4 * 2**30
"""Bytes that rendering may take beside what the process holds; bounded on Linux only."""

SECONDS = 20.0
"""Computing time of one example's templates; bounded in the main thread only."""

LARGEST_POWER = 64
_limiting = threading.Lock()
_inside: ContextVar[bool] = ContextVar("_inside", default=False)


class TemplateError(ValueError):
    """A template asks for something that no prompt needs; its message is part of a line."""


@contextmanager
def bounded() -> Iterator[None]:
    """Bound the memory and the computing time of what is rendered inside.

    Yields:
        None; the process has its former bounds afterwards.

    Raises:
        TemplateError: a bound was reached.
    """
    if _inside.get():
        yield
        return
    token = _inside.set(True)
    try:
        with ExitStack() as stack:
            stack.enter_context(_bounded_memory())
            stack.enter_context(_bounded_time())
            yield
    except MemoryError as error:
        raise TemplateError(
            f"its templates take more than {MEMORY // 2**30} GiB of memory"
        ) from error
    finally:
        _inside.reset(token)


def close_templates() -> None:
    """Sandbox the templates of lm-evaluation-harness, in this process, for every task."""
    from lm_eval import utils

    if not isinstance(utils.env, _ClosedEnvironment):
        closed = _ClosedEnvironment(
            loader=utils.env.loader,
            undefined=utils.env.undefined,
            keep_trailing_newline=utils.env.keep_trailing_newline,
            finalize=_not_null,
            optimized=False,  # nothing is computed while a template is only being read
        )
        closed.filters.update(utils.env.filters)
        # what they write is another text every time
        del closed.filters["random"], closed.globals["lipsum"]
        utils.env = closed


class _BoundedTemplate(Template):
    """A template whose text and work are bounded."""

    def render(self, *args: Any, **kwargs: Any) -> str:
        with bounded():
            text: str = super().render(*args, **kwargs)
        if len(text) > LONGEST:
            raise TemplateError(
                f"a template writes {len(text):,} characters; allowed are {LONGEST:,}"
            )
        return text


class _ClosedEnvironment(SandboxedEnvironment):
    """The harness' environment without Python; a template is compiled once, not once per row."""

    intercepted_binops = frozenset({"**"})
    template_class = _BoundedTemplate

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._known_template = lru_cache(maxsize=1024)(self._bounded_template)

    def from_string(self, source: Any, *args: Any, **kwargs: Any) -> Template:
        if args or kwargs or not isinstance(source, str):
            return super().from_string(source, *args, **kwargs)
        return self._known_template(source)

    def _bounded_template(self, source: str) -> Template:
        with bounded():
            return super().from_string(source)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not abs(right) <= LARGEST_POWER:
            raise TemplateError(f"a template asks for the power {right}")
        return super().call_binop(context, operator, left, right)


@pass_context  # without a context the values of constants would be computed while reading
def _not_null(_: Any, value: Any) -> Any:
    if value is None:
        raise TemplateError("a template writes a null value")
    return value


@contextmanager
def _bounded_memory() -> Iterator[None]:
    # the limit is of the whole process: of two threads only the first may set it and take it back
    if not sys.platform.startswith("linux") or not _limiting.acquire(blocking=False):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with open("/proc/self/statm") as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        most = min(n for n in (in_use + MEMORY, soft, hard) if n != resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        _limiting.release()


@contextmanager
def _bounded_time() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, "setitimer"
    ):
        yield
        return

    def late(*_: Any) -> None:
        raise TemplateError(f"its templates take more than {SECONDS:g} s")

    before = signal.signal(signal.SIGVTALRM, late)
    # again and again: a template or a library may swallow the first error
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
