"""Presets, their estimate, and the contract that the experiments keep."""

import argparse
import inspect
from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments import __main__ as everything, hours, presets, runs, sections, summary
from experiments.presets import ORGANISMS, PRESETS, STUDY
from experiments.runs import Job
from experiments.sections import Section
from interp.errors import UserError
from tests.helpers.families import tiny_model


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    presets.add_options(parser)
    return parser.parse_args(words)


def test_every_experiment_keeps_the_contract():
    for module in everything.modules():
        assert module.QUESTION.endswith("?")
        assert list(inspect.signature(module.run).parameters) == ["preset", "out"]
        for preset in PRESETS.values():
            jobs = module.jobs(preset)
            assert jobs
            for job in jobs:
                assert job.role in preset.models
                assert preset.limit(job.task, job.family) >= 1
                # a family is known, or its number of ablations is given
                assert job.family in runs.FAMILIES or job.ablations is not None


def test_one_changed_line_is_the_study_of_another_model():
    mine = replace(STUDY, models={"base": "me/mine-7B"})
    for module in everything.modules():
        assert {job.role for job in module.jobs(mine)} <= {"base"}
    same = presets.chosen_preset(options("--preset", "study", "--model", "me/mine-7B"))
    assert same.models == mine.models
    two = presets.chosen_preset(options("--model", "base=a", "distilled=b", "--limit", "7"))
    assert two.models == {"base": "a", "distilled": "b"}
    assert set(two.limits.values()) == {7}


def test_what_a_preset_refuses():
    with pytest.raises(UserError, match="model role donor: allowed are base"):
        replace(ORGANISMS, models={"donor": "x"})
    with pytest.raises(UserError, match="role base is missing"):
        replace(ORGANISMS, models={"other": "x"})
    with pytest.raises(UserError, match="--limit 0"):
        presets.chosen_preset(options("--limit", "0"))
    with pytest.raises(UserError, match="no limit for task x"):
        ORGANISMS.limit("x")


def test_a_model_under_two_roles_is_asked_once():
    assert ORGANISMS.models["other"] == ORGANISMS.models["teacher"]
    assert ORGANISMS.roles("base", "other", "teacher") == ["base", "other"]
    assert ORGANISMS.limit("world2-kv:generate") == 100
    assert ORGANISMS.limit("world2-kv:generate", "scopes") == 40


def test_sizes_are_those_that_the_models_have():
    # numbers of parameters as on the models' cards, without the norms' 0.003%
    assert hours.KNOWN["meta-llama/Llama-3.1-8B"].parameters == pytest.approx(8030261248, rel=1e-4)
    assert hours.KNOWN["Qwen/Qwen3-8B"].parameters == pytest.approx(8190735360, rel=1e-4)
    found = hours.size_of("organism:base")
    assert (found.n_layers, found.n_heads, found.d_head) == (8, 8, 16)
    assert found.parameters == pytest.approx(1.7e6, rel=0.1)
    assert hours.size_of("nobody/nothing") is None


def test_operations_are_those_that_torch_counts():
    model = tiny_model("llama")
    config = model.config
    size = hours.llama_size(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        d_head=config.head_dim,
        d_model=config.hidden_size,
        d_mlp=config.intermediate_size,
        vocab=config.vocab_size,
    )
    tokens = 24
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.model(input_ids=torch.ones(1, tokens, dtype=torch.long), use_cache=False)
    # torch counts the whole square of the attention, of which a causal model needs half
    half = 2 * size.n_layers * size.n_heads * size.d_head * tokens**2
    assert counter.get_total_flops() == pytest.approx(size.operations(tokens) + half, rel=1e-3)


def test_what_an_ablation_runs_again():
    size = hours.KNOWN["meta-llama/Llama-3.1-8B"]
    brute_layers = sum((32 - layer - 1) / 32 for layer in range(32))
    brute_heads = sum((32 - layer) / 32 for layer in range(32) for _ in range(32))
    job = Job("base", "mmlu:default", "layers")
    assert hours.runs_again(job, size) == (32, pytest.approx(brute_layers))
    assert hours.runs_again(replace(job, family="heads"), size) == (1024, brute_heads)
    assert hours.runs_again(replace(job, family="removal", ablations=87), size) == (87, 87.0)
    windows = [(i, j) for i in range(32) for j in range(i, 32)]
    programs = sum((32 - i) / 32 * (1 + (i < j)) for i, j in windows) + brute_layers + 31 / 32
    count, passes = hours.runs_again(replace(job, family="programs"), size)
    assert count == len(windows) + len(windows) - 32 + 31
    assert passes == pytest.approx(programs, rel=0.03)
    pairs = sum((31 - i) / 32 for i, j in windows if i < j) + brute_layers
    count, passes = hours.runs_again(replace(job, family="pairs"), size)
    assert (count, passes) == (32 + 496, pytest.approx(pairs, rel=0.03))
    assert hours.runs_again(replace(job, family="scopes"), size) == (96, 48.0)


