"""Activation patching over pairs of prompts: TransformerLens' `patching` and a sweep, side by side.

    OMP_NUM_THREADS=1 taskset -c 1 python -m experiments.benchmarks.patching

A random model of Llama's shape, 12 layers, float32, and key-value rows whose twin asks for another
key. TransformerLens runs the whole model for every cell; a sweep runs a cell's suffix. Both
directions of every pair are patched by both, and every number of one is compared with the other's.
TransformerLens' time of a task is measured on a few of its pairs and counted up: each of its passes
is of the same shape. The sweep's time is all that a user waits for: plan, records and files too.
Both sides take turns. Processor time is shown beside the clock on the wall, because the machine may
be used by others.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from transformer_lens import patching
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.benchmarks.reports import RESULTS, write
from experiments.benchmarks.workloads import random_llama, tokenizer
from interp import models
from interp.ablations import parse
from interp.models import wrap
from interp.tasks import PLAIN, Task, encode, task_of_rows

D_VOCAB = 1000
POINTS = {"resid": "resid_pre", "attn": "attn_out", "mlp": "mlp_out", "head": "z"}
COLUMNS = {
    "line": ("line", ""),
    "pairs": ("pairs", ","),
    "tokens": ("tokens a prompt", ","),
    "cells": ("cells a direction", ","),
    "peer_text": ("TransformerLens (s)", ""),
    "ours_text": ("sweep (s)", ""),
    "ratio_text": ("ratio", ""),
    "wall_text": ("ratio on the wall", ""),
    "largest_difference": ("largest difference (nats)", ".0e"),
}
Cells = dict[tuple[int, str], float]


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        d_model: width of the model.
        prefix: words that all prompts begin with.
        pairs: pairs of prompts.
        measured: pairs on which TransformerLens is measured.
        families: what is patched; `each` stands for every position by number.
        keys: key-value pairs of a prompt.
    """

    d_model: int
    prefix: int
    pairs: int
    measured: int
    families: tuple[str, ...]
    keys: int = 16


LAST = ("patches:resid@last", "patches:attn@last", "patches:mlp@last")
LINES = {
    "map of one pair": Line(128, 0, 1, 1, ("patches:resid@each",), keys=12),
    "task, layers": Line(128, 256, 50, 1, LAST),
    "task, layers and heads": Line(128, 256, 50, 1, (*LAST, "patches:heads@last")),
}


def pairs_of(model: TransformerBridge, line: Line) -> Task:
    """Key-value rows behind a shared prefix, and for each the row that asks for another key."""
    rng, rows = random.Random(0), []
    prefix = " ".join(f"w{rng.randrange(600, 990)}" for _ in range(line.prefix))
    for _ in range(line.pairs):
        words = [f"w{n}" for n in rng.sample(range(10, 600), 2 * line.keys)]
        pairs = list(zip(words[::2], words[1::2], strict=True))
        gold = rng.randrange(len(pairs))
        rows.append({"prefix": prefix, "pairs": pairs, "pairs_text": PLAIN.write(pairs)[0],
                     "key": pairs[gold][0], "gold_position": gold, "answer": pairs[gold][1],
                     "options": [v for _, v in pairs], "gold": gold})  # fmt: skip
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{prefix}} {{pairs_text}} w5 {{key}}",
        "doc_to_choice": "options",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    return interp.twins(model, task_of_rows("rows:continuation", rows, config), by="key")


def peer(model: TransformerBridge, task: Task, doc_ids: list[int], texts: list[str]) -> Cells:
    """Log-probability of the twin's answer minus the own one in each cell, by TransformerLens."""
    found: Cells = {}
    decoder = models.decoder(model)
    for doc_id in doc_ids:
        row = task.documents()[doc_id]
        own, twin = (torch.tensor([encode(row[f].rstrip(), decoder)]) for f in ("prompt", "twin"))
        answers = [encode(f" {text}", decoder)[-1] for text in row["options"]]

        def gap(logits: torch.Tensor, answers: list[int] = answers) -> torch.Tensor:
            scores = logits[0, -1].log_softmax(dim=-1)
            return scores[answers[1]] - scores[answers[0]]

        wanted = {parse(text).kind.split(":")[1].split("@")[0] for text in texts}
        names = [f"blocks.{n}.{_point(s)}" for s in wanted for n in range(model.cfg.n_layers)]
        with torch.no_grad():
            _, cache = model.run_with_cache(twin, names_filter=names)
            for site in sorted(wanted):
                mine = [text for text in texts if text.startswith(f"patch:{site}:")]
                index = pd.DataFrame([_index(text, own.shape[1]) for text in mine])
                setter = (
                    patching.layer_pos_head_vector_patch_setter
                    if site == "head" else patching.layer_pos_patch_setter
                )  # fmt: skip
                values = patching.generic_activation_patch(
                    model, own, cache, gap, setter, POINTS[site], index_df=index
                )
                found |= {(doc_id, t): float(v) for t, v in zip(mine, values, strict=True)}
    return found


