"""Tables of values as a run gives them, of many simulated sweeps at once."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float


def outcomes(
    rng: np.random.Generator,
    n: int,
    right: float,
    drops: Float[np.ndarray, " ablations"],
    noise: float,
    *,
    shared: float = 0.0,
) -> tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, "n ablations"]]:
    """Right answers of the whole model, and under each ablation.

    Args:
        rng: of the draw.
        n: examples.
        right: share that the whole model gets right.
        drops: true drop of each ablation, a share.
        noise: share of examples that each ablation helps by chance; as many more are harmed.
        shared: share of the cells in which luck is the same for all ablations.

    Returns:
        Two arrays of outcomes.
    """
    whole = rng.random(n) < right
    luck = rng.random((n, len(drops)))
    luck = np.where(rng.random(luck.shape) < shared, rng.random((n, 1)), luck)
    lost = luck < (drops + noise) / right
    # as many are harmed as helped, so that luck moves no mean
    helped = luck < noise / (1 - right)
    return whole, np.where(whole[:, None], ~lost, helped)


def long_table(
    columns: Mapping[str, Float[np.ndarray, " n"]],
    *,
    model: str = "m",
    task: str = "t",
    metric: str = "acc",
    clusters: Float[np.ndarray, " n"] | None = None,
) -> pd.DataFrame:
    """The long table of `interp.stats` of one sweep.

    Args:
        columns: ablation to the value of each example; the baseline among them.
        model: its name.
        task: its name.
        metric: its name.
        clusters: of each example; none by default.

    Returns:
        A row an example and ablation.
    """
    n = len(next(iter(columns.values())))
    table = pd.DataFrame(
        {
            "model": model,
            "task": task,
            "metric": metric,
            "ablation": np.repeat(list(columns), n),
            "doc_id": np.tile(np.arange(n), len(columns)),
            "value": np.concatenate([np.asarray(one, float) for one in columns.values()]),
        }
    )
    if clusters is not None:
        table["cluster"] = [f"c{one:.0f}" for one in np.tile(clusters, len(columns))]
    return table
