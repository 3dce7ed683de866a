"""At which relative depth lies what matters: centre of mass and spread of importance.

A layer's relative depth is its number over the last layer's, 0 to 1, so that models of different
depth share an axis. Its weight is its drop, or the sum of the drops of its heads; a negative drop
(the ablation helped) has weight 0, for a mass cannot be negative. The noise of drops near zero so
counts as a little mass everywhere and pulls the centre towards the middle (0.5) and the spread
up: the more, the fewer examples and the smaller the drops. Compare profiles of equal n.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from interp.comparison.profiles import INTERVAL, Outcomes, bounds, by_model, kinds, pairs_of
from interp.errors import UserError
from interp.stats.samples import BASELINE, check_options

WEIGHT = "drop, 0 where negative"
QUANTITIES = ("centre", "spread")
LEAST_LAYERS = 3


def centres(
    values: pd.DataFrame,
    n_layers: Mapping[str, int],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Centre of mass and spread of each model's importance over relative depth.

    With weights w and relative depths x: centre = sum(w x) / sum(w), spread = the weighted standard
    deviation. The interval is a percentile bootstrap over examples; the layers are all there are
    and are not resampled.

    Args:
        values: the long table of `interp.stats`; ablations of one layer or one head are used.
        n_layers: layers of each model.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Columns ``model task metric kind quantity value low high n n_layers weight interval``;
        ``kind`` is the form of the ablations (``layer``, ``head``, ...). NaN where no drop is
        positive.

    Raises:
        UserError: no model has three layers ablated one at a time.
    """
    rows = []
    for key, one, drawn in _drawn(values, n_layers, confidence, resamples, seed):
        for quantity, resampled in zip(QUANTITIES, drawn, strict=True):
            low, high = bounds(resampled[1:], confidence)
            rows.append(
                {"model": one.model, **key, "quantity": quantity, "value": float(resampled[0])}
                | {"low": low, "high": high, "n": len(one.table)}
                | {"n_layers": n_layers[one.model], "weight": WEIGHT}
                | {"interval": f"{100 * confidence:g}% {INTERVAL}"}
            )
    return pd.DataFrame(rows)


def shifts(
    values: pd.DataFrame,
    n_layers: Mapping[str, int],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How far the centre and the spread of model b lie from those of model a.

    Paired: both models' profiles come from the same resampled examples.

    Args:
        values: as for `centres`, with two models or more.
        n_layers: as for `centres`.
        confidence: as for `centres`.
        resamples: as for `centres`.
        seed: as for `centres`.

    Returns:
        Columns ``a b task metric kind quantity value_a value_b difference low high n interval
        correction``; positive: b's importance lies deeper, or is spread wider. Not corrected.

    Raises:
        UserError: as `centres`, or fewer than two models.
    """
    pairs, found = pairs_of(values), dict[tuple[Any, ...], dict[str, Any]]()
    for key, one, drawn in _drawn(values, n_layers, confidence, resamples, seed):
        found.setdefault(tuple(key.values()), {})[one.model] = (key, drawn, len(one.table))
    rows = []
    for models in found.values():
        for a, b in pairs:
            if a not in models or b not in models:
                continue
            (key, of_a, n), (_, of_b, _) = models[a], models[b]
            for quantity, first, second in zip(QUANTITIES, of_a, of_b, strict=True):
                low, high = bounds(second[1:] - first[1:], confidence)
                rows.append(
                    {"a": a, "b": b, **key, "quantity": quantity, "value_a": float(first[0])}
                    | {"value_b": float(second[0]), "difference": float(second[0] - first[0])}
                    | {"low": low, "high": high, "n": n}
                    | {"interval": f"{100 * confidence:g}% paired {INTERVAL}"}
                    | {"correction": "none"}
                )
    return pd.DataFrame(rows)


def centre_and_spread(
    weights: Float[np.ndarray, "rows layers"], depth: Float[np.ndarray, " layers"]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Weighted mean and standard deviation of depth, row by row; NaN without weight."""
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = weights @ depth / total
        variance = (weights * (depth - centre[:, None]) ** 2).sum(axis=1) / total
    return centre, np.sqrt(variance)


def _drawn(
    values: pd.DataFrame,
    n_layers: Mapping[str, int],
    confidence: float,
    resamples: int,
    seed: int,
) -> list[tuple[dict[str, str], Outcomes, tuple[np.ndarray, np.ndarray]]]:
    """Of each model, task, metric and kind: both quantities, of the sample and of resamples."""
    check_options(confidence, resamples)
    found = []
    for (task, metric), models in by_model(values).items():
        for one in models.values():
            for kind, placed in kinds(one.table.columns).items():
                layers = sorted(set(placed.values()))
                if len(layers) < LEAST_LAYERS:
                    continue
                means = one.means([BASELINE, *placed], resamples=resamples, seed=seed)
                # equal scores must give no drop, whatever rounding says
                drops = (means[:, :1] - means[:, 1:]).round(12)
                of_layer = np.equal.outer(np.array(list(placed.values())), np.array(layers))
                weights = np.maximum(drops, 0) @ of_layer.astype(float)
                depth = np.array(layers, float) / max(1, n_layers[one.model] - 1)
                key = {"task": task, "metric": metric, "kind": kind}
                found.append((key, one, centre_and_spread(weights, depth)))
    if not found:
        raise UserError(
            f"centres: ablations of single layers are needed, at least {LEAST_LAYERS} of them"
        )
    return found
