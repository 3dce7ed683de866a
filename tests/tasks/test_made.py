"""Key-value tasks by name, in the form of the published files."""

import json
import random
import uuid

import pytest

from interp.errors import UserError
from interp.tasks import load_task
from interp.tasks.key_value import key_value_rows
from tests.helpers.shared import SHARED

PUBLISHED = SHARED / "data" / "kv_retrieval" / "75_keys.jsonl"


def prompt(task, number: int) -> str:
    return task._harness.fewshot_context(task.documents()[number], num_fewshot=0)


@pytest.mark.parametrize("protocol", ["default", "continuation", "generate"])
def test_the_gold_pair_stands_where_the_name_says(protocol):
    for position in (0, 4, 9):
        task = load_task(f"kv-10-at-{position}:{protocol}")
        assert task.protocol == protocol
        row = task.documents()[7]
        assert row["pairs"][position] == [row["key"], row["answer"]]
        assert json.dumps(dict(row["pairs"])).replace('", "', '",\n "') in prompt(task, 7)
        if protocol != "generate":
            assert task._harness.doc_to_choice(row)[row["gold"]].strip('"') in (
                "ABCD"[row["gold"]],
                row["answer"],
            )


def test_positions_are_compared_on_the_same_questions():
    front, back = (load_task(f"kv-10-at-{p}:generate").documents() for p in (0, 9))
    assert [r["key"] for r in front] == [r["key"] for r in back]


@pytest.mark.slow
def test_rows_are_made_when_they_are_asked_for():
    """500 rows of many pairs are gigabytes; two of them are asked."""
    task = load_task("kv-1999:generate")
    rows = task.documents()
    assert len(rows) == 500
    assert task.strata == [""] * 500
    assert rows[3]["key"] in prompt(task, 3)
    # the type checker of the tests looks at a row of its own at each call
    assert len(rows._rows) < 100
    assert rows[1] == load_task("kv:1999").documents()[1]


def test_a_row_is_the_same_in_whatever_order_rows_are_made():
    forwards, backwards = key_value_rows(7, rows=9), key_value_rows(7, rows=9)
    later = [backwards[i] for i in reversed(range(9))]
    assert list(forwards) == later[::-1]
    rng = random.Random("0-7")
    rng.shuffle(list(range(9)))
    first = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(14)]
    assert {part for pair in forwards[0]["pairs"] for part in pair} == set(first)


@pytest.mark.parametrize("name", ["kv-10", "kv:10", "kv:10:generate", "kv-10:generate"])
def test_a_made_task_has_one_name(name):
    assert load_task(name).name == "kv-10:generate"


def test_what_there_is_not_is_refused():
    with pytest.raises(UserError, match="gold position 10: 10 pairs have 0-9"):
        load_task("kv-10-at-10:generate")
    with pytest.raises(UserError, match="its protocols are generate"):
        load_task("kv-10:nonsense")
    with pytest.raises(UserError, match="2 few-shot examples; it has no split but test"):
        load_task("kv-10:generate", num_fewshot=2)


@pytest.mark.skipif(
    not PUBLISHED.is_file(), reason=f"the published rows are not there ({PUBLISHED})"
)
def test_prompts_have_the_form_of_the_published_files():
    """The same pairs, written as Liu et al. write them (their prompt file, their `json.dumps`)."""
    published = [json.loads(line) for line in PUBLISHED.read_text().splitlines()]
    task = load_task("kv-75:generate")
    assert {len(r["ordered_kv_records"]) for r in published} == {
        len(r["pairs"]) for r in task.documents()
    }
    text = prompt(task, 0)
    row = task.documents()[0]
    start, end = text.index("{"), text.rindex("}") + 1
    assert json.loads(text[start:end]) == dict(row["pairs"])
    ours, theirs = row["pairs"][0], published[0]["ordered_kv_records"][0]
    assert [len(part) for part in ours] == [len(part) for part in theirs]
    assert [part.count("-") for part in ours] == [part.count("-") for part in theirs]
    assert {part[14] for pair in row["pairs"] for part in pair} == {"4"}
    assert {p[14] for r in published for pair in r["ordered_kv_records"] for p in pair} == {"4"}
