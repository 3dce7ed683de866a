"""Pruning curves: layers skipped in several orders, and the score that is left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from transformer_lens.model_bridge import TransformerBridge

from interp import stats
from interp.ablations import (
    BASELINE,
    Ablation,
    SkipLayer,
    as_ablation,
    parsed_or_none,
    shape_of,
)
from interp.errors import UserError, check_seed, check_whole
from interp.results import MetricChoice, Sweep, choose_metric, open_run
from interp.sweeps import loaded_tasks, sweep
from interp.tasks import Task, select_examples


@dataclass(frozen=True)
class Order:
    """Which layers are skipped when one, two, three, ... layers are removed.

    Attributes:
        name: the name of the criterion, as in a legend.
        steps: the layers of each step, in ascending order; a step need not contain the one before.
        draw: the number of this order among several random ones.
        measured_on: for each task the rows that the order was measured on; a curve leaves them out.
    """

    name: str
    steps: tuple[tuple[int, ...], ...]
    draw: int = 0
    measured_on: Mapping[str, frozenset[int]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Order({self.name}: {', '.join('+'.join(map(str, s)) for s in self.steps)})"


def nested(name: str, layers: Sequence[int], most: int, *, draw: int = 0) -> Order:
    """An order in which layers are removed one after the other.

    Args:
        name: the name of the order, in tables and figures.
        layers: the layers, in the order in which they are removed.
        most: the number of layers in the order.
        draw: the number of this order among several with this name.

    Returns:
        Sets of one layer, two layers, and so on up to `most`, each containing the ones before.

    Raises:
        UserError: `most` is not between 1 and the number of layers.
    """
    check_whole("most", most, 1, len(layers))
    return Order(name, tuple(tuple(sorted(layers[:n])) for n in range(1, most + 1)), draw)


def by_influence(influence: pd.DataFrame, most: int) -> Order:
    """The layers with the smallest block influence first (ShortGPT, arXiv 2403.03853).

    Args:
        influence: table of block influences (`Similarity.influence`).
        most: the number of layers in the order.

    Returns:
        The order, of 1 to `most` layers.

    Raises:
        UserError: the table is of several models or tasks, or has fewer layers.
    """
    _check_each_once("influence", influence, ["layer"])
    ranked = influence.sort_values("value", kind="stable")["layer"].tolist()
    return nested("block influence", ranked, most)


def by_angular_distance(angular: pd.DataFrame, most: int) -> Order:
    """For each size, the block of consecutive layers with the smallest angular distance.

    Args:
        angular: table of angular distances (`Similarity.angular`), as in arXiv 2403.17887.
        most: size of the largest block.

    Returns:
        A block for each size from 1 to `most`. A larger block need not contain a smaller one.

    Raises:
        UserError: the table is of several models or tasks, or has no block of a size.
    """
    _check_each_once("angular", angular, ["block", "layer"])
    check_whole("most", most, 1, int(angular["block"].max()))
    steps = []
    for block in range(1, most + 1):
        rows = angular[angular["block"] == block]
        if rows.empty:
            raise UserError(f"angular: it has no block of {block} layers")
        first = int(rows["layer"].to_numpy()[rows["value"].to_numpy().argmin()])
        steps.append(tuple(range(first, first + block)))
    return Order("angular distance (block)", tuple(steps))


def by_importance(
    importance: pd.DataFrame | Sweep | Sequence[Sweep], most: int, *, metric: MetricChoice = None
) -> Order:
    """The layers with the smallest measured drop first, averaged over the tasks.

    A layer that was chosen because its drop was small on some examples has a larger one on others.
    An order made from a run records the run's examples, and `pruning_curves` leaves them out. An
    order made from a table does not: measure it on other examples than the curve (another seed), or
    the curve is too good.

    Args:
        importance: a sweep of every layer, several of them (other tasks of the same model), or a
            table from `importance()`, one metric per task.
        most: the largest number of layers to remove.
        metric: the metric of a sweep: one for all tasks, or one for each named task.

    Returns:
        The order, of 1 to `most` layers.

    Raises:
        UserError: no single layer was skipped, an example failed under one that was, or the table
            has several metrics or models per task.
    """
    measured_on = dict[str, frozenset[int]]()
    if not isinstance(importance, pd.DataFrame):
        _check_sweeps(importance)
        sweeps = [importance] if isinstance(importance, Sweep) else list(importance)
        measured_on = {
            t.name: frozenset(t.doc_ids) for sweep in sweeps for t in sweep.manifest.tasks
        }
        tables = [choose_metric(sweep.importance(), metric) for sweep in sweeps]
        importance = pd.concat(tables, ignore_index=True)
    stats.check_columns("importance", importance, ["task", "ablation"], ["drop"])
    layer = importance["ablation"].map(_skipped_layer)
    rows = importance.assign(layer=layer).dropna(subset="layer")
    if rows.empty:
        raise UserError("importance: no ablation layer:N in it")
    if rows.duplicated(["task", "layer"]).any():
        raise UserError("importance: several metrics or models per task; keep one")
    failed = rows[rows["drop"].isna()]
    if len(failed):  # a mean over the other tasks would rank it too low
        failure = failed.iloc[0]
        raise UserError(
            f"importance: {failure['ablation']} has no drop on task {failure['task']}, where "
            f"examples failed; leave {failure['ablation']} out to order the others"
        )
    ranked = rows.groupby("layer")["drop"].mean().sort_values(kind="stable").index
    order = nested("measured importance", [int(x) for x in ranked], most)
    return replace(order, measured_on=measured_on)


def deepest_first(n_layers: int, most: int) -> Order:
    """An order from the last layer to the first.

    Args:
        n_layers: number of layers.
        most: the number of layers in the order.

    Returns:
        The order, of 1 to `most` layers.
    """
    check_whole("n_layers", n_layers, 1)
    return nested("from the deepest", list(reversed(range(n_layers))), most)


def at_random(n_layers: int, most: int, *, draws: int = 5, seed: int = 0) -> list[Order]:
    """Several random orders.

    Args:
        n_layers: number of layers.
        most: the number of layers in each order.
        draws: the number of orders.
        seed: seed of the draw.

    Returns:
        `draws` orders with the same name, distinguished by `Order.draw`.
    """
    check_whole("n_layers", n_layers, 1)
    check_whole("draws", draws, 1)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    return [
        nested("random", rng.permutation(n_layers).tolist(), most, draw=draw)
        for draw in range(draws)
    ]


def pruning_curves(
    model: TransformerBridge,
    tasks: Sequence[str | Task],
    orders: Sequence[Order],
    *,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Skip layers in several orders and score the tasks, in one sweep that runs each set once.

    Args:
        model: the model.
        tasks: as for `interp.sweep`.
        orders: orders made by the functions of this module.
        out: folder of the sweep; the same call continues it.
        limit: the most examples per task, drawn with the seed; all by default.
        seed: seed of the draw.

    Returns:
        Columns `model task metric order draw n_removed layers value low high n unit interval`;
        `n_removed` 0 is the unablated model, once per order. Examples that one of the orders was
        measured on are left out of all curves.

    Raises:
        UserError: as `interp.sweep`; or a step leaves no layer, or no example is left. It is raised
            before anything is written.
    """
    n_layers = shape_of(model).n_layers
    _check_orders(orders)
    for order in orders:
        for step in order.steps:
            if len(step) >= n_layers:
                raise UserError(f"order {order.name}: {len(step)} layers; the model has {n_layers}")
    loaded = loaded_tasks(tasks)
    for task in loaded:
        drawn = set(select_examples(task, limit, seed=seed))
        if drawn <= _rows_of_orders(orders, task.name):
            raise UserError(
                f"task {task.name}: all {len(drawn)} examples are those that an order was measured "
                "on; take another seed, or a lower limit for the order"
            )
    ablations = {step: skipped_layers(step) for order in orders for step in order.steps}
    run = sweep(model, loaded, list(ablations.values()), out=out, limit=limit, seed=seed)
    return curve_table(run, orders)


