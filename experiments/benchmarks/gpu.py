"""One GPU hour, in minutes: exactness, speed and memory on models of 8B and 1B parameters.

    python -m experiments.benchmarks.gpu                 # one GPU of 80 GB; asks for no download
    python -m experiments.benchmarks.gpu --lines letters generation
    python -m experiments.benchmarks.gpu --self-test     # every line, tiny, on a CPU, in seconds

Random weights of the shapes of LLaMA-3.1-8B (bfloat16) and LLaMA-3.2-1B (float32), rows in the
shape of public benchmarks. Each line runs in a process of its own (those of the self-test share
one) and is written when it is done: the same command continues, and runs what is missing. No line
is begun when `--seconds` are over.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from experiments.benchmarks.gpu_lines import LINES, SELF_TEST, Size

RESULTS = Path("experiments/benchmarks/results")
LEAST_SECONDS = 50
"""That a line has, also where it is begun last."""
COLUMNS = {
    "line": "line", "examples": "examples", "ablations": "ablations", "seconds": "ours, s",
    "peer_seconds": "peer, s", "ratio": "ratio", "share_of_matmul_rate": "share of matmul rate",
    "share_of_memory_rate": "share of memory rate",
    "peak_gib": "peak memory, GiB",
}  # fmt: skip


def run(names: list[str], out: Path, *, self_test: bool, seconds: float) -> dict[str, Any]:
    """Run the lines that are missing in a file, and write it after each.

    Args:
        names: the names of lines.
        out: the JSON file; a table is written beside it.
        self_test: every line on a CPU, tiny.
        seconds: no line is begun later than this.

    Returns:
        What the file holds.
    """
    began = time.monotonic()
    machine = "self-test" if self_test else torch.cuda.get_device_name()
    found: dict[str, Any] = {"device": machine, "torch": torch.__version__, "lines": {}}
    if out.is_file():
        kept = json.loads(out.read_text(encoding="utf-8"))
        if (kept["device"], kept["torch"]) == (machine, torch.__version__):
            found = kept
    missing = [name for name in names if "error" in found["lines"].get(name, {"error": ""})]
    for name in (progress := tqdm(missing, unit="line")):
        if time.monotonic() - began > seconds:
            tqdm.write(f"{name} and later lines: {seconds:.0f} seconds are over; run it again")
            break
        progress.set_description(name)
        left = max(LEAST_SECONDS, seconds + LEAST_SECONDS - (time.monotonic() - began))
        found["lines"][name] = LINES[name](SELF_TEST) if self_test else _in_a_process(name, left)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        out.with_suffix(".md").write_text(table(found), encoding="utf-8")
    return found


def _in_a_process(name: str, seconds: float) -> dict[str, Any]:
    """The numbers of one line, run in a process of its own, or what went wrong in it.

    Args:
        name: the name of the line.
        seconds: after which it is ended.

    Returns:
        What the line measured, or its error, ready for JSON.
    """
    command = [sys.executable, "-m", "experiments.benchmarks.gpu", "--only", name]
    began = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} s", "line_seconds": round(seconds, 1)}
    took = {"line_seconds": round(time.perf_counter() - began, 1)}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"error": last[:500]} | took
    numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return numbers | took


def table(found: dict[str, Any]) -> str:
    """The result as Markdown: the lines that have a time, then the numbers of the others."""
    timed = [{"line": n} | one for n, one in found["lines"].items() if "seconds" in one]
    rows = [list(COLUMNS.values()), ["---"] * len(COLUMNS)]
    rows += [[_cell(one.get(key)) for key in COLUMNS] for one in timed]
    text = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    for name, one in found["lines"].items():
        own = {k: v for k, v in one.items() if k not in COLUMNS and k != "line_seconds"}
        if own:
            text += f"\n{name}: " + ", ".join(
                f"{key.replace('_', ' ')} {_cell(value)}" for key, value in own.items()
            ) + "\n"  # fmt: skip
    return text + (
        f"\n{found['device']}, torch {found['torch']}. The peer of layer sweeps is `HFLM` of "
        "lm-evaluation-harness at batch size 16 on the whole model and one deleted layer, scaled "
        "to all; of heads, `run_with_hooks` on two heads, scaled likewise.\n"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def main() -> None:
    """Parse the command line; `--only` is what the measuring processes are called with."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.gpu")
    parser.add_argument("--lines", nargs="+", choices=LINES, default=list(LINES))
    parser.add_argument("--self-test", action="store_true", help="tiny, on a CPU")
    parser.add_argument("--seconds", type=float, default=420, help="begin no line later (420)")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--only", choices=LINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.self_test and not torch.cuda.is_available():
        parser.error("this torch sees no GPU; --self-test runs every line, tiny, on a CPU")
    if options.only:
        print(json.dumps(LINES[options.only](Size())))
        return
    found = run(options.lines, options.out, self_test=options.self_test, seconds=options.seconds)
    print(table(found))
    wrong = [name for name, one in found["lines"].items() if "error" in one]
    if wrong:
        sys.exit(f"lines that failed: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
