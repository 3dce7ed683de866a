"""Metrics: by hand, against the harness, and again from what is stored."""

import json

import numpy as np
import pytest

import interp
from interp.errors import UserError
from interp.tasks import gold_options, load_task, option_metrics, target_text
from interp.tasks.metrics import recomputed
from tests.helpers.families import tiny_bridge
from tests.helpers.task_files import write_task
from tests.parity.real_rows import invented


@pytest.fixture
def task(tmp_path):
    return load_task(write_task(tmp_path, rows=12))


def test_three_ways_to_choose_an_option(task):
    """Sum, per character and per token each choose another option."""
    document = {
        "question": "w1",
        "choices": ["w4", "w5 w6 w7", "w8 w9", "w10"],
        "gold": 1,
        "answer": "",
    }
    scores, counts = (-2.0, -4.0, -3.5, -9.0), (1, 4, 2, 1)
    found = option_metrics(task, document, [(s, False) for s in scores], token_counts=counts)
    # sums: option 0; per character -1, -.5, -.7, -3: option 1; per token -2, -1, -1.75, -9: 1
    assert (found["acc"], found["acc_norm"], found["acc_ce"]) == (0.0, 1.0, 1.0)
    assert found["gold_logprob"] == -4.0
    assert found["gold_prob"] == pytest.approx(np.exp(-4) / np.exp(scores).sum())
    # the same scores where the first option has three tokens more
    found = option_metrics(task, document, [(s, False) for s in scores], token_counts=(4, 1, 2, 1))
    assert found["acc_ce"] == 0.0


def test_metrics_are_computed_again_from_the_store(tmp_path):
    tasks = [load_task(write_task(tmp_path, kind=kind, rows=6)) for kind in ("texts", "generate")]
    run = interp.sweep(tiny_bridge("llama"), tasks, ["layer:1"], out=tmp_path / "run")
    stored = interp.open_run(tmp_path / "run").responses()
    for task in tasks:
        rows = stored[stored["task"] == task.name]
        again = recomputed(rows, task)
        assert set(again) >= ({"exact_match"} if task.generates else {"acc", "acc_ce", "gold_prob"})
        for name in again:
            assert again[name].tolist() == rows[name].tolist()
    assert len(run.responses()) == 24


def test_responses_of_something_else_are_refused(tmp_path, task):
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run", limit=2)
    rows = run.responses()
    with pytest.raises(UserError, match="of task other; asked for tiny-texts"):
        recomputed(rows.assign(task="other"), task)
    with pytest.raises(UserError, match="row 99; tiny-texts has 12 rows"):
        recomputed(rows.assign(doc_id=99), task)
    with pytest.raises(UserError, match="no column greedy"):
        recomputed(rows.drop(columns="greedy"), task)


def test_the_right_option_where_options_stand_in_the_contexts(tmp_path):
    """Winogrande: the harness keeps the number in the question and the text in the target."""
    for name, split, rows in invented(6):
        (tmp_path / name).mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name / f"{split}.jsonl").write_text(text)
    task = load_task("winogrande", data=tmp_path)
    for document in task.documents():
        gold = int(document["answer"]) - 1
        assert gold_options(task, document) == [gold]
        assert target_text(task, document).endswith(document[f"option{gold + 1}"])


def test_a_row_whose_right_option_is_missing_counts_as_wrong(task):
    document = {"question": "w1", "choices": ["w4", "w5"], "gold": 3, "answer": ""}
    found = option_metrics(task, document, [(-1.0, False), (-2.0, False)], token_counts=(1, 1))
    assert (found["acc"], found["acc_ce"]) == (0.0, 0.0)
    assert "gold_logprob" not in found
