"""Does memory grow with the number of examples? The lens and similarity, by examples read.

    python -m experiments.benchmarks.lens_memory

A planted model (5 layers; small, so that what is kept of an example would show) reads 100, 1,000
and 10,000 rows of its key-value task, each number in processes of its own. The extra peak is the
largest resident memory above what the process held with the model loaded, these rows made and one
whole group of 256 other examples read.

Each case runs twice: with the C library's allocator as it is, and told to hand large blocks back at
once. As it is, glibc learns from the first large block that is freed to keep blocks of that size
(`mallopt(3)`, M_MMAP_THRESHOLD), and resident memory then holds whatever holes the order of calls
leaves. A peak that is the same for 1,000 and 10,000 is reached within the first groups.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HERE = Path(__file__).parent
NUMBERS = (100, 1000, 10_000)
METHODS = ("logit_lens", "layer_similarity")
GROUP = 256
# any value of the first ends glibc's learning (mallopt(3))
HANDED_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
ALLOCATORS: dict[str, dict[str, str]] = {"as it is": {}, "handed back": HANDED_BACK}


def measure(method: str, number: int) -> dict[str, Any]:
    """Read so many examples once, in this process."""
    import torch

    import interp
    from experiments.validity.planted import build, circuit_plan
    from experiments.validity.questions import planted_task

    torch.set_num_threads(1)
    plan = circuit_plan(0)
    model, others = build(plan), planted_task(plan, "kv", rows=GROUP)
    others.documents()
    made = _resident()
    task = planted_task(plan, "kv", rows=number)
    task.documents()
    rows = _resident() - made
    readers: dict[str, Any] = {
        "logit_lens": interp.logit_lens,
        "layer_similarity": interp.layer_similarity,
    }
    read = readers[method]
    read(model, others)
    before, began = _peak(), time.perf_counter()
    read(model, task)
    seconds, extra = time.perf_counter() - began, _peak() - before
    return {
        "method": method,
        "examples": number,
        "seconds": round(seconds, 1),
        "rows_mb": round(rows, 1),
        "before_mb": round(before, 1),
        "extra_mb": round(extra, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    lines = [
        "| Tool | Examples | the rows alone (MB) | peak before (MB) | extra peak, memory handed "
        "back (MB) | extra peak, allocator as it is (MB) | time (s) |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    cases: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    for row in rows:
        cases.setdefault((row["method"], row["examples"]), {})[row["allocator"]] = row
    for (method, examples), by in cases.items():
        plain, back = by["as it is"], by["handed back"]
        lines.append(
            f"| `{method}` | {examples:,} | {back['rows_mb']:.1f} | {back['before_mb']:.0f} | "
            f"{back['extra_mb']:.1f} | {plain['extra_mb']:.1f} | {plain['seconds']:.1f} |"
        )
    return "\n".join([*lines, "", _words(cases)]) + "\n"


def _words(cases: dict[tuple[str, int], dict[str, dict[str, Any]]]) -> str:
    """What the columns are, and what grows between the two largest numbers."""
    numbers = sorted({examples for _, examples in cases})
    some, most = numbers[-2:][0], numbers[-1]
    methods = list(dict.fromkeys(method for method, _ in cases))
    grown = {
        name: " and ".join(
            f"{cases[m, most][name]['extra_mb'] - cases[m, some][name]['extra_mb']:.1f}"
            for m in methods
        )
        for name in ALLOCATORS
    }
    return (
        "Planted model of 5 layers, key-value rows of 8 pairs, each number in processes of its "
        "own, one thread; the time is with the allocator as it is. The rows alone: resident memory "
        "of these examples once they are made, before any is read; the benchmark holds them all. "
        f"Peak before: model loaded, these rows made, {GROUP} other examples read. With freed "
        "memory handed back at once, so that resident memory is what is in use, "
        f"{most:,} examples peak {grown['handed back']} MB above {some:,} "
        f"({' and '.join(f'`{m}`' for m in methods)}): both keep only sums over examples and the "
        "numbers of those that are drawn. With the allocator as it is, the peak rises by "
        f"{grown['as it is']} MB: glibc keeps freed blocks in holes that are not in use (its mmap "
        "threshold adapts, `mallopt(3)`), and among more batches the worst layout of holes is "
        "worse. Whoever needs the memory sets "
        f"{' and '.join(f'`{k}={v}`' for k, v in HANDED_BACK.items())}, at the price of time."
    )


def _resident() -> float:
    """Resident memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure one case (for the subprocesses), or all of them, and write JSON and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--numbers", type=int, nargs="+", default=list(NUMBERS))
    parser.add_argument("--out", type=Path, default=HERE / "lens_memory.json")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "NUMBER"), help="one case")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], int(options.one[1]))))
        return
    rows = []
    for method, number, name in itertools.product(METHODS, options.numbers, ALLOCATORS):
        command = [sys.executable, "-m", "experiments.benchmarks.lens_memory"]
        command += ["--one", method, str(number)]
        shown = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env=os.environ | ALLOCATORS[name],
        ).stdout
        rows.append({"allocator": name, **json.loads(shown.splitlines()[-1])})
        print(rows[-1])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=2) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
