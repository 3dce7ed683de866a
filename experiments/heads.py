"""Which heads retrieve, does removing them (and no others) break retrieval, what else do they do?

    python -m experiments.heads

Traces every head of *base* and *distilled* on the key-value task, removes the best retrieval heads
against 20 random draws from the same layers, and sweeps every head, attention and layer of *base*
over all shipped tasks. An interrupted run continues.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MODELS = ("organism:base", "organism:distilled")
TASK = "world-kv:generate"
NUMBERS = (1, 2, 4, 8)
DRAWS = 20
TOP = 8
EXAMPLES = 200
OUT = Path("runs/heads")
GROUP = "best head as the study's script: its KV group, zero"


def retrieval(models: Sequence[str], *, limit: int, out: Path) -> list[Path]:
    """The table and map of retrieval heads, their removal, and the trace of one example."""
    import pandas as pd

    import interp
    from interp import figures
    from interp.attention.contrast import removal_curve, removals
    from interp.attention.detectors import detector_scores
    from interp.attention.example import trace_example
    from interp.attention.heads import top_heads
    from interp.figures.style import model_label
    from interp.figures.tables import choose_metric

    tables, curves, written = [], [], []
    for name in models:
        model, plain = interp.load_model(name), model_label(name)
        heads = interp.retrieval_heads(model, TASK, limit=limit)
        print(heads)
        tables.append(_with_detectors(heads.table(), detector_scores(model)))
        plan = removals(heads, NUMBERS, draws=DRAWS, nearest=True)
        ablations = [ablation for ablation, *_ in plan]
        ablations += [heads.top(TOP, by="mean"), heads.top(TOP, by="resample"), heads.keep(TOP)]
        ablations.append(heads.top(1, by="group"))
        run = interp.sweep(model, TASK, ablations, out=out / f"{plain}-removal", limit=limit)
        metric = choose_metric(run.scores())["metric"].iloc[0]
        curves.append(removal_curve(run.scores(), plan, metric=metric))
        written += _replacements(run, heads, metric, out / f"{plain}-replacements.csv")
        written += _positions(run, heads, metric, out / f"{plain}-gold-position")
        right = heads.trace.examples[heads.trace.examples["copied"]]["doc_id"]
        chosen = top_heads(heads.scores, 3)
        example = trace_example(model, TASK, int(right.iloc[0]), chosen)
        written += figures.save(figures.example(example.table()), out / f"{plain}-example")
    whole, curve = pd.concat(tables), pd.concat(curves)
    written += figures.save(figures.retrieval_map(whole, mark=TOP), out / "retrieval-map")
    written += figures.save(figures.depth(whole), out / "retrieval-depth")
    written += figures.save(figures.removal(curve), out / "removal")
    return written


def skills(name: str, *, limit: int, out: Path) -> list[Path]:
    """Every head, attention and layer of one model over all shipped tasks: maps and overlap."""
    import pandas as pd

    import interp
    from interp import figures
    from interp.attention.skills import explained, overlap
    from interp.figures.style import model_label
    from interp.figures.tables import choose_metric
    from interp.tasks import load_task, shipped_tasks

    model = interp.load_model(name)
    families = [
        *interp.each_head(model), *interp.each_attention(model), *interp.each_layer(model),
    ]  # fmt: skip
    tasks = [load_task(task) for task in shipped_tasks() if task.startswith("world-")]
    began, worked = time.monotonic(), time.process_time()
    run = interp.sweep(model, tasks, families, out=out / f"{model_label(name)}-skills", limit=limit)
    seconds, busy = time.monotonic() - began, time.process_time() - worked
    print(f"{run}: {seconds:.0f} seconds, {busy:.0f} of them on a processor")
    table = choose_metric(run.importance())
    metric = dict(zip(table["task"], table["metric"], strict=True))
    shared = overlap(choose_metric(run.values()), k=TOP)
    shared.to_csv(out / "overlap.csv", index=False)
    parts = [explained(table[table["task"] == task], metric[task]) for task in metric]
    pd.concat(parts).to_csv(out / "layers-explained.csv", index=False)
    print(shared.round(3).to_string(index=False))
    drawn = figures.save(figures.importance_map(table), out / "head-importance")
    return [*drawn, out / "overlap.csv", out / "layers-explained.csv"]


def _with_detectors(table: "pd.DataFrame", scores: dict[str, Any]) -> "pd.DataFrame":
    places = (table["layer"].to_numpy(), table["head"].to_numpy())
    return table.assign(**{kind: values[places] for kind, values in scores.items()})


def _replacements(run: Any, heads: Any, metric: str, path: Path) -> list[Path]:
    """Zero, mean and resample ablation of the same heads, and all but them, side by side."""
    names = {heads.top(TOP, by=by).text: f"top {TOP}, {by}" for by in ("zero", "mean", "resample")}
    names[heads.keep(TOP).text] = f"upper layers, all but the best {TOP}"
    names |= {heads.top(1).text: "best head, zero", heads.top(1, by="group").text: GROUP}
    table = run.importance()
    table = table[(table["metric"] == metric) & table["ablation"].isin(names)]
    table = table.assign(what=table["ablation"].map(names)).drop(columns="ablation")
    table.to_csv(path, index=False)
    print(table[["what", "baseline", "ablated", "drop", "low", "high"]].to_string(index=False))
    return [path]


def _positions(run: Any, heads: Any, metric: str, path: Path) -> list[Path]:
    import pandas as pd

    from interp import figures
    from interp.tasks import load_task

    names = {"baseline": "baseline", heads.top(1).text: "Best head removed"}
    names[heads.top(TOP).text] = f"Best {TOP} removed"
    responses = run.responses()
    chosen = responses[responses["ablation"].isin(names)]
    chosen = chosen.assign(correct=chosen[metric], label=chosen["ablation"].map(names))
    rows = load_task(TASK).documents()
    documents = pd.DataFrame(
        {"doc_id": range(len(rows)), "gold_position": [row["gold_position"] for row in rows]}
    )
    return figures.save(figures.gold_position(chosen, documents), path)


def main() -> None:
    """Run both parts; print where everything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--limit", type=int, default=EXAMPLES, help="examples a task")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--part", choices=("retrieval", "skills"), help="one of the two parts")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    if options.part != "skills":
        written += retrieval(options.models, limit=options.limit, out=options.out)
    if options.part != "retrieval":
        written += skills(options.models[0], limit=options.limit, out=options.out)
    for path in written:
        if path.suffix in (".png", ".csv"):
            print(path)


if __name__ == "__main__":
    main()
