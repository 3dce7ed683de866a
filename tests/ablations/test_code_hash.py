"""The hash of a user's hooks changes with what they do, and with nothing else."""

import subprocess
import sys
from functools import partial

import pytest
import torch

import interp
from interp.ablations.code_hash import code_sha256

FACTOR = 2.0


def scaled(value, hook):
    return value * FACTOR


def inner(value):
    return value + 1


def calling(value, hook):
    return inner(value)


def closing(number):
    return lambda value, hook: value * number


class Scaling:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, value, hook):
        return value * self.factor

    def apply(self, value, hook):
        return value + self.factor


def of(function):
    return interp.hooked("x", [("blocks.0.hook_out", function)]).code_sha256()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda v, hook: v * 2, lambda v, hook: v * 3),
        (lambda v, hook: v + 2, lambda v, hook: v * 2),
        (closing(2), closing(3)),
        (closing(torch.zeros(3)), closing(torch.tensor([0.0, 0, 1e-30]))),
        (closing({"a": [1, 2]}), closing({"a": [1, 3]})),
        (closing(inner), closing(scaled)),
        (partial(scaled, hook=1), partial(scaled, hook=2)),
        (Scaling(2), Scaling(3)),
        (Scaling(2).apply, Scaling(3).apply),
        (Scaling(2).apply, Scaling(2)),
        (torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)),
        (torch.relu, torch.tanh),
    ],
)
def test_other_code_or_another_closure_is_another_hash(one, other):
    assert of(one) == of(one)
    assert of(one) != of(other)


def test_a_hook_point_counts():
    one, other = (interp.hooked("x", [(f"blocks.{layer}.hook_out", scaled)]) for layer in (0, 1))
    assert one.code_sha256() != other.code_sha256()


def test_what_a_function_calls_and_the_numbers_it_reads_count(monkeypatch):
    before = of(scaled), of(calling)
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert of(scaled) != before[0]
    assert of(calling) == before[1]
    monkeypatch.setitem(globals(), "inner", lambda value: value + 2)
    assert of(calling) != before[1]


def test_values_that_are_equal_have_one_hash():
    assert of(closing(2)) == of(closing(2))
    assert of(closing({"b": 1, "a": {3, 4}})) == of(closing({"a": {4, 3}, "b": 1}))
    assert of(Scaling(2)) == of(Scaling(2))


def test_the_hash_is_the_same_in_another_process(tmp_path):
    code = """
import torch, numpy as np
from interp.ablations.code_hash import code_sha256
names = {"a", "b", "c", "d"}
state = {"w": torch.arange(4.0), "n": np.arange(3)}
class Of:
    def __init__(self): self.state = state
    def __call__(self, value, hook): return value if str(value) in names else self.state["w"]
print(code_sha256(Of()))
"""
    (tmp_path / "hook.py").write_text(code)
    runs = {
        subprocess.run(
            [sys.executable, "-W", "ignore", tmp_path / "hook.py"], capture_output=True, text=True,
            check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(runs) == 1
    assert len(runs.pop().strip()) == 64


def test_a_value_that_holds_itself_has_an_end():
    loop = []
    loop.append(loop)
    assert len(code_sha256(closing(loop))) == 64
