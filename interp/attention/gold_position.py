"""Accuracy by the place of the requested pair in the context, with intervals."""

import numpy as np
import pandas as pd

from interp import stats
from interp.errors import UserError


def by_gold_position(responses: pd.DataFrame, documents: pd.DataFrame) -> pd.DataFrame:
    """Accuracy at each place of the gold pair in the context, by ablation.

    Args:
        responses: one row per example and ablation, the baseline included, with `doc_id`,
            `ablation` and `correct` (0 or 1). A column `label` names the ablations, if there is
            one.
        documents: `doc_id` and `gold_position` of every example.

    Returns:
        Columns `label`, `gold_position`, `value`, `low`, `high` (percent), `n` and `interval`, as
        `interp.stats.scores` gives them.

    Raises:
        UserError: an example has no gold position.
    """
    named = "label" if isinstance(responses, pd.DataFrame) and "label" in responses else "ablation"
    stats.check_columns("responses", responses, [named], ["doc_id", "correct"])
    stats.check_columns("documents", documents, (), ["doc_id", "gold_position"])
    table = responses.merge(documents, on="doc_id", how="left")
    if not np.isfinite(table["gold_position"].astype(float)).all():
        raise UserError("gold position: some examples have none")
    labels = table[named]
    values = pd.DataFrame(
        {
            "model": "",
            "task": table["gold_position"].astype(int),
            "metric": "accuracy",
            "ablation": labels,
            "doc_id": table["doc_id"],
            "value": table["correct"].astype(float),
        }
    )
    scores = stats.scores(values).rename(columns={"task": "gold_position", "ablation": "label"})
    names = list(dict.fromkeys(labels))
    scores = scores.sort_values(
        ["label", "gold_position"], key=lambda c: c.map(names.index) if c.name == "label" else c
    )
    columns = ["label", "gold_position", "value", "low", "high", "n", "interval"]
    return scores[columns].reset_index(drop=True)
