"""Choices that rounding may decide: two options whose log-likelihoods are nearly equal."""

import numpy as np
import pandas as pd

from interp.errors import check_number
from interp.stats.samples import check_columns, check_loglikelihoods

WITHIN = 1e-4
"""In nats: the most by which float32 log-likelihoods differ between ways of computing them."""


def near_ties(responses: pd.DataFrame, *, within: float = WITHIN) -> pd.DataFrame:
    """How many choices are ties: the two likeliest options lie `within` of each other.

    Such a choice may be the other one on another machine or in another batch. In half precision
    rounding is coarser, and `within` should be larger.

    Args:
        responses: model, task, ablation, loglikelihoods (nats, one per option; None for generated
            answers, which are left out).
        within: the largest difference that still counts as a tie, in nats.

    Returns:
        model, task, ablation, ties, n (examples with two options or more and no failure), share,
        within; one row per task and ablation in which options were scored.

    Raises:
        UserError: `within` is not a number from 0 on.
    """
    check_number("within", within)
    check_columns("responses", responses, ["model", "task", "ablation", "loglikelihoods"])
    check_loglikelihoods(responses["loglikelihoods"])
    loglikelihoods = responses["loglikelihoods"]
    per_option = [np.asarray([] if one is None else one, dtype=float) for one in loglikelihoods]
    is_choice = np.array(
        [len(one) > 1 and bool(np.isfinite(one).all()) for one in per_option], dtype=bool
    )
    scored = responses[is_choice]
    best_two = [np.sort(one)[-2:] for one, has in zip(per_option, is_choice, strict=True) if has]
    tied = [bool(two[1] - two[0] <= within) for two in best_two]
    table = (
        scored[["model", "task", "ablation"]]
        .assign(tied=tied)
        .groupby(["model", "task", "ablation"], sort=False)["tied"]
        .agg(ties="sum", n="size")
        .reset_index()
    )
    return table.assign(share=table["ties"] / table["n"], within=within)
