"""What lens, attribution, centres of importance and swaps say of planted models.

Each is asked twice: of a model whose facts lie in one MLP, and of one in which nothing is planted
(of swaps: of a donor that knows the same). What it then says is a false alarm.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.validity.checks import ALPHA, Row, _compared, importance, row_of
from experiments.validity.llama import build_llama
from experiments.validity.planted import (
    N_HEADS,
    N_LAYERS,
    Facts,
    build,
    circuit_plan,
    facts_of,
    null_plan,
)
from experiments.validity.questions import planted_task
from interp import stats
from interp.ablations import AblateHead, SkipLayer, as_ablations
from interp.comparison import centres
from interp.lens import direct_logit_attribution, logit_lens
from interp.tasks import Task

CHANCE, READABLE, SHARE = 0.25, 0.9, 0.1
Build = Callable[..., TransformerBridge]


def check_gpt2_measures(seed: int) -> list[Row]:
    """The four measures on a planted GPT-2."""
    return _measured(seed, "GPT-2", build)


def check_llama(seed: int) -> list[Row]:
    """Effects of heads, KV groups, MLPs and layers, and the four measures, on a planted Llama."""
    plan = circuit_plan(seed)
    model, rows = build_llama(plan), list[Row]()
    assert plan.previous_token is not None
    circuit = (plan.previous_token, *plan.induction)
    kv, facts = planted_task(plan, "kv"), planted_task(plan, "facts")
    groups = {f"kvgroup:{layer}.{head // (N_HEADS // 2)}" for layer, head in circuit}
    asked = [
        (kv, "heads@zero", {AblateHead(*head).text for head in circuit}),
        (kv, "kvgroups", groups),
        (kv, "layers", {SkipLayer(layer).text for layer in plan.layers["kv"]}),
        (facts, "mlps", {f"mlp:{plan.fact}"}),
        (facts, "layers", {SkipLayer(layer).text for layer in plan.layers["facts"]}),
    ]
    for task, family, truth in asked:
        found = importance(model, task, as_ablations(model, family))
        name = task.name.removeprefix("planted-").partition(":")[0]
        rows.append(_compared(seed, f"Llama, {name}: {family} by effect", found, truth))
    return rows + _measured(seed, "Llama", build_llama)


def _measured(seed: int, shape: str, made_by: Build) -> list[Row]:
    plan, nothing = circuit_plan(seed), null_plan(seed)
    assert plan.fact is not None
    facts = facts_of(plan)
    model, empty = made_by(plan), made_by(nothing)
    # eight facts are asked again and again: what a model without them guesses, it guesses each time
    task, none = planted_task(plan, "facts"), planted_task(nothing, "facts", cluster="key")
    values = _values(model, task, "layers")
    of_nothing = _values(empty, none, "layers")
    other_facts = Facts(_turned(facts.objects), facts.results, facts.ends)
    donor = made_by(plan, facts=other_facts)
    same = made_by(replace(plan, seed=seed + 10_000), facts=facts)
    asked: list[tuple[str, set[str], set[str]]] = [
        ("lens", {f"depth {plan.fact + 1}"}, readable_from(model, task)),
        ("lens, nothing planted", set(), readable_at_all(empty, none)),
        ("attribution", {f"mlp:{plan.fact}"}, writers(model, task)),
        ("attribution, nothing planted", set(), writers(empty, none)),
        ("centre of importance", {f"layer {plan.fact}"}, centre(values)),
        ("centre of importance, nothing planted", set(), centre(of_nothing)),
        ("swaps", {f"swap:{plan.fact}"}, harmful(_values(model, task, "swaps", donor))),
        ("swaps, a donor that knows the same", set(),
         harmful(_values(model, task, "swaps", same))),
    ]  # fmt: skip
    return [row_of(seed, f"{shape}, facts: {name}", truth, found) for name, truth, found in asked]


def readable_from(model: TransformerBridge, task: Task) -> set[str]:
    """The first depth from which on nine in ten right answers lead to the end."""
    table = logit_lens(model, task, sublayers=False, resamples=100).decided()
    mine = table[(table["answer"] == "right") & (table["value"] >= READABLE)]
    return {f"depth {mine['depth'].min():.0f}"} if len(mine) else set()


def readable_at_all(model: TransformerBridge, task: Task) -> set[str]:
    """The last depth, if the right answer leads there more often than guessing."""
    table = logit_lens(model, task, sublayers=False, resamples=100).decided()
    last = table[table["answer"] == "right"].iloc[-1]
    return {f"depth {last['depth']:.0f}"} if last["low"] > CHANCE else set()


def writers(model: TransformerBridge, task: Task) -> set[str]:
    """Attentions and MLPs that carry a tenth of the margin or more, and surely some of it."""
    table = direct_logit_attribution(model, task, heads=False)
    parts = table[(table["quantity"] == "margin") & table["kind"].isin(["attention", "mlp"])]
    enough = parts["value"] >= SHARE * parts["value"].abs().sum()
    return set(parts.loc[enough & (parts["low"] > 0), "ablation"])


def centre(values: pd.DataFrame) -> set[str]:
    """The layer of the centre of importance, if there is a centre."""
    (model,) = values["model"].unique()
    table = centres(values, {model: N_LAYERS})
    (row,) = table[table["quantity"] == "centre"].to_dict("records")
    if np.isnan(row["low"]):
        return set()
    return {f"layer {row['value'] * (N_LAYERS - 1):.0f}"}


def harmful(values: pd.DataFrame) -> set[str]:
    """Ablations whose drop is positive and significant after the correction."""
    table = stats.importance(values, resamples=100)
    return set(table.loc[(table["p_adjusted"] < ALPHA) & (table["drop"] > 0), "ablation"])


def _values(
    model: TransformerBridge, task: Task, family: str, donor: TransformerBridge | None = None
) -> pd.DataFrame:
    """Accuracies of a sweep; its records are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run = interp.sweep(model, task, family, donor=donor, out=Path(folder) / "run")
        values = run.values()
    return values[values["metric"] == "acc"]


def _turned(objects: dict[int, int]) -> dict[int, int]:
    """Every subject with the object of the next one."""
    answers = list(objects.values())
    return dict(zip(objects, [*answers[1:], answers[0]], strict=True))
