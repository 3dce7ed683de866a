"""Runs of a tiny model on rows that hold what a page must not take for its own."""

import json

import pytest

from interp.results import Sweep
from interp.sweeps import sweep
from tests.helpers.families import tiny_bridge, tiny_model, tiny_tokenizer
from tests.helpers.task_files import write_task

HOSTILE = (
    '</script><script>window.hostile = 1</script> <img src=x onerror="hostile=1"> & "q" {{ 7*7 }}'
)
EXAMPLES = 10


@pytest.fixture(scope="session")
def tasks(tmp_path_factory) -> list[str]:
    """Two task YAMLs, of option texts and of generated answers; hostile questions and options."""
    folder = tmp_path_factory.mktemp("tasks")
    paths = [write_task(folder, rows=EXAMPLES), write_task(folder, kind="generate", rows=EXAMPLES)]
    for kind in ("texts", "generate"):
        file = folder / f"{kind}.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        for row in rows:
            row["question"] = f"{HOSTILE}\n{row['question']}"
            row["choices"] = [f"{choice} <b>bold</b>" for choice in row["choices"]]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [str(path) for path in paths]


@pytest.fixture(scope="session")
def run(tasks, tmp_path_factory) -> Sweep:
    """Every layer of a model with a hostile name."""
    from interp.models import wrap

    model = wrap(tiny_model("llama"), tiny_tokenizer(), name="tiny-<script>hostile=1</script>")
    out = tmp_path_factory.mktemp("runs") / "layers"
    return sweep(model, tasks, ["layer:0", "layer:1", "layer:2"], out=out, seed=3)


@pytest.fixture(scope="session")
def other(tasks, tmp_path_factory) -> Sweep:
    """The same layers of another model."""
    out = tmp_path_factory.mktemp("runs") / "other"
    return sweep(tiny_bridge("llama", seed=1), tasks, ["layer:0", "layer:1"], out=out)


@pytest.fixture
def quick(monkeypatch) -> None:
    """No figures: they take most of the time, and most tests are about something else."""
    monkeypatch.setattr("interp.report.sections._figures", lambda *arguments: ([], ""))


@pytest.fixture(scope="session")
def mixed(tasks, tmp_path_factory) -> Sweep:
    """Heads of every replacement, groups, blocks and a combination, of another model."""
    ablations = [f"head:{layer}.{head}" for layer in range(3) for head in range(4)]
    ablations += ["head:0.1@mean", "head:1.0@group", "kvgroup:2.1", "layers:0-1", "attn:1"]
    ablations += ["mlp:2", "layer:0+head:2.2"]
    out = tmp_path_factory.mktemp("runs") / "mixed"
    return sweep(tiny_bridge("llama", seed=1), tasks, ablations, out=out)
