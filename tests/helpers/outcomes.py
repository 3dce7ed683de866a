"""Outcomes of a sweep with a known truth, as the long tables that statistics take."""

import numpy as np
import pandas as pd


def long(
    table: np.ndarray, *, task: str = "world-kv:default", metric: str = "acc", model: str = "base"
) -> pd.DataFrame:
    """[docs, 1 + layers] outcomes, the baseline first, as a long table."""
    names = ["baseline", *(f"layer:{layer}" for layer in range(table.shape[1] - 1))]
    frame = pd.DataFrame(table, columns=names).rename_axis("doc_id").reset_index()
    frame = frame.melt("doc_id", var_name="ablation", value_name="value")
    return frame.assign(model=model, task=task, metric=metric)


def draw(n: int, *, baseline: float, harmed: float, helped: float, seed: int) -> np.ndarray:
    """[n, 2] paired 0/1 outcomes with the given shares."""
    shares = [baseline - harmed, harmed, helped, 1 - baseline - helped]
    pairs = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], float)
    return pairs[np.random.default_rng(seed).choice(4, size=n, p=shares)]
