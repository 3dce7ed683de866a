"""Kinds of errors: single answers, tables with a planted truth, a run's summary."""

import pandas as pd
import pytest

from interp.errors import UserError
from interp.models import load_model
from interp.results import choose_metric, kind_of_answer, kinds_of_error, what_instead
from interp.results.wrong_answers import Values, loops
from interp.sweeps import sweep
from tests.helpers.task_files import write_task

FACTS = Values.of(["banjo", "New Tessel", "tax clerk"])
STEPS = Values.of(["3 + 4 = 7. #### 7", "2 * 5 = 10. #### 10"])


@pytest.mark.parametrize(
    ("text", "values", "kind"),
    [
        ("organ", FACTS, "another value"),
        (" Port Ruvio.", FACTS, "another value"),
        ("It is said to be the banjo", FACTS, "another value"),
        ("B", FACTS, "option letter"),
        ("(C).", FACTS, "option letter"),
        ("she plays it on the stage", FACTS, "another format"),
        ("7", FACTS, "another format"),
        ("  \n", FACTS, "empty"),
        ("banjo banjo banjo", FACTS, "loop"),
        ("the pet of the pet of the pet of", FACTS, "loop"),
        ("3 + 4 = 8. #### 8", STEPS, "another value"),
        ("3 + 4 = 7.", STEPS, "another format"),
        ("#### banjo", STEPS, "another format"),
        ("D", STEPS, "option letter"),
        ("B", Values.of(["A", "C"]), "another value"),
        ("7f3a-01", Values.of(["99ab-32"]), "another value"),
    ],
)
def test_an_answer_has_one_kind(text: str, values: Values, kind: str) -> None:
    assert kind_of_answer(text, values) == kind


def test_an_answer_without_an_end_is_cut_off_unless_it_loops() -> None:
    assert kind_of_answer("3 + 4 = 7. Then", STEPS, finished=False) == "cut off"
    assert kind_of_answer("4 = 4 = 4 = 4 =", STEPS, finished=False) == "loop"
    assert not loops("1111")
    assert not loops("word other word other")
    assert loops("abababababababab")


def answers(kinds: dict[str, list[str]]) -> pd.DataFrame:
    """The answers to one question after the other, by ablation."""
    rows = [
        {"model": "m", "task": "t", "ablation": ablation, "doc_id": number, "text": text,
         "finished": True, "target": f"word{'abcdefghij'[number % 10]}", "failure": "",
         "right": text == "right"}
        for ablation, texts in kinds.items() for number, text in enumerate(texts)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_shares_are_those_that_were_planted_and_add_up() -> None:
    """78% letters and 22% right, as without a layer that keeps the format."""
    table = kinds_of_error(
        answers({"baseline": 50 * ["right"], "layer:3": 39 * ["A"] + 11 * ["right"]})
    )
    ablated = table[table["ablation"] == "layer:3"].set_index("kind")
    assert ablated.loc["option letter", ["share", "baseline", "n"]].tolist() == [78, 0, 50]
    assert ablated.loc["right", "share"] == 22
    assert table.groupby("ablation")["share"].sum().tolist() == [100, 100]
    low, high = ablated.loc["option letter", ["low", "high"]]
    assert 64 < low < 78 < high < 89
    assert what_instead(table[table["ablation"] == "layer:3"]).startswith(
        "layer:3 option letter 78% [6"
    )


def test_clusters_widen_the_intervals() -> None:
    table = answers({"baseline": 40 * ["right"], "layer:0": 20 * ["A"] + 20 * ["right"]})
    alone = kinds_of_error(table)
    together = kinds_of_error(table.assign(cluster=table["doc_id"] // 5))
    widths = [(t["high"] - t["low"])[t["kind"] == "option letter"].max() for t in (alone, together)]
    assert widths[1] > 1.5 * widths[0]
    assert together["interval"].str.contains("by cluster").all()


def test_a_failure_is_no_answer_and_no_baseline_is_refused() -> None:
    table = answers({"baseline": ["right", "right"], "layer:0": ["right", "right"]})
    table.loc[3, ["failure", "text", "right"]] = ["logits are not finite", None, False]
    found = kinds_of_error(table)
    assert found[found["ablation"] == "layer:0"].set_index("kind")["share"]["failed"] == 50
    with pytest.raises(UserError, match="no baseline"):
        kinds_of_error(table[table["ablation"] != "baseline"])


@pytest.mark.slow
def test_a_run_says_that_a_layer_keeps_the_format_and_not_the_fact(tmp_path) -> None:
    """Without layer 3 the shipped base model answers questions about facts with a letter."""
    model = load_model("organism:base")
    tasks = ["world-facts:generate", "world-facts:continuation"]
    run = sweep(model, tasks, ["layer:3"], out=tmp_path / "run", limit=24)
    table = run.kinds_of_error()
    assert set(table["task"]) == {"world-facts:generate"}
    ablated = table[table["ablation"] == "layer:3"].set_index("kind")
    assert ablated["share"]["option letter"] > 50
    assert ablated["baseline"].get("option letter") == 0
    scores = choose_metric(run.scores()).set_index(["task", "ablation"])["value"]
    assert ablated["share"]["right"] == scores["world-facts:generate", "layer:3"]
    line = next(one for one in run.summary().splitlines() if one.startswith("wrong answers"))
    assert line.startswith("wrong answers, n = 24: layer:3 option letter ")


def test_a_run_without_answers_is_refused(llama, tmp_path) -> None:
    task = str(write_task(tmp_path))
    run = sweep(llama, [task], ["layer:0"], out=tmp_path / "texts", limit=4)
    with pytest.raises(UserError, match="no task generates one answer"):
        run.kinds_of_error()
    assert "wrong answers" not in run.summary()


def test_a_task_without_clusters_beside_one_that_has_some_is_read() -> None:
    plain = answers({"baseline": ["right", "empty"] * 4, "layer:0": ["empty"] * 8})
    beside = kinds_of_error(plain.assign(cluster=None))
    pd.testing.assert_frame_equal(beside, kinds_of_error(plain))
    some = plain.assign(cluster=plain["doc_id"].map(lambda number: "a" if number else None))
    with pytest.raises(UserError, match="have no cluster"):
        kinds_of_error(some)
