"""One prompt read in six ways: rows, choices and answers against lm-evaluation-harness' own."""

import json
from pathlib import Path

import pytest

import interp
from interp.models import organisms
from interp.tasks import load_task
from interp.tasks.forms import candidates
from tests.helpers.harness import harness_evaluates

WORLD = [f"{world}-{skill}-forms" for world, skill in (
    ("world2", "facts"), ("world2", "kv"), ("world2", "unwritten"), ("world2", "unwritten-steps"),
    ("world", "facts"), ("world", "kv"), ("world", "arithmetic"), ("world", "arithmetic-steps"),
)]  # fmt: skip


@pytest.mark.parametrize("name", WORLD)
def test_prompts_are_those_of_the_other_protocols_and_candidates_hold_the_answer(name):
    scored, free = load_task(f"{name}:continuation"), load_task(f"{name}:generate")
    plain = load_task(f"{name.removesuffix('-forms').removesuffix('-steps')}:continuation")
    for doc_id in (0, 7, 150):
        row = scored.documents()[doc_id]
        asked = scored.question(row)
        assert asked == free.question(free.documents()[doc_id])
        if "steps" in name:
            question, written = asked.removesuffix(" =").rsplit("\n", 1)
            assert question in plain.question(row)
            assert f"{written.removeprefix('Answer: ')} = {row['answer']}. ####" in row["steps"]
        else:
            assert asked == plain.question(row)
        options = scored.options(row)
        assert {row["answer"], *row["options"], *row["values"]} <= set(options)
        assert len(row["values"]) == {"facts": 20, "kv": 16}.get(name.split("-")[1], 50)
        assert [options[place] for place in scored.gold_options(row)] == [row["answer"]]


def test_greedy_writing_follows_the_likeliest_word():
    """The first word that is likelier leads to the text that as a whole is not."""
    totals = {"old": -1.0, "old mill": -5.0, "new": -1.5, "new mill": -1.6, "new barn": -9.0}
    row = {"values": ["old mill", "new mill", "new barn"], "options": ["old mill", "new mill"],
           "answer": "new mill"}  # fmt: skip
    assert candidates.beginnings(row) == ["old", "old mill", "new", "new mill", "new barn"]
    results = [(totals[text], text == "new mill") for text in candidates.beginnings(row)]
    assert candidates.read_in_all_ways(row, results) == {
        "likelihood_options": 1.0, "likelihood_type": 1.0, "likelihood_vocabulary": 1.0,
        "greedy_options": 0.0, "greedy_type": 0.0,
    }  # fmt: skip
    assert candidates.written(["new mill", "new barn"], totals) == "new mill"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["world-facts-forms", "world-arithmetic-steps-forms"])
def test_scores_are_those_of_the_harness(name, tmp_path):
    from lm_eval.models.huggingface import HFLM

    model = interp.load_model("organism:base")
    tasks = [load_task(f"{name}:{protocol}") for protocol in ("continuation", "generate")]
    run = interp.sweep(model, tasks, [], out=tmp_path / "run", limit=12)
    values = run.values()
    asked = sorted(set(values["doc_id"]))
    lm = HFLM(pretrained=str(organisms()["organism:base"]), batch_size=8, device="cpu")
    for task in tasks:
        samples = {task.name: asked}
        theirs = harness_evaluates(lm, [task._harness], samples=samples, log_samples=True)
        known = values[values["task"] == task.name]
        assert len(theirs["samples"][task._harness.config.task]) == len(asked)
        for sample in theirs["samples"][task._harness.config.task]:
            mine = known[known["doc_id"] == sample["doc_id"]].set_index("metric")["value"]
            for metric in sample["metrics"]:
                own = [name for name in mine.index if name.split(",")[0] == metric]
                assert own
                assert mine[own[0]] == sample[metric]


def test_mmlu_is_asked_by_letters_among_four_all_or_any(tmp_path):
    rows = [
        {"question": " Which? ", "subject": "a_b", "choices": ["x", "y", "z", "w"], "answer": 2}
    ]
    import datasets

    made = candidates.with_letters(datasets.Dataset.from_list(rows))
    row = made[0]
    assert row["answer"] == "C"
    assert candidates.beginnings(row) == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert row["listing"] == "A. x\nB. y\nC. z\nD. w\n"
    folder = Path(candidates.__file__).parent
    for file in ("mmlu-forms-default", "mmlu-forms-generate", "mmlu-steps-forms-generate"):
        assert "dataset_name: all" in (folder / f"{file}.yaml").read_text()
    assert json.dumps(row["values"]).count('"') == 52
