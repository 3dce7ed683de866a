"""Rows of the JSON key-value task."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from interp.errors import UserError
from interp.tasks import key_value_task, load_task, pair_spans
from interp.tasks.key_value import JSON, key_value_rows
from tests.helpers.shared import SHARED


@settings(deadline=None, max_examples=30)
@given(st.integers(4, 40), st.integers(1, 9), st.integers(0, 99), st.data())
def test_rows_are_json_with_the_gold_pair_where_it_was_asked(n_pairs, rows, seed, data):
    gold = data.draw(st.none() | st.integers(0, n_pairs - 1))
    made = key_value_rows(n_pairs, rows=rows, seed=seed, gold_position=gold)
    assert list(made) == list(key_value_rows(n_pairs, rows=rows, seed=seed, gold_position=gold))
    for row in made:
        read = json.loads(row["pairs_text"])
        assert list(read.items()) == [tuple(pair) for pair in row["pairs"]]
        assert len(read) == n_pairs
        assert list(read)[row["gold_position"]] == row["key"]
        assert row["answer"] == read[row["key"]] == row["options"][row["gold"]]
        assert gold is None or row["gold_position"] == gold
        assert len(set(row["options"])) == 4
        assert set(row["options"]) <= set(read.values())
        for (key, value), (a, b) in zip(row["pairs"], pair_spans(row, "kv"), strict=True):
            assert row["pairs_text"][slice(*a)] == key
            assert row["pairs_text"][slice(*b)] == value


def test_positions_are_spread_evenly_and_pairs_do_not_depend_on_them():
    positions = [row["gold_position"] for row in key_value_rows(10, rows=30)]
    assert sorted(positions) == [p for p in range(10) for _ in range(3)]
    assert sorted(r["gold_position"] for r in key_value_rows(100, rows=4)) == [0, 25, 50, 75]
    first, last = (key_value_rows(10, rows=5, gold_position=p) for p in (0, 9))
    for a, b in zip(first, last, strict=True):
        assert a["key"] == b["key"]
        assert dict(a["pairs"]) == dict(b["pairs"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_pairs": 3, "rows": 1}, "pairs 3: allowed are 4 and more"),
        ({"n_pairs": 9, "rows": 0}, "rows 0"),
        ({"n_pairs": 9, "rows": 1, "gold_position": 9}, "gold position 9: 9 pairs have 0-8"),
    ],
)
def test_sizes_out_of_range_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        key_value_rows(**arguments)


def test_an_answer_counts_with_or_without_its_quotes():
    task = key_value_task(4, rows=2)
    document = task.documents()[0]
    answer = document["answer"]
    for text, right in ((f' "{answer}"', 1), (answer, 1), (answer[:-1], 0), ("", 0)):
        assert task.score_texts(document, [text]) == {"exact_match": right}
    assert task.name == "kv-4:generate"
    assert "Corresponding value:" in task._harness.doc_to_text(document)


def test_the_shipped_rows_have_spans():
    for document in load_task("world-kv:generate").documents()[:20]:
        spans = pair_spans(document, "world-kv")
        _, (start, end) = spans[document["gold_position"]]
        assert document["pairs_text"][start:end] == document["answer"]


def test_pairs_in_another_form_are_refused():
    (row,) = key_value_rows(4, rows=1)
    with pytest.raises(UserError, match="not the row's pairs in any layout"):
        pair_spans(row | {"pairs_text": row["pairs_text"] + " "}, "kv")


@pytest.mark.skipif(
    not (SHARED / "data/kv_retrieval/75_keys.jsonl").is_file(), reason="no published rows here"
)
def test_published_rows_have_the_same_form():
    """Same number of pairs, shapes of keys and values, and layout that json reads back."""
    lines = Path(SHARED / "data/kv_retrieval/75_keys.jsonl").read_text().splitlines()[:20]
    ours = key_value_rows(75, rows=1)[0]
    for line in lines:
        row = json.loads(line)
        pairs = [tuple(pair) for pair in row["ordered_kv_records"]]
        assert len(pairs) == len(ours["pairs"])
        assert {len(word) for pair in pairs for word in pair} == {36}
        assert {pair[0][14] for pair in pairs} == {"4"} == {pair[0][14] for pair in ours["pairs"]}
        assert list(json.loads(JSON.write(pairs)[0]).items()) == pairs
