"""Commands that load no model import nothing that only a model needs."""

import itertools
import json
import subprocess
import sys

import pytest

from interp.sweeps import sweep
from tests.helpers.task_files import write_task

HEAVY = ("torch", "transformers", "transformer_lens", "lm_eval", "datasets", "accelerate")
CODE = """
import json, sys
from interp.cli import main
found = []
for words in json.loads(sys.argv[1]):
    code = main(words)
    found.append([code, sorted(name for name in json.loads(sys.argv[2]) if name in sys.modules)])
print(json.dumps(found), file=sys.stderr)
"""
# in the order of what each may import, so that one process tries them all
COMMANDS = {
    "models": ("pandas", "pyarrow", "scipy", "matplotlib"),
    "tasks": ("pandas", "pyarrow", "scipy", "matplotlib"),
    "runs FOLDER": ("pandas", "pyarrow", "scipy", "matplotlib"),
    "merge RUN": ("scipy", "matplotlib"),
    "show RUN": ("scipy.stats", "scipy.optimize", "matplotlib"),
    "export RUN --out OUT": ("scipy.stats", "scipy.optimize", "matplotlib"),
    "export RUN --harness --out OUT": ("scipy.stats", "scipy.optimize", "matplotlib"),
    "figures RUN --out OUT": ("scipy.stats", "scipy.optimize"),
}


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("light")
    tasks = [str(write_task(folder)), str(write_task(folder, kind="generate"))]
    return sweep(llama, tasks, ["layer:0", "layer:1"], out=folder / "runs" / "a", limit=4).folder


@pytest.mark.slow
def test_a_command_without_a_model_imports_nothing_heavy(run, tmp_path):
    places = {"FOLDER": run.parent, "RUN": run, "OUT": tmp_path / "out"}
    given = [[str(places.get(word, word)) for word in words.split()] for words in COMMANDS]
    names = {*HEAVY, *itertools.chain(*COMMANDS.values())}
    command = [sys.executable, "-c", CODE, json.dumps(given), json.dumps(sorted(names))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stderr.splitlines()[-1])
    for (words, also), (code, imported) in zip(COMMANDS.items(), found, strict=True):
        assert code == 0, (words, done.stderr)
        assert not {*HEAVY, *also} & set(imported), words