def test_the_estimate_needs_nothing_and_says_its_assumptions(monkeypatch):
    monkeypatch.setattr(presets, "loaded", lambda *a: pytest.fail("a model was loaded"))
    jobs = [job for module in everything.modules() for job in module.jobs(STUDY)]
    table = hours.estimate(STUDY, jobs)
    assert not table.duplicated(["model", "task", "family"]).any()
    assert table["hours"].notna().all()
    mmlu = table[(table["task"] == "mmlu:default") & (table["family"] == "layers")].iloc[0]
    # by hand: 1,140 examples x 99 tokens x 2 x 6.98 billion x (1 + 15.5 passes), 40% of the peak
    by_hand = 1140 * 99 * 2 * 6.98e9 * 16.5 / (0.4 * 989.4e12) / 3600
    assert mmlu["hours"] == pytest.approx(by_hand, rel=0.05)
    text = "\n".join(hours.lines(STUDY, jobs))
    assert "H100 (bfloat16, peak 989.4 TFLOP/s)" in text
    assert "40% of it for tokens that are read" in text
    unknown = replace(STUDY, models={"base": "nobody/nothing"})
    assert "not known here: nobody/nothing" in "\n".join(hours.lines(unknown, jobs[:1]))
    with pytest.raises(UserError, match="gpu X: allowed are H100"):
        hours.estimate(STUDY, jobs, gpu="X")


def test_the_commands_say_the_cost_before_anything_starts(monkeypatch, capsys, tmp_path):
    argv = ["experiments", "all", "--preset", "study", "--out", str(tmp_path), "--dry-run"]
    monkeypatch.setattr("sys.argv", argv)
    everything.main()
    assert "together about" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def section(**more):
    from interp.figures import style

    table = pd.DataFrame({"Model": ["base"], "Baseline (%)": ["93 [90, 96]"]})
    figure = style.new_figure(3.5, 1.0, table)
    return Section(
        name="x", question="Is it so?", findings=["Yes."], figures={"y": (figure, "A figure.")},
        shown=table, note="n = 3.", **more,
    )  # fmt: skip


def test_a_section_on_disk(tmp_path):
    written = sections.write(section(tables={"z": pd.DataFrame({"a": [1]})}), tmp_path)
    assert [path.name for path in written] == [
        "x.md", "x-y.pdf", "x-y.svg", "x-y.png", "x-y.csv", "x-z-table.csv",
    ]  # fmt: skip
    page = written[0].read_text()
    assert page.startswith("## Is it so?")
    assert "| base | 93 [90, 96] |" in page
    assert "![A figure.](x-y.png)" in page


def test_what_not_to_conclude_stands_on_the_page_of_each_new_experiment():
    page = sections.markdown(section(not_to_conclude=("Not this.", "Nor that.")))
    assert "### What not to conclude\n\nNot this.\n\nNor that.\n" in page
    assert "What not" not in sections.markdown(section())
    for name in ("programs", "scopes", "replacements", "text_loss", "downstream", "sets", "cause"):
        (module,) = everything.modules((name,))
        assert len(module.NOT_TO_CONCLUDE) == 2


def test_one_page_of_all(tmp_path):
    class Module:
        __name__ = "experiments.x"
        QUESTION = "Is it so?"

        @staticmethod
        def run(preset, out):
            return section()

    page = everything.everything(ORGANISMS, tmp_path, [Module])
    assert page.parent == tmp_path / "results"
    assert "## Is it so?" in page.read_text()
    assert "organism:base" in page.read_text()


def test_numbers_in_words():
    assert summary.interval(-0.4, -3.7, 3.7) == "0 [\N{MINUS SIGN}4, 4]"
    assert summary.interval(0.123, -0.05, 0.2, 2) == "0.12 [\N{MINUS SIGN}0.05, 0.20]"