def _point(site: str) -> str:
    return "attn.hook_z" if site == "head" else f"hook_{POINTS[site]}"


def _index(text: str, length: int) -> dict[str, int]:
    patch = parse(text)
    assert isinstance(patch, interp.Patch)
    position = length - 1 if patch.positions == "last" else int(patch.positions)
    found = {"layer": patch.layer, "pos": position}
    return found if patch.head is None else {**found, "head_index": patch.head}


def ours(model: TransformerBridge, task: Task, texts: list[str]) -> Cells:
    """The same difference in each cell, by a sweep."""
    with tempfile.TemporaryDirectory() as folder:
        run = interp.sweep(model, task, texts, out=Path(folder) / "run")
        rows = run.responses()
    return {
        (doc_id, text): float(pair[1]) - float(pair[0])
        for doc_id, text, pair in zip(
            rows["doc_id"], rows["ablation"], rows["loglikelihoods"], strict=True
        )
    }


def measured(name: str, line: Line, repeats: int) -> dict[str, Any]:
    """Both sides in turns, after one pass of each on one pair."""
    root = random_llama(d_model=line.d_model, d_vocab=D_VOCAB)
    model = wrap(root, tokenizer(D_VOCAB), name="random")
    task = pairs_of(model, line)
    length = len(encode(task.documents()[0]["prompt"].rstrip(), models.decoder(model)))
    each = [f.replace("each", str(p)) for f in line.families if "each" in f for p in range(length)]
    named = [f for f in line.families if "each" not in f] + each
    texts = [one.text for one in interp.ablations.as_ablations(model, named)]
    few = list(range(2 * line.measured))
    sides = {
        "peer": partial(peer, model, task, few, texts),
        "ours": partial(ours, model, task, texts),
    }
    peer(model, task, few[:1], texts[:2])
    times: dict[str, list[tuple[float, float]]] = {"peer": [], "ours": []}
    results: dict[str, Cells] = {}
    for turn in range(repeats):
        for side in sorted(sides, reverse=bool(turn % 2)):
            cpu, wall, results[side] = _timed(sides[side])
            scale = line.pairs / line.measured if side == "peer" else 1.0
            times[side].append((cpu * scale, wall * scale))
    differences = [abs(results["ours"][cell] - value) for cell, value in results["peer"].items()]
    ratios, walls = (
        [one[i] / two[i] for one, two in zip(times["peer"], times["ours"], strict=True)]
        for i in (0, 1)
    )
    return {
        "line": name, "pairs": line.pairs, "tokens": length, "cells": len(texts),
        "times": times, "peer_text": _text([one[0] for one in times["peer"]]),
        "ours_text": _text([one[0] for one in times["ours"]]),
        "ratio_text": _text(ratios), "wall_text": _text(walls),
        "largest_difference": max(differences), "compared": len(differences),
    }  # fmt: skip


def _timed(side: Callable[[], Cells]) -> tuple[float, float, Cells]:
    cpu, wall = time.process_time(), time.perf_counter()
    found = side()
    return time.process_time() - cpu, time.perf_counter() - wall, found


def _text(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measure the lines and write JSON and table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", nargs="+", default=list(LINES), choices=list(LINES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "patching")
    options = parser.parse_args()
    # lines that were measured before, on the same machine, are kept
    kept = options.out.with_suffix(".json")
    before = json.loads(kept.read_text())["rows"] if kept.exists() else []
    found = {row["line"]: row for row in before}
    for name in options.lines:
        found[name] = measured(name, LINES[name], options.repeats)
        print({k: v for k, v in found[name].items() if k != "times"}, flush=True)
    rows = [found[name] for name in LINES if name in found]
    note = (
        f"Median of {options.repeats} turns (least to most), processor seconds of one thread; both "
        "directions of every pair. TransformerLens' time of a task of 50 pairs is 50 times that of "
        "one pair: its passes are of the same shape. `python -m experiments.benchmarks.patching`."
    )
    write(options.out, {"rows": rows}, COLUMNS, note)


if __name__ == "__main__":
    main()
