"""Lost examples: planted sets, shared, disjoint and independent ones."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import UserError
from interp.results import lost_examples, lost_together
from tests.helpers.outcomes import long


def planted(n: int = 200) -> pd.DataFrame:
    """Layers 0 and 1 lose the same half, layer 2 the other half, layer 3 any half, layer 4 none."""
    first = np.arange(n) % 2 == 0
    luck = np.random.default_rng(0).random(n) < 0.5
    lost = np.stack([np.zeros(n, bool), first, first, ~first, luck, np.zeros(n, bool)], axis=1)
    return long(1.0 - lost)


def test_what_layers_lose_together_is_what_was_planted() -> None:
    table = lost_together(planted()).set_index(["a", "b"])
    assert len(table) == 6  # layer 4 harms nothing
    assert table.loc[("layer:0", "layer:1"), ["phi", "shared", "both"]].tolist() == [1, 100, 100]
    assert table.loc[("layer:0", "layer:2"), ["phi", "shared", "both"]].tolist() == [-1, 0, 0]
    assert abs(table.loc[("layer:0", "layer:3"), "phi"]) < 0.2
    assert table.loc[("layer:0", "layer:3"), "expected"] == pytest.approx(
        100 * table.loc[("layer:0", "layer:3"), "lost_b"] / 200
    )
    assert (table["p_adjusted"] < 0.05).tolist() == [True, True, False, True, False, False]


def test_only_what_the_baseline_gets_right_can_be_lost() -> None:
    values = planted(100)
    values.loc[values["doc_id"] >= 60, "value"] = 0.0
    lost = lost_examples(values)
    assert lost[lost["ablation"] == "layer:0"]["doc_id"].tolist() == list(range(0, 60, 2))
    assert set(lost_together(values)["n"]) == {60}


def test_without_two_harmful_ablations_there_is_no_pair_and_other_metrics_are_refused() -> None:
    still = planted()
    still["value"] = 1.0
    assert lost_together(still).empty
    with pytest.raises(UserError, match="lost examples are those of 0/1 metrics"):
        lost_examples(still.assign(value=0.5))


def test_failures_are_no_outcomes_and_hide_nothing() -> None:
    values = pd.DataFrame(
        {"model": "m", "task": "t", "metric": "acc", "doc_id": doc, "ablation": name}
        | {"value": np.nan if (name, doc) == ("layer:0", 0) else float(name == "baseline")}
        for name in ("baseline", "layer:0", "layer:1")
        for doc in range(4)
    )
    assert set(lost_examples(values)["ablation"]) == {"layer:1"}
    assert lost_together(values).empty
    unread = values.assign(value=np.nan)
    assert lost_examples(unread).empty
    assert list(lost_examples(unread)) == list(lost_examples(values))


def test_clusters_that_fare_alike_are_no_evidence_of_one_mechanism():
    """Six of 24 wordings are lost by both ablations: 60 examples, six clusters."""
    rng = np.random.default_rng(0)
    wording = np.repeat(np.arange(24), 10)
    lost = {
        "layer:0": np.isin(wording, range(8)).astype(float),
        "layer:1": np.isin(wording, range(2, 10)).astype(float),
    }
    frames = [
        pd.DataFrame({"model": "m", "task": "t", "metric": "acc", "ablation": name,
                      "doc_id": range(240), "value": 1 - values, "cluster": wording.astype(str)})
        for name, values in ({"baseline": 0 * lost["layer:0"]} | lost).items()
    ]  # fmt: skip
    values = pd.concat(frames, ignore_index=True).sample(frac=1, random_state=int(rng.integers(9)))
    (own,) = lost_together(values).to_dict("records")
    (alone,) = lost_together(values.drop(columns="cluster")).to_dict("records")
    assert own["phi"] == alone["phi"]
    assert own["p"] > 100 * alone["p"]
    assert own["high"] - own["low"] > alone["high"] - alone["low"]
    assert own["test"] == "covariance by cluster"
