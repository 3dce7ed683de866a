"""The hash of a user's code: what can change an answer changes it, and nothing else does."""

import functools
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from interp.records import code_sha256
from tests.helpers.forked import in_a_fork

HEAD = """
import functools, math, torch, other
SCALE = {scale}
def inner(x):
    return x * SCALE
def f(value, hook=None, *, by={default}):
    "{docstring}"
    # {comment}
    return inner(value) + other.g(value) + by
def closed(k):
    def h(value, hook): return value * k
    return h
class Hook:
    def __init__(self, k): self.k = k
    def __call__(self, value, hook): return value {operator} self.k
    def hook(self, value, hook): return value * self.k
"""
SAME = {"scale": 2, "default": 1, "docstring": "d", "comment": "c", "operator": "*", "plus": 1}
TAKEN = {
    "function": "f",
    "lambda": "lambda value, hook: f(value) + 1",
    "partial": "functools.partial(f, by=torch.ones(2))",
    "closure": "closed(torch.ones(3) * SCALE)",
    "object": "Hook(SCALE)",
    "method": "Hook(SCALE).hook",
}


def hashes(tmp_path, *, afresh: bool = False, **changes) -> dict[str, str]:
    """The hash of each form of hook, in a process of its own: a fork, or an interpreter afresh."""
    values = SAME | changes
    (tmp_path / "other.py").write_text(f"def g(value):\n    return value + {values['plus']}\n")
    source = HEAD.format(**values) + "".join(
        f"\nfound_{name} = {text}" for name, text in TAKEN.items()
    )
    (tmp_path / "hooks.py").write_text(source)
    code = """
        import json, sys
        sys.path.insert(0, sys.argv[1])
        import hooks
        from interp.records import code_sha256
        found = {n[6:]: code_sha256(v) for n, v in vars(hooks).items() if n.startswith("found_")}
        print(json.dumps(found))
    """
    code = textwrap.dedent(code)
    if not afresh:
        return json.loads(in_a_fork(code, str(tmp_path)))
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return json.loads(shown.stdout)


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> dict[str, str]:
    return hashes(tmp_path_factory.mktemp("hooks"), afresh=True)


@pytest.mark.slow
def test_neither_the_process_nor_the_place_nor_words_change_it(before, tmp_path):
    assert len(set(before.values())) == len(TAKEN)
    assert hashes(tmp_path, docstring="another", comment="longer\n    #") == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ({"scale": 3}, set()),  # a global that is used, or closed over
        ({"default": 5}, {"closure", "object", "method"}),
        ({"plus": 7}, {"closure", "object", "method"}),  # a function of another module
        ({"operator": "+"}, {"function", "lambda", "partial", "closure"}),
    ],
)
def test_code_and_values_change_it(before, tmp_path, change, alike):
    after = hashes(tmp_path, **change)
    assert {name for name in TAKEN if after[name] == before[name]} == alike


def test_values_count_by_what_they_are():
    def hook(value):
        return lambda x: x + value

    values = [1, 1.5, "1", None, torch.ones(2), torch.zeros(2), np.ones(2), [1], (1,), {1: 2},
              torch.nn.Linear(2, 2), functools.partial(int, 3), {1, 2}, {1, 3}, len, torch.relu,
              torch.tensor(1.0, dtype=torch.bfloat16)]  # fmt: skip
    found = [code_sha256(hook(value)) for value in values]
    assert len(set(found)) == len(values)
    assert found[:-1] == [code_sha256(hook(value)) for value in values[:-1]]


def test_a_text_at_the_start_of_a_function_counts():
    pairs = [(lambda: "a", lambda: "b"), (lambda: ["a" for _ in "z"], lambda: ["b" for _ in "z"])]
    for one, other in pairs:
        assert code_sha256(one) != code_sha256(other)


def test_a_value_that_holds_itself_ends():
    ring: list = []
    ring.append(ring)
    assert code_sha256(ring) == code_sha256(ring)

    def calls_itself(n):
        return n and calls_itself(n - 1)

    assert code_sha256(calls_itself)
