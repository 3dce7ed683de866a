"""Run the planted truth: `python -m experiments.validity --models 200`.

Every planted model is some lines of JSON, written when it is done: an interrupted run continues.
About 20 minutes on one core for 200 models of each kind.
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


def run(kinds: list[str], models: int, out: Path, *, first: int = 0) -> None:
    """Check the seeds from `first` to `models` of each kind that are not in the file yet."""
    import torch
    from tqdm import tqdm

    from experiments.validity.checks import CHECKS
    from experiments.validity.measures import check_gpt2_measures, check_llama
    from experiments.validity.paths import check_paths
    from experiments.validity.sources import check_sources

    checks = CHECKS | {
        "paths": check_paths,
        "sources": check_sources,
        "llama": check_llama,
        "measures": check_gpt2_measures,
    }
    torch.set_num_threads(1)  # the models are too small for more
    out.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        path = out / f"{kind}.jsonl"
        done = {row["seed"] for row in read(path)}
        waiting = [seed for seed in range(first, models) if seed not in done]
        for seed in tqdm(waiting, desc=kind, unit="model"):
            os.environ["TQDM_DISABLE"] = "1"  # the sweeps' own bars
            lines = "".join(json.dumps(row) + "\n" for row in checks[kind](seed))
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

    rows = [row for kind in kinds for row in read(out / f"{kind}.jsonl") if row["seed"] < models]
    table = pd.DataFrame(rows)
    lines = _markdown(summary(rows))
    null_heads = table[table["question"] == "kv: null head"]
    if len(null_heads):
        attention, drop = null_heads["attention"], null_heads["drop"].abs().max()
        lines += [
            "",
            f"Null heads ({len(null_heads)}): attention to the gold value {attention.mean():.3f} "
            f"on average, {attention.min():.3f} at least; largest change of accuracy when one is "
            f"ablated: {drop:.1f} points.",
        ]
    if "ranked_first" in table:
        ranked = table["ranked_first"].dropna()
        lines += [
            "",
            f"Ranked by drop, the planted components come first in {int(ranked.sum())} of "
            f"{len(ranked)} (model, question) cases.",
        ]
    if "null" in table:
        patched = table[table["null"].notna()]
        lines += [
            "",
            f"Patched: least recovery of a planted part {table['least_planted'].min():.2f}, "
            f"largest of any other {table['largest_other'].max():.2f}; of null heads at most "
            f"{patched['null'].abs().max():.1e}.",
        ]
    nothing = table[table["question"].str.startswith("nothing planted: any")]
    return "\n".join([*lines, *(_false_alarms(nothing) if len(nothing) else [])]) + "\n"


def _false_alarms(nothing: Any) -> list[str]:
    import numpy as np

    from interp.stats import wilson

    alarms, models = int((nothing["false_alarm"] > 0).sum()), len(nothing)
    (low,), (high,) = wilson(np.array([float(alarms)]), models)
    uncorrected = int((nothing["uncorrected"] > 0).sum())
    return [
        "",
        f"Nothing planted: {alarms} of {models} models ({alarms / models:.1%}, 95% Wilson interval "
        f"{low:.1%} to {high:.1%}) show an important component after Holm's "
        f"correction over 30 components; without correction {uncorrected} would. In the median "
        f"model one ablation changes accuracy by {nothing['largest_change'].median():.0f} points, "
        "so the ablations do change answers.",
    ]


def _markdown(table: Any) -> list[str]:
    shown = table.copy()
    for column in ("precision", "recall"):
        shown[column] = [f"{v:.3f}" if v == v else "" for v in shown[column]]
    rows = [list(shown.columns), ["---"] * shown.shape[1], *shown.to_numpy().tolist()]
    return ["| " + " | ".join(map(str, row)) + " |" for row in rows]


def main() -> None:
    """Run, then write the table."""
    from experiments.validity.checks import CHECKS

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=200, help="seeds of each kind (200)")
    parser.add_argument("--first", type=int, default=0, help="first seed, to share the work (0)")
    kinds = [*CHECKS, "paths", "sources", "llama", "measures"]
    parser.add_argument("--kinds", nargs="+", default=kinds, choices=kinds)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the rows")
    parser.add_argument("--table", type=Path, help="where to write the table (OUT/table.md)")
    parser.add_argument("--report-only", action="store_true", help="write the table again")
    options = parser.parse_args()
    if not options.report_only:
        run(options.kinds, options.models, options.out, first=options.first)
    text = report(options.kinds, options.models, options.out)
    (options.table or options.out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
