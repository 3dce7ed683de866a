"""Sentences and notes of the results pages: which metric, which interval, and what cannot show."""

import warnings

import numpy as np
import pandas as pd
import pytest

from experiments import (
    __main__ as everything,
    cause,
    distillation,
    factorial,
    heads,
    programs,
    retrieval,
    sets,
    similarity,
    summary,
)
from experiments.distillation_findings import findings
from experiments.downstream import by_distance
from experiments.presets import ORGANISMS
from experiments.replacements import summed
from experiments.text_loss import with_all_together

MINUS = "\N{MINUS SIGN}"


def values_of(right: dict[str, list[float]], **named: str) -> pd.DataFrame:
    """The values of a sweep: for each ablation the outcome of each example."""
    key = {"model": "organism:base", "task": "world2-kv:generate", "metric": "exact_match"} | named
    return pd.DataFrame(
        [
            key | {"ablation": ablation, "doc_id": doc, "value": float(value)}
            for ablation, outcomes in right.items()
            for doc, value in enumerate(outcomes)
        ]
    )


def some(count: int, n: int = 40) -> list[float]:
    """Outcomes of which the first are right."""
    return [1.0] * count + [0.0] * (n - count)


@pytest.fixture
def drops() -> pd.DataFrame:
    from interp.stats import importance

    found = values_of({"baseline": some(40), "layer:0": some(0), "layer:1": some(38)})
    single = values_of({"baseline": some(40), "head:0.0": some(35), "head:0.1": some(36)})
    table = importance(pd.concat([found, single[single["ablation"] != "baseline"]]))
    return table.assign(expected_excess=table["ablation"].map(
        {"layer:0": 0.0, "layer:1": 0.0, "head:0.0": 4.7, "head:0.1": 4.7}))  # fmt: skip


def test_the_excess_is_of_the_shown_metric_and_of_each_kind(drops):
    other = drops.assign(metric="cut", expected_excess=9.9, interval="95% Student", test="t test")
    note = summary.note(pd.concat([drops, other], ignore_index=True), "layers or heads")
    assert "4.7 points (one head) or 0.0 points (one layer)" in note
    assert "9.9" not in note
    assert "Student" not in note
    untested = drops.assign(task="world2-kv:default", expected_excess=6.3, testable=False)
    assert summary.note(pd.concat([drops, untested], ignore_index=True), "layers or heads") == (
        summary.note(drops, "layers or heads")
    )
    layers = drops[drops["ablation"].str.startswith("layer")]
    assert "Chosen because" not in summary.note(layers, "layers")
    # nothing is chosen where nothing is testable
    assert "Chosen because" not in summary.note(untested, "layers or heads")


