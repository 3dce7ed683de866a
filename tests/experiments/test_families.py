"""The table of architectures: its form, that it is up to date, and a thin sample made again."""

import re
from importlib.metadata import version

import pytest

from experiments.families import checks
from experiments.families.checks import USES, Found, check
from experiments.families.configurations import built_by_transformers, registered
from experiments.families.table import FAULTS, PAGE, page, read_rows

SAMPLE = ("MistralForCausalLM", "NanoChatForCausalLM")
"""One of the usual form; one that was wrong before it was in the table."""


@pytest.fixture(scope="module")
def rows():
    return read_rows()


def test_every_row_is_exact_or_refused_in_one_line(rows):
    assert {row.outcome for row in rows} <= {"exact", "refused", "not built"}
    assert not [row for row in rows if row.outcome in FAULTS]
    for row in rows:
        # where every part is refused there is nothing to add up
        assert (row.outcome == "exact") == (row.tried > 0) or row.use == "parts add up"
        assert row.outcome == "exact" or row.reason
        assert "\n" not in row.reason
        assert not re.search(r"(^|\s)/", row.reason), "no place on the machine that made the table"
        assert row.outcome != "exact" or row.difference <= 1e-4


def test_the_table_is_up_to_date_in_form(rows):
    """Each row is of an architecture that the installed libraries have, its uses in their order."""
    known = built_by_transformers()
    names = [row.architecture for row in rows]
    assert list(dict.fromkeys(names)) == [name for name in registered() if name in set(names)]
    for name in dict.fromkeys(names):
        assert name in known
        uses = [row.use for row in rows if row.architecture == name]
        assert uses == [use for use in USES if use in uses]
        assert uses[0] == "load"
    kept = PAGE.read_text(encoding="utf-8")
    if all(f"{name} {version(name)}" in kept for name in ("transformers", "transformer-lens")):
        assert kept == page(rows)


def test_reasons_name_the_role_of_the_folder(monkeypatch, tmp_path):
    refused = Found("A", "load", "refused", reason=f"model {tmp_path}/model: it has no layers")
    monkeypatch.setattr(checks, "_checked", lambda name, folder, further: [refused])
    assert [row.reason for row in check("A", tmp_path)] == ["model FOLDER/model: it has no layers"]


def same(name: str, rows, folder) -> None:
    kept = {row.use: row.outcome for row in rows if row.architecture == name}
    again = check(name, folder)
    assert {row.use: row.outcome for row in again} == kept, [row.reason for row in again]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_is_as_the_table_says(name, rows, tmp_path):
    same(name, rows, tmp_path)


@pytest.mark.slow
@pytest.mark.thinned(share=26)
@pytest.mark.parametrize("name", dict.fromkeys(row.architecture for row in read_rows()))
def test_the_whole_table_is_as_it_says(name, rows, tmp_path):
    same(name, rows, tmp_path)
