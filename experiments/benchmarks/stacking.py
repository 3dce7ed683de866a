"""All heads, with and without stacking the ablations of a layer, side by side in one run.

    python -m experiments.benchmarks.stacking                 # every line: about six minutes
    python -m experiments.benchmarks.stacking --lines base-1 --repeats 5 [--cpu-time]

Both sides take turns in one process (each goes first every other time), after a pass of each to
warm up, and score the same requests; their answers are compared. With one thread on a core of its
own (`OMP_NUM_THREADS=1 taskset -c 1 ...`) other work disturbs the least; `--cpu-time` counts this
process' processor time and not the clock on the wall: for machines that others use too.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import interp
from experiments.benchmarks.reports import RESULTS, write
from experiments.benchmarks.workloads import make_task, random_llama, tokenizer
from interp.ablations import checked_edits
from interp.engine import EVERY, score_requests
from interp.models import decoder, wrap
from interp.tasks import build_requests

COLUMNS = {
    "line": ("line", ""),
    "heads": ("heads", ","),
    "examples": ("examples", ","),
    "stacked_text": ("stacked (s)", ""),
    "alone_text": ("unstacked (s)", ""),
    "ratio_text": ("unstacked / stacked", ""),
    "largest_difference": ("largest difference (nats)", ".0e"),
}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        model: `base`, the shipped organism, or `random`, 12 layers of width 512.
        examples: how many rows.
        layers: whose heads are ablated; None: every layer's.
        shape: the shape of the rows of the random model.
    """

    model: str
    examples: int
    layers: tuple[int, ...] | None = None
    shape: str = "mmlu-letters"


# heads of one layer are stacked with each other only: a few layers show what all would
LINES = {
    "base-1": Line("base", 1),
    "base-2": Line("base", 2),
    "base-4": Line("base", 4),
    "base-8": Line("base", 8),
    "base-100": Line("base", 100),
    "random-1": Line("random", 1, (2, 8)),
    "random-2": Line("random", 2, (2, 8)),
    "random-endings-1": Line("random", 1, (2, 8), "hellaswag"),
    "random-8": Line("random", 8, (2, 8)),
    "random-100": Line("random", 100, (8,)),
}


def measure(line: Line, repeats: int, timer: Callable[[], float]) -> dict[str, Any]:
    """Seconds of both sides, in turn, and how far their log-likelihoods are apart."""
    if line.model == "base":
        model, task = interp.load_model("organism:base"), interp.load_task("world-facts:default")
    else:
        model = wrap(random_llama(), tokenizer(), name="random")
        task = make_task(line.shape, line.examples)
    requests: Any = build_requests(task, range(line.examples), decoder(model))
    heads = [checked_edits(model, head) for head in interp.each_head(model, by="zero")]
    edits = [edit for edit in heads if line.layers is None or min(edit) in line.layers]
    sides = {"stacked": EVERY, "alone": replace(EVERY, stacked=False)}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    found: dict[str, list[Any]] = {}
    for shortcuts in sides.values():
        score_requests(model, requests[:8], edits[-2:], shortcuts=shortcuts)
    for repeat in range(repeats):
        for name, shortcuts in list(sides.items())[:: 1 if repeat % 2 else -1]:
            began = timer()
            found[name] = score_requests(model, requests, edits, shortcuts=shortcuts)
            seconds[name].append(timer() - began)
    ratios = [a / b for a, b in zip(seconds["alone"], seconds["stacked"], strict=True)]
    return {
        "heads": len(edits),
        "examples": line.examples,
        **{f"{name}_seconds": values for name, values in seconds.items()},
        **{f"{name}_text": _text(values, ".2f") for name, values in seconds.items()},
        "ratio": statistics.median(ratios),
        "ratio_text": _text(ratios, ".2f"),
        "largest_difference": max(
            abs(ours[0] - theirs[0])
            for scores in zip(found["stacked"], found["alone"], strict=True)
            for ours, theirs in zip(*scores, strict=True)
        ),
    }


def _text(values: list[float], form: str) -> str:
    low, middle, high = (format(f(values), form) for f in (min, statistics.median, max))
    return f"{middle} ({low} to {high})"


def main() -> None:
    """Measure the lines, print them and keep them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "stacking", help="without ending")
    options = parser.parse_args()
    timer = time.process_time if options.cpu_time else time.perf_counter
    rows = []
    for name in options.lines:
        rows.append({"line": name, **measure(LINES[name], options.repeats, timer)})
        print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
    note = (
        f"Medians of {options.repeats} (lowest to highest), both sides in turn in one process, "
        f"{'processor' if options.cpu_time else 'wall'} time. `base` is the shipped organism on "
        "`world-facts:default`, `random` a Llama of 12 layers, width 512 and 32,000 words on "
        "five-shot questions with option letters (`endings`: zero-shot, four endings), all heads "
        "of layers 2 and 8 (100 examples: of layer 8). Batches of base-8, base-100, random-1, "
        "random-8 and random-100 are too large to be stacked: both sides run the same code, and "
        "their ratios are noise."
    )
    write(options.out, {"repeats": options.repeats, "rows": rows}, COLUMNS, note)


if __name__ == "__main__":
    main()
