"""Removal curves and contrasts from tables made by hand: failures, and what was not swept."""

import numpy as np
import pandas as pd
import pytest

import interp
from interp import figures
from interp.attention import removal_contrasts, removal_curve
from interp.errors import UserError
from interp.stats import scores

TOP, ONE, OTHER = (interp.parse(text) for text in ("head:0.0", "head:0.1", "head:0.2"))
PLAN = [(TOP, 1, "top", 0), (ONE, 1, "random", 0), (OTHER, 1, "random", 1)]
MEANS = {"baseline": 1.0, "head:0.0": 0.0, "head:0.1": 1.0, "head:0.2": 0.5}


def table(*failed: str) -> pd.DataFrame:
    """Ten examples; the first fails under each ablation that is named."""
    rows = [
        {"model": "m", "task": "t", "metric": "acc", "doc_id": doc, "ablation": name}
        | {"value": np.nan if name in failed and doc == 0 else float(doc < 10 * mean)}
        for name, mean in MEANS.items()
        for doc in range(10)
    ]
    return pd.DataFrame(rows)


def contrasts(values: pd.DataFrame) -> pd.DataFrame:
    return removal_contrasts(values, PLAN, metric="acc", resamples=100).set_index("control")


def test_all_sets_of_a_plan() -> None:
    found = contrasts(table())
    assert found["difference"].to_dict() == {
        "head:0.1": 100, "head:0.2": 50, "all controls": 75
    }  # fmt: skip


def test_a_control_that_failed_is_left_out_of_the_mean() -> None:
    found = contrasts(table("head:0.2"))
    assert np.isnan(found.loc["head:0.2", "difference"])
    assert found.loc["head:0.2", "interval"] == "none (examples failed)"
    assert found.loc["all controls", ["difference", "n_controls"]].tolist() == [100, 1]
    curve = removal_curve(scores(table("head:0.2")), PLAN, metric="acc")
    random = curve[(curve["k"] == 1) & (curve["kind"] == "random")].iloc[0]
    assert (random["value"], random["draws"], random["interval"]) == (100, 1, "none (one draw)")


def test_top_heads_that_failed_have_no_value() -> None:
    found = contrasts(table("head:0.0"))
    assert found["difference"].isna().all()
    assert list(found.index) == ["head:0.1", "head:0.2"]
    curve = removal_curve(scores(table("head:0.0")), PLAN, metric="acc")
    top = curve[(curve["k"] == 1) & (curve["kind"] == "top")].iloc[0]
    assert np.isnan(top["value"])
    assert top["interval"] == "none (examples failed)"
    figures.removal(curve)


def test_all_sets_that_failed_have_no_value() -> None:
    curve = removal_curve(scores(table("head:0.1", "head:0.2")), PLAN, metric="acc")
    random = curve[(curve["k"] == 1) & (curve["kind"] == "random")].iloc[0]
    assert np.isnan(random["value"])
    assert (random["draws"], random["interval"]) == (0, "none (examples failed)")


def test_what_was_not_swept_is_named() -> None:
    values = table()
    less = values[values["ablation"] != "head:0.2"]
    for call in (lambda: contrasts(less), lambda: removal_curve(scores(less), PLAN, metric="acc")):
        with pytest.raises(UserError, match=r"head:0\.2 is planned and was not swept \(1 of 4"):
            call()
    with pytest.raises(UserError, match="no metric f1; there are acc"):
        removal_contrasts(values, PLAN, metric="f1")
