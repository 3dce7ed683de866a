"""Does cheap similarity predict what an ablation costs? Rank correlation, task by task."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats as sps

from interp.ablations import SkipLayer, parsed_or_none
from interp.errors import UserError
from interp.stats import (
    BASELINE,
    drops_by_document,
    percentiles,
    resampled_profile,
    spearman,
    unit_name,
)

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

    The interval is a bootstrap over examples (over clusters of them, where the values name
    clusters): how far the drops of *these* layers are known. The
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


def _drops(values: pd.DataFrame, form: str) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """Of each model, task and metric: documents x layers, baseline minus ablated."""
    layers = {text: _layer_of(text, form) for text in values["ablation"].unique()}
    wanted = [text for text, layer in layers.items() if layer is not None]
    found = []
    chosen = values[values["ablation"].isin([BASELINE, *wanted])]
    for key, damage in (drops_by_document(chosen) if wanted else {}).items():
        if damage.shape[1] >= 3:
            named = dict(zip(("model", "task", "metric"), key, strict=True))
            found.append((named, damage.rename(columns=layers).sort_index(axis=1)))
    return found


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
    # rounding must not break ties between drops of the same counts
    means = drops.to_numpy(float).mean(axis=0).round(12)
    rho = float(spearman(similarity, means))
    replicates = spearman(similarity, resampled_profile(drops, resamples=resamples, seed=seed))
    low, high = percentiles(replicates, confidence)
    shuffled = np.array([rng.permutation(similarity) for _ in range(PERMUTATIONS)])
    by_chance = spearman(means, shuffled)
    extreme = (np.abs(by_chance) >= abs(rho) - 1e-12).sum()
    points = _points(similarity, drops)
    far = points.reindex(points["gap"].abs().sort_values(ascending=False, kind="stable").index)
    return {
        "rho": rho,
        "low": float(low),
        "high": float(high),
        "p": np.nan if np.isnan(rho) else (extreme + 1) / (PERMUTATIONS + 1),
        "n_layers": len(similarity),
        "n": len(drops),
        "interval": f"{100 * confidence:g}% bootstrap over {unit_name(drops)}",
        "test": "permutation of layers",
        "disagree": ", ".join(f"layer {layer}" for layer in far["layer"][:2]),
    }


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
