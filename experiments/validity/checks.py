"""One planted model each: what the toolkit finds, beside what was built in."""

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.validity.planted import build, circuit_plan, null_plan, redundant_plan
from experiments.validity.questions import planted_task
from interp import stats
from interp.ablations import AblateHead, Ablation, Combination, SkipLayer
from interp.attention import retrieval_heads, top_heads
from interp.tasks import Task

ALPHA = 0.05
NULL_ROWS = 64
THRESHOLD = 0.1
Row = dict[str, Any]


def check_circuit(seed: int) -> list[Row]:
    """A retrieval circuit, a null head, a fact and a chain: found by effect and by attention?"""
    plan = circuit_plan(seed)
    model = build(plan)
    heads, mlps, layers = (
        interp.each_head(model, by="zero"),
        interp.each_mlp(model),
        interp.each_layer(model),
    )
    assert plan.previous_token is not None
    circuit = {AblateHead(*plan.previous_token).text, AblateHead(*plan.induction[0]).text}
    chain = plan.chain or ()
    rows = []
    truths: dict[str, tuple[Sequence[Ablation], set[str]]] = {
        "kv": (heads, circuit),
        "facts": (mlps, {f"mlp:{plan.fact}"}),
        "chain": (mlps, {f"mlp:{layer}" for layer in chain}),
    }
    for skill, (family, truth) in truths.items():
        task = planted_task(plan, skill)
        found = importance(model, task, [*family, *layers])
        what = "heads" if skill == "kv" else "MLPs"
        parts = found[~found["ablation"].str.startswith("layer:")]
        rows.append(_compared(seed, f"{skill}: {what} by effect", parts, truth))
        whole = {SkipLayer(layer).text for layer in plan.layers[skill]}
        table = found[found["ablation"].str.startswith("layer:")]
        rows.append(_compared(seed, f"{skill}: layers by effect", table, whole))
        if skill == "kv":
            rows += _null_head(seed, plan.null[0], model, task, found)
    scored = retrieval_heads(model, planted_task(plan, "kv"))
    looking = {*plan.induction, *plan.null}
    best = set(top_heads(scored.scores, 2))
    rows.append(row_of(seed, "kv: copying and null heads by retrieval score", looking, best))
    written = scored.trace.written.mean(axis=0)
    writing = set(map(tuple, np.argwhere(written >= THRESHOLD).tolist()))
    rows.append(row_of(seed, "kv: copying heads by what they write", {*plan.induction}, writing))
    return rows


def check_redundant(seed: int, *, candidates: int = 6) -> list[Row]:
    """Two induction heads, either enough: found by ablating pairs, and by no single head?

    Args:
        seed: the seed of the plan.
        candidates: heads of the highest retrieval score whose pairs are ablated; single heads are
            ablated all.

    Returns:
        Three rows: the pairs, the single heads beside them, and the heads by retrieval score.
    """
    plan = redundant_plan(seed)
    model, task = build(plan), planted_task(plan, "kv")
    scores = retrieval_heads(model, task).scores
    likely = [AblateHead(*head) for head in sorted(top_heads(scores, candidates))]
    pairs: list[Ablation] = [Combination(pair) for pair in itertools.combinations(likely, 2)]
    found = importance(model, task, [*interp.each_head(model, by="zero"), *pairs])
    important = set(_important(found))
    single = {text for text in important if "+" not in text}
    both = Combination(tuple(AblateHead(*head) for head in plan.induction)).text
    joint = {t for t in important if "+" in t and not set(t.split("+")) & single}
    assert plan.previous_token is not None
    return [
        row_of(seed, "kv: redundant pair by pairwise ablation", {both}, joint),
        row_of(seed, "kv: single heads beside a redundant pair",
             {AblateHead(*plan.previous_token).text}, single),
        row_of(seed, "kv: redundant heads by retrieval score", set(plan.induction),
             set(top_heads(scores, 2))),
    ]  # fmt: skip


