"""Ties between options: counted and named."""

import json

import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

import interp
from interp.cli import main
from interp.stats.ties import near_ties
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task


def rows(*scores, ablation="baseline"):
    made = {"model": "m", "task": "t", "ablation": ablation, "loglikelihoods": list(scores)}
    return pd.DataFrame(made)


def test_ties_are_counted_for_each_ablation():
    table = near_ties(
        pd.concat(
            [
                rows([-1.0, -1.00005, -9.0], [-1.0, -1.2], [-9.0, -9.0, -1.0]),
                rows([-1.0, -1.0], [-2.0, -2.0], None, ablation="layer:0"),
            ]
        )
    )
    assert table[["ablation", "ties", "n"]].values.tolist() == [
        ["baseline", 1, 3],
        ["layer:0", 2, 2],
    ]
    assert near_ties(rows([-1.0, -1.00005]), within=1e-5)["ties"].tolist() == [0]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(-9, 0), min_size=1, max_size=4), st.floats(0, 5e-6), st.floats(6e-6, 1e-5)
)
def test_a_choice_that_rounding_turns_is_a_tie(others, ahead, rounding):
    """The last option is likeliest by less than rounding, and rounding gives it to the first."""
    best = max(others)
    scores, turned = [*others, best + ahead], [*others, best + ahead - rounding]
    assert turned.index(max(turned)) != len(others)
    assert near_ties(rows(scores))["ties"].tolist() == [1]


@pytest.mark.slow
def test_ties_are_named_in_what_a_run_shows(tmp_path, capsys):
    path = write_task(tmp_path)
    rows_file = tmp_path / "texts.jsonl"
    # two options of the same words: no model can tell them apart
    alike = [json.loads(line) for line in rows_file.read_text().splitlines()]
    alike = [row | {"choices": [*row["choices"][:1] * 2, row["choices"][2]]} for row in alike]
    rows_file.write_text("".join(json.dumps(row | {"gold": 0}) + "\n" for row in alike))
    sweep = interp.sweep(tiny_bridge("llama"), [str(path)], ["layer:1"], out=tmp_path / "run")
    counted = sweep.ties()
    assert set(counted["ablation"]) == {"baseline", "layer:1"}
    assert (counted["ties"] <= counted["n"]).all()
    responses = sweep.responses()
    doubled = [row for row in responses["loglikelihoods"] if max(row[:2]) > row[2]]
    assert counted["ties"].sum() == len(doubled) > 0
    main(["show", str(tmp_path / "run")])
    assert f"ties: {len(doubled)} of {len(responses)} choices" in capsys.readouterr().out
