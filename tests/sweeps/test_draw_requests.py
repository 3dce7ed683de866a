"""Requests for draws: what is refused, estimates, the command line, exports and figures."""

import json

import pandas as pd
import pytest
import yaml

import interp
from interp.cli import main
from interp.errors import UserError
from interp.lens import logit_lens
from interp.report.asked import asked_tasks
from interp.sweeps import estimate
from interp.tasks import load_task, with_draws
from tests.helpers.families import tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.sampling_tasks import (
    sampling_task,
)
from tests.helpers.task_files import write_task

REFUSED = [
    ({"temperature": None}, "it samples at temperature None; allowed are numbers above 0"),
    ({"temperature": 0.0}, "it samples at temperature 0"),
    ({"temperature": -1.0}, "it samples at temperature -1"),
    ({"temperature": float("inf")}, "it samples at temperature inf"),
    ({"top_k": -1}, "top_k -1; allowed are whole numbers"),
    ({"top_k": 2.5}, "top_k 2.5; allowed are whole numbers"),
    ({"top_p": 0.0}, "top_p 0.0; allowed are numbers above 0 and up to 1"),
    ({"top_p": 1.5}, "top_p 1.5"),
    ({"min_p": 0.1}, "min_p 0.1; allowed are temperature, top_k and top_p"),
    ({"typical_p": 0.9}, "typical_p 0.9; allowed are"),
    ({"epsilon_cutoff": 0.01}, "epsilon_cutoff 0.01; allowed are"),
    ({"eta_cutoff": 0.01}, "eta_cutoff 0.01; allowed are"),
    ({"top_h": 0.4}, "top_h 0.4; allowed are"),
    ({"num_beams": 2}, "num_beams 2; allowed is plain generation"),
    ({"repetition_penalty": 1.2}, "repetition_penalty 1.2; allowed is plain generation"),
]


