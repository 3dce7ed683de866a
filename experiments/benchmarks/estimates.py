"""The calibrated estimate against the measured time of five different sweeps.

    python -m experiments.benchmarks.estimates MODEL [--data DIR] [--cpu-time]

`--cpu-time` counts this process' processor time and not the clock on the wall: for machines that
others use at the same time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import interp
from experiments.benchmarks.reports import RESULTS, write
from interp.sweeps import estimate

COLUMNS = {
    "sweep": ("sweep", ""),
    "task": ("task", ""),
    "ablations": ("ablations", ","),
    "examples": ("examples", ","),
    "calibration_seconds": ("calibration (s)", ".1f"),
    "estimated_seconds": ("estimated (s)", ".1f"),
    "measured_seconds": ("measured (s)", ".1f"),
    "error_percent": ("estimate against measured (%)", "+.0f"),
}
# name, task, ablations, examples
SWEEPS = (
    ("option letters, layers", "mmlu:default", "layers", 240),
    ("option texts, layers", "hellaswag", "layers", 160),
    ("option letters, heads", "arc_easy:default", "heads", 128),
    ("option texts, sublayers", "qasc:continuation", "sublayers", 128),
    ("generated answers, layers", "arc_easy:generate", "layers", 96),
)


def main() -> None:
    """Estimate and run each sweep, print and keep both times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--data")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "estimates", help="without ending")
    options = parser.parse_args()
    timer = time.process_time if options.cpu_time else time.perf_counter
    model, rows = interp.load_model(options.model), []
    for name, task_name, family, limit in SWEEPS:
        task = interp.load_task(task_name, data=options.data)
        ablations = {
            "layers": interp.each_layer,
            "heads": lambda m: interp.each_head(m, by="zero"),
            "sublayers": lambda m: [*interp.each_attention(m), *interp.each_mlp(m)],
        }[family](model)
        expected = estimate(model, [task], ablations, limit=limit, timer=timer)
        began = timer()
        with tempfile.TemporaryDirectory() as folder:
            interp.sweep(model, [task], ablations, out=Path(folder) / "run", limit=limit)
        seconds = timer() - began
        rows.append(
            {
                "sweep": name,
                "task": task_name,
                "ablations": len(ablations),
                "examples": expected.examples,
                "calibration_seconds": round(expected.calibration_seconds, 2),
                "estimated_seconds": round(expected.seconds, 2),
                "measured_seconds": round(seconds, 2),
                "error_percent": round(100 * (expected.seconds / seconds - 1), 1),
            }
        )
        print(rows[-1], flush=True)
    clock = "this process' processor time" if options.cpu_time else "the clock on the wall"
    name = Path(options.model).name
    write(
        options.out,
        {"model": name, "clock": clock, "rows": rows},
        COLUMNS,
        f"{name}; times by {clock}; the measured time holds the plan, the sweep and its store.",
    )


if __name__ == "__main__":
    main()