def skipped_layers(layers: Sequence[int]) -> Ablation:
    """The ablation that skips some layers, with the same text for any order of them.

    Args:
        layers: numbers of the layers, in any order.

    Returns:
        A combination in ascending order, or a single layer.
    """
    return as_ablation([SkipLayer(layer) for layer in sorted(layers)])


def curve_table(run: Sweep | str | Path | pd.DataFrame, orders: Sequence[Order]) -> pd.DataFrame:
    """The curves of a finished run (see `pruning_curves`), without the model.

    Args:
        run: the run, its folder, or its scores.
        orders: the orders that were swept.

    Returns:
        One row per order, task, metric and number of layers skipped, with the score and its
        interval.
    """
    _check_orders(orders)
    scores = run if isinstance(run, pd.DataFrame) else _scores(run, orders)
    stats.check_columns("scores", scores, ["task", "metric", "ablation"])
    tables = []
    for order in orders:
        for n_removed, step in enumerate(((), *order.steps)):
            text = skipped_layers(step).text if step else BASELINE.text
            rows = scores[scores["ablation"] == text].drop(columns="ablation")
            named: dict[str, Any] = {
                "order": order.name,
                "draw": order.draw,
                "n_removed": n_removed,
            }
            tables.append(rows.assign(**named, layers=" ".join(map(str, step))))
    return pd.concat(tables, ignore_index=True)


