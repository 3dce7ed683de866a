"""Tables as the measures make them, for figures."""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

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


def cka_table(n_depths=4, others=None, **names):
    rows = [
        {"model": "organism:base", "source": "texts"} | names
        | {"depth": i, "other": j, "value": 1 - 0.2 * abs(i - j) - 0.01 * i, "n": 40}
        for i, j in itertools.product(range(n_depths), range(others or n_depths))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def lens_table(
    models=("base", "distilled"), tasks=("world-facts:default", "world-kv:generate"), n_layers=4
):
    rows = []
    for model in models:
        for task in tasks:
            for depth in range(n_layers + 1):
                for quantity, value in (
                    ("right_logrank", 6 - 6 * depth / n_layers),
                    ("right_probability", depth / n_layers),
                    ("kl", 4 - depth),
                ):
                    rows.append(
                        {
                            "model": model, "task": task, "ablation": "baseline",
                            "lens": "logit lens", "step": "answer", "depth": float(depth),
                            "layer": depth - 1, "after": "layer" if depth else "embedding",
                            "relative_depth": depth / n_layers, "quantity": quantity,
                            "value": value, "low": value - 0.05, "high": value + 0.05, "n": 50,
                            "interval": "95% Poisson bootstrap",
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def angular_table(source="texts", n_layers=4, scale=0.1):
    rows = [
        {"model": "base", "source": source, "layer": layer, "block": block,
         "value": scale * block * (1 + (layer - 1) ** 2), "n": 20}
        for block in range(1, n_layers + 1) for layer in range(n_layers - block + 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


LAYERS = range(4)
FAMILIES = {
    "layer": [f"layer:{n}" for n in LAYERS],
    "attn@mean": [f"attn:{n}@mean" for n in LAYERS],
    "layer@@prompt": [f"layer:{n}@@prompt" for n in LAYERS],
    "cumulative": ["layer:3", "layer:3+layer:2", "layer:3+layer:2+layer:1"],
    "layers": [f"layers:{n}-{n + 1}" for n in range(3)],
    "swaps-up": ["swap:0", "swaps:0-1", "swaps:0-2", "swaps:0-3"],
    "swaps-attn-down": ["swap-attn:3", "swaps-attn:2-3", "swaps-attn:1-3", "swaps-attn:0-3"],
    "repeat": [f"repeat:{a}-{b}" for a, b in itertools.combinations(LAYERS, 2)],
    "cut@answering/gold": [
        f"cut:{a}-{b}@answering/gold" for a, b in itertools.combinations_with_replacement(LAYERS, 2)
    ],
    "head@mean": [f"head:{n}.{h}@mean" for n in LAYERS for h in range(2)],
    "head@resample": [f"head:{n}.{h}@resample" for n in LAYERS for h in range(2)],
    "kvgroup": [f"kvgroup:{n}.{g}" for n in LAYERS for g in range(2)],
    "layer+layer": ["layer:0+layer:1", "layer:0+layer:2", "layer:1+layer:2"],
    "others": ["hook:7", "hook:a-b", "order:0,2,1,3", "head:0.1+head:2.0+mlp:1"],
}


def sweep_of_texts(
    texts: list[str],
    *,
    model: str = "organism:base",
    task: str = "world-kv:default",
    metric: str = "acc",
    n: int = 12,
    value: float = 1.0,
) -> Sweep:
    """Random answers under some ablations, and a baseline that is always right."""
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"model": model, "task": task, "metric": metric, "ablation": text,
             "doc_id": np.arange(n),
             "value": value * (np.ones(n) if text == "baseline" else rng.integers(0, 2, n))}
        )
        for text in ["baseline", *texts]
    ]  # fmt: skip
    return Sweep(pd.concat(frames, ignore_index=True))
