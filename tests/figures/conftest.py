"""Made-up sweeps: real tables of `interp.stats`, no model."""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest

from interp import stats

SKILLS = ("world-facts", "world-kv", "world-arithmetic")
PROTOCOLS = ("default", "continuation", "generate")
TASKS = tuple(":".join(names) for names in itertools.product(SKILLS, PROTOCOLS))


class Sweep:
    """What the figures need of a sweep."""

    def __init__(self, values: pd.DataFrame) -> None:
        self.values = values

    @functools.cached_property
    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return stats.scores(self.values), stats.importance(self.values, resamples=200)

    def scores(self) -> pd.DataFrame:
        return self._tables[0].copy()

    def importance(self) -> pd.DataFrame:
        return self._tables[1].copy()


def make_sweep(
    *,
    n_layers: int = 4,
    models: Sequence[str] = ("organism:base",),
    tasks: Sequence[str] = TASKS,
    n: int = 40,
) -> Sweep:
    """Layer 0 ruins every skill, and each task has one layer more; the last changes nothing."""
    rng = np.random.default_rng(0)
    frames = []
    for model, (place, task) in itertools.product(models, enumerate(tasks)):
        metric = "exact_match,flexible-extract" if task.endswith("generate") else "acc"
        right = rng.random(n) < 0.95
        for ablation in ["baseline", *(f"layer:{layer}" for layer in range(n_layers))]:
            harmful = ablation in {"layer:0", f"layer:{1 + place % (n_layers - 2)}"}
            value = right & (rng.random(n) > (0.7 if harmful else 0.0))
            row = {"model": model, "task": task, "metric": metric, "ablation": ablation}
            frames.append(pd.DataFrame(row | {"doc_id": np.arange(n), "value": value * 1.0}))
    return Sweep(pd.concat(frames, ignore_index=True))


@pytest.fixture(scope="session")
def sweep() -> Sweep:
    return make_sweep()


@pytest.fixture(scope="session")
def sweep_of() -> Callable[..., Sweep]:
    return make_sweep
