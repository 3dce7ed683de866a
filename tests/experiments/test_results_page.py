"""The results page says what its code makes of the tables beside it, and links what is there."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from experiments import (
    __main__ as everything,
    cause,
    downstream,
    factorial,
    heads,
    lens,
    programs,
    protocols,
    replacements,
    retrieval,
    scopes,
    sets,
    similarity,
    summary,
    tasks,
)
from experiments.distillation_findings import findings
from experiments.presets import ORGANISMS
from interp.results import choose_metric

FOLDER = Path(__file__).parents[2] / "experiments/results/organisms"
PAGE = (FOLDER / "results.md").read_text()
NAMES = re.findall(r"(?m)^`python -m experiments\.(\w+)`$", PAGE)


def section(name: str) -> str:
    """The part of the page that one experiment made."""
    parts = re.split(r"(?m)^(?=## )", PAGE)
    (found,) = (part for part in parts if f"`python -m experiments.{name}`\n" in part)
    return found


def sentences(name: str) -> list[str]:
    return [line.removeprefix("- ") for line in section(name).splitlines() if line[:2] == "- "]


def table(name: str) -> pd.DataFrame:
    """A table of the page; an empty cell in a column of words is empty words."""
    found = pd.read_csv(FOLDER / f"{name}-table.csv")
    words = found.columns.intersection(["layers", "way", "follows"])
    return found.fillna(dict.fromkeys(words, ""))


def of_distillation() -> list[str]:
    names = [path.name.removeprefix("distillation-").removesuffix("-table.csv")
             for path in FOLDER.glob("distillation-*-table.csv")]  # fmt: skip
    tables = {name: table(f"distillation-{name}") for name in names}
    return findings(tables, ORGANISMS.task_names("reasoning"))


def of_programs() -> list[str]:
    drops = table("programs-drops")
    return [programs._sentence(str(task), rows, kind)
            for task, rows in drops.groupby("task", sort=False)
            for kind in programs.KINDS]  # fmt: skip


def of_each_task(found: pd.DataFrame, make: Callable[[str, pd.DataFrame], str]) -> list[str]:
    return [make(str(task), rows) for task, rows in found.groupby("task", sort=False)]


def of_sets() -> list[str]:
    greedy = table("sets-greedy")
    steps = [re.findall(r"\d+", ablation) for ablation in greedy["ablation"]]
    return [sets._greedy(steps, greedy), sets._pairs(table("sets-interactions"))]


def of_heads() -> list[str]:
    curve = pd.read_csv(FOLDER / "heads-removal.csv")
    return [
        *heads._removal_sentences(curve, table("heads-contrasts")),
        *heads._overlap_sentences(table("heads-overlap")),
    ]


def of_cause() -> list[str]:
    recovery, wins = table("cause-recovery"), table("cause-wins")
    recovery = recovery[recovery["direction"] == "denoising"]
    keys = ["model", "task"]
    return [
        *(cause._patches(str(m), str(t), g) for (m, t), g in recovery.groupby(keys, sort=False)),
        *(cause._windows(str(m), str(t), g)
          for (m, t), g in table("cause-knockout").groupby(keys, sort=False)),
        *(cause._sources(str(m), str(t), g, wins)
          for (m, t), g in table("cause-sources").groupby(keys, sort=False)),
    ]  # fmt: skip


def of_downstream() -> list[str]:
    model, distances = ORGANISMS.models["base"], table("downstream-distances")
    return [downstream._sentence(model, name, table(f"downstream-{name}"), distances)
            for name in downstream.TITLES]  # fmt: skip


SENTENCES: dict[str, Callable[[], list[str]]] = {
    "protocols": lambda: protocols._floor_sentences(table("protocols-importance")),
    "factorial": lambda: factorial.sentences(table("factorial-share-effects")),
    "tasks": lambda: tasks._sentences(table("tasks-differing")),
    "retrieval": lambda: retrieval._gain_sentences(table("retrieval-passage-gain")),
    "heads": of_heads,
    "lens": lambda: lens._sentences(table("lens-differences")),
    "similarity": lambda: similarity.pruning_sentences(
        table("similarity-pruned"), table("similarity-sets-apart")
    ),
    "distillation": of_distillation,
    "programs": of_programs,
    "scopes": lambda: of_each_task(table("scopes-parts"), scopes._sentence),
    "replacements": lambda: of_each_task(table("replacements-sums"), replacements._sentence),
    "downstream": of_downstream,
    "sets": of_sets,
    "cause": of_cause,
}


@pytest.mark.parametrize("name", SENTENCES)
def test_the_sentences_are_those_of_the_tables(name: str) -> None:
    assert sentences(name) == SENTENCES[name]()


@pytest.mark.parametrize(
    ("name", "compared", "drops"),
    [("protocols", "protocols-agreement", "protocols-importance"),
     ("reasoning", "reasoning-alike", "reasoning-layer-drops"),
     ("text_loss", "text_loss-agreement", "protocols-importance")],
)  # fmt: skip
def test_profiles_are_not_testable_where_their_own_metric_is_not(name, compared, drops) -> None:
    shown = summary.agreement(table(compared), table(drops))
    for row in shown.astype(str).agg(" | ".join, axis=1):
        assert f"| {row} |" in section(name)
    hidden = shown[shown["Spearman"] == "not testable"]
    untested = choose_metric(table(drops)).query("not testable")
    named = {summary.series_words(m, t) for m, t in zip(untested["model"], untested["task"],
                                                        strict=True)}  # fmt: skip
    sides = zip(hidden["Profile"], hidden["Other profile"], strict=True)
    assert all(named & set(pair) for pair in sides)
    # of these models only option letters of look-up and of unwritten arithmetic are not testable
    assert all(name.endswith("option letters") for name in named)
    assert len(shown) > len(hidden)


def test_every_section_and_file_is_there() -> None:
    expected = [name for name in everything.NAMES if name != "headline"]
    assert expected == NAMES
    assert f"`python -m experiments {' '.join(NAMES)} --preset organisms --limit 100`" in PAGE
    linked = set(re.findall(r"\]\(([^)\s]+\.(?:png|csv))\)", PAGE))
    there = {path.name for path in FOLDER.iterdir() if path.suffix in (".png", ".csv")}
    assert linked <= there
    assert all(name.startswith("headline-") for name in there - linked)
