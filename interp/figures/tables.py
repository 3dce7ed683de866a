"""What the figures take: sweeps or their tables, cut down to the rows that are drawn."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from interp.ablations import SkipAttention, SkipLayer, SkipMLP, SwapLayer, parsed_or_none
from interp.errors import UserError
from interp.labels import (
    PROTOCOLS,
    SKILLS,
    benchmark_label,
    metric_label,
    plain_benchmark,
    protocol_label,
    split_task,
    uncapitalised,
)
from interp.stats import BASELINE

ALPHA = 0.05


"""Adjusted p-value below which a drop is marked as significant."""


KINDS = {
    "layer": "Skipped layer",
    "attn": "Layer with its attention skipped",
    "mlp": "Layer with its MLP skipped",
    "swap": "Swapped layer",
    "swap-attn": "Layer with its attention swapped",
    "swap-mlp": "Layer with its MLP swapped",
}


"""Ablations of one layer, and the name of their axis."""


CLASSES: dict[str, Any] = {
    "layer": SkipLayer,
    "attn": SkipAttention,
    "mlp": SkipMLP,
    "swap": SwapLayer,
    "swap-attn": SwapLayer,
    "swap-mlp": SwapLayer,
}


CORRECTIONS = {"holm": ("Holm", "Holm"), "bh": ("BH", "Benjamini-Hochberg")}


"""Short and whole names of the corrections; p-values without one have neither."""


@runtime_checkable
class Results(Protocol):
    """Anything that has the two tables of `interp.stats`, such as a sweep."""

    def scores(self) -> pd.DataFrame:
        """The table of `interp.stats.scores`."""
        ...

    def importance(self) -> pd.DataFrame:
        """The table of `interp.stats.importance`."""
        ...


Source = Results | pd.DataFrame | Sequence[Results | pd.DataFrame]


def table_of(source: Source, name: str) -> pd.DataFrame:
    """One table from a sweep, a table, or several of either.

    Args:
        source: Sweeps or tables.
        name: The sweep's method, ``"scores"`` or ``"importance"``.
    """
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, Results):
        table: pd.DataFrame = getattr(source, name)()
        return table
    if not source:
        raise UserError("no sweep to draw")
    joined = pd.concat([table_of(one, name) for one in source], ignore_index=True)
    doubled = joined.duplicated(["model", "task", "metric", "ablation"])
    if doubled.any():
        model = joined.loc[doubled, "model"].iloc[0]
        raise UserError(f"model {model}: two of the sweeps hold the same task and ablation")
    return joined


def by_layer(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Baseline rows, and rows that ablate one layer, with columns for what panels need.

    Adds ``layer`` (NA for the baseline), ``benchmark`` and ``protocol``.
    """
    if kind not in KINDS:
        raise UserError(f"kind {kind!r}: allowed are {', '.join(KINDS)}")
    layer = table["ablation"].map(lambda text: layer_of(text, kind)).astype("Int64")
    split = [split_task(task) for task in table["task"]]
    found = table.assign(
        layer=layer,
        benchmark=[benchmark for benchmark, _ in split],
        protocol=[protocol for _, protocol in split],
    )
    if layer.isna().all():
        raise UserError(f"no ablation {kind}:N to draw by layer")
    return found[layer.notna() | (table["ablation"] == BASELINE)]


def kinds_of(table: pd.DataFrame) -> list[str]:
    """The kinds of one-layer ablations that a table holds; refused if there are none."""
    texts = table["ablation"].unique()
    kinds = [kind for kind in KINDS if any(layer_of(text, kind) is not None for text in texts)]
    if not kinds:
        raise UserError(f"no ablation of one layer to draw; drawn are {':N, '.join(KINDS)}:N")
    return kinds


def layer_of(ablation: str, kind: str) -> int | None:
    """Layer of an ablation of one whole layer (``layer:7`` gives 7), or None."""
    parsed = parsed_or_none(ablation)
    if not isinstance(parsed, CLASSES[kind]) or not ablation.startswith(f"{kind}:"):
        return None
    return parsed.layer


def in_order(names: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Distinct names: those in ``first`` in its order, then the others as they come."""
    found = list(dict.fromkeys(names))
    known = [name for name in first if name in found]
    return [*known, *(name for name in found if name not in known)]


def tasks_in_order(tasks: Iterable[str]) -> list[str]:
    """Distinct tasks by skill, then by protocol; what is neither of the known ones comes last."""
    return sorted(dict.fromkeys(tasks), key=task_place)


def task_place(task: str) -> tuple[int, int]:
    """Sort key of `tasks_in_order`."""
    benchmark, protocol = split_task(task)
    benchmark = plain_benchmark(benchmark)
    skills, protocols = list(SKILLS), list(PROTOCOLS)
    return (
        skills.index(benchmark) if benchmark in skills else len(skills),
        protocols.index(protocol) if protocol in protocols else len(protocols),
    )


def describe_n(table: pd.DataFrame) -> str:
    """How many examples (or texts, where no task was read) the rows rest on."""
    low, high = int(table["n"].min()), int(table["n"].max())
    number = f"{low}" if low == high else f"{low} to {high}"
    if "source" in table and table["source"].str.startswith("texts").all():
        return f"n = {number} texts."
    return f"n = {number} examples per task."


def describe_intervals(table: pd.DataFrame, mark: str) -> str:
    """Which intervals are drawn, commonest first."""
    kinds = [kind for kind in table["interval"].value_counts().index if kind[0].isdigit()]
    if not kinds:
        return "No intervals: the samples show no spread."
    level, _, first = kinds[0].partition(" ")
    names = [first, *(kind.removeprefix(f"{level} ") for kind in kinds[1:])]
    return f"{mark}: {level} interval ({' or '.join(names)})."


def describe_metrics(table: pd.DataFrame) -> str:
    """Which metric is drawn, and under which protocol (or for what) where there are several."""
    metrics = {metric_label(str(m)): rows for m, rows in table.groupby("metric")}
    if len(metrics) == 1:
        return f"Metric: {uncapitalised(*metrics)}."
    under = {m: in_order(rows["protocol"], PROTOCOLS) for m, rows in metrics.items()}
    words = {m: " and ".join(map(protocol_label, names)).lower() for m, names in under.items()}
    if len(set(words.values())) < len(words):
        # two metrics of one protocol belong to different benchmarks
        shared = list(words.values())
        words = {
            m: text if shared.count(text) == 1 else f"{_benchmark_words(metrics[m])} ({text})"
            for m, text in words.items()
        }
    parts = [f"{uncapitalised(metric)} for {words[metric]}" for metric in metrics]
    return f"Metric: {'; '.join(parts)}."


def _benchmark_words(rows: pd.DataFrame) -> str:
    """The benchmarks of some rows, in the middle of a sentence."""
    names = in_order((split_task(task)[0] for task in rows["task"]), SKILLS)
    return " and ".join(uncapitalised(benchmark_label(name)) for name in names)


def describe_tests(table: pd.DataFrame) -> str:
    """Which tests and which correction give the adjusted p-values."""
    tests = " or ".join(table["test"].value_counts().index)
    names = [CORRECTIONS[name][1] for name in table["correction"].unique() if name in CORRECTIONS]
    how = f"{' or '.join(names)}-corrected over the ablations of a task" if names else ""
    return f"p: {tests} test, {how or 'not corrected'}."


def p_name(table: pd.DataFrame) -> str:
    """The p-value's name in a legend, with its correction."""
    names = [CORRECTIONS[name][0] for name in table["correction"].unique() if name in CORRECTIONS]
    return f"p ({' or '.join(names)})" if names else "p"
