"""Check every architecture, and write the table.

python -m experiments.families                        # all of them, a few seconds each
python -m experiments.families LlamaForCausalLM       # these anew; the other rows stay
python -m experiments.families --missing              # those that the table does not have yet
python -m experiments.families --further              # only what the last four columns say
"""

import argparse
import contextlib
import io
import logging
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from experiments.families.checks import USES, check
from experiments.families.configurations import built_by_transformers
from experiments.families.further import FURTHER
from experiments.families.table import FAULTS, read_rows, write_page, write_rows
from interp.errors import did_you_mean


def main() -> int:
    """Check the asked architectures; returns 1 where a row is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("architectures", nargs="*", help="names of classes; all by default")
    parser.add_argument("--missing", action="store_true", help="only those without a row")
    parser.add_argument(
        "--further", action="store_true", help="try only what the last four columns say"
    )
    parser.add_argument(
        "--seconds", type=int, default=300, help="after which a use counts as a fault"
    )
    options = parser.parse_args()
    asked = options.architectures
    known = built_by_transformers()
    for name in asked:
        if name not in known:
            parser.error(f"{name} is not among the {len(known)}{did_you_mean(name, list(known))}")
    logging.disable(logging.WARNING)
    rows = [row for row in read_rows() if row.architecture in known]
    there = {row.architecture for row in rows}
    names = asked or [name for name in known if not (options.missing and name in there)]
    for name in tqdm(names, unit="architecture"):
        again = {"load", *FURTHER} if options.further else set(USES)
        rows = [row for row in rows if row.architecture != name or row.use not in again]
        with (
            tempfile.TemporaryDirectory() as folder,
            _interrupted_after(options.seconds),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            rows += check(name, Path(folder), further=options.further)
        write_rows(rows)
    write_page()
    return int(any(row.outcome in FAULTS for row in rows))


@contextlib.contextmanager
def _interrupted_after(seconds: int) -> Iterator[None]:
    """Raises TimeoutError after that time, and again after as much: a use each."""

    def over(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    raise SystemExit(main())
