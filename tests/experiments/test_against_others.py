"""The comparison with what others published, on small runs of made-up models."""

import os
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from transformers import LlamaForCausalLM

import interp
from experiments import against_others, runs
from experiments.against_others import CLAIMS, NOT_RUN, Claim, answer, gains, largest, page
from experiments.presets import Preset
from experiments.runs import Job
from interp.errors import UserError
from tests.helpers.families import tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("letters"), kind="letters", rows=6)


def drops(values: list[float]) -> pd.DataFrame:
    rows = [(n, 48.0, v, v - 3, v + 3, v - 4, v + 4) for n, v in enumerate(values)]
    return pd.DataFrame(
        rows, columns=["layer", "baseline", "drop", "low", "high", "low_all", "high_all"]
    )


@pytest.mark.slow
def test_a_claim_is_answered_by_the_run_that_asks_the_same(task, tmp_path):
    run = interp.sweep(tiny_bridge("llama"), task, "layers", out=tmp_path / "run")
    name = run.manifest.tasks[0].name
    same = Claim("a paper", "org/tiny-llama", name, "layer 1", against_others.drops_of(1), "none")
    found = answer(same, [run])
    drop = run.importance(metric="acc").set_index("ablation").loc["layer:1", "drop"]
    assert f"layer 1: {drop:+.1f} [" in found
    assert found.endswith("(acc, n = 6, float32)")
    other = Claim("a paper", "org/another", name, "layer 1", against_others.drops_of(1), "none")
    assert answer(other, [run]) == NOT_RUN


def test_gains_and_largest_drops_in_words():
    table = drops([30.0, 2.0, -11.0, -1.0])
    assert gains(2, 3)(table) == (
        "of layers 2-3, 2 of 2 raise the score when skipped; shown (simultaneous intervals): 2"
    )
    assert largest(1)(table).endswith("largest layer 0: +30.0 [+27.0, +33.0]")
    assert against_others.drops_of(2)(table).endswith("layer 2: -11.0 [-14.0, -8.0], rank 4 of 4")


def test_the_page_is_up_to_date_in_form():
    kept = against_others.PAGE.read_text(encoding="utf-8").splitlines()
    fresh = page([]).splitlines()
    own = [line.rpartition("|")[0].rpartition("|")[0] for line in kept]
    assert own == [line.rpartition("|")[0].rpartition("|")[0] for line in fresh]
    assert sum(line.endswith(f"{NOT_RUN} |") for line in fresh) == len(CLAIMS)


@pytest.mark.slow
def test_shares_of_the_experiments_are_one_run(task, tmp_path):
    """What `python -m experiments --shard` runs in two processes is what one runs."""
    folder = tmp_path / "model"
    model: LlamaForCausalLM = tiny_model("llama")
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    preset = Preset(
        name="small", models={"base": str(folder)}, tasks={}, limits={str(task): 6}, device="cpu"
    )
    jobs = [Job("base", str(task), family) for family in ("layers", "attentions", "lens")]
    for shard in ("1/2", "2/2"):
        assert runs.share(preset, tmp_path / "out", [*jobs, jobs[0]], shard) == 2
    with pytest.raises(UserError, match="shard"):
        runs.share(preset, tmp_path / "out", jobs, "3/2")
    for job in jobs[:2]:
        there = interp.open_run(runs.folder_of(preset, tmp_path / "out", job))
        assert not there.problems()
        alone = runs.finished(preset, tmp_path / "alone", job)
        key = ["ablation", "doc_id"]
        one, other = (run.responses().sort_values(key) for run in (there, alone))
        assert one["acc"].tolist() == other["acc"].tolist()


@pytest.mark.parametrize(
    ("index", "commands"),
    [
        ("3", ["-m experiments all --preset study --out disk --shard 3/16"]),
        (
            "0",
            [
                "-m experiments all --preset study --out disk",
                "-m experiments.against_others --out disk",
            ],
        ),
    ],
)
def test_the_batch_script_runs_shares_and_then_the_tables(index, commands):
    script = Path(runs.__file__).with_name("study.slurm")
    array = {"SLURM_ARRAY_TASK_ID": index, "SLURM_ARRAY_TASK_COUNT": "16"}
    said = subprocess.run(
        ["bash", str(script)],
        env=os.environ | array | {"PYTHON": "echo", "OUT": "disk"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.splitlines() == commands
