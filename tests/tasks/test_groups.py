"""A group is swept as one task: each row asked by its own member, the score the pooled mean."""

import copy
import json

import pytest

import interp
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge

pytestmark = pytest.mark.filterwarnings("ignore:task mmlu.* of its 57 tasks have no rows")


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"question": f"w{n} w9", "choices": ["w4", "w5 w6", "w7", "w8"], "answer": n % 4}
        for n in range(10, 22)
    ]
    (tmp_path / "rows" / "mmlu").mkdir(parents=True)
    for split, chosen in (("dev", rows[:4]), ("test", rows[4:])):
        labelled = [
            row | {"subject": "anatomy" if n % 4 else "virology"} for n, row in enumerate(chosen)
        ]
        text = "".join(json.dumps(row) + "\n" for row in labelled)
        (tmp_path / "rows" / "mmlu" / f"{split}.jsonl").write_text(text)
    return tmp_path / "rows"


def test_each_row_is_asked_by_its_own_member(folder):
    task = load_task("mmlu:continuation", data=folder, num_fewshot=1)
    assert task.protocol == "continuation"
    for row, stratum in zip(task.documents(), task.strata, strict=True):
        subject = stratum.removeprefix("mmlu_").removesuffix("_continuation")
        prompt = task._harness.fewshot_context(row, num_fewshot=1)
        assert prompt.startswith(f"The following are questions (with answers) about {subject}.")
        assert prompt.count("Question:") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mmlu", "mmlu:continuation", "mmlu:generate"])
def test_a_group_is_swept_like_a_task(folder, tmp_path, name):
    task = load_task(name, data=folder, num_fewshot=0)
    if task.generates:
        for member in task._harness.members:
            member.config.generation_kwargs["max_gen_toks"] = 4
    run = interp.sweep(tiny_bridge("llama"), [task], ["layer:1"], out=tmp_path / "run", limit=5)
    found = interp.open_run(tmp_path / "run").responses()
    assert found["doc_id"].tolist() == run.responses()["doc_id"].tolist()
    assert len(found) == 10
    drawn = sorted(set(found["doc_id"]))
    assert {task.strata[i].split("_")[1] for i in drawn} == {"anatomy", "virology"}


def test_a_copy_asks_each_row_by_its_own_member(tmp_path):
    """As in another process; of equal rows, only which one it is tells whose it is."""
    row = {"question": "w10 w9", "choices": ["w4", "w5 w6", "w7", "w8"], "answer": 1}
    for subject in ("anatomy", "virology"):
        (tmp_path / "mmlu" / subject).mkdir(parents=True)
        (tmp_path / "mmlu" / subject / "test.jsonl").write_text(json.dumps(row))
    task = load_task("mmlu:continuation", data=tmp_path, num_fewshot=0)
    for one in (task, copy.deepcopy(task)):
        prompts = [one._harness.fewshot_context(doc, num_fewshot=0) for doc in one.documents()]
        assert [prompt.split(".")[0].rpartition(" ")[2] for prompt in prompts] == [
            "anatomy",
            "virology",
        ]
