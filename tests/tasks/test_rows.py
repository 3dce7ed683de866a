"""Rows from local files: the same rows whatever the format, and errors that name the file."""

import csv
import gzip
import json
import os
import subprocess
import sys

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from interp.errors import UserError
from interp.tasks import load_task
from interp.tasks.fixed import _rows_of
from interp.tasks.rows import local_rows, read_rows
from tests.helpers.task_files import write_task

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x00", exclude_categories=["Cs"]),
    min_size=1,
    max_size=12,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "question": TEXTS.map(lambda text: f"q {text}"),
            "choices": st.lists(TEXTS, min_size=2, max_size=4),
            "answer": st.integers(0, 3),
        }
    ),
    min_size=1,
    max_size=4,
)


def write(path, rows):
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)  # lists as Python writes them


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_every_format_gives_the_same_rows(tmp_path, rows):
    for ending in ("jsonl", "json", "parquet", "csv", "jsonl.gz"):
        path = tmp_path / f"test.{ending}"
        path.unlink(missing_ok=True)
        write(path, rows)
        assert read_rows(path) == rows


def test_lists_as_numpy_writes_them_are_not_joined(tmp_path):
    """`['Paris' 'Rome']` read as Python is one string."""
    table = pd.DataFrame({"question": ["q", "r"], "answer": [0, 1]})
    table["choices"] = [np.array(["Paris", "it's Rome"]), np.array(["a", "b"])]
    table.to_csv(tmp_path / "test.csv", index=False)
    assert [r["choices"] for r in read_rows(tmp_path / "test.csv")] == [
        ["Paris", "it's Rome"],
        ["a", "b"],
    ]


def test_texts_that_look_like_lists_or_numbers_stay_texts(tmp_path):
    rows = [{"ctx": "[header] How to", "key": "1"}, {"ctx": "[step] Walk", "key": "A"}]
    write(tmp_path / "test.csv", rows)
    assert read_rows(tmp_path / "test.csv") == rows


ANATOMY = {"question": "q?", "choices": ["a", "b", "c", "d"], "answer": 1, "subject": "anatomy"}
VIROLOGY = ANATOMY | {"subject": "virology"}


@pytest.mark.parametrize(
    "place",
    [
        "mmlu/anatomy/test.jsonl",
        "MMLU/anatomy/test-00000-of-00001.parquet",
        "mmlu/anatomy_test.csv",
        "mmlu/test.jsonl",
        "mmlu/data/test.json",
        "anatomy/test.jsonl.gz",
    ],
)
def test_the_places_where_rows_are_found(tmp_path, place):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    both = place in ("mmlu/test.jsonl", "mmlu/data/test.json")
    write(path, [VIROLOGY, ANATOMY] if both else [ANATOMY])
    task = load_task("mmlu_anatomy", data=tmp_path)
    assert [d["question"] for d in task.documents()] == ["q?"]
    if both:
        assert local_rows(tmp_path, ["mmlu"], "botany", "test") is None


def test_parts_of_a_split_are_joined_in_their_order(tmp_path):
    (tmp_path / "x").mkdir()
    for part in (0, 1, 2):
        write(tmp_path / "x" / f"test-{part:05d}-of-00003.parquet", [{"n": part}])
    assert local_rows(tmp_path, ["x"], None, "test") == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_missing_rows_say_which_file_would_be_read(tmp_path):
    with pytest.raises(UserError, match=r"give mmlu/anatomy/test\.jsonl \(or \.csv, \.parquet"):
        load_task("mmlu_anatomy", data=tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        load_task("mmlu_anatomy", data=tmp_path / "nothing")
    with pytest.raises(UserError, match="no rows in"):
        load_task("mmlu", data=tmp_path)


def test_a_missing_hub_gives_the_advice(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"without the hub, give --data DIR with .*test\.jsonl"):
        load_task("arc_easy")


def test_few_shot_examples_are_never_taken_from_another_split(tmp_path):
    """The harness would quietly fall back on the next split that there is."""
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path / "gsm8k" / "test.jsonl", [{"question": "1 + 1?", "answer": "#### 2"}])
    with pytest.raises(UserError, match="5 few-shot examples come from split train, which has no"):
        load_task("gsm8k", data=tmp_path)
    assert load_task("gsm8k", data=tmp_path, num_fewshot=0).num_fewshot == 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.jsonl", b'{"question": "q"'),
        ("test.jsonl", b"[1]\n"),
        ("test.jsonl", b"\xff\xfe"),
        ("test.parquet", b"PAR1 not"),
        ("test.csv", b"a,b\n1\n"),
        ("test.json", b"[1, 2]"),
        ("test.jsonl.gz", b"not gzip"),
        ("test.jsonl.gz", gzip.compress(b'{"question": "q"}' * 99, mtime=0)[:20] + b"\xff" * 40),
        ("test.jsonl", b"[" * 100_000),
        ("test.json", b"[" * 100_000),
    ],
)
def test_broken_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"rows: .*{name}"):
        read_rows(tmp_path / name)


