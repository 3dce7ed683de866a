"""Greedy removal of layers: chosen on some examples, scored on others.

At each step the set of removed layers grows by the layer whose removal costs least given those
already removed ("SLEB", arXiv 2402.09025; on task accuracy "TALE", arXiv 2510.22767). With a beam,
the best few sets are kept at each step. The chosen sets were picked because they did well on the
examples that chose them, so their scores there are too good. The scores that count are those on
other examples.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from interp import stats
from interp.ablations import shape_of
from interp.errors import UserError, path_given
from interp.results import MetricChoice, Sweep, choose_metric
from interp.similarity.skipping import Order, curve_table, skipped_layers
from interp.sweeps import check_metric, loaded_tasks, make_plan, sweep
from interp.tasks import Task, select_examples

log = logging.getLogger("interp")

CHOSEN_ON, HELD_OUT = "on the examples that chose", "on other examples"


@dataclass(frozen=True, eq=False)
class Removal:
    """The sets that greedy removal chose, and their scores.

    Attributes:
        order: the best set of one layer, of two layers, and so on.
        curve: the scores of the unablated model and of each set, once on the examples that chose
            and once on others (`order`), as from `interp.similarity.pruning_curves`.
        drops: paired drops on the other examples, with intervals and p-values over all steps
            (`interp.stats.importance`), and `n_removed`.
        runs: the number of (set, example) pairs that the choice ran.
    """

    order: Order
    curve: pd.DataFrame
    drops: pd.DataFrame
    runs: int

    def __repr__(self) -> str:
        gains = self.drops[self.drops["high"] < 0]
        return (
            f"Removal({', '.join('+'.join(map(str, step)) for step in self.order.steps)}; "
            f"held out, {len(gains)} of {len(self.drops)} drops are gains)"
        )


def greedy_removal(
    model: TransformerBridge,
    tasks: Sequence[str | Path | Task] | str | Path | Task,
    *,
    most: int,
    out: str | Path,
    metric: MetricChoice = None,
    beam: int = 1,
    limit: int | None = None,
    seed: int = 0,
    correction: str = "holm",
) -> Removal:
    """Remove layers one by one, each time the one that costs least given those already removed.

    Half of the examples choose. Others, about as many and never the same ones, score the chosen
    sets. Every step is a sweep in a folder of its own, so that the same call continues an
    interrupted one. The choice runs at most `beam * most * n_layers` sets on the examples that
    choose; the number is logged before it begins.

    Args:
        model: the model.
        tasks: as for `interp.sweep`; with several, the mean of their drops is the cost.
        most: the largest number of layers to remove.
        out: folder of the sweeps.
        metric: one for all tasks, or one for each named task; as for `Sweep.importance`.
        beam: the number of sets that are kept at each step; 1 is greedy.
        limit: the most examples of each task, both halves together; all by default.
        seed: seed of the draw of examples, and of the bootstrap.
        correction: correction of the p-values of the steps.

    Returns:
        The chosen sets, their curves and their held-out drops.

    Raises:
        UserError: there is no such task; a task has fewer than four examples or lacks the metric;
            `most` leaves no layer; or the beam is below 1. It is raised before anything is run.
            Later only where examples fail under every set that could be chosen.
    """
    n_layers, folder = shape_of(model).n_layers, path_given("out", out)
    if n_layers == 1:
        raise UserError("greedy removal: the model has one layer, which cannot be removed")
    if type(most) is not int or not 1 <= most < n_layers:
        raise UserError(f"most {most!r}: allowed are 1-{n_layers - 1}")
    if type(beam) is not int or beam < 1:
        raise UserError(f"beam {beam!r}: allowed are 1 and more")
    stats.check_correction(correction)
    loaded = loaded_tasks(tasks)
    check_metric(model, loaded, metric)
    half = _half(loaded, limit, seed)
    # the rows that score are checked before those that choose are run
    make_plan(model, loaded, skipped_layers([0]), limit=2 * half, seed=seed)
    runs = sum(beam * (n_layers - k) for k in range(1, most)) + n_layers
    log.info(
        "greedy removal: up to %d sets of layers on %d examples per task, then %d sets on %d",
        runs, half, most, 2 * half,
    )  # fmt: skip
    kept: list[tuple[int, ...]] = [()]
    steps, done, seen = [], 0, list[pd.DataFrame]()
    for number in range(1, most + 1):
        grown = sorted({tuple(sorted((*layers, n))) for layers in kept for n in range(n_layers)
                        if n not in layers})  # fmt: skip
        tried, place = [skipped_layers(one) for one in grown], folder / f"step-{number:03d}"
        run = sweep(model, loaded, tried, out=place, limit=half, seed=seed)
        costs = _costs(run, metric)
        kept = sorted(grown, key=lambda one: (costs[skipped_layers(one).text], one))[:beam]
        steps.append(kept[0])
        done += len(grown) * half
        # only the chosen sets are kept; the baseline is in every step
        texts = [skipped_layers(kept[0]).text, *([stats.BASELINE] if number == 1 else [])]
        seen.append(choose_metric(run.values(ablations=texts), metric))
    chosen = [skipped_layers(one) for one in steps]
    scoring = sweep(model, loaded, chosen, out=folder / "chosen", limit=2 * half, seed=seed)
    chose = {task.name: set(select_examples(task, half, seed=seed)) for task in loaded}
    values, turned = (choose_metric(v, metric) for v in (scoring.values(), scoring.gains()))
    pairs = zip(values["task"], values["doc_id"], strict=True)
    others = np.array([doc not in chose[task] for task, doc in pairs])
    drops = stats.importance(turned[others], seed=seed, correction=correction)
    sizes = {skipped_layers(step).text: len(step) for step in steps}
    return Removal(
        Order("greedy removal", tuple(steps)),
        _curves(steps, pd.concat(seen), values[others], seed),
        drops.assign(n_removed=drops["ablation"].map(sizes)),
        done,
    )


def _curves(
    steps: Sequence[tuple[int, ...]], seen: pd.DataFrame, others: pd.DataFrame, seed: int
) -> pd.DataFrame:
    curves = [
        curve_table(stats.scores(rows, seed=seed), [Order(name, tuple(steps))])
        for name, rows in ((CHOSEN_ON, seen), (HELD_OUT, others))
    ]
    return pd.concat(curves, ignore_index=True)


def _half(tasks: Sequence[Task], limit: int | None, seed: int) -> int:
    """The number of examples of each task that choose; as many others score."""
    sizes = [len(select_examples(task, limit, seed=seed)) for task in tasks]
    for task, size in zip(tasks, sizes, strict=True):
        if size < 4:
            raise UserError(
                f"task {task.name}: {size} examples; greedy removal needs 4 or more, half of them "
                "to choose and half to score"
            )
    return min(sizes) // 2


def _costs(run: Sweep, metric: MetricChoice) -> dict[str, float]:
    """For each ablation its mean drop over tasks; infinite where an example has no outcome.

    Examples that failed without any ablation are left out, as in every table.
    """
    drops: dict[str, list[float]] = {text: [] for text in run.manifest.ablations}
    tasks = {task.name for task in run.manifest.tasks}
    for key, _, wide, _ in stats.series(choose_metric(run.gains(), metric)):
        tasks.discard(str(key["task"]))
        means = wide.mean(axis=0)
        for text, task_drops in drops.items():
            task_drops.append(float(means[stats.BASELINE] - means.get(text, -np.inf)))
    costs = {text: float(np.mean(task_drops)) for text, task_drops in drops.items() if not tasks}
    if not np.isfinite([*costs.values()]).any():
        named = f"task {min(tasks)}: every example" if tasks else "every set: an example"
        raise UserError(f"greedy removal, {named} failed, so that nothing can be chosen")
    return costs
