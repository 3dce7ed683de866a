"""Tasks asked in other ways: few-shot draws and orders, wordings, orders of options."""

import json
from collections import Counter

import pytest
import yaml

from interp.errors import UserError
from interp.labels import task_label
from interp.tasks import asked_as, load_task, prompt_text, way_names
from tests.helpers.task_files import write_task

SHOWN = "{{question}} w4 {{choices[0]}} w5 {{choices[1]}} w6 {{choices[2]}} w7 {{choices[3]}}"


def changed(path, **entries):
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | entries))
    return path


def prompts(task):
    return [prompt_text(task, row) for row in task.documents()]


def examples(task):
    """The few-shot examples of each row's prompt, in their order."""
    return [prompt.split(" w60 ")[:-1] for prompt in prompts(task)]


@pytest.fixture
def shots(tmp_path):
    return load_task(write_task(tmp_path, kind="generate", num_fewshot=2))


def test_another_draw_takes_other_examples_and_asks_the_same_questions(shots):
    first, again = (asked_as(shots, "fewshot-seed-1") for _ in range(2))
    assert prompts(first) == prompts(again)
    assert prompts(first) != prompts(asked_as(shots, "fewshot-seed-2")) != prompts(shots)
    assert len({tuple(one) for one in examples(shots)}) == 1  # the published ones: the first two
    assert len({tuple(one) for one in examples(first)}) > 3
    asked = [prompt.split(" w60 ")[-1] for prompt in prompts(shots)]
    assert [prompt.split(" w60 ")[-1] for prompt in prompts(first)] == asked
    assert first.name == f"fewshot-seed-1-{shots.name}"
    assert first.described_variant()["fewshot_seed"] == 1235


def test_another_order_has_the_same_examples(tmp_path):
    task = load_task(write_task(tmp_path, kind="generate", num_fewshot=3))
    ways = [asked_as(task, way) for way in way_names("fewshot-order", 6)]
    orders = {tuple(examples(one)[0]) for one in ways}
    assert len(orders) == 6
    assert {frozenset(order) for order in orders} == {frozenset(examples(task)[0])}
    with pytest.raises(UserError, match="have 6 orders; fewshot-order-6"):
        asked_as(task, "fewshot-order-6")


def test_another_wording_is_that_of_the_yaml_in_the_examples_too(tmp_path):
    path = changed(
        write_task(tmp_path, kind="generate", num_fewshot=1),
        metadata={"version": 1.0, "wordings": ["w8 {{question}}"]},
    )
    task = load_task(path)
    other = asked_as(task, "wording-1")
    assert [p.count("w8 ") for p in prompts(other)] == [p.count("w8 ") + 2 for p in prompts(task)]
    assert prompts(load_task(path)) == prompts(task)  # the plain one is as it was
    assert other.configuration != task.configuration
    with pytest.raises(UserError, match="lists 1 other wordings"):
        asked_as(task, "wording-2")


@pytest.mark.parametrize("form", ["texts", "letters", "labelled"])
def test_options_turn_and_the_right_one_with_them(tmp_path, form):
    path = write_task(tmp_path, kind="letters")
    if form == "letters":
        changed(path, doc_to_text=SHOWN, doc_to_choice=["A", "B", "C", "D"])
    elif form == "texts":
        changed(path, doc_to_text=SHOWN)
    else:
        lines = (tmp_path / "letters.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            texts = row.pop("choices")
            row["choices"] = {"text": texts, "label": list("ABCD")}
            row["key"] = "ABCD"[row.pop("gold")]
        (tmp_path / "letters.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        (tmp_path / "letters-dev.jsonl").write_text(json.dumps(rows[0]) + "\n")
        changed(
            path, doc_to_text=SHOWN.replace("choices[", "choices.text["),
            doc_to_choice="{{choices.text}}", doc_to_target="{{choices.label.index(key)}}",
        )  # fmt: skip
    task = load_task(path)
    right = [_right(task, n) for n in range(12)]
    places = [Counter[int]() for _ in range(12)]
    for way in way_names("option-order", 4):
        other = asked_as(task, way)
        assert [_right(other, n) for n in range(12)] == right
        for place, row in zip(places, other.documents(), strict=True):
            place.update(other.gold_options(row))
    assert all(place == {0: 1, 1: 1, 2: 1, 3: 1} for place in places)
    with pytest.raises(UserError, match="row 0: 4 options have 4 orders"):
        asked_as(task, "option-order-4")


def _right(task, number):
    """The text in the prompt at the right option's place."""
    row = task.documents()[number]
    (gold,) = task.gold_options(row)
    return prompt_text(task, row).split()[-7::2][gold]


def test_what_a_task_does_not_have_is_refused(tmp_path, shots):
    hidden = load_task(write_task(tmp_path, kind="letters"))
    for task, way, message in (
        (hidden, "option-order-1", "row 0: the order of its options cannot be changed"),
        (hidden, "fewshot-seed-1", "0 few-shot examples; another draw"),
        (shots, "fewshot-order-2", "have 2 orders"),
        (shots, "wording-1", "lists no other wordings"),
        (shots, "option-order-1", "is for tasks that score options"),
        (asked_as(shots, "fewshot-seed-1"), "fewshot-seed-2", "a way of its own already"),
        (shots, "accent-1", "allowed are published, fewshot-seed-K"),
    ):
        with pytest.raises(UserError, match=message):
            asked_as(task, way)
    with pytest.raises(UserError, match="needs more rows than examples"):
        asked_as(load_task(write_task(tmp_path, kind="generate", num_fewshot=4)), "fewshot-seed-1")
    with pytest.raises(UserError, match="whole numbers from 2"):
        way_names("wording", 1)


def test_rows_that_hold_their_rotations_as_text_are_not_turned_half():
    with pytest.raises(UserError, match="cannot be changed"):
        asked_as(load_task("world2-facts:default"), "option-order-1")


def test_a_name_is_read_in_words():
    assert "other few-shot examples (2)" in task_label("fewshot-seed-2-world-facts:generate")
