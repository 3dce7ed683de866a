"""One table per model: the drop of each layer when it is skipped, and when it is replaced."""

import pandas as pd

from interp.errors import UserError
from interp.stats import check_columns

WAYS = {"skip": "", "mean": "@mean", "resample": "@resample", "linear": "@linear"}


def replacement_table(importance: pd.DataFrame, *, part: str = "layer") -> pd.DataFrame:
    """Drops of skipping, mean, resampling and linear map side by side, one row per layer.

    Args:
        importance: drops of one or several tasks (`Sweep.importance()`), each under two or more of
            `layers`, `layers@mean`, `layers@resample`, `layers@linear` (or of `attn`, `mlp`).
        part: `layer`, `attn` or `mlp`.

    Returns:
        Columns `model task metric layer n unit`, and for each way that was swept (`skip`, `mean`,
        `resample`, `linear`) its drop, `_low`, `_high` and `_p_adjusted`.

    Raises:
        UserError: fewer than two of the ways were swept.
    """
    if part not in ("layer", "attn", "mlp"):
        raise UserError(f"part {part!r:.80}: allowed are layer, attn, mlp")
    check_columns(
        "importance", importance, ["model", "task", "metric", "ablation", "family", "n", "unit"],
        ["drop", "low", "high", "p_adjusted"],
    )  # fmt: skip
    if importance.duplicated(["model", "task", "metric", "ablation"]).any():
        raise UserError("importance: an ablation of a task is there twice")
    tables = []
    keys = ["model", "task", "metric", "layer"]
    form = (
        importance["ablation"].astype(str).str.extract(rf"^{part}:(?P<layer>\d+)(?P<way>@[a-z]+)?$")
    )
    for name, ending in WAYS.items():
        chosen = form["layer"].notna() & (form["way"].fillna("") == ending)
        rows = importance[chosen].assign(layer=form["layer"][chosen].astype(int))
        if len(rows):
            columns = {"drop": name} | {
                column: f"{name}_{column}" for column in ("low", "high", "p_adjusted")
            }
            kept = rows.rename(columns=columns).set_index(keys)
            tables.append(kept[list(columns.values())])
    if len(tables) < 2:
        swept = ", ".join(dict.fromkeys(map(str, importance["family"]))) or "none"
        raise UserError(
            f"replacements of {part}: two of {', '.join(part + way for way in WAYS.values())} are "
            f"needed; swept are {swept}"
        )
    joined = pd.concat(tables, axis=1).reset_index()
    shared = importance.drop_duplicates(keys[:3]).set_index(keys[:3])[["n", "unit"]]
    with_shares = joined.join(shared, on=keys[:3])
    return with_shares[[*keys, "n", "unit", *(c for c in joined.columns if c not in keys)]]
