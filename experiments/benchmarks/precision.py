"""How noisy half precision is: the same sweep in float32, bfloat16 and float16.

    python -m experiments.benchmarks.precision MODEL --tasks ... [--data DIR] --limit 50
    python -m experiments.benchmarks.precision MODEL --tasks ... --floor

For each type and task: how far log-likelihoods move, how often the chosen option (or the generated
text) changes, and what that does to what a sweep reports, the drop of the metric under a skipped
layer. A drop within the noise of the type says nothing, however many examples it was measured on.
Generated texts are also compared with those of plain decoding in the same type: in float32 they are
the same, and in half precision the order of the sums decides many a token.
"""

import argparse
import tempfile
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.benchmarks.reports import RESULTS, write
from interp.ablations import Edits, shape_of
from interp.engine import Settings, generate, score_requests
from interp.models import decoder
from interp.stats import rounding_floor
from interp.tasks import Task, build_requests, select_examples

TYPES = ("float32", "bfloat16", "float16")
COLUMNS = {
    "task": ("task", ""),
    "dtype": ("type", ""),
    "responses": ("responses", ","),
    "moved": ("moved, mean (nats)", ".3f"),
    "moved_most": ("moved, most (nats)", ".2f"),
    "changed": ("other option chosen (%)", ".2f"),
    "drop_moved": ("drop moved, most (points)", ".1f"),
    "unlike_plain": ("texts unlike plain decoding in the type (%)", ".1f"),
}

FLOOR_COLUMNS = {
    "task": ("task", ""),
    "dtype": ("type", ""),
    "examples": ("examples", ","),
    "changed": ("answers that batching changes, most", ","),
    "largest": ("largest drop by batching (points)", ".2f"),
    "floor": ("noise floor (points)", ".2f"),
    "within": ("pairs of batchings within it", ","),
    "pairs": ("of", ","),
}


