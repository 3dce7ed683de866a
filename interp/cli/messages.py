"""Messages of the library on the command line: plain lines on standard error."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIBRARY = logging.getLogger("interp")


class _Lines(logging.Handler):
    """Writes each message as a line of its own, also while a progress bar is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        _write(record.getMessage())


@contextmanager
def plain_messages(*, quiet: bool = False) -> Iterator[None]:
    """Show what the library logs and warns of as plain lines, inside the context.

    Args:
        quiet: show neither.

    Yields:
        None; messages go their former way afterwards.
    """
    handler, level, propagate = _Lines(), LIBRARY.level, LIBRARY.propagate
    handler.setLevel(logging.ERROR if quiet else logging.INFO)
    LIBRARY.addHandler(handler)
    LIBRARY.setLevel(logging.INFO)
    with warnings.catch_warnings():
        # a context of `catch_warnings` puts this function back, too
        warnings.showwarning = _show_nothing if quiet else _show  # type: ignore[assignment]
        try:
            yield
        finally:
            LIBRARY.removeHandler(handler)
            LIBRARY.setLevel(level)
            LIBRARY.propagate = propagate


def _show(message: Warning | str, category: type[Warning], *_place: Any) -> None:
    # what libraries below say to their programmers is not for who types a command
    if issubclass(category, UserWarning):
        _write(str(message))


def _show_nothing(*_message: Any) -> None:
    pass


def _write(message: str) -> None:
    line = f"interp: {message}"
    bars = sys.modules.get("tqdm")
    if bars is not None:
        bars.tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr)
