"""`Sweep`: the tables of a run as a user reads them, its summary, its line and its HTML."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from interp import stats
from interp.cli import main
from interp.errors import UserError
from interp.results import choose_metric, open_run, result_line
from interp.results.columns import LEADING, place_of
from interp.results.row_fields import row_field
from interp.sweeps import sweep
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Two tasks; the rows of the first name a subject."""
    folder = tmp_path_factory.mktemp("tasks")
    path = write_task(folder)
    rows = [json.loads(line) for line in (folder / "texts.jsonl").read_text().splitlines()]
    named = [row | {"subject": "algebra" if n % 3 else "logic"} for n, row in enumerate(rows)]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named))
    return [str(path), str(write_task(folder, kind="generate"))]


@pytest.fixture(scope="module")
def run(llama, tasks, tmp_path_factory):
    asked = ["layer:0", "layer:1", "head:1.2@mean", "layers:0-1"]
    return sweep(llama, tasks, asked, out=tmp_path_factory.mktemp("runs") / "a")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("layer:7", ("layer", 7, None)),
        ("head:7.3@mean", ("head@mean", 7, 3)),
        ("head:7.3", ("head", 7, 3)),
        ("layers:2-5", ("layers", None, None)),
        ("swap-attn:4", ("swap-attn", 4, None)),
        ("layer:3+head:7.2", ("combination", None, None)),
        ("hook:probe", ("hook", None, None)),
    ],
)
def test_an_ablation_s_text_says_its_place(text, place):
    assert place_of(text) == place


@pytest.mark.slow
def test_what_a_summary_prints_are_rows_of_the_whole_tables(run):
    for metric in (None, {"tiny-texts": "acc_norm"}):
        drops, scores = run.of_chosen_metric(metric, correction="bh")
        importance = choose_metric(run.importance(correction="bh"), metric)
        rows = choose_metric(run.scores(), metric).query("ablation == 'baseline'")
        for found, whole in ((drops, importance[list(drops)]), (scores, rows)):
            pd.testing.assert_frame_equal(
                found.reset_index(drop=True), whole.reset_index(drop=True)
            )
    with pytest.raises(UserError, match="no metric ac; it has"):
        run.of_chosen_metric("ac")


@pytest.mark.slow
def test_importance_has_what_is_read_first_ahead_and_loses_nothing(run):
    table = run.importance()
    assert list(table)[: len(LEADING)] == LEADING
    plain = pd.concat(
        stats.importance(run.values(tasks=name), seed=0) for name in sorted(set(table["task"]))
    )
    added = {"kind", "layer", "head"}
    assert {*plain, *added} <= set(table) <= {*plain, *added, "cut_prompts", "cut_answers"}
    assert table["drop"].tolist() == plain["drop"].tolist()
    means = table[table["ablation"] == "head:1.2@mean"]
    assert set(means["kind"]) == {"head@mean"}
    assert set(means["layer"]) == {1}
    assert set(means["head"]) == {2}
    assert table[table["ablation"] == "layers:0-1"]["layer"].isna().all()
    assert set(run.importance(metric="acc")["task"]) == {"tiny-texts"}
    assert set(run.importance(metric="acc")["metric"]) == {"acc"}
    with pytest.raises(UserError, match="no metric ac; it has"):
        run.importance(metric="ac")


@pytest.mark.slow
def test_the_short_form_fits_a_terminal(run):
    table = run.table()
    assert list(table)[:2] == ["task", "ablation"]
    assert set(table) <= set(LEADING)
    assert not table.duplicated(["task", "ablation"]).any()
    assert max(map(len, table.to_string(index=False).splitlines())) <= 110
    whole = choose_metric(run.importance()).reset_index(drop=True)
    pd.testing.assert_series_equal(table["drop"], whole["drop"], rtol=1e-3)


@pytest.fixture(scope="module")
def only(llama, tasks, tmp_path_factory):
    return sweep(llama, tasks[0], ["layer:0", "layer:1"], out=tmp_path_factory.mktemp("one") / "a")


