"""OpenBookQA as the hub has it, rendered: against prompts that were written by hand.

The rows are ours; their fields and values are of the kinds that the hub's configurations `main`
and `additional` hold (only the latter has `fact1`).
"""

import json

import pytest

import interp
from interp.errors import UserError
from interp.tasks import load_task, task_of_rows
from tests.helpers.families import tiny_bridge

MAIN = {
    "id": "1-1",
    "question_stem": "A lamp in a dark room",
    "choices": {
        "text": ["cools the walls", "makes sound", "lets the walls be seen", "grows"],
        "label": ["A", "B", "C", "D"],
    },
    "answerKey": "C",
}
EXTRA = {"humanScore": 1.0, "clarity": 1.6, "turkIdAnonymized": "0a1b2c3d4e"}
ADDITIONAL = MAIN | {
    "id": "2-7",
    "question_stem": "Which of these would a magnet pull?",
    "choices": {
        "text": ["a wooden spoon", "an iron nail", "a glass of milk", "wool"],
        "label": ["A", "B", "C", "D"],
    },
    "answerKey": "B",
    "fact1": "magnets attract iron",
    **EXTRA,
}
WORKED = MAIN | {
    "id": "3-3",
    "question_stem": "Ice left in the sun becomes",
    "choices": {"text": ["stone", "wood", "air", "water"], "label": ["A", "B", "C", "D"]},
    "answerKey": "D",
    "fact1": "ice melts when it is heated",
    **EXTRA,
}
LISTING = "A. a wooden spoon\nB. an iron nail\nC. a glass of milk\nD. wool\nAnswer:"
WORKED_LISTING = "A. stone\nB. wood\nC. air\nD. water\nAnswer:"
STEM, WORKED_STEM = "Which of these would a magnet pull?", "Ice left in the sun becomes"
FACT, WORKED_FACT = "Fact: magnets attract iron\n", "Fact: ice melts when it is heated\n"


@pytest.fixture
def folder(tmp_path):
    for place, asked, worked in (("main", MAIN, MAIN), ("additional", ADDITIONAL, WORKED)):
        (tmp_path / "openbookqa" / place).mkdir(parents=True)
        for split, row in (("test", asked), ("validation", asked), ("train", worked)):
            path = tmp_path / "openbookqa" / place / f"{split}.jsonl"
            path.write_text(json.dumps(row) + "\n")
    return tmp_path


def requests(task, num_fewshot):
    """Prompt and what is scored, or how it goes on, of the only row."""
    (row,) = task.documents()
    prompt = task._harness.fewshot_context(row, num_fewshot=num_fewshot)
    made = task._harness.construct_requests(row, prompt, metadata=(task.name, 0, 1))
    return [one.args for one in (made if isinstance(made, list) else [made])]


@pytest.mark.parametrize("num_fewshot", [0, 1])
@pytest.mark.parametrize(
    ("protocol", "with_fact"),
    # `openbookqa:continuation` is the harness' own
    [("default", False), ("default", True), ("continuation", True), ("generate", False),
     ("generate", True)],
)  # fmt: skip
def test_openbookqa_is_rendered_as_written_by_hand(folder, protocol, with_fact, num_fewshot):
    name = f"openbookqa{'-fact' if with_fact else ''}:{protocol}"
    task = load_task(name, data=folder, num_fewshot=num_fewshot)
    listed = protocol != "continuation"
    prompt = (FACT if with_fact else "") + STEM + (f"\n{LISTING}" if listed else "")
    if num_fewshot:
        worked = (WORKED_FACT if with_fact else "") + WORKED_STEM
        prompt = f"{worked}\n{WORKED_LISTING} D\n\n{prompt}" if listed else (
            f"{worked} water\n\n{prompt}"
        )  # fmt: skip
    made = requests(task, num_fewshot)
    if protocol == "generate":
        ((text, arguments),) = made
        assert text == prompt
        assert arguments["until"] == ["</s>", "\n"]
        assert task._harness.doc_to_target(task.documents()[0]) == "B"
        return
    options = list("ABCD") if protocol == "default" else ADDITIONAL["choices"]["text"]
    assert made == [(prompt, f" {option}") for option in options]
    assert task._harness.doc_to_target(task.documents()[0]) == 1


