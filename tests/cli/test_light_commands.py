"""Commands that load no model import nothing that only a model needs."""

import subprocess
import sys

import pytest

from interp.sweeps import sweep
from tests.helpers.task_files import write_task

HEAVY = ("torch", "transformers", "transformer_lens", "lm_eval", "datasets", "accelerate")
CODE = (
    "import sys; from interp.cli import main\n"
    "code = main(sys.argv[1:])\n"
    "print(code, sorted(name for name in {names!r} if name in sys.modules), file=sys.stderr)"
)


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("light")
    tasks = [str(write_task(folder)), str(write_task(folder, kind="generate"))]
    return sweep(llama, tasks, ["layer:0", "layer:1"], out=folder / "runs" / "a", limit=4).folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "also"),
    [
        ("models", ("pandas", "matplotlib")),
        ("tasks", ("pandas", "matplotlib")),
        ("runs FOLDER", ("matplotlib", "scipy", "pandas", "pyarrow")),
        ("show RUN", ("matplotlib", "scipy.stats", "scipy.optimize")),
        ("export RUN --out OUT", ("matplotlib",)),
        ("export RUN --harness --out OUT", ("matplotlib",)),
        ("figures RUN --out OUT", ("scipy.stats", "scipy.optimize")),
        ("merge RUN", ("matplotlib", "scipy")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_without_a_model_imports_nothing_heavy(run, tmp_path, words, also):
    places = {"FOLDER": run.parent, "RUN": run, "OUT": tmp_path / "out"}
    given = [str(places.get(word, word)) for word in words.split()]
    command = [sys.executable, "-c", CODE.format(names=(*HEAVY, *also)), *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "0 []", done.stderr