def test_a_group_says_which_of_its_tasks_have_no_rows(tmp_path):
    (tmp_path / "mmlu").mkdir()
    write(tmp_path / "mmlu" / "test.jsonl", [VIROLOGY, ANATOMY])
    with pytest.warns(UserWarning, match="55 of its 57 tasks have no rows"):
        task = load_task("mmlu:continuation", data=tmp_path)
    assert task.strata == ["mmlu_anatomy_continuation", "mmlu_virology_continuation"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "jsonl.gz"])
def test_a_byte_order_mark_is_not_part_of_the_first_field(tmp_path, ending):
    path = tmp_path / f"test.{ending}"
    write(path, [{"question": "q é", "answer": 1}])
    content = path.read_bytes()
    if ending.endswith("gz"):
        path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + gzip.decompress(content)))
    else:
        path.write_bytes(b"\xef\xbb\xbf" + content)
    assert read_rows(path) == [{"question": "q é", "answer": 1}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_ends_as_on_any_system(tmp_path, end):
    rows = [{"question": "a\u2028b\x85c", "answer": 1}, {"question": "d", "answer": 2}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "a.jsonl").write_bytes(end.join([*lines, ""]).encode())
    lines = ["question,answer", *(f"{row['question']},{row['answer']}" for row in rows)]
    (tmp_path / "a.csv").write_bytes(end.join([*lines, ""]).encode())
    assert read_rows(tmp_path / "a.jsonl") == read_rows(tmp_path / "a.csv") == rows


def test_line_ends_inside_a_cell_are_kept(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'question,answer\n"a\r\nb\rc",x\n')
    assert read_rows(tmp_path / "a.csv") == [{"question": "a\r\nb\rc", "answer": "x"}]


def test_long_cells_and_lines_are_read(tmp_path):
    """The csv module stops at 131,072 characters unless told."""
    row = {"question": "x" * 400_000, "answer": "y"}
    limit = csv.field_size_limit()
    for ending in ("csv", "jsonl"):
        write(tmp_path / f"a.{ending}", [row])
        assert read_rows(tmp_path / f"a.{ending}") == [row]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_refused_by_file(tmp_path, encoding):
    for ending in ("csv", "jsonl"):
        path = tmp_path / f"a.{ending}"
        path.write_bytes('{"question": "é"}\n'.encode(encoding))
        with pytest.raises(UserError, match=rf"{path.name} cannot be read \('utf-8' codec"):
            read_rows(path)


@pytest.mark.slow
def test_the_encoding_of_the_locale_makes_no_difference(tmp_path):
    """Rows and YAML with letters beyond ASCII, in a process whose locale is ASCII."""
    path = write_task(tmp_path)
    text = path.read_text(encoding="utf-8").replace("task: tiny-texts", "task: 'größe'")
    path.write_text(text, encoding="utf-8")
    code = (
        "import sys; from interp.tasks import load_task\n"
        f"sys.stdout.buffer.write(load_task({str(path)!r}).name.encode())"
    )
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert done.stdout.decode() == "größe"


def test_a_field_that_the_first_row_lacks_is_kept(tmp_path):
    write(tmp_path / "test.jsonl", [{"question": "a"}, {"question": "b", "hint": "c"}])
    rows = local_rows(tmp_path.parent, [tmp_path.name], None, "test")
    assert rows == [{"question": "a", "hint": None}, {"question": "b", "hint": "c"}]
    assert rows.places[1].startswith("row 2 of")


def test_rows_of_a_data_set_are_read_by_its_columns(monkeypatch):
    """Row by row takes ten times as long, before anything is run."""
    rows = [
        {"question": f"q{n}", "choices": ["a", None], "deep": {"x": [n]}, "gold": n, "none": None}
        for n in range(3)
    ]
    found = datasets.Dataset.from_list(rows)
    assert _rows_of(found) == [dict(row) for row in found] == rows
    monkeypatch.setattr(datasets.Dataset, "__iter__", None)
    assert _rows_of(found) == rows
    assert _rows_of(found.select([])) == []
    assert _rows_of(rows) == rows
