"""Tables as the measures make them, for figures."""

import itertools

import pandas as pd


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
