"""What does trying a model's shortcuts out at first use cost, beside the sweep that it is for?

    OMP_NUM_THREADS=1 taskset -c 1 python -m experiments.benchmarks.first_use

Every shortcut of the engine is tried on the model itself before it is used. Each line scores, or
generates, requests on a model that was just loaded, and the trials are timed apart as they happen:
the difference of two runs is larger than they are. Processor time of one process, medians of
several.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.generation_workloads import gsm_shaped
from experiments.benchmarks.reports import RESULTS, write
from experiments.benchmarks.workloads import make_task, random_llama, tokenizer
from interp import models
from interp.ablations import Edits, checked_edits, each_layer
from interp.engine import generate, score_requests
from interp.engine.capabilities import Capabilities
from interp.models import wrap
from interp.tasks import build_requests, with_budget


@dataclass(frozen=True)
class Line:
    """A sweep of all layers of the random model of the scoring benchmark.

    Attributes:
        shape: the shape of the rows; `gsm` for generated answers.
        examples: how many.
    """

    shape: str
    examples: int


LINES = {
    "endings, few": Line("short-endings", 10),
    "endings": Line("short-endings", 32),
    "letters": Line("mmlu-letters", 32),
    "answers": Line("gsm", 4),
}
COLUMNS = {
    "line": ("sweep of all layers", ""),
    "examples": ("examples", ","),
    "seconds": ("sweep, trials included (s)", ".1f"),
    "first_seconds": ("trials (s)", ".2f"),
    "share_percent": ("of the sweep (%)", ".1f"),
}


@contextmanager
def trials_timed() -> Iterator[list[float]]:
    """Inside the context, a list keeps the seconds of each trial that the engine asks for."""
    spent, running = list[float](), list[str]()

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            # a trial that asks for another is counted once
            running.append(call.__name__)
            began = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                running.pop()
                if not running:
                    spent.append(time.process_time() - began)

        return wrapped

    before = {
        name: value for name, value in vars(Capabilities).items() if not name.startswith("__")
    }
    for name, value in before.items():
        if isinstance(value, cached_property):
            new = cached_property(timed(value.func))
            new.__set_name__(Capabilities, name)
            setattr(Capabilities, name, new)
        elif callable(value):
            setattr(Capabilities, name, timed(value))
    try:
        yield spent
    finally:
        for name, value in before.items():
            setattr(Capabilities, name, value)


def measured(name: str) -> dict[str, float]:
    """Seconds of a sweep on a model that was just loaded, and those of the trials in it."""
    line = LINES[name]
    model = wrap(random_llama(), tokenizer(), name="random")
    edits = [Edits(), *(checked_edits(model, a) for a in each_layer(model))]
    decoder = models.decoder(model)
    task = (
        with_budget(gsm_shaped(line.examples), 32)
        if line.shape == "gsm"
        else make_task(line.shape, line.examples)
    )
    requests: Any = build_requests(task, range(line.examples), decoder)
    with torch.no_grad():
        for _ in range(2):
            decoder.root(torch.ones(1, 64, dtype=torch.long))
    work: Any = generate if line.shape == "gsm" else score_requests
    with trials_timed() as spent:
        began = time.process_time()
        work(model, requests, edits)
        seconds = time.process_time() - began
    return {"seconds": seconds, "first_seconds": sum(spent)}


def main() -> None:
    """Parse the command line; `--only` is what the measuring processes are called with."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.first_use")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "first_use", help="without ending")
    parser.add_argument("--only", choices=LINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only)))
        return
    rows = []
    for name in options.lines:
        command = [sys.executable, "-m", "experiments.benchmarks.first_use", "--only", name]
        runs = [
            json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True)
                .stdout.splitlines()[-1]
            )
            for _ in range(options.repeats)
        ]  # fmt: skip
        seconds = statistics.median(run["seconds"] for run in runs)
        first = statistics.median(run["first_seconds"] for run in runs)
        share = 100 * first / seconds
        rows.append(
            {"line": name, "examples": LINES[name].examples, "seconds": seconds,
             "first_seconds": first, "share_percent": share}
        )  # fmt: skip
        print(rows[-1], flush=True)
    note = f"12 layers of width 512, float32; processor time, medians of {options.repeats}."
    write(options.out, {"rows": rows}, COLUMNS, note)


if __name__ == "__main__":
    main()
