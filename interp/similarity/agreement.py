"""Does cheap similarity predict what an ablation costs? Rank correlation, task by task."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats as sps

from interp.ablations import SkipLayer, parsed_or_none
from interp.errors import UserError
from interp.lens.tally import percentiles
from interp.stats.samples import BASELINE, check_paired, series

PERMUTATIONS = 9999


def similarity_and_importance(
    measures: pd.DataFrame,
    values: pd.DataFrame,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    form: str = "layer",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Spearman's correlation over layers between similarity and the drop when a layer is skipped.

    The interval is a bootstrap over examples: how far the drops of *these* layers are known. The
    p-value is a permutation test over layers: whether layers that change the stream more are
    worth more at all, of so few layers. Similarity itself is taken as measured.

    Args:
        measures: from `Similarity.measures()`: `model measure layer value`.
        values: from `Sweep.values()` of a sweep of every layer of the same model.
        resamples: of the bootstrap.
        confidence: of the interval.
        seed: of both.
        form: of the ablations: `layer` for `layer:7`, `swap` for `swap:7`.

    Returns:
        The correlations (`model task metric measure rho low high p n_layers n disagree`; the last
        names the two layers whose ranks differ most), and the points behind them (`model task
        metric measure layer similarity drop similarity_rank drop_rank gap`; rank 1 is the
        largest, a positive gap is a layer that matters more than its similarity says).

    Raises:
        UserError: the sweep has no `layer:N`, the models differ, or a layer was skipped on other
            examples than the baseline's.
    """
    correlations, points = [], []
    for key, drops in _drops(values, form):
        layers = list(drops.columns)
        for (model, measure), rows in measures.groupby(["model", "measure"]):
            if model != key["model"]:
                continue
            similarity = rows.groupby("layer")["value"].mean().reindex(layers).to_numpy(float)
            named = key | {"measure": str(measure)}
            correlations.append(
                named | _correlation(similarity, drops, resamples, confidence, seed)
            )
            points.append(_points(similarity, drops).assign(**named))
    if not correlations:
        raise UserError(
            f"similarity of {', '.join(measures['model'].unique())}: the sweep is of "
            f"{', '.join(values['model'].unique())}, or has no ablation {form}:N"
        )
    table, joined = pd.DataFrame(correlations), pd.concat(points, ignore_index=True)
    names = ["model", "task", "metric", "measure"]
    return table, joined[[*names, *(c for c in joined.columns if c not in names)]]


def _drops(values: pd.DataFrame, form: str) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Of each model, task and metric: documents x layers, baseline minus ablated."""
    for key, _, wide, _ in series(values):
        numbered = {text: _layer_of(text, form) for text in wide.columns}
        layers = {layer: text for text, layer in numbered.items() if layer is not None}
        if len(layers) < 3 or BASELINE not in wide:
            continue
        check_paired(wide[[BASELINE, *layers.values()]], key)
        drops = {layer: wide[BASELINE] - wide[layers[layer]] for layer in sorted(layers)}
        yield {name: str(value) for name, value in key.items()}, pd.DataFrame(drops)


def _layer_of(text: str, form: str) -> int | None:
    """Layer of `FORM:7`, or None."""
    number = text.removeprefix(f"{form}:")
    return int(number) if number != text and number.isdigit() else None


def skipped_layer(text: str) -> int | None:
    """Layer of `layer:7`, or None."""
    parsed = parsed_or_none(text)
    return parsed.layer if isinstance(parsed, SkipLayer) else None


def _correlation(
    similarity: Float[np.ndarray, " layer"],
    drops: pd.DataFrame,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    table = drops.to_numpy(float)
    n = len(table)
    rho = float(spearman(similarity, table.mean(axis=0)[None])[0])
    times = rng.multinomial(n, np.full(n, 1 / n), size=resamples)
    replicates = spearman(similarity, times @ table / n)
    low, high = percentiles(replicates, confidence)
    shuffled = np.array([rng.permutation(similarity) for _ in range(PERMUTATIONS)])
    by_chance = spearman(table.mean(axis=0), shuffled)
    extreme = (np.abs(by_chance) >= abs(rho) - 1e-12).sum()
    points = _points(similarity, drops)
    far = points.reindex(points["gap"].abs().sort_values(ascending=False, kind="stable").index)
    return {
        "rho": rho,
        "low": float(low),
        "high": float(high),
        "p": np.nan if np.isnan(rho) else (extreme + 1) / (PERMUTATIONS + 1),
        "n_layers": len(similarity),
        "n": n,
        "interval": f"{100 * confidence:g}% bootstrap over examples",
        "test": "permutation of layers",
        "disagree": ", ".join(f"layer {layer}" for layer in far["layer"][:2]),
    }


def spearman(
    one: Float[np.ndarray, " layer"], many: Float[np.ndarray, "rows layer"]
) -> Float[np.ndarray, " rows"]:
    """Spearman's correlation of one profile with each of many; NaN where one has no spread."""
    # rounding must not break ties between drops of the same counts
    a, b = sps.rankdata(one), sps.rankdata(many.round(12), axis=1)
    a, b = a - a.mean(), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum() * (b**2).sum(axis=1))
    return np.divide(b @ a, scale, out=np.full(len(b), np.nan), where=scale > 0)


def _points(similarity: Float[np.ndarray, " layer"], drops: pd.DataFrame) -> pd.DataFrame:
    drop = drops.mean(axis=0).to_numpy()
    by_similarity, by_drop = (sps.rankdata(-x.round(12)) for x in (similarity, drop))
    return pd.DataFrame(
        {
            "layer": list(drops.columns),
            "similarity": similarity,
            "drop": drop,
            "similarity_rank": by_similarity,
            "drop_rank": by_drop,
            "gap": by_similarity - by_drop,
        }
    )