def test_each_row_names_the_interval_of_its_baseline_and_its_test():
    from interp.stats import importance, scores

    plain = values_of({"baseline": some(40), "layer:0": some(0)})
    clustered = values_of({"baseline": some(40), "layer:0": some(0)}, task="world2-facts:generate")
    clustered = clustered.assign(cluster=clustered["doc_id"] // 4)
    both = pd.concat([plain, clustered], ignore_index=True)
    table = pd.concat([scores(one) for one in (plain, clustered)], ignore_index=True)
    rows = summary.what_matters(table, importance(both)).set_index("Skill")
    assert rows["Interval of the baseline"].to_dict() == {
        "Pair look-up": "95% Wilson", "Facts": "95% Wilson by cluster",
    }  # fmt: skip
    assert rows["Test"].to_dict() == {
        "Pair look-up": "mid-p McNemar", "Facts": "exact sign flips by cluster",
    }  # fmt: skip


def gains(alone: float) -> pd.DataFrame:
    row = {"model": "organism:base", "alone": alone, "given": 100.0, "n": 100, "test": "sign flips"}
    return pd.DataFrame(
        [
            row
            | {"ablation": "baseline", "gain": 100 - alone, "low": 0.0, "high": 60.0}
            | {"p_adjusted": 1.0},
            row | {"ablation": "layer:4", "gain": 3.0, "low": -5.0, "high": 9.0, "p_adjusted": 1.0},
            row | {"ablation": "layer:5", "gain": 12.0, "low": 4.0, "high": 21.0}
            | {"p_adjusted": 0.22},
        ]
    )  # fmt: skip


def test_a_model_at_the_ceiling_is_not_said_to_gain_nothing():
    (full,) = retrieval._gain_sentences(gains(100.0))
    assert "none is possible for the whole model, which is right in 100% without" in full
    assert "the largest estimate without layer 5 12 [4, 21], adjusted p 0.22" in full
    (half,) = retrieval._gain_sentences(gains(50.0))
    assert "whole model 50 [0, 60]" in half
    assert "ceiling" not in half


def test_tests_that_can_never_reject_are_not_counted():
    least = pd.Series([0.002, 0.003, 0.015, *[0.0625] * 18])
    assert heads.can_be_shown(least).sum() == 3
    assert heads.can_be_shown(pd.Series([0.2, 0.5])).sum() == 0
    assert heads.can_be_shown(pd.Series([1e-9] * 30)).all()
    row = {"task": "world2-kv:generate", "other": "world2-facts:generate", "shared": 2}
    row |= {"n_task": 2, "n_other": 8, "n_examples": 100}
    table = pd.DataFrame(
        [
            row | {"p": 0.0625, "least_p": 0.0625},
            row | {"p": 0.03, "least_p": 1e-4},
            row | {"p": np.nan, "least_p": np.nan},
        ]
    )
    (text,) = heads._overlap_sentences(table)
    assert "Of 3 pairs of tasks of the base 1 can be tested" in text
    assert "(2 of 2 and 8, n = 100, p = 0.03)" in text
    assert "Not testable: 1 pairs with so few important heads" in text
    assert "and 1 of which one has no important head" in text


def test_a_mean_does_not_stand_for_sets_that_are_not_alike():
    from interp.attention import ALL

    others = pd.Series({"value": 58.0, "low": 5.0, "high": 94.0})
    apart = [("head:0.0", 5.0), ("head:0.1", 94.0), (ALL, 58.0)]
    rows = [{"control": name, "difference": d, "low": d - 6, "high": d + 6} for name, d in apart]
    text = heads._apart(pd.DataFrame(rows), others)
    assert text.startswith("5 to 94, shown to lose more than 1 of 2 other sets")
    assert f"by 94 [88, 100] points, not shown of L0H0: 5 [{MINUS}1, 11]" in text
    assert "58" not in text
    fewer = pd.DataFrame(rows)
    fewer[["difference", "low", "high"]] -= 101
    text = heads._apart(fewer, others)
    assert f"than 0 of 2 other sets, not shown of the other 2: {MINUS}96 [" in text
    alike = pd.DataFrame([row | {"difference": 90.0, "low": 84.0, "high": 96.0} for row in rows])
    assert "with the mean of the 2 others" in heads._apart(alike, others)
    assert "with the one other set" in heads._apart(alike.iloc[1:], others)


def test_programs_say_what_would_have_been_missed():
    row = {"model": "organism:base", "family": "repeat", "n": 60, "baseline": 100.0, "drop": 0.0}
    row |= {"low_all": -12.0, "high_all": 12.0, "p_adjusted": 1.0, "least_detectable_drop": 47.0}
    rows = pd.DataFrame([row | {"ablation": f"repeat:{at}-{at}"} for at in range(3)])
    text = programs._sentence("world2-facts:continuation", rows, "repeat")
    assert "0 of 3 shown to harm, none can help" in text
    assert "drops under 47 points would be missed in more than one of five sweeps" in text
    assert "1 of 3 to help" not in text
    most = pd.concat([rows, pd.DataFrame([row | {"ablation": "repeat:3-3", "drop": 5.0}])])
    text = programs._sentence("world2-facts:continuation", most, "repeat")
    assert (
        f"smallest drop 0 [{MINUS}12, 12] (repeat:0-0 and 2 more), largest 5 [{MINUS}12, 12] "
        "(repeat:3-3) (points" in text
    )
    better = rows.assign(baseline=80.0, drop=-20.0, p_adjusted=0.01)
    assert "0 of 3 shown to harm, 3 to help" in programs._sentence("world2-facts:continuation",
                                                                   better, "repeat")  # fmt: skip


def test_what_cannot_differ_is_not_a_finding():
    row = {"model": "organism:base", "benchmark": "world2-unwritten", "n": 40, "correction": "holm"}
    row |= {"value": 0.0, "low_all": np.nan, "high_all": np.nan, "p_adjusted": 1.0}
    among = "readout: greedy - likelihood x candidates: type - options"
    rows = [row | {"effect": among, "ablation": f"layer:{at}"} for at in range(2)]
    rows += [row | {"effect": "steps: with - without", "ablation": "layer:0"}]
    moved = {"value": -0.42, "low_all": -0.6, "high_all": -0.2, "p_adjusted": 0.001}
    rows += [row | moved | {"effect": "steps: with - without", "ablation": "layer:5"}]
    (text,) = factorial.sentences(pd.DataFrame(rows))
    assert f"{among}: shown in none of 2 (0 in all; among candidates of one word" in text
    assert "steps: with - without: shown in 1 of 2 (largest effect, layer:5: " in text
    assert "(adjusted p < 0.05, Holm over the layers of an effect)" in text


def test_the_pair_that_costs_least_is_named_beside_the_one_that_costs_most():
    row = {"model": "organism:base", "task": "world2-facts:continuation", "n": 80}
    row |= {"low_all": -9.0, "high_all": 9.0, "p_adjusted": 1.0}
    pairs = [("layer:0+layer:7", 69.0, 31.0, 68.0), ("layer:5+layer:6", 3.0, 1.0, 33.0)]
    table = pd.DataFrame(
        [
            row | {"ablation": name, "drop_first": a, "drop_second": b, "drop": both}
            | {"interaction": both - a - b}
            for name, a, b, both in pairs
        ]
    )  # fmt: skip
    text = sets._pairs(table)
    assert text.startswith("base, facts, option texts. Of 2 pairs 0 are shown to cost more")
    assert (
        f"Most more: layer:5+layer:6 29 [{MINUS}9, 9] points (alone 3 and 1, together 33)" in text
    )
    assert f"most less: layer:0+layer:7 {MINUS}32 [{MINUS}9, 9] points (alone 69 and 31" in text


def test_each_set_of_layers_is_named_once_with_its_difference():
    values = values_of(
        {"baseline": some(40), "layer:2+layer:3": some(20), "layer:1+layer:3": some(38)}
    )
    key = {"model": "organism:base", "task": "world2-kv:generate", "n": 40, "interval": "95% W"}
    ends = [("measured importance", "2 3", 50.0), ("from the deepest", "2 3", 50.0),
            ("block influence", "1 3", 95.0)]  # fmt: skip
    curves = pd.DataFrame(
        [
            key | {"order": order, "layers": layers, "n_removed": k, "value": value, "low": 1.0}
            | {"high": 99.0}
            for order, one, left in ends
            for k, layers, value in ((0, "", 100.0), (2, one, left))
        ]
    )  # fmt: skip
    apart = similarity.sets_apart(values, curves)
    assert apart["layers"].tolist() == ["1 3"]
    assert apart["less"].tolist() == [-45.0]
    (text,) = similarity.pruning_sentences(curves, apart)
    assert text.count("layers 2, 3 (") == 1
    assert "(measured importance, from the deepest) 50 [1, 99]" in text
    assert "layers 1, 3 (block influence) 95 [1, 99], 45 [" in text
    assert "points more, adjusted p" in text
    same = curves[curves["order"] != "block influence"]
    assert similarity.sets_apart(values, same).empty
    assert similarity.pruning_sentences(same, similarity.sets_apart(values, same))


def test_changes_by_distance_have_an_interval_over_texts():
    rng = np.random.default_rng(0)
    single = [
        pd.DataFrame(
            [
                {"skipped": 0, "layer": 1, "value": near},
                {"skipped": 0, "layer": 2, "value": 2 * near},
                {"skipped": 1, "layer": 2, "value": near},
            ]
        )
        for near in rng.normal(1, 0.1, 20)
    ]
    near, far = by_distance(single).to_dict("records")
    expected = np.mean([one["value"].iloc[0] for one in single])
    assert near["value"] == pytest.approx(expected)
    assert far["value"] == pytest.approx(2 * expected)
    assert near["low"] < near["value"] < near["high"]
    assert near["high"] - near["low"] < 0.2
    assert np.isnan(by_distance(single[:1])["low"]).all()


def test_the_largest_loss_has_an_interval_for_all_layers():
    asked = []

    def measure(*, confidence: float) -> pd.DataFrame:
        asked.append(confidence)
        half = 1.0 if confidence == 0.95 else 1.6
        rows = [{"metric": "loss", "drop": float(at), "low": at - half, "high": at + half}
                for at in range(12)]  # fmt: skip
        return pd.DataFrame([{"metric": "other", "drop": 9.0, "low": 9.0, "high": 9.0}, *rows])

    found = with_all_together(measure, metric="loss")
    assert asked == [0.95, pytest.approx(1 - 0.05 / 12)]
    assert len(found) == 12
    assert (found["low_all"] < found["low"]).all()
    assert (found["high_all"] > found["high"]).all()


def test_sums_of_drops_have_an_interval_over_examples():
    right = {"baseline": some(40), "layer:0": some(20), "layer:1": some(30)}
    right |= {"layer:0@mean": some(40), "layer:1@mean": some(40)}
    table = summed(values_of(right)).set_index("way")
    assert table.loc["", "value"] == pytest.approx(75.0)
    assert table.loc["", "low"] < 75 < table.loc["", "high"]
    assert table.loc["@mean", "value"] == 0
    # a task without clusters has none in the column
    assert summed(values_of(right).assign(cluster=None))["n"].tolist() == [40, 40]


def test_how_often_the_passage_wins_has_intervals():
    rows = [
        {"model": "organism:base", "task": "twins-gold-x", "ablation": "baseline", "doc_id": doc}
        | {"loglikelihoods": [-14.0 - doc / 10, 0.0] if doc % 2 == 0 else [0.0, -9.0]}
        for doc in range(40)
    ]
    wins = cause.passage_wins(pd.DataFrame(rows))
    table = wins.set_index("metric")
    assert table.loc["wins", "value"] == 0
    assert table.loc["wins", "high"] == pytest.approx(16.1, abs=0.1)
    assert table.loc["nats", "low"] < -15.9 < table.loc["nats", "high"]
    sources = pd.DataFrame([{"overruled": 0.0, "n": 20, "baseline": -15.9}])
    text = cause._sources("organism:base", "twins-gold-x", sources, wins)
    assert "in 0 of 20 pairs, 0 [0, 16]% (95% Wilson), by " in text
    assert "not testable" in text


def two_models() -> pd.DataFrame:
    """A model that is right in 81% and one in 100%; layer 0 costs both all, layer 1 only one."""
    weak = {"baseline": some(81, 100), "layer:0": some(0, 100), "layer:1": some(20, 100)}
    full = {"baseline": some(100, 100), "layer:0": some(0, 100), "layer:1": some(95, 100)}
    return pd.concat(
        [values_of(weak, model="organism:weak"), values_of(full, model="organism:full")],
        ignore_index=True,
    )


def test_models_of_other_baselines_are_compared_by_shares():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = distillation.share_differences(two_models())
    both_lost, apart = table.to_dict("records")
    assert (both_lost["share_a"], both_lost["share_b"]) == (100, 100)
    assert both_lost["low_all"] <= 0 <= both_lost["high_all"]
    assert apart["share_a"] == pytest.approx(100 * 61 / 81)
    assert apart["share_b"] == pytest.approx(5.0)
    assert apart["low_all"] > 0


def test_the_findings_say_that_baselines_alone_can_make_shapes_differ():
    from interp.stats import scores

    values = two_models()
    task = values["task"].iloc[0]
    pair = {"a": "organism:weak", "b": "organism:full", "task": task, "n": 100}
    correlation = {"spearman": 1.0, "ceiling": 0.96, "disattenuated": 1.0, "low": 0.98, "high": 1.0}
    correlation |= {"p_differ": 0.002, "least_p": 0.001, "n_ablations": 2, "interval": "95% b"}
    shift = {"quantity": "centre", "difference": 0.03, "low": 0.01, "high": 0.05, "interval": "95%"}
    named = {"model": "organism:weak", "task": task, "n": 100, "interval": "95%"}
    tables = {
        "scores": scores(values),
        "correlations": pd.DataFrame([pair | correlation]),
        "share-differences": distillation.share_differences(values),
        "shifts": pd.DataFrame([pair | shift]),
        "centres": pd.DataFrame([named | {"quantity": "centre", "value": 0.5, "low": 0.4}
                                 | {"high": 0.6, "weight": "drop"}]),
        "robustness": pd.DataFrame([named | {"n_removed": 2, "robustness": 0.3, "low": 0.2}
                                    | {"high": 0.4}]),
    }  # fmt: skip
    text = "\n".join(findings(tables, [task]))
    assert "weak can lose 81 points and full 100" in text
    assert "which their baselines, 81 and 100%, can do alone: p = 0.002, not corrected" in text
    assert "estimated noise ceiling 0.96" in text
    assert "other shares of their scores: layer 1 75 and 5% (difference 70 [" in text
    assert "layer 0" not in text
    assert "full minus weak, centre of mass, relative depth: 0.030 [0.010, 0.050]" in text
    # of a skill that is not described, the shares are still compared
    (other,) = findings(tables, [])
    assert other.endswith("(2 layers, 95% intervals of all of them together, n = 100).")
    assert "weak and full other shares of their scores: layer 1 75 and 5%" in other
    same = tables["share-differences"].assign(low_all=-30.0, high_all=90.0)
    (none,) = findings(tables | {"share-differences": same}, [])
    assert "of their scores: none, largest estimate layer 1 75 and 5% (difference 70 [" in none


def test_the_first_lines_say_the_limit_and_that_sections_have_fewer():
    asked = everything._head(ORGANISMS, ["protocols"], 100)
    assert "`python -m experiments protocols --preset organisms --limit 100`" in asked
    assert "At most 100 examples a task: each section says its n" in asked
    whole = everything._head(ORGANISMS, everything.NAMES)
    assert "`python -m experiments all --preset organisms`" in whole
    assert f"At most {max(ORGANISMS.limits.values())} examples a task" in whole


def test_captions_leave_out_the_excess_of_what_is_not_testable(drops):
    from interp.figures import describe_choice

    head = drops[drops["ablation"].str.startswith("head")]
    untested = head.assign(task="world2-kv:default", expected_excess=6.3, testable=False)
    (caption,) = describe_choice(pd.concat([head, untested], ignore_index=True))
    assert "a drop is 4.7 points too large" in caption
    assert describe_choice(untested) == []