def responses(model: str, tasks: list[Task], dtype: str, limit: int) -> pd.DataFrame:
    """Every response of a sweep over all layers in one type."""
    loaded = interp.load_model(model, dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        run = interp.sweep(
            loaded, tasks, interp.each_layer(loaded), out=Path(folder) / "run", limit=limit
        )
        return run.responses().set_index(["task", "ablation", "doc_id"]).sort_index()


def compared(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a type and task: differences to float32.

    Args:
        found: the results of each type of the weights.

    Returns:
        Columns: `moved` and `moved_most` (nats, absolute, mean and largest over options; none where
        answers are generated), `changed` (share of chosen options or texts that differ, in
        percent), `drop_moved` (points, the largest difference of a layer's drop in accuracy or
        exact match).
    """
    rows = []
    for dtype, table in found.items():
        for task in table.index.unique("task"):
            mine, exact = table.loc[task], found["float32"].loc[task]
            generated = bool(mine["text"].notna().any())
            if generated:
                moved = np.array([np.nan])
                changed = (mine["text"] != exact["text"]).mean()
            else:
                pairs = list(zip(mine["loglikelihoods"], exact["loglikelihoods"], strict=True))
                moved = np.concatenate([np.abs(np.subtract(a, b)) for a, b in pairs])
                changed = np.mean([np.argmax(a) != np.argmax(b) for a, b in pairs])
            metric = next(c for c in mine if c.startswith("exact_match" if generated else "acc"))
            drops = [t[metric].groupby("ablation").mean() for t in (mine, exact)]
            drops = [d["baseline"] - d for d in drops]
            rows.append(
                {
                    "dtype": dtype,
                    "task": task,
                    "responses": len(mine),
                    "moved": float(moved.mean()),
                    "moved_most": float(moved.max()),
                    "changed": 100 * float(changed),
                    "drop_moved": 100 * float((drops[0] - drops[1]).abs().max()),
                }
            )
    return pd.DataFrame(rows)


def floors(model: str, tasks: list[Task], limit: int) -> pd.DataFrame:
    """The noise floor that a sweep prints, against drops between batchings of the whole model.

    The baseline is scored in batches of 1, 3, 7 and of all examples. Each two of these differ by
    rounding alone: their difference in accuracy is a drop of nothing.

    Args:
        model: a name or a folder.
        tasks: loaded tasks.
        limit: examples of each task.

    Returns:
        Columns: task, dtype, examples, `changed` (most examples that two batchings decide
        otherwise), `largest` (points, the largest difference in accuracy between two), `floor`
        (points, as a sweep prints it: from the batches of 7 beside all at once), `within` (pairs
        within it, of `pairs`).
    """
    rows = []
    for dtype in TYPES:
        loaded = interp.load_model(model, dtype=dtype)
        for task in tasks:
            doc_ids = select_examples(task, limit, seed=0)
            right = {size: _right(loaded, task, doc_ids, size) for size in (1, 3, 7, len(doc_ids))}
            pairs = [(a, b) for a, b in combinations(right.values(), 2)]
            changed = int((right[7] != right[len(doc_ids)]).sum())
            floor = 100 * rounding_floor(len(doc_ids), changed, 1.0, len(doc_ids))
            drops = [100 * abs(a.mean() - b.mean()) for a, b in pairs]
            rows.append(
                {
                    "task": task.name,
                    "dtype": dtype,
                    "examples": len(doc_ids),
                    "changed": max(int((a != b).sum()) for a, b in pairs),
                    "largest": max(drops),
                    "floor": floor,
                    "within": sum(drop <= floor for drop in drops),
                    "pairs": len(pairs),
                }
            )
    return pd.DataFrame(rows)


def _right(
    model: TransformerBridge, task: Task, doc_ids: list[int], size: int
) -> Bool[np.ndarray, " examples"]:
    """Whether the likeliest option of each example is right, scored in batches of a size."""
    found = []
    for start in range(0, len(doc_ids), size):
        some = doc_ids[start : start + size]
        requests: Any = build_requests(task, some, decoder(model))
        (scores,) = score_requests(model, requests, [Edits()])
        for doc_id in some:
            own = [(r, s) for r, s in zip(requests, scores, strict=True) if r.doc_id == doc_id]
            counts = tuple(len(request.continuation) for request, _ in own)
            answers = [score for _, score in own]
            document = task.documents()[doc_id]
            found.append(task.score_options(document, answers, token_counts=counts)["acc"] == 1)
    return np.array(found)


def unlike_plain(model: str, task: Task, dtype: str, limit: int) -> float:
    """The share of texts, in percent, that plain decoding writes otherwise in the same type."""
    loaded = interp.load_model(model, dtype=dtype)
    requests: Any = build_requests(task, select_examples(task, limit, seed=0), decoder(loaded))
    edits = [Edits(), *(a.edits(shape_of(loaded)) for a in interp.each_layer(loaded))]
    fast = generate(loaded, requests, edits)
    plain = generate(loaded, requests, edits, settings=Settings(plain=True))
    pairs = [p for a, b in zip(fast, plain, strict=True) for p in zip(a, b, strict=True)]
    return 100 * sum(a.text != b.text for a, b in pairs) / len(pairs)


def main() -> None:
    """Run the three sweeps, print the comparison and keep it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--out", type=Path, default=RESULTS / "precision", help="without ending")
    parser.add_argument("--floor", action="store_true", help="the noise floor against measurement")
    options = parser.parse_args()
    tasks = [interp.load_task(name, data=options.data) for name in options.tasks]
    if options.floor:
        table = floors(options.model, tasks, options.limit)
        print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
        name = Path(options.model).name
        note = (
            f"{name}, the whole model in batches of 1, 3, 7 and of all examples: the most answers "
            "that two batchings decide otherwise, the largest difference in accuracy between two, "
            "and the noise floor that a sweep prints (95% of drops by rounding are below it)."
        )
        result = {"model": name, "limit": options.limit, "rows": table.to_dict("records")}
        write(options.out.with_name("noise-floor"), result, FLOOR_COLUMNS, note)
        return
    found = {d: responses(options.model, tasks, d, options.limit) for d in TYPES}
    table = compared(found)
    generating = {task.name: task for task in tasks if task.generates}
    table["unlike_plain"] = [
        unlike_plain(options.model, generating[task], dtype, options.limit)
        if task in generating
        else np.nan
        for dtype, task in zip(table["dtype"], table["task"], strict=True)
    ]
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    # float32 does not differ from itself
    rows = table[table["dtype"] != "float32"].to_dict("records")
    name = Path(options.model).name
    result = {"model": name, "limit": options.limit, "rows": rows}
    note = (
        f"{name}, up to {options.limit} examples a task, the baseline and each layer skipped; "
        "every response against the same one in float32: how far the log-likelihoods of its "
        "options moved, how often another option is the likeliest (or another text is written), "
        "and how far a layer's drop moved at most. All of it runs in the type, on a CPU; other "
        "devices round differently."
    )
    write(options.out, result, COLUMNS, note)


if __name__ == "__main__":
    main()
