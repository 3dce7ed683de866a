"""Fixtures that several files of this folder use."""

from pathlib import Path

import pytest

import interp
from interp.sweeps import sweep
from tests.helpers.families import tiny_bridge
from tests.helpers.sampling_tasks import (
    ABLATIONS,
    sampling_task,
    with_answers,
)
from tests.helpers.task_files import write_task


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path))


@pytest.fixture
def run(llama, task, tmp_path):
    return sweep(llama, [task], ["layer:0", "head:1.2@mean"], out=tmp_path / "run", limit=8)


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("drawn"), tiny_bridge("llama")
    task = with_answers(sampling_task(folder), model)
    return task, interp.sweep(model, [task], ABLATIONS, out=folder / "run", seed=3)
