"""Check every architecture, and write the table.

python -m experiments.families                        # all of them, a few seconds each
python -m experiments.families LlamaForCausalLM       # these anew; the other rows stay
"""

import argparse
import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

from tqdm import tqdm

from experiments.families.checks import check
from experiments.families.configurations import built_by_transformers
from experiments.families.table import FAULTS, read_rows, write_page, write_rows
from interp.errors import did_you_mean


def main() -> int:
    """Check the asked architectures; returns 1 where a row is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("architectures", nargs="*", help="names of classes; all by default")
    asked = parser.parse_args().architectures
    known = built_by_transformers()
    for name in asked:
        if name not in known:
            parser.error(f"{name} is not among the {len(known)}{did_you_mean(name, list(known))}")
    logging.disable(logging.WARNING)
    rows = [row for row in read_rows() if asked and row.architecture not in asked]
    for name in tqdm(asked or list(known), unit="architecture"):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                rows += check(name, Path(folder))
        write_rows(rows)
    write_page()
    return int(any(row.outcome in FAULTS for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