def check_null(seed: int) -> list[Row]:
    """Nothing planted: any component called important is a false alarm."""
    plan = null_plan(seed)
    model, task = build(plan), planted_task(plan, "kv", rows=NULL_ROWS)
    family = [
        *interp.each_head(model, by="zero"),
        *interp.each_mlp(model),
        *interp.each_layer(model),
    ]
    found = importance(model, task, family)
    row = row_of(seed, "nothing planted: any component by effect", set(), set(_important(found)))
    row["smallest_p"] = float(found["p"].min())
    row["uncorrected"] = int((found["p"] < ALPHA).sum())
    row["baseline"] = float(found["baseline"].iloc[0])
    row["largest_change"] = float(found["drop"].abs().max())
    return [row]


def importance(model: TransformerBridge, task: Task, ablations: Sequence[Ablation]) -> pd.DataFrame:
    """The sweep's drops of accuracy, by the sweep itself; its records are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        sweep = interp.sweep(model, task, ablations, out=Path(folder) / "run")
        values = sweep.values()
        # one test a component: the other metrics of the same answers are not asked
        return stats.importance(values[values["metric"] == "acc"], resamples=100)


def _null_head(
    seed: int, head: tuple[int, int], model: TransformerBridge, task: Task, found: pd.DataFrame
) -> list[Row]:
    """A head that attends to the gold value and writes nothing."""
    trace = retrieval_heads(model, task).trace
    attention = float(trace.attention["gold_value"][:, head[0], head[1]].mean())
    drop = found["drop"][found["ablation"] == AblateHead(*head).text].iloc[0]
    row = row_of(seed, "kv: null head", {"attends"}, {"attends"} if attention > 0.5 else set())
    return [row | {"attention": attention, "drop": float(drop)}]


def _compared(seed: int, question: str, found: pd.DataFrame, truth: set[str]) -> Row:
    """What is called important, and whether the planted ones have the largest drops."""
    ranked = found.sort_values("drop", ascending=False, kind="stable")
    first = set(ranked["ablation"].iloc[: len(truth)])
    row = row_of(seed, question, truth, set(_important(found)))
    others = found[~found["ablation"].isin(truth)]["drop"]
    planted = found[found["ablation"].isin(truth)]["drop"]
    row["ranked_first"] = first == truth
    row["least_planted_drop"] = float(planted.min())
    row["largest_other_drop"] = float(others.max())
    return row


def _important(found: pd.DataFrame) -> list[str]:
    wanted = (found["p_adjusted"] < ALPHA) & (found["drop"] > 0)
    return [str(text) for text in found[wanted]["ablation"]]


def row_of(seed: int, question: str, truth: set[Any], found: set[Any]) -> Row:
    """What was planted and what was found, with the numbers of hits, false alarms and misses."""
    counts = {"hit": truth & found, "false_alarm": found - truth, "missed": truth - found}
    row: Row = {"seed": seed, "question": question, "planted": sorted(map(str, truth))}
    row["found"] = sorted(map(str, found))
    return row | {name: len(members) for name, members in counts.items()}


CHECKS = {"circuit": check_circuit, "redundant": check_redundant, "null": check_null}


def summary(rows: Sequence[Row]) -> pd.DataFrame:
    """One row per question: models, precision, recall, exact answers, models with false alarms."""
    table = pd.DataFrame(rows)
    made = []
    for question, group in table.groupby("question", sort=False):
        hits, alarms, missed = (int(group[c].sum()) for c in ("hit", "false_alarm", "missed"))
        exact = (group["false_alarm"] == 0) & (group["missed"] == 0)
        made.append(
            {
                "question": question,
                "models": len(group),
                "precision": hits / (hits + alarms) if hits + alarms else np.nan,
                "recall": hits / (hits + missed) if hits + missed else np.nan,
                "exact": int(exact.sum()),
                "models with a false alarm": int((group["false_alarm"] > 0).sum()),
            }
        )
    return pd.DataFrame(made)
