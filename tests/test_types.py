"""A user's own lines pass a strict type checker: the package says its types."""

import subprocess
import sys
from pathlib import Path

import pytest

LINES = """\
import interp
from interp.comparison import Comparison
from interp.lens import Lens
from interp.results import Sweep

model = interp.load_model("organism:base", dtype="float32")
task = interp.load_task("world-facts:default")
run: Sweep = interp.sweep(model, [task], interp.each_layer(model), out="runs/x", limit=5, seed=1)
drops = run.importance(metric="acc", by="subject", short=True)
print(drops.head(), run.summary(top=3, margin=1.0), run.table())
with interp.ablate(model, ["layer:3", interp.SkipLayer(4)]):
    print(interp.generate(model, "Question:"))
lens: Lens = interp.logit_lens(model, task, seed=2, follow="target", steps=None, out="lens")
heads = interp.retrieval_heads(model, "world-kv:generate", limit=5, out="heads")
print(heads.table(confidence=0.9), heads.top(3).text, lens.decision_depth())
similarity = interp.layer_similarity(model, task, limit=5, out="similarity")
found: Comparison = interp.compare(
    {"a": "organism:base", "b": model}, task, ablations="layers", out="runs/c", limit=5
)
print(found.differences(correction="bh"), similarity.table())
figure = interp.figures.layers(run)
interp.figures.save(figure, "layers")
"""


# strict of the user's lines; of the libraries below the package only the names are looked at
BELOW = ("torch", "transformers", "transformer_lens", "lm_eval", "datasets", "accelerate", "ray",
         "huggingface_hub", "tokenizers", "safetensors", "matplotlib", "scipy",
         "pyarrow", "numpy", "pydantic", "psutil", "peft")  # fmt: skip
SETTINGS = "[mypy]\n" + "".join(
    f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for name in BELOW
)


@pytest.mark.slow
def test_a_user_s_lines_pass_mypy_strict(tmp_path):
    (tmp_path / "mine.py").write_text(LINES)
    root = Path(__file__).parents[1]
    (tmp_path / "none.ini").write_text(SETTINGS)
    options = ["--strict", "--config-file", "none.ini", "--cache-dir", "cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "mine.py"],
        cwd=tmp_path,
        env={"MYPYPATH": str(root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    mine = [line for line in done.stdout.splitlines() if line.startswith("mine.py")]
    assert not [line for line in mine if ": error:" in line], "\n".join(mine)
