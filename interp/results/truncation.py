"""Prompts and answers of the unablated model that were truncated."""

import numpy as np
import pandas as pd

CUT = ("cut_prompts", "cut_answers")


def truncated(baseline: pd.DataFrame) -> pd.DataFrame:
    """How many prompts and answers of each task were truncated.

    Args:
        baseline: the columns `task cut_tokens finished failure` of the unablated model's records.

    Returns:
        One row per task: how many prompts and answers were truncated, and the number of examples
        `n`.
    """
    # the answer of a failed example ended where its logits were not finite
    failed = baseline["failure"].fillna("").astype(bool)
    unfinished = [finished is False or finished == 0 for finished in baseline["finished"]]
    cut = baseline.assign(
        cut_prompts=baseline["cut_tokens"] > 0, cut_answers=np.array(unfinished, bool) & ~failed
    )
    by_task = cut.groupby("task", sort=False)
    counts = by_task[list(CUT)].sum().astype(int)
    return counts.assign(n=by_task.size()).reset_index()


def with_truncation(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """The table, with a column for each of the two that occurs."""
    by_task = found.set_index("task")
    for name in CUT:
        if by_task[name].any():
            table = table.assign(**{name: table["task"].map(by_task[name])})
    return table
