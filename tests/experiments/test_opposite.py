"""Two forced layouts are held to what was forced, by measures whose signs are known."""

import numpy as np
import pandas as pd
import pytest

from experiments.organisms.opposite import FIRST, LAST, SECOND, SKILLS, page, seen, verdict
from interp import comparison

N, LAYERS = 80, 12
RECALL, REASON = "world2-facts:generate", "world2-unwritten:generate"


def values(model: str, task: str, needed: range) -> pd.DataFrame:
    """Answers that are all right, and wrong in half of the examples without a needed layer."""
    rng = np.random.default_rng(len(model) + len(task) + needed.start)
    return pd.DataFrame(
        [
            {"model": model, "task": task, "metric": "exact_match", "doc_id": at}
            | {"ablation": f"layer:{layer}" if layer >= 0 else "baseline"}
            | {"value": float(layer not in needed or rng.random() < 0.5)}
            for layer in range(-1, LAYERS)
            for at in range(N)
        ]
    )


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    early, late = range(5), range(7, 12)
    joined = pd.concat(
        [
            values(FIRST, RECALL, early),
            values(FIRST, REASON, late),
            values(SECOND, RECALL, late),
            values(SECOND, REASON, early),
        ]
    )
    moved = comparison.shifts(joined, {FIRST: LAYERS, SECOND: LAYERS})
    scores = [
        {"model": model, "task": task, "ablation": ablation, "value": 50.0, "low": 40.0}
        | {"high": 60.0, "n": N}
        for model in (FIRST, SECOND)
        for task in (RECALL, REASON)
        for ablation in ("baseline", LAST)
    ]
    decided = [{"task": RECALL, "difference": np.nan, "low": np.nan, "high": np.nan, "n": 0}]
    return {
        "scores": pd.DataFrame(scores),
        "shifts": moved[moved["quantity"] == "centre"],
        "decisions": pd.DataFrame(decided),
    }


def test_planted_layouts_are_named_rightly(tables: dict[str, pd.DataFrame]) -> None:
    lines = [line for line in page(tables, limit=N).splitlines() if "centre of drops" in line]
    assert len(lines) == 2
    assert all("| right |" in line for line in lines)
    assert "not testable" in page(tables, limit=N)


def test_layouts_the_other_way_round_are_named_wrongly(tables: dict[str, pd.DataFrame]) -> None:
    names = {FIRST: SECOND, SECOND: FIRST}
    swapped = tables["shifts"].assign(
        a=tables["shifts"]["a"].map(names), b=tables["shifts"]["b"].map(names)
    )
    lines = page(tables | {"shifts": swapped}, limit=N).splitlines()
    assert sum("| wrong |" in line for line in lines) == 2


@pytest.mark.parametrize(("kept", "words"), [(0.9, True), (0.5, False), (0.1, False)])
def test_a_layout_is_seen_where_the_early_model_keeps_more(
    tables: dict[str, pd.DataFrame], kept: float, words: bool
) -> None:
    scores = tables["scores"].copy()
    for task, early in ((RECALL, FIRST), (REASON, SECOND)):
        of_early = (scores["task"] == task) & (scores["ablation"] == LAST)
        of_early &= scores["model"] == early
        for column, margin in (("value", 0.0), ("low", -5.0), ("high", 5.0)):
            scores.loc[of_early, column] = 50 * kept + margin
            others = (scores["ablation"] == LAST) & ~of_early & (scores["task"] == task)
            scores.loc[others, column] = 25.0 + margin
        assert seen(scores, task) == words
    lines = page(tables | {"scores": scores}, limit=N).splitlines()
    shown = "| yes |" if words else "| no |"
    assert sum(shown in line for line in lines if "centre of drops" in line) == 2


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.3, "right"), (-0.3, -0.1, "wrong"), (-0.1, 0.1, "not told apart")],
)
def test_an_interval_decides(low: float, high: float, words: str) -> None:
    assert verdict("recall", low, high) == words
    assert verdict("reasoning", -high, -low) == words


def test_every_skill_is_a_task_that_is_there() -> None:
    from interp import load_task

    assert {load_task(name).name for name in SKILLS} == set(SKILLS)