@pytest.mark.slow
def test_the_harness_own_form_reads_the_configuration_main(folder):
    task = load_task("openbookqa:continuation", data=folder)
    assert requests(task, 0) == [
        ("A lamp in a dark room", f" {option}") for option in MAIN["choices"]["text"]
    ]
    assert task._harness.doc_to_target(task.documents()[0]) == 2


def test_letters_are_ours_and_the_key_finds_its_option_whatever_the_labels(folder):
    odd = ADDITIONAL | {"answerKey": "4 "}
    odd["choices"] = {"text": ["w", "x", "y", "z"], "label": ["1", "2", "3", "4"]}
    (folder / "openbookqa" / "additional" / "test.jsonl").write_text(json.dumps(odd) + "\n")
    task = load_task("openbookqa-fact:default", data=folder)
    prompt = f"{FACT}{STEM}\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    assert requests(task, 0) == [(prompt, f" {letter}") for letter in "ABCD"]
    assert task._harness.doc_to_target(task.documents()[0]) == 3


def test_rows_without_the_fact_are_refused_in_one_line(folder):
    path = folder / "openbookqa" / "additional" / "test.jsonl"
    path.write_text(json.dumps(MAIN) + "\n")
    with pytest.raises(UserError, match=r"its local rows lack something .*fact1") as caught:
        load_task("openbookqa-fact:default", data=folder)
    assert "\n" not in str(caught.value)
    assert load_task("openbookqa:default", data=folder).documents()


def test_a_fact_in_which_the_answer_is_replaced_is_a_twin(folder):
    row = ADDITIONAL | {"question_stem": "w7 w8", "fact1": "w9 w21 w10 w20 w211"}
    row["choices"] = {"text": ["w20", "w21", "w22 w23", "w24"], "label": list("ABCD")}
    (folder / "openbookqa" / "additional" / "test.jsonl").write_text(json.dumps(row) + "\n")
    model = tiny_bridge("llama")
    for protocol, right in (("default", "B"), ("continuation", "w21")):
        task = load_task(f"openbookqa-fact:{protocol}", data=folder)
        denoising, noising = interp.twins(model, task, by="gold").documents()
        assert noising["prompt"].startswith("Fact: w9 w21 w10 w20 w211\nw7 w8")
        assert noising["options"][0] == right != noising["options"][1]
        # whole words only; an option that is not in the fact takes the answer's place there
        new = {"A": "w20", "D": "w24"}.get(denoising["options"][0], denoising["options"][0])
        other = "w21" if new == "w20" else "w20"
        assert denoising["prompt"].startswith(f"Fact: w9 {new} w10 {other} w211\n")
        ((start, end),) = noising["spans"]["gold"]
        assert noising["prompt"][start:end] == "w21"


def test_a_document_takes_the_answer_of_another_row():
    rows = [
        {"passage": f"w9 w{n} w10\n", "question": "w11", "first_answer": f" w{n}",
         "answers": [f"w{n}"]} for n in (30, 31, 32)
    ]  # fmt: skip
    config = {
        "output_type": "loglikelihood", "doc_to_text": "{{passage}}{{question}}",
        "doc_to_target": "first_answer", "target_delimiter": "",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    made = interp.twins(tiny_bridge("llama"), task_of_rows("tiny-nq:continuation", rows, config))
    assert len(made.documents()) == 6
    for changed, own in zip(made.documents()[::2], made.documents()[1::2], strict=True):
        assert own["prompt"] == changed["prompt"].replace(
            changed["options"][0].strip(), own["options"][0].strip()
        )
        assert changed["options"] == own["options"][::-1]
