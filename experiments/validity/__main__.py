"""Run the planted truth: `python -m experiments.validity --models 200`.

Every planted model is one line of JSON, written when it is done: an interrupted run continues. About
an hour on one core for 200 models of each kind.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

OUT = Path("runs/validity")
HERE = Path(__file__).parent


def run(kinds: list[str], models: int, out: Path) -> None:
    """Check the first `models` seeds of each kind that are not in the file yet."""
    import torch
    from tqdm import tqdm

    from experiments.validity.checks import CHECKS

    torch.set_num_threads(1)  # the models are too small for more
    out.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        path = out / f"{kind}.jsonl"
        done = {row["seed"] for row in read(path)}
        waiting = [seed for seed in range(models) if seed not in done]
        for seed in tqdm(waiting, desc=kind, unit="model"):
            os.environ["TQDM_DISABLE"] = "1"  # the sweeps' own bars
            lines = "".join(json.dumps(row) + "\n" for row in CHECKS[kind](seed))
            with path.open("a") as file:
                file.write(lines)
        os.environ.pop("TQDM_DISABLE", None)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, if it is there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def report(kinds: list[str], models: int, out: Path) -> str:
    """The table of what was found, with the null heads and the false alarms in words."""
    import pandas as pd

    from experiments.validity.checks import summary
    from interp.stats.intervals import wilson

    rows = [row for kind in kinds for row in read(out / f"{kind}.jsonl") if row["seed"] < models]
    table = pd.DataFrame(rows)
    lines = _markdown(summary(rows))
    null_heads = table[table["question"] == "kv: null head"]
    if len(null_heads):
        lines += ["", f"Null heads ({len(null_heads)}): attention to the gold value "
                  f"{null_heads['attention'].mean():.3f} on average, {null_heads['attention'].min():.3f} "
                  f"at least; largest drop when ablated {null_heads['drop'].abs().max():.1f} points."]  # fmt: skip
    ranked = table[table["question"].str.endswith("by effect") & table["ranked_first"].notna()]
    if len(ranked):
        first = int(ranked["ranked_first"].sum())
        lines += ["", f"Ranked by drop, the planted components come first in {first} of "
                  f"{len(ranked)} (model, question) cases."]  # fmt: skip
    nothing = table[table["question"].str.startswith("nothing planted")]
    if len(nothing):
        alarms = int((nothing["false_alarm"] > 0).sum())
        low, high = wilson(pd.Series([alarms]).to_numpy(float), len(nothing))
        lines += ["", f"Nothing planted: {alarms} of {len(nothing)} models ({alarms / len(nothing):.1%}, 95% "
                  f"Wilson {low[0]:.1%} to {high[0]:.1%}) show an important component after Holm's "
                  f"correction over 30 components; without it {int((nothing['uncorrected'] > 0).sum())} "
                  f"would. The largest change of accuracy was {nothing['largest_change'].median():.0f} "
                  "points in the median model, so the ablations do change answers."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _markdown(table: Any) -> list[str]:
    shown = table.copy()
    for column in ("precision", "recall"):
        shown[column] = [f"{v:.3f}" if v == v else "" for v in shown[column]]
    lines = [
        "| " + " | ".join(shown.columns) + " |",
        "| " + " | ".join("---" for _ in shown.columns) + " |",
    ]
    return lines + ["| " + " | ".join(map(str, row)) + " |" for row in shown.to_numpy()]


def main() -> None:
    """Run, then write the table."""
    from experiments.validity.checks import CHECKS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=200, help="seeds of each kind (200)")
    parser.add_argument("--kinds", nargs="+", default=list(CHECKS), choices=list(CHECKS))
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the rows")
    parser.add_argument("--table", type=Path, help="where to write the table (OUT/table.md)")
    parser.add_argument("--report-only", action="store_true", help="write the table again")
    options = parser.parse_args()
    if not options.report_only:
        run(options.kinds, options.models, options.out)
    text = report(options.kinds, options.models, options.out)
    (options.table or options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
