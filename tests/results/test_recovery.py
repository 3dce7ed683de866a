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


def test_the_labels_of_rows_mean_nothing():
    table = responses(0.5).assign(cluster=0)
    regrouped = table.set_axis([0.5] * len(table), axis=0)
    pd.testing.assert_frame_equal(recovery_by_example(regrouped), recovery_by_example(table))


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


def test_a_patch_that_fails_on_a_pair_has_no_numbers_and_the_others_keep_theirs():
    """NaN is neither the twin's answer nor another one."""
    whole = responses(1.0)
    other = whole[whole["ablation"] != "baseline"].assign(ablation="patch:resid:2@last")
    pairs = zip(other["doc_id"], other["loglikelihoods"], strict=True)
    other["loglikelihoods"] = [(np.nan, np.nan) if doc == 4 else both for doc, both in pairs]
    table = recovery(pd.concat([whole, other])).set_index(["ablation", "direction"])
    bad = table.loc[("patch:resid:2@last", "denoising")]
    assert bad["failures"] == 1
    assert bad[["recovery", "low", "high", "answer", "answer_low"]].isna().all()
    assert bad["interval"].startswith("none")
    for ablation, direction in table.index.drop(("patch:resid:2@last", "denoising")):
        assert table.loc[(ablation, direction), "recovery"] == pytest.approx(1.0, abs=1e-9)
        assert table.loc[(ablation, direction), ["answer", "failures"]].tolist() == [1.0, 0.0]


def test_a_pair_that_fails_without_any_ablation_is_left_out():
    table = responses(1.0)
    first = (table["doc_id"] == 4) & (table["ablation"] == "baseline")
    table["loglikelihoods"] = [(np.nan, np.nan) if bad else both for bad, both in
                               zip(first, table["loglikelihoods"], strict=True)]  # fmt: skip
    found = recovery(table)
    assert found["n"].tolist() == [11, 11]
    assert found["recovery"].to_numpy() == pytest.approx(1.0, abs=1e-9)


def test_an_example_that_is_there_twice_or_without_a_baseline_is_refused():
    table = responses(0.5)
    with pytest.raises(UserError, match="an example is there twice"):
        recovery(pd.concat([table, table[:1]]))
    with pytest.raises(UserError, match="row 2: no baseline to compare with"):
        recovery(table[(table["doc_id"] != 2) | (table["ablation"] != "baseline")])


def asked_again(table, times=5):
    """Every pair several times, each time as rows of their own; copies share a cluster."""
    copies = [table.assign(doc_id=table["doc_id"] + 1000 * n) for n in range(times)]
    found = pd.concat(copies, ignore_index=True)
    return found.assign(cluster=(found["doc_id"] % 1000 // 2).astype(str))


def test_pairs_of_one_cluster_count_once():
    one = responses(0.4, pairs=15, spread=0.3, noise=1.0)
    alone, again = recovery(one), recovery(asked_again(one))
    for name in ("recovery", "low", "high", "low_all", "high_all", "answer"):
        np.testing.assert_allclose(again[name], alone[name], atol=1e-9, err_msg=name)
    assert set(again["interval"]) == {"fieller by cluster"}
    assert set(again["n"]) == {75}
    independent = recovery(asked_again(one).drop(columns="cluster"))
    assert (independent["high"] - independent["low"] < again["high"] - again["low"]).all()
