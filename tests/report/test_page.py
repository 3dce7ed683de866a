"""The page as text: it asks for nothing, holds the run's own numbers, and shows text as text."""

import base64
import hashlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from interp import figures, report
from interp.cli import main
from interp.errors import UserError
from interp.report import Choice, maps, sections, tables
from interp.report.asked import asked_tasks
from interp.results import choose_metric, open_run
from tests.helpers.report_reading import Page
from tests.report.conftest import EXAMPLES, HOSTILE


@pytest.fixture(scope="session")
def text(run, tasks) -> str:
    return report.render([run], choice=Choice(tasks=tasks))


@pytest.fixture(scope="session")
def page(text) -> Page:
    return Page(text)


@pytest.mark.slow
def test_nothing_is_asked_of_the_network(text, page):
    for element in page.elements:
        assert element["tag"] not in {"link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            # the cells of a heat map are an image inside its SVG
            inside = ("#", "data:image/png;base64,") if element["tag"] == "image" else "#"
            assert (element.get(name) or "#").startswith(inside), (element["tag"], name)
        assert not re.search(r"url\((?!#)", element.get("style") or "")
    assert not re.search(r"url\((?!#|data:)|@import", "".join(s["text"] for s in page.all("style")))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    allowed = set(re.findall(r"'(sha256-[^']+)'", rules["script-src"]))
    assert rules["script-src"].split() == [f"'{one}'" for one in re.findall(r"sha256-[^']+", text)]
    scripts = [script["text"] for script in page.all("script")]
    digests = {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert allowed == {f"sha256-{digest}" for digest in digests}
    assert len(scripts) == 2


@pytest.mark.slow
def test_every_element_is_closed_and_every_name_is_there_once(page):
    assert not page.open
    names = [element["id"] for element in page.elements if element.get("id")]
    assert len(names) == len(set(names))
    for element in page.elements:
        for key in ("popovertarget", "aria-labelledby"):
            assert not element.get(key) or element[key] in names
        for key in ("href", "xlink:href"):
            assert not (element.get(key) or "").startswith("#") or element[key][1:] in names
    used = re.findall(r"url\(#([^)]+)\)", " ".join(str(e) for e in page.elements))
    assert used
    assert set(used) <= set(names)


@pytest.mark.slow
def test_what_rows_and_names_hold_is_shown_as_text(run, text, page, quick):
    assert not [e for e in page.elements if e["tag"] in {"img", "b", "i"}]
    assert "<script>window.hostile" not in text
    shown = [e["text"] for e in page.all("div", **{"class": "text"})]
    assert any(one.startswith(HOSTILE) for one in shown)
    assert any("<b>bold</b>" in one for one in shown)
    assert "tiny-<script>hostile=1</script>" in page.all("section")[0]["text"]
    titled = Page(report.render([run], title=HOSTILE, question=HOSTILE, choice=Choice(examples=0)))
    assert titled.all("h1")[0]["text"] == titled.all("title")[0]["text"] == HOSTILE
    assert len(titled.all("script")) == 2


@pytest.mark.slow
def test_the_tables_hold_the_numbers_of_the_run(run, page):
    importance = choose_metric(run.importance())
    importance = importance.sort_values(
        "task", key=lambda t: t.map({"tiny-texts": 0, "tiny-generate": 1}), kind="stable"
    )
    _, drops, every = page.tables()
    assert len(drops) == len(importance) == 6
    for cells, row in zip(drops, importance.to_dict("records"), strict=True):
        assert cells[0]["text"] == row["ablation"]
        found = [float(cells[i]["data-order"]) for i in (2, 3, 4, 5, 6, 8)]
        names = ("drop", "p_adjusted", "n", "baseline", "ablated", "p")
        assert found == [row[name] for name in names]
        written = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", cells[2]["text"].replace("\u2212", "-"))
        assert [float(number) for number in written.groups()] == pytest.approx(
            [row["drop"], row["low"], row["high"]], abs=0.0501
        )
        assert [cells[9]["text"], cells[10]["text"]] == [row["interval"], row["test"]]
    assert len(every) == len(run.importance())
    notes = " ".join(e["text"] for e in page.all("p", **{"class": "note"}))
    for said in (f"n = {EXAMPLES} examples", "Tango score", "mid-p McNemar", "Holm-corrected"):
        assert said in notes
    scores = choose_metric(run.scores())
    wholes = scores[scores["ablation"] == "baseline"].set_index("task")["value"]
    shown = [float(cells[1]["data-order"]) for cells in page.tables()[0]]
    assert shown == [wholes["tiny-texts"], wholes["tiny-generate"]]


@pytest.mark.slow
def test_the_maps_open_the_examples_of_their_cell(run, page):
    dialogs = {dialog["id"]: dialog for dialog in page.all("dialog")}
    importance = choose_metric(run.importance()).set_index(["task", "ablation"])
    buttons = [b for b in page.all("button") if b.get("aria-label")]
    assert len(buttons) == 2 * 3
    for button in buttons:
        ablation, task = re.match(r"(layer:\d), (.*?): drop", button["aria-label"]).groups()
        name = "tiny-texts" if "texts" in task else "tiny-generate"
        drop = importance.loc[(name, ablation), "drop"]
        assert float(button["text"].rstrip("*").replace("\u2212", "-")) == round(drop)
        assert dialogs[button["popovertarget"]]["text"].split(",")[0].strip() == ablation


@pytest.mark.slow
def test_the_provenance_is_that_of_the_manifest(run, page):
    (section,) = page.all("section")
    for name in ("weights_sha256", "config_sha256", "tokenizer_sha256", "dtype"):
        assert getattr(run.manifest, name) in section["text"]
    assert run.manifest.origin.created in section["text"]
    assert "seed 3" in section["text"]
    assert run.manifest.libraries["torch"] in section["text"]
    assert shlex.join(run.manifest.origin.command) in section["text"]
    for task in run.manifest.tasks:
        assert task.name in section["text"]
        assert page.all("td", title=task.rows_sha256)


@pytest.mark.slow
def test_the_same_run_gives_the_same_page(run, tasks, text):
    assert report.render([open_run(run.folder)], choice=Choice(tasks=tasks)) == text


@pytest.mark.slow
def test_several_runs_have_a_section_each(run, mixed, tasks, quick):
    page = Page(report.render([run, mixed], choice=Choice(tasks=tasks, examples=1)))
    assert [s["id"] for s in page.all("section")] == ["run-1", "run-2"]
    captions = [c["text"] for c in page.all("caption")]
    for said in (
        "Heads put to zero: Tiny texts",
        "Heads put to their mean: Tiny generate",
        "Heads put to zero with their groups: Tiny texts",
        "Key/value groups put to zero: Tiny texts",
        "Attentions skipped",
        "MLPs skipped",
        "Other ablations",
    ):
        assert any(c.startswith(said) for c in captions), said
    assert len(page.all("dialog", id="run-2-examples")) == 2 * len(mixed.manifest.ablations)
    names = [element["id"] for element in page.elements if element.get("id")]
    assert len(names) == len(set(names))
    assert "the first 32 prompts of each task's draw" in page.all("section")[1]["text"]


@pytest.mark.slow
def test_models_with_the_same_ablations_stand_side_by_side(run, other, mixed):
    runs = [sections.Run.of(one) for one in (run, other, mixed)]
    drawn = sections.together(runs, Choice())
    assert [one.caption.partition(" by ")[2][:7] for one in drawn] == ["skipped", "task an"]
    assert all(one.svg is not None for one in drawn)
    assert sections.together(runs[:1], Choice()) == []
    assert sections.together([runs[0], runs[2]], Choice()) == []  # no kind in common


@pytest.mark.slow
def test_prompts_are_shown_only_where_they_are_those_of_the_run(run, tasks, quick):
    # not found by its name: rows have their number, and the reason is said
    bare = Page(report.render([run]))
    said = " ".join(p["text"] for p in bare.all("p"))
    assert "tiny-texts: no task has that name; `interp report RUN --tasks PATH.yaml` shows" in said
    shown = [e["text"] for e in bare.all("div", **{"class": "text"})]
    assert not any(HOSTILE in one for one in shown)
    assert any(re.fullmatch(r"option \d of 4", one) for one in shown)
    # rows that changed since
    file = Path(tasks[0]).with_name("texts.jsonl")
    kept = file.read_text()
    try:
        rows = [json.loads(line) for line in kept.splitlines()]
        rows[0]["question"] += " w9"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        changed = Page(report.render([run], choice=Choice(tasks=tasks)))
    finally:
        file.write_text(kept)
    assert "rows are no longer those of the run" in " ".join(p["text"] for p in changed.all("p"))


@pytest.mark.slow
def test_few_examples_for_many_ablations(mixed, tasks, monkeypatch, quick):
    monkeypatch.setattr("interp.report.page.MOST_EXAMPLES", 20)
    page = Page(report.render([mixed], choice=Choice(tasks=tasks)))
    dialogs = page.all("dialog", id="-examples-")
    assert len(dialogs) == 10
    assert len(page.all("article")) == 20
    importance = choose_metric(mixed.importance())
    strongest = importance["drop"].abs().nlargest(10)
    notes = " ".join(p["text"] for p in page.all("p", **{"class": "note"}))
    assert (
        f"2 examples an ablation and task of the 10 largest changes among {len(importance)}"
        in notes
    )
    least = min(strongest)
    for dialog in dialogs:
        drop = float(re.search(r"Drop (\S+)", dialog["text"])[1].replace("\u2212", "-"))
        assert abs(drop) >= least - 0.051
    none = Page(report.render([mixed], choice=Choice(examples=0)))
    assert not none.all("dialog")
    assert not none.all("button")


@pytest.mark.slow
def test_the_command_needs_no_model_and_writes_one_file(run, tasks, tmp_path, monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("interp.models.loading.load_model", refuse)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", refuse)
    out = tmp_path / "new" / "page.html"
    command = ["report", str(run.folder), "--tasks", *tasks, "--out", str(out)]
    assert main([*command, "--title", "T <1>", "--question", "Q?"]) == 0
    assert str(out) in capsys.readouterr().out
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    written = Page(out.read_text())
    assert written.all("title")[0]["text"] == written.all("h1")[0]["text"] == "T <1>"
    assert out.stat().st_size < 2_000_000


@pytest.mark.slow
def test_what_cannot_be_reported_is_refused_in_one_line(run, tmp_path, capsys):
    folder, out = str(run.folder), str(tmp_path / "page.html")
    for arguments, said in (
        ([folder, "--out", str(tmp_path)], "a folder"),
        ([str(tmp_path / "none"), "--out", out], "no manifest.json"),
        ([folder, folder, "--out", out], "given twice"),
        ([folder, "--metric", "f1", "--out", out], "no metric f1"),
        ([folder, "--examples", "-1", "--out", out], "allowed are 0 and more"),
        ([folder, "--tasks", "none.yaml", "--out", out], "no such file"),
    ):
        assert main(["report", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="no run given"):
        report.render([])


@pytest.mark.slow
def test_figures_by_name_hold_heads_where_heads_were_ablated(run, mixed):
    assert list(figures.drawings(run)) == ["layers", "drops", "heatmap"]
    names = list(figures.drawings(mixed))
    assert {"attn-drops", "heads", "heads-mean", "heads-group"} < set(names)
    assert names[-2:] == ["kvgroups", "others"]
    assert set(names) <= set(figures.drawings([run, mixed]))


def test_a_name_in_a_manifest_runs_nothing(run, tmp_path, monkeypatch):
    """A received run may name any file, and any task of lm-evaluation-harness."""
    (tmp_path / "code_eval").mkdir()
    for file in ("evil.py", "code_eval/code_eval.py"):
        (tmp_path / file).write_text("open('ran', 'w').close()\n")
    (tmp_path / "evil.yaml").write_text("task: x\nprocess_docs: !function evil.f\n")
    monkeypatch.chdir(tmp_path)
    received = open_run(run.folder)
    for name in ("evil.yaml", "./evil.yaml", "humaneval"):
        entry = received.manifest.tasks[0].model_copy(update={"name": name, "variant": {}})
        received.manifest = received.manifest.model_copy(update={"tasks": (entry,)})
        (found,) = asked_tasks(received, allow_code=True).values()
        assert found.task is None
        assert f"--tasks {'humaneval' if name == 'humaneval' else 'PATH.yaml'}" in found.missing
    assert not (tmp_path / "ran").exists()


def test_what_failed_and_what_was_cut_is_on_the_page(run):
    importance = choose_metric(run.importance())
    rows = importance.index[importance["ablation"] == "layer:1"]
    failed = importance.assign(failures=0, cut_prompts=importance["n"])
    failed.loc[rows, "failures"] = 3
    failed.loc[rows, ["drop", "low", "high", "ablated", "p", "p_adjusted"]] = np.nan
    table = tables.drops(failed, {})
    assert ("Failed", True) in table.columns
    texts = [[cell.text for cell in row] for row in table.rows if row[0].text == "layer:1"]
    assert all(row[2] == "failed" and "3" in row for row in texts)
    above = tables.baselines(choose_metric(run.scores()), failed)
    assert "Prompts cut on their left to fit the context: 10 of 10" in above.caption
    cells = [cell for one in maps.maps(failed, {}) for _, row in one.rows for cell in row]
    assert sum(cell.text == "failed" for cell in cells) == len(rows)