def _scores(run: Sweep | str | Path, orders: Sequence[Order]) -> pd.DataFrame:
    """The scores of a run over the examples that no order was measured on."""
    opened = run if isinstance(run, Sweep) else open_run(run)
    if not any(order.measured_on for order in orders):
        return opened.scores()
    values = opened.values()
    shared = [
        doc_id in _rows_of_orders(orders, task)
        for task, doc_id in zip(values["task"], values["doc_id"], strict=True)
    ]
    return stats.scores(values[~np.array(shared)], seed=opened.manifest.seed)


def _rows_of_orders(orders: Sequence[Order], task: str) -> frozenset[int]:
    """The rows of a task that any of the orders was measured on."""
    return frozenset[int]().union(*(order.measured_on.get(task, ()) for order in orders))


def _check_orders(orders: Any) -> None:
    several = isinstance(orders, Sequence) and not isinstance(orders, str)
    if not several or not orders or not all(isinstance(order, Order) for order in orders):
        raise UserError(
            f"orders {orders!r:.80}: allowed is a list of orders, such as deepest_first(n_layers, "
            "most)"
        )


def _check_sweeps(given: Any) -> None:
    several = [given] if isinstance(given, Sweep) else given
    listed = isinstance(several, Sequence) and not isinstance(several, str)
    if not listed or not several or not all(isinstance(run, Sweep) for run in several):
        raise UserError(
            f"importance {given!r:.80}: allowed are a sweep, several, or a table of importance"
        )


def _check_each_once(what: str, table: Any, names: Sequence[str]) -> None:
    """Refuse a table with several rows for one layer, from which no single order follows."""
    stats.check_columns(what, table, (), [*names, "value"])
    if table.empty or table[[*names, "value"]].isna().any(axis=None):
        raise UserError(f"{what}: it has no rows, or some without a value")
    if table.duplicated(list(names)).any():
        raise UserError(f"{what}: rows of several models or tasks; keep one of each")


def _skipped_layer(text: str) -> int | None:
    """The layer in `layer:7`, or None."""
    parsed = parsed_or_none(text)
    return parsed.layer if isinstance(parsed, SkipLayer) else None
