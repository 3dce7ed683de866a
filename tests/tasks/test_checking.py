"""All rows are checked before anything is computed; a bad one is named with its place and field."""

import json

import pytest
import yaml

import interp
from interp.errors import UserError
from interp.models import decoder
from interp.tasks import build_requests, checked_requests, load_task
from tests.helpers.task_files import write_task

GOOD = {"question": "w4 w5", "choices": ["w6", "w7"], "gold": 1, "answer": "w6"}


def task_of(folder, bad, *, kind="letters", count=12, **config):
    """A task whose last row is a bad one."""
    path = write_task(folder, kind=kind)
    last = {k: v for k, v in (GOOD | bad).items() if v != "absent"}
    rows = [GOOD | {"question": f"w{4 + i}"} for i in range(count - 1)] + [last]
    (folder / f"{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = {**yaml.safe_load(path.read_text()), "num_fewshot": 0, **config}
    path.write_text(yaml.safe_dump(whole))
    return str(path)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"gold": None}, "column gold: None names no option; allowed are 0 to 1"),
        ({"gold": "absent"}, "column gold: None names no option"),
        ({"gold": -1}, "column gold: -1 names no option"),
        ({"gold": 9}, "column gold: 9 names no option"),
        ({"choices": None}, "column gold: its options are None"),
        ({"choices": []}, r"column gold: its options are \\[\\]"),
        ({"choices": ["w4", None]}, "its options hold None"),
        ({"question": None}, "a template writes a null value; null are question"),
    ],
)
def test_a_bad_row_far_down_is_named_before_any_work(llama, tmp_path, bad, reason):
    task = task_of(tmp_path, bad, doc_to_text="{{question}}")
    where = r"task tiny-letters, row 11 \(row 12 of .*letters\.jsonl\)"
    with pytest.raises(UserError, match=where + ".*" + reason.replace("\\\\", "\\")) as caught:
        interp.sweep(llama, [task], ["layer:1"], out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("gold", "row", "shown"),
    [
        ("0.0", 1, "'1' names no option; .*is text: some cell of its column is no whole number"),
        ("", 1, "'1' names no option; .*is text: some cell of its column is no whole number"),
        ("-1", 2, "-1 names no option"),
        ("7", 2, "7 names no option"),
    ],
)
def test_labels_of_a_csv_that_match_no_option_are_refused_with_their_column(
    llama, tmp_path, gold, row, shown
):
    """Each of these used to be a baseline of 0%."""
    path = write_task(tmp_path, kind="letters")
    lines = ["w4,\"['w6', 'w7']\",1", f"w5,\"['w6', 'w7']\",{gold}"]
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "test.csv").write_text(
        "\n".join(["question,choices,gold", *lines]), encoding="utf-8-sig"
    )
    config = yaml.safe_load(path.read_text()) | {"dataset_path": "owner/letters"}
    del config["fewshot_split"], config["dataset_kwargs"]
    path.write_text(yaml.safe_dump(config))
    task = load_task(path, data=tmp_path)
    where = rf"row {row - 1} \(row {row} of .*test\.csv\), column gold: "
    with pytest.raises(UserError, match=where + shown):
        checked_requests(task, [0, 1], decoder(llama))


@pytest.mark.parametrize(
    ("first", "gold", "shown"),
    [
        ("w6", "0.0", "'0.0'"),
        ("w6", "", "''"),
        ("w6", "A", "'A'"),
        ("w6", "1", "'1'"),
        ([0], [9], "9 names no option; allowed are 0 to 1$"),
        ([0], [], r"\[\] names no option"),
    ],
)
def test_labels_that_name_no_option_are_refused(llama, tmp_path, first, gold, shown):
    path = write_task(tmp_path, kind="letters")
    rows = [GOOD | {"gold": first}, GOOD | {"gold": gold}]
    (tmp_path / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = load_task(path)
    assert checked_requests(task, [0], decoder(llama)).of([0])
    with pytest.raises(UserError, match=rf"row 1 \(row 2 of .*jsonl\), column gold: {shown}"):
        checked_requests(task, [0, 1], decoder(llama))


@pytest.mark.parametrize("answer", [None, "", " "])
def test_an_empty_answer_is_refused(llama, tmp_path, answer):
    task = load_task(task_of(tmp_path, {"answer": answer}, kind="generate"))
    with pytest.raises(UserError, match=r"row 11 .*column answer: .* is no answer"):
        checked_requests(task, range(12), decoder(llama))


def test_an_answer_that_is_a_list_in_one_row_only_is_refused(llama, tmp_path):
    rows = [GOOD | {"gold": "1"}, GOOD | {"gold": "[0, 1]"}]
    path = write_task(tmp_path, kind="letters")
    (tmp_path / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = yaml.safe_load(path.read_text()) | {"doc_to_target": "{{gold}}"}
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"row 1 .*is a list; the task's first row has one"):
        checked_requests(load_task(path), [0, 1], decoder(llama))


def test_checked_requests_are_the_requests(llama, tmp_path):
    for kind in ("texts", "generate"):
        task = load_task(write_task(tmp_path, kind=kind))
        checked = checked_requests(task, range(12), decoder(llama), seed=3)
        assert checked.of([4, 2]) == build_requests(task, [4, 2], decoder(llama), seed=3)
        again = checked_requests(task, range(12), decoder(llama), seed=3)
        assert checked.sha256 == again.sha256
        fewer = checked_requests(task, range(11), decoder(llama), seed=3)
        assert checked.sha256 != fewer.sha256
        assert checked.n_samples == 1
        assert checked.truncated_rows == ()


def test_prompts_that_were_cut_are_named(llama, tmp_path):
    long = " ".join(["w9"] * 400)
    task = load_task(task_of(tmp_path, {"question": long}, count=3))
    assert checked_requests(task, range(3), decoder(llama)).truncated_rows == (2,)
