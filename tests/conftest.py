"""Fixtures: tiny random models of many families, and a tokenizer that needs no download."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")


import pytest
from hypothesis import settings

from tests.helpers import type_checks

# The slow half of the gate goes without: the quick half calls the same functions.
if os.environ.get("INTERP_TYPE_CHECKS") != "off":
    type_checks.install("interp")  # before anything of it is imported

# Models are imported where they are made: the process that hands tests out needs none.
from tests.helpers.thinning import left_out, try_every_combination

# the gate tries the same inputs on each run; `--hypothesis-profile=explore` draws new ones
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile("gate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """All combinations of the tests that are thinned."""
    parser.addoption(
        "--every-combination", action="store_true", help="run what `thinned` tests leave out, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Sizes of tests are chosen when their modules are imported."""
    try_every_combination(config.getoption("--every-combination"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Two cores are shared by whatever else runs: one thread a test is the fair choice."""
    import torch

    torch.set_num_threads(1)
    # files of few and long tests come first: last, they would leave a core without work
    long = ("tests/test_", "tests/experiments/", "tests/report/", "tests/figures/", "tests/models/")
    items.sort(key=lambda item: not item.nodeid.startswith(long))
    if not config.getoption("--every-combination"):
        gone = left_out(items)
        config.hook.pytest_deselected(items=[items[place] for place in sorted(gone)])
        items[:] = [item for place, item in enumerate(items) if place not in gone]


@pytest.fixture(scope="session", params=["llama", "qwen3", "gpt2", "gpt_neox"])
def family(request: pytest.FixtureRequest) -> str:
    """The families that every exactness test covers; tests/parity covers more."""
    from tests.helpers.families import FAMILIES

    assert request.param in FAMILIES
    return str(request.param)


@pytest.fixture(scope="session")
def model(family: str):
    """A tiny random model of the family, as a bridge with native blocks over the same weights."""
    from tests.helpers.families import tiny_bridge

    return tiny_bridge(family)


@pytest.fixture(scope="session")
def llama():
    """A tiny random Llama with 4 query heads over 2 KV heads."""
    from tests.helpers.families import tiny_bridge

    return tiny_bridge("llama")