def test_design_effects_of_the_fields_that_rows_share(only, tasks):
    table = only.design_effects(given=[tasks[0]])
    assert set(table["field"]) == {"subject", "gold"}
    assert (table["least_p"] == 0.001).all()
    known = table[table["design_effect"].notna()]
    assert len(known)
    assert known["p"].between(0.001, 1).all()
    named = only.design_effects(["subject"], given=[tasks[0]])
    assert named["n_values"].tolist() == len(named) * [2]
    with pytest.raises(UserError, match="allowed are 2 and more"):
        only.design_effects(["question"], given=[tasks[0]])


@pytest.mark.slow
def test_importance_by_a_field_of_the_rows(only, tasks):
    with pytest.raises(UserError, match=r"no such field; it has .*did you mean subject"):
        only.importance(by="subjet", given=tasks)
    texts = only.values(tasks="tiny-texts")
    rows = lines(tasks[0].replace("tiny-texts.yaml", "texts.jsonl"))
    table = only.importance(by="subject", given=tasks[:1])
    assert list(table)[:3] == ["task", "subject", "ablation"]
    for subject in ("algebra", "logic"):
        chosen = [n for n, row in enumerate(rows) if row["subject"] == subject]
        expected = stats.importance(texts[texts["doc_id"].isin(chosen)], correction="none")
        found = table[table["subject"] == subject]
        assert set(found["n"]) == {len(chosen)}
        for name in ("drop", "low", "high", "p"):
            assert found[name].tolist() == expected[name].tolist()
    # the family is every value and ablation of a metric
    acc = table[table["metric"] == "acc"]
    assert acc["p_adjusted"].tolist() == stats.adjust(acc["p"].to_numpy(float)).tolist()
    assert max(map(len, repr(only.table()).splitlines())) <= 80
    assert "..." not in repr(only.table())
    narrow = only.importance(by="subject", given=tasks[:1], short=True)
    assert list(narrow)[:3] == ["task", "subject", "ablation"]


def lines(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_rows_that_changed_are_not_taken_for_the_run_s(only, tasks, tmp_path):
    config = yaml.safe_load(Path(tasks[0]).read_text())
    files = config["dataset_kwargs"]["data_files"]
    rows = lines(files["test"])
    changed = tmp_path / "texts.jsonl"
    changed.write_text("".join(json.dumps(r | {"subject": "other"}) + "\n" for r in rows))
    config["dataset_kwargs"]["data_files"] = files | {"test": str(changed)}
    (tmp_path / "tiny-texts.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="no longer those of the run"):
        only.importance(by="subject", given=[tmp_path / "tiny-texts.yaml"])


def test_a_name_in_a_run_leads_to_no_file(only):
    entry = only.manifest.tasks[0].model_copy(update={"name": "here.yaml"})
    with pytest.raises(UserError, match="it is found by its path"):
        row_field(entry, "subject")


@pytest.mark.slow
def test_the_summary_is_what_show_prints(run, capsys):
    assert main(["show", str(run.folder), "--top", "2", "--margin", "50"]) == 0
    assert capsys.readouterr().out == run.summary(top=2, margin=50.0) + "\n"


@pytest.mark.slow
def test_a_run_in_a_repl_and_in_a_notebook(run):
    assert repr(run).startswith("Sweep(tiny-llama: 2 tasks, 24 examples, 4 ablations; ")
    page = run._repr_html_()
    assert page.count("<table") == 2
    for text in ("tiny-texts, acc in points", "layer:0", "p_adjusted"):
        assert text in page
    line = result_line(run)
    with pytest.raises(UserError, match="top 0: allowed are"):
        result_line(run, top=0)
    largest = choose_metric(run.importance()).query("task == 'tiny-texts'")["drop"].max()
    assert line.startswith("largest drops: ")
    assert f" {largest:.3g} [" in line
    # chosen for their size: the bounds are those of all ablations together
    row = choose_metric(run.importance()).query("task == 'tiny-texts'").nlargest(1, "drop").iloc[0]
    assert f"{largest:.3g} [{row['low_all']:.3g}, {row['high_all']:.3g}]" in line


def test_an_unfinished_run_still_has_a_line(llama, tasks, tmp_path):
    run = sweep(llama, tasks[:1], ["layer:0"], out=tmp_path / "run", limit=3)
    next((run.folder / "units").iterdir()).unlink()
    page = open_run(run.folder)._repr_html_()
    assert "1 of 1 units are missing or damaged" in page