@pytest.mark.parametrize(("asked", "message"), REFUSED, ids=lambda x: str(x))
def test_what_cannot_be_drawn_is_refused_before_anything_is_written(
    tmp_path, llama, asked, message
):
    path = sampling_task(tmp_path, **asked)
    if asked.get("temperature", 0) is None:
        config = yaml.safe_load(path.read_text())
        del config["generation_kwargs"]["temperature"]
        path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="task tiny-generate") as error:
        interp.sweep(llama, [str(path)], ["layer:1"], out=tmp_path / "run")
    assert message in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_vote_of_more_answers_than_are_drawn_is_refused(tmp_path, llama):
    task = with_draws(load_task(sampling_task(tmp_path)), temperature=0.3, draws=2)
    with pytest.raises(UserError, match=r"cannot be asked and scored .Need at least 3 responses"):
        interp.sweep(llama, [task], ["layer:1"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_top_k_and_top_p_of_a_task_hold(tmp_path):
    model = tiny_bridge("llama")
    one = load_task(sampling_task(tmp_path, top_k=1, temperature=5.0, filters=None))
    run = interp.sweep(model, [one], ["layer:1"], out=tmp_path / "one")
    greedy = with_greedy(tmp_path)
    plain = interp.sweep(model, [greedy], ["layer:1"], out=tmp_path / "greedy").responses()
    for draws, text in zip(run.responses()["draws"], plain["text"], strict=True):
        assert set(draws) == {text}
    assert run.manifest.tasks[0].sampling.top_k == 1
    hot = load_task(sampling_task(tmp_path, temperature=5.0, filters=None))
    rows = interp.sweep(model, [hot], ["layer:1"], out=tmp_path / "hot").responses()
    assert all(len(set(draws)) > 1 for draws in rows["draws"])


def with_greedy(folder):
    return load_task(sampling_task(folder, do_sample=False, temperature=0.0, filters=None))


def test_bad_requests_for_draws_are_refused(tmp_path, llama):
    options = load_task(write_task(tmp_path, kind="letters"))
    generates = load_task(write_task(tmp_path, kind="generate"))
    with pytest.raises(UserError, match="tiny-letters: it scores options; draws are for generated"):
        with_draws(options, temperature=0.5)
    for temperature in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UserError, match="allowed are numbers above 0"):
            with_draws(generates, temperature=temperature)
    with pytest.raises(UserError, match="draws 0: allowed are 1 and more"):
        with_draws(generates, temperature=0.5, draws=0)
    with pytest.raises(UserError, match="it samples; a lens reads options"):
        logit_lens(llama, with_draws(generates, temperature=0.5))


@pytest.mark.slow
def test_an_estimate_says_what_is_drawn(tmp_path, llama):
    plain = load_task(write_task(tmp_path, kind="generate", rows=8))
    greedy = estimate(llama, [plain], ["layer:1", "layer:2"])
    drawn = estimate(llama, [with_draws(plain, temperature=0.6, draws=4)], ["layer:1", "layer:2"])
    assert drawn.draws[0].endswith("; 4 answers an example drawn at temperature 0.6")
    assert "drawn" not in greedy.draws[0]
    assert drawn.answer_tokens == 4 * greedy.answer_tokens
    assert (drawn.examples, drawn.tokens) == (8, 4 * greedy.tokens)


@pytest.fixture
def folder(tmp_path):
    tiny_model("llama").save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    return str(tmp_path / "tiny")


@pytest.mark.slow
def test_the_command_line(folder, tmp_path, capsys):
    path, out = str(write_task(tmp_path, kind="generate", rows=4)), tmp_path / "run"
    command = ["sweep", folder, "--tasks", path, "--ablate", "layers", "--out", str(out)]
    drawn = [*command, "--temperature", "0.6", "--draws", "3", "--seed", "4"]
    assert main([*drawn, "--dry-run"]) == 0
    assert "3 answers an example drawn at temperature 0.6" in capsys.readouterr().out
    assert not out.exists()
    assert main(drawn) == 0
    run = interp.open_run(out)
    assert run.manifest.tasks[0].name == "3-draws-at-0.6-tiny-generate"
    assert [len(draws) for draws in run.responses()["draws"]] == [3] * 16
    capsys.readouterr()
    assert main(["show", str(out)]) == 0
    assert "3 answers an example drawn at temperature 0.6" in capsys.readouterr().out
    # the rows are found again for the report, under the name without the draws
    assert asked_tasks(run, given=[path])["3-draws-at-0.6-tiny-generate"].task is not None


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("generate", ["--draws", "3"], "draws 3: greedy answers are all the same; give --temp"),
        ("letters", ["--temperature", "0.6"], "tiny-letters: it scores options; draws are for"),
        ("generate", ["--temperature", "0"], "temperature 0: allowed are numbers above 0"),
        ("generate", ["--temperature", "0.6", "--draws", "0"], "draws 0: allowed are 1 and more"),
    ],
)
def test_the_command_line_refuses_in_one_line(tmp_path, capsys, kind, options, message):
    path, out = str(write_task(tmp_path, kind=kind)), tmp_path / "run"
    command = ["sweep", "nowhere/at-all", "--tasks", path, "--ablate", "layers", "--out", str(out)]
    # before the model is looked for
    assert main([*command, *options]) != 0
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_exports_hold_the_draws(swept, tmp_path):
    from interp.results import export_harness, export_tables

    _, run = swept
    responses, *_ = export_tables(run, tmp_path / "csv")
    cells = pd.read_csv(responses)["draws"]
    assert [json.loads(cell) for cell in cells] == [list(d) for d in run.responses()["draws"]]
    baseline, *_ = export_harness(run, tmp_path / "json")
    (results,) = json.loads(baseline.read_text())["results"].values()
    assert {"exact_match,vote", "exact_match,first,mean-of-draws"} <= set(results)


@pytest.mark.slow
def test_figures_and_the_report_show_the_mean_over_draws(swept, tmp_path):
    from interp.labels import metric_label
    from interp.report import Choice, write_report
    from interp.results import choose_metric

    task, run = swept
    (metric,) = choose_metric(run.importance())["metric"].unique()
    assert metric == "exact_match,first,mean-of-draws"
    assert metric_label(metric) == "Exact match (first, mean of draws)"
    page = tmp_path / "page.html"
    write_report([run], page, choice=Choice(tasks=[task]))
    written = page.read_text()
    assert "the first of 5 draws" in written
    assert "5 answers an example drawn at temperature 0.3" in written


@pytest.mark.parametrize("sampling", [5, {}, {"draws": "many"}, {"draws": 3, "temperature": True}])
def test_a_manifest_that_describes_no_draws_is_refused(swept, tmp_path, sampling):
    _, run = swept
    made = run.manifest.as_dict()
    made["tasks"][0]["sampling"] = sampling
    (tmp_path / "manifest.json").write_text(json.dumps(made))
    with pytest.raises(UserError, match=r"tasks\.0\.sampling"):
        interp.open_run(tmp_path)
