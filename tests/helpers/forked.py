"""A process of its own for a script, without the imports again: a fork of this one."""

import os
import sys
import tempfile
import traceback


def in_a_fork(code: str, *arguments: str) -> str:
    """What a script prints that runs in a fork of this process.

    Importing torch and transformers takes a process longer than most tests; the fork has them.

    Args:
        code: the script.
        arguments: its `sys.argv`, from the second on.

    Returns:
        Its standard output and error.

    Raises:
        AssertionError: it ended in an exception, which the message shows.
    """
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            _run(code, arguments, printed.fileno())
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        text = printed.read().decode()
    assert status == 0, text
    return text


def _run(code: str, arguments: tuple[str, ...], to: int) -> None:
    """Run a script and end the process, whatever comes."""
    status = 1
    try:
        os.dup2(to, 1)
        os.dup2(to, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["-c", *arguments]
        exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = int(end.code or 0) if isinstance(end.code, int | None) else 1
        print(end.code or "", file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
