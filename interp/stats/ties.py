"""Choices that rounding decides: two options whose log-likelihoods are as good as equal."""

import numpy as np
import pandas as pd

from interp.errors import check_number
from interp.stats.samples import check_columns, check_loglikelihoods

WITHIN = 1e-4  # nats: what log-likelihoods may differ by in float32, however they are computed


def near_ties(responses: pd.DataFrame, *, within: float = WITHIN) -> pd.DataFrame:
    """How many choices are ties: the two likeliest options lie `within` of each other.

    Such a choice may fall otherwise on another machine, or with another batch. In half precision
    rounding is coarser, and `within` should be too.

    Args:
        responses: model, task, ablation, loglikelihoods (nats, one per option; None for generated
            answers, which are left out).
        within: largest difference that is a tie, in nats.

    Returns:
        model, task, ablation, ties, n (examples with two options or more and no failure), share,
        within; one row per task and ablation in which options were scored.

    Raises:
        UserError: `within` is no number of 0 and more.
    """
    check_number("within", within)
    check_columns("responses", responses, ["model", "task", "ablation", "loglikelihoods"])
    check_loglikelihoods(responses["loglikelihoods"])
    listed = responses["loglikelihoods"]
    scores = [np.asarray([] if one is None else one, dtype=float) for one in listed]
    several = np.array(
        [len(one) > 1 and bool(np.isfinite(one).all()) for one in scores], dtype=bool
    )
    scored = responses[several]
    best = [np.sort(one)[-2:] for one, has in zip(scores, several, strict=True) if has]
    tied = [bool(two[1] - two[0] <= within) for two in best]
    table = (
        scored[["model", "task", "ablation"]]
        .assign(tied=tied)
        .groupby(["model", "task", "ablation"], sort=False)["tied"]
        .agg(ties="sum", n="size")
        .reset_index()
    )
    return table.assign(share=table["ties"] / table["n"], within=within)
