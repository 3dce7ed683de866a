"""No interval and no test is printed untried, and none that fails its level goes unsaid."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import interp
from experiments.coverage.__main__ import FAMILIES, OUT
from experiments.coverage.printed import OF_RATIOS, PASSED_ON, SAID, TRIED

SHOWN = ("figures", "report", "cli", "engine", "models", "tasks", "integrations", "records",
         "ablations")  # fmt: skip
"""Packages that compute no statistics: they draw, print, run or store."""

COLUMN = re.compile(
    r"^(low|high|p|expected_excess|ceiling|reliability)$|^(low|high|p)_\w+$|_(low|high|p)$"
)

NAMED = {
    "spread of importance": "the spread of importance",
    "mean of continuous drops": "means of which a tenth",
    "mean of continuous drops, at 0.5%": "their test at a level of 0.5%",
    "profiles differ in shape": "two profiles differ in shape",
    "relative drop": "the relative drop",
    "steps that lose a score: too many": "steps that lose a score",
    "interaction of two parts": "the interaction of two parts",
    "Shapley value of a layer": "Shapley values",
    "score, kind of error": "a score of 2 of 100",
    "loss of texts, nats a token": "losses of 20 texts",
    "difference of losses of texts": "differences of losses",
    "lost examples that are shared": "lost examples that are shared",
    "Poisson bootstrap (lens, attribution, influence)": "the bootstrap of the lens",
    "linear CKA, by cluster": "CKA of 40 clusters",
    "agreement of two scores of heads, disattenuated": "correlation of scores of 64 heads",
    "factorial, points: readout: greedy - likelihood x candidates: type - options": (
        "interaction of readout and candidates of the type"
    ),
}
"""Rows below 93% or above 6% to the words by which `docs/method/statistics.md` names them."""

LEAST_SWEEPS, FEWEST_GIVEN = 1000, 100
SOURCE = Path(interp.__file__).parent


def _owners(tree: ast.AST, owner: str = "") -> Iterator[str]:
    """Functions and classes of a module that name a column of bounds or p-values."""
    for child in ast.iter_child_nodes(tree):
        name = owner
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            name = f"{owner}.{child.name}".lstrip(".")
        text = child.value if isinstance(child, ast.Constant) else None
        if isinstance(child, ast.keyword):
            text = child.arg
        if isinstance(text, str) and COLUMN.search(text):
            yield owner
        yield from _owners(child, name)


def _naming() -> set[str]:
    found = set()
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place.split("/")[0] not in SHOWN:
            owners = set(_owners(ast.parse(path.read_text())))
            found |= {f"{place}: {owner}".removesuffix(": ") for owner in owners}
    return found


def table() -> pd.DataFrame:
    return pd.read_csv(OUT)


def test_whatever_names_a_bound_or_a_p_value_is_tried_or_passes_on_what_is():
    known, named = set(TRIED) | set(PASSED_ON), _naming()
    assert not named - known, f"to be tried by experiments/coverage: {sorted(named - known)}"
    assert not known - named, f"no longer prints any: {sorted(known - named)}"
    assert not set(TRIED) & set(PASSED_ON)
    assert set(PASSED_ON.values()) <= set(TRIED)


def test_a_function_with_a_new_interval_would_be_noticed():
    tree = ast.parse('def made():\n    return {"low": 0, "high": 1}\n\nLOOK = "lower"\n')
    assert set(_owners(tree)) == {"made"}


def test_every_row_that_is_named_is_in_the_table_from_enough_sweeps():
    rows = table()
    assert set(rows["family"]) == set(FAMILIES)
    named = {row for rows_of in (*TRIED.values(), *OF_RATIOS.values()) for row in rows_of}
    assert named <= set(rows["what"])
    few = rows[(rows["sweeps"] < LEAST_SWEEPS) & ~rows["what"].str.startswith("patch search: an")]
    assert few.empty, few[["what", "setting", "sweeps"]].to_string()


def _beyond(rows: pd.DataFrame) -> dict[str, list[float]]:
    """The worst figure of each interval and test beyond 93% or 6%, in percent."""
    rows = rows[rows["given"] * rows["sweeps"] >= FEWEST_GIVEN]
    level = rows["what"].str.contains("at 0.5%").map({True: 0.006, False: 0.06})
    low = rows[(rows["measure"] == "coverage") & (rows["share"] < 0.93)]
    high = rows[(rows["measure"] == "size") & (rows["share"] > level)]
    found: dict[str, list[float]] = {}
    for kept, worst in ((low, "min"), (high, "max")):
        for what, share in kept.groupby("what")["share"].agg(worst).items():
            found.setdefault(str(what), []).append(100 * float(share))
    return found


def test_what_misses_its_level_is_named_on_the_page_of_statistics():
    page = (Path(__file__).parents[2] / "docs/method/statistics.md").read_text()
    points = page.split("These lie below 93% or above 6% there:")[1].split("Where few")[0]
    named = [" ".join(point.split()) for point in points.split("\n- ")[1:]]
    beyond = _beyond(table())
    assert set(beyond) == set(NAMED)
    for what, figures in beyond.items():
        texts = [text for text in named if NAMED[what] in text]
        assert len(texts) == 1, f"{what}: named {len(texts)} times"
        for figure in figures:
            said = rf"\b({figure:.1f}|{figure:.0f}%)"
            assert re.search(said, texts[0]), f"{what}: {figure:.2f}% is not said"
    assert len(named) <= len(NAMED)


def test_what_misses_its_level_is_said_with_the_figure():
    beyond = _beyond(table())
    assert set(beyond) == set(SAID)
    for what, figures in beyond.items():
        text = "".join((SOURCE / file).read_text() for file in SAID[what].split())
        for figure in figures:
            said = rf"\b({figure:.1f}|{figure:.0f}%)"
            assert re.search(said, text), f"{what}: {figure:.2f}% is not said in {SAID[what]}"
