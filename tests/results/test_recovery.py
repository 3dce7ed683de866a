"""Normalised recovery: planted values, and intervals that cover what they name."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.results import recovery, recovery_by_example


def responses(brought, *, pairs=12, spread=0.0, noise=0.0, seed=0, task="twins-key-kv"):
    """Rows under a baseline and a patch that brings this share of the twin's difference."""
    rng = np.random.default_rng(seed)
    gaps = np.empty(2 * pairs)
    gaps[0::2], gaps[1::2] = -4 - rng.random(pairs), -3 - rng.random(pairs)
    rows = []
    for doc_id, gap in enumerate(gaps):
        share = brought + spread * rng.standard_normal()
        full = -gaps[doc_id ^ 1] - gap
        patched = gap + share * full + noise * rng.standard_normal()
        for ablation, value in (("baseline", gap), ("patch:resid:1@last", patched)):
            rows.append({"model": "m", "task": task, "doc_id": doc_id, "ablation": ablation,
                         "loglikelihoods": (-1.0, -1.0 + value)})  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("brought", "answer"), [(0.0, 0.0), (0.5, None), (1.0, 1.0)])
def test_what_is_planted_is_found(brought, answer):
    table = recovery(responses(brought))
    assert list(table["direction"]) == ["denoising", "noising"]
    assert table["recovery"].to_numpy() == pytest.approx(brought, abs=1e-9)
    assert table["n"].tolist() == [12, 12]
    if answer is not None:
        assert table["answer"].tolist() == [answer, answer]
        assert ((table["answer_low"] <= answer) & (answer <= table["answer_high"])).all()
    single = recovery_by_example(responses(brought))
    assert single["recovery"].to_numpy() == pytest.approx(brought, abs=1e-9)


@pytest.mark.slow
def test_intervals_cover_the_ratio():
    held = []
    for seed in range(200):
        table = recovery(responses(0.4, pairs=20, spread=0.3, noise=1.0, seed=seed))
        held += ((table["low"] <= 0.4) & (table["high"] >= 0.4)).tolist()
    # 400 intervals of 95%: by chance alone 93% to 97%
    assert 0.92 <= np.mean(held) <= 0.975


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame(), "responses: no column model"),
        (responses(0.5).drop(columns="loglikelihoods"), "responses: no column loglikelihoods"),
        (responses(0.5).iloc[:0], "responses: no rows"),
    ],
    ids=["empty", "other columns", "no rows"],
)
def test_what_is_no_table_of_responses_is_refused(table, message):
    with pytest.raises(UserError, match=message):
        recovery(table)


def test_what_is_no_pair_is_refused():
    with pytest.raises(UserError, match=r"recovery is of pairs of prompts"):
        recovery(responses(0.5, task="kv:continuation"))
    rows = responses(0.5)
    with pytest.raises(UserError, match="row 3, the other direction of row 2, was not run"):
        recovery(rows[rows["doc_id"] != 3])
