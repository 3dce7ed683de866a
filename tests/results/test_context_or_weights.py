"""A passage against the weights: planted parts are told apart, other tasks refused."""

import numpy as np
import pandas as pd
import pytest

from experiments.validity.sources import check_sources
from interp.errors import UserError
from interp.results import context_or_weights
from tests.helpers.planted_parts import assert_all_found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 1004])
def test_what_copies_and_what_remembers_are_named(seed):
    rows = check_sources(seed, rows=5)
    assert len(rows) == 4
    assert_all_found(rows)
    # the head that copies is found both ways, by chance one time in a layer's four heads
    assert (rows[0]["shared"], rows[0]["p_of_so_many"]) == (1, pytest.approx(0.25))


def made_up(changes, *, pairs=6, task="twins-gold-t"):
    rng, rows = np.random.default_rng(0), []
    for doc_id in range(2 * pairs):
        own = rng.normal(1, 0.5)
        for text, change in {"baseline": 0.0, **changes}.items():
            # the other direction's rows would turn every sign round
            gap = own + (change + rng.normal(0, 0.1)) * (1 if doc_id % 2 == 0 else -5)
            rows.append({"model": "m", "task": task, "doc_id": doc_id, "ablation": text,
                         "loglikelihoods": (-2.0 + gap, -2.0)})  # fmt: skip
    return pd.DataFrame(rows)


def test_signs_and_numbers():
    table = context_or_weights(made_up({"head:0.1": -2.0, "mlp:1": 1.0, "mlp:0": 0.0}))
    found = table.set_index("ablation")
    assert found["follows"].to_dict() == {"head:0.1": "passage", "mlp:1": "weights", "mlp:0": ""}
    assert found.loc["head:0.1", "change"] == pytest.approx(-2, abs=0.2)
    assert set(found["n"]) == {6}
    assert (found["low_all"] < found["low"]).all()
    assert 0 <= found["overruled"].iloc[0] <= 1


def test_pairs_that_failed_are_left_out_and_no_ablation_that_failed_is():
    whole = made_up({"head:0.1": -2.0, "mlp:1": 1.0, "mlp:0": 0.5})
    lost = [(np.nan, np.nan)] * len(whole)

    def failing(where):
        return whole.assign(loglikelihoods=whole["loglikelihoods"].where(~where, pd.Series(lost)))

    of_pair, of_part = whole["doc_id"] == 0, whole["ablation"] == "mlp:0"
    found = context_or_weights(failing(of_pair & (whole["ablation"] == "baseline")))
    others = context_or_weights(whole[~of_pair])
    pd.testing.assert_frame_equal(found, others)
    found = context_or_weights(failing(of_part)).set_index("ablation")
    assert found["failures"].to_dict() == {"head:0.1": 0, "mlp:0": 6, "mlp:1": 0}
    assert np.isnan(found.loc["mlp:0", ["change", "low_all"]].to_numpy(float)).all()
    assert found["follows"].to_dict() == {"head:0.1": "passage", "mlp:0": "", "mlp:1": "weights"}
    assert found.loc["mlp:1", "change"] == pytest.approx(1, abs=0.2)
    with pytest.raises(UserError, match="no pair has finite log-likelihoods without any"):
        context_or_weights(failing(whole["ablation"] == "baseline"))
    with pytest.raises(UserError, match="a pair is there twice"):
        context_or_weights(pd.concat([whole, whole]))


def test_other_tasks_and_no_ablations_are_refused():
    with pytest.raises(UserError, match="task kv: no passages that contradict the weights"):
        context_or_weights(made_up({"mlp:0": 0.0}, task="kv"))
    with pytest.raises(UserError, match="the baseline and one ablation or more"):
        context_or_weights(made_up({}))
    with pytest.raises(UserError, match="no column loglikelihoods"):
        context_or_weights(made_up({"mlp:0": 0.0}).drop(columns="loglikelihoods"))


def test_pairs_of_one_cluster_count_once():
    one = made_up({"head:0.1": -0.1, "mlp:1": 0.1}, pairs=8)
    copies = [one.assign(doc_id=one["doc_id"] + 1000 * n) for n in range(4)]
    again = pd.concat(copies, ignore_index=True)
    again = again.assign(cluster=(again["doc_id"] % 1000 // 2).astype(str))
    alone, together = context_or_weights(one), context_or_weights(again)
    for name in ("change", "low", "high", "low_all", "high_all"):
        np.testing.assert_allclose(together[name], alone[name], atol=1e-9, err_msg=name)
