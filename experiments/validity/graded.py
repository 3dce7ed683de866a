"""Planted effects of a chosen size: distributed facts, a superposed layer, a part that repairs.

- *distributed*: half of the facts lie in one layer and half in another, so that a layer costs as
  many answers as questions are asked about its half.
- *superposed*: the first layer also holds the chain's first step, in neurons that share directions
  with those of its facts.
- *repairing*: a later layer writes a fact where nothing has written it yet; the layer that holds it
  then has a direct effect and costs nothing.
"""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge

import interp
from experiments.validity.planted import (
    ANSWER,
    N_LAYERS,
    RESULT,
    SUBJECTS,
    TOKEN,
    Plan,
    facts_of,
    hand_written,
    look_up,
    tokenizer,
)
from experiments.validity.questions import planted_task
from interp.lens import direct_logit_attribution, self_repair
from interp.models import wrap
from interp.stats import adjust, mcnemar

SIZES = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
"""Planted effects, in points."""

NS = (50, 100, 200, 500, 1000)
DRAWS, ROWS, LEVEL = 400, 96, 0.05
KINDS = ("distributed", "superposed")
SILENCE = 6.0
"""How strongly what is written already keeps a repairing neuron silent."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Graded:
    """Where the halves of the facts lie, and where their repair.

    Attributes:
        seed: the seed of the harmless weights, the facts and the places.
        kind: `distributed`, `superposed` or `repairing`.
        layers: the layers of the first half, of the second, and of what repairs the first.
    """

    seed: int
    kind: str
    layers: tuple[int, int, int]

    @property
    def first_half(self) -> set[int]:
        """Subjects whose facts lie in the first layer."""
        return set(sorted(SUBJECTS)[::2])


def graded(seed: int, kind: str) -> Graded:
    """Places drawn with the seed; the part that repairs comes last."""
    rng = random.Random(f"{kind}-{seed}")
    first, second, last = sorted(rng.sample(range(N_LAYERS), 3))
    if rng.random() < 0.5 and kind != "repairing":
        first, second = second, first
    return Graded(seed, kind, (first, second, last))


def build(plan: Graded) -> TransformerBridge:
    """The model, as a bridge with native blocks behind it."""
    base = Plan(seed=plan.seed)
    root, facts = hand_written(base), facts_of(base)
    halves = [
        {one: facts.objects[one] for one in sorted(SUBJECTS) if (one in plan.first_half) is half}
        for half in (True, False)
    ]
    with torch.no_grad():
        for place, (layer, half) in enumerate(zip(plan.layers, halves, strict=False)):
            look_up(root, layer, TOKEN, ANSWER, half, first_neuron=8 * place)
        if plan.kind == "superposed":
            layer = plan.layers[0]
            look_up(root, layer, TOKEN, RESULT, facts.results, first_neuron=32)
            mlp = root.transformer.h[layer].mlp
            # the neurons of facts and of the chain read part of each other's input
            mixed = mlp.c_fc.weight[:, :4] + 0.3 * mlp.c_fc.weight[:, 32:36]
            mlp.c_fc.weight[:, :4] = mixed
        if plan.kind == "repairing":
            _repair(root, plan.layers[2], halves[0])
    return wrap(root, tokenizer(), name=f"planted-{plan.kind}-{plan.seed}")


def _repair(root: Any, layer: int, half: dict[int, int]) -> None:
    """Neurons that write a fact unless its answer stands in the stream already."""
    look_up(root, layer, TOKEN, ANSWER, half, first_neuron=48)
    mlp = root.transformer.h[layer].mlp
    for number, answer in enumerate(half.values()):
        mlp.c_fc.weight[ANSWER.start + answer, 48 + number] = -SILENCE


def power_rows(seed: int, kind: str) -> list[Row]:
    """How often the first layer is found where it costs so many points, and others are not.

    The model answers each row once, whole and without each layer; samples of rows are then drawn
    with the share of the first half that makes the effect.

    Args:
        seed: the seed of the plan and of the samples.
        kind: one of `KINDS`.

    Returns:
        A row for each number of examples and each size of the effect.
    """
    plan = graded(seed, kind)
    model, task = build(plan), planted_task(Plan(seed=seed), "facts", rows=ROWS)
    with tempfile.TemporaryDirectory() as folder:
        sweep = interp.sweep(model, task, "layers", out=Path(folder) / "run")
        values = sweep.values()
    right = values[values["metric"] == "acc"].pivot_table("value", "doc_id", "ablation")
    layers = [f"layer:{layer}" for layer in range(N_LAYERS)]
    mine = np.array(
        [int(task.documents()[i]["key"].removeprefix("w")) in plan.first_half for i in right.index]
    )
    drops = right["baseline"].to_numpy()[:, None] - right[layers].to_numpy()
    first, others = plan.layers[0], [n for n in range(N_LAYERS) if n not in plan.layers[:2]]
    rng, rows = np.random.default_rng([seed, KINDS.index(kind)]), []
    for n in NS:
        for size in SIZES:
            significant = _significant(rng, drops, mine, n, size / 100)
            rows.append(
                {"seed": seed, "kind": kind, "n": n, "points": size,
                 "power": float(significant[:, first].mean()),
                 "false_finds": float(significant[:, others].any(axis=1).mean()),
                 "baseline": 100 * float(right["baseline"].mean()),
                 "planted": float(drops[mine][:, first].mean()) * size}
            )  # fmt: skip
    return rows


def _significant(
    rng: np.random.Generator, drops: np.ndarray, mine: np.ndarray, n: int, share: float
) -> np.ndarray:
    """Which layers are called important in each sample `[draws, layers]`.

    Args:
        rng: the random generator of the samples.
        drops: for each answered row and layer, 1 harmed, -1 helped.
        mine: rows whose fact the first layer holds.
        n: examples of a sample.
        share: the share of them that are drawn from `mine`.

    Returns:
        True where a layer is called important.
    """
    counts = rng.binomial(n, share, size=DRAWS)
    times = np.zeros((DRAWS, len(drops)))
    for rows, drawn in ((np.flatnonzero(mine), counts), (np.flatnonzero(~mine), n - counts)):
        times[:, rows] = rng.multinomial(drawn, np.full(len(rows), 1 / len(rows)))
    harmed, helped = times @ (drops > 0), times @ (drops < 0)
    p = mcnemar(harmed.ravel(), helped.ravel()).reshape(harmed.shape)
    adjusted = np.array([adjust(of_sample) for of_sample in p])
    return np.asarray((adjusted < LEVEL) & (harmed > helped))


def repair_row(seed: int) -> Row:
    """What attribution and self-repair say about a fact whose loss a later layer repairs."""
    plan = graded(seed, "repairing")
    model, task = build(plan), planted_task(Plan(seed=seed), "facts", rows=ROWS)
    first, second, last = plan.layers
    asked = [f"mlp:{layer}" for layer in (first, second)]
    found = self_repair(model, task, asked)
    effects = {row["ablation"]: row for row in found.effects.to_dict("records")}
    changes = found.changes[found.changes["ablation"] == asked[0]]
    largest = str(changes["component"].iloc[int(changes["change"].argmax())])
    direct = direct_logit_attribution(model, task, heads=False)
    margins = direct[(direct["quantity"] == "margin") & (direct["kind"] == "mlp")]
    best = set(margins.nlargest(2, "value")["ablation"])
    return {
        "seed": seed,
        "attribution": best == set(asked),
        "repaired": bool(effects[asked[0]]["repair_low"] > 0),
        "share": float(effects[asked[0]]["repaired"]),
        "repairer": largest == f"mlp:{last}",
        "not repaired": not bool(effects[asked[1]]["repair_low"] > 0),
    }
