"""The calibrated estimate against the measured time of five different sweeps.

    python -m experiments.benchmarks.estimates MODEL [--data DIR] [--cpu-time]

`--cpu-time` counts this process' processor time and not the clock on the wall: for machines that
others use at the same time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import interp
from interp.estimate import estimate

OUT = Path(__file__).parent / "estimates.json"
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
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    timer = time.process_time if options.cpu_time else time.perf_counter
    model, rows = interp.load_model(options.model), []
    for name, task_name, family, limit in SWEEPS:
        task = interp.load_task(task_name, data=options.data)
        ablations = {
            "layers": interp.each_layer,
            "heads": interp.each_head,
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
    kept = {
        "model": Path(options.model).name,
        "clock": "processor time" if options.cpu_time else "wall",
        "rows": rows,
    }
    options.out.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
