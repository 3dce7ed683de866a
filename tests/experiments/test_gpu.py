"""The benchmark that waits for a GPU: every line runs, and agrees with its peer, on a CPU."""

import json

import pytest

from experiments.benchmarks import gpu
from experiments.benchmarks.gpu_lines import LINES


@pytest.mark.slow
def test_every_line_runs_and_what_is_done_is_kept(tmp_path, monkeypatch):
    out = tmp_path / "gpu.json"
    found = gpu.run(["rates", "parity-float32"], out, self_test=True, seconds=600)["lines"]
    assert found["parity-float32"]["largest_difference_nats"] < 1e-4
    assert found["parity-float32"]["different_texts"] == 0
    kept = json.loads(out.read_text())["lines"]["rates"]
    found = gpu.run(list(LINES), out, self_test=True, seconds=600)["lines"]
    assert found.keys() == LINES.keys()
    assert found["rates"] == kept
    assert found["tracing"]["sums_to_one"] < 1e-2
    assert found["swaps"]["largest_change_nats"] > 0.01
    assert "| letters |" in out.with_suffix(".md").read_text()
    gpu.run(["rates"], tmp_path / "late.json", self_test=True, seconds=-1)
    assert not (tmp_path / "late.json").exists()
