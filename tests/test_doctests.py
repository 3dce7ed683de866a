"""The examples in the front door's docstrings run, and print what they say."""

import doctest

import pytest

import interp
from interp import comparison, lens, results, similarity


@pytest.mark.slow
@pytest.mark.parametrize("module", [interp, lens, similarity, comparison, results])
def test_examples_print_what_they_say(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(module, optionflags=flags, extraglobs={"interp": interp})
    assert found.failed == 0
    assert found.attempted or module is not interp
