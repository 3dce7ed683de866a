"""The input of figures: results or their tables, reduced to the rows that are drawn."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from interp.errors import UserError, names_given
from interp.figures.drop_scales import is_share
from interp.figures.families import Kind, kinds
from interp.labels import (
    PROTOCOLS,
    SKILLS,
    benchmark_label,
    metric_label,
    plain_benchmark,
    protocol_label,
    split_task,
    task_label,
    uncapitalised,
)
from interp.stats import BASELINE, NOTICEABLE

ALPHA = 0.05


"""The adjusted p-value below which a drop is marked as significant."""


CORRECTIONS = {"holm": ("Holm", "Holm"), "bh": ("BH", "Benjamini-Hochberg")}


"""Short and full names of the corrections."""


@runtime_checkable
class Results(Protocol):
    """Anything with the two tables of `interp.stats`, such as a sweep."""

    def scores(self) -> pd.DataFrame:
        """The table of `interp.stats.scores`."""
        ...

    def importance(self) -> pd.DataFrame:
        """The table of `interp.stats.importance`."""
        ...


Source = Results | pd.DataFrame | Sequence[Results | pd.DataFrame]


def table_of(source: Source, name: str) -> pd.DataFrame:
    """One table of scores or drops from a sweep, a table, or several of either.

    Sweeps of one model on the same examples have the same baseline, which is drawn once.

    Args:
        source: sweeps or tables.
        name: the name of the sweep's method, `"scores"` or `"importance"`.

    Returns:
        The rows of all sources; a shared baseline occurs once.

    Raises:
        UserError: two sweeps hold the same ablation, or their baselines differ.
    """
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, Results):
        table: pd.DataFrame = getattr(source, name)()
        return table
    parts = [table_of(run, name) for run in _several(source)]
    if not parts:
        raise UserError("no sweep to draw")
    return _without_doubles(pd.concat(parts, ignore_index=True))


def table_from(source: Any, name: str) -> pd.DataFrame:
    """One table from a result of another kind (a lens, retrieval heads, similarity), or several.

    Args:
        source: a result, its table, or several of either.
        name: the name of the result's method or attribute that is the table.

    Returns:
        The rows of all sources.

    Raises:
        UserError: a result has no such table.
    """
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, list | tuple):
        parts = [table_from(run, name) for run in source]
        if not parts:
            raise UserError("no result to draw")
        return pd.concat(parts, ignore_index=True)
    method = getattr(source, name, None)
    table = method() if callable(method) else method
    if not isinstance(table, pd.DataFrame):
        raise UserError(f"{type(source).__name__}: it has no table `{name}`; give it or its table")
    return table


def _several(source: Any) -> Sequence[Any]:
    if isinstance(source, list | tuple):
        return source
    raise UserError(
        f"{type(source).__name__}: allowed are a sweep, a comparison, their tables, or a list"
    )


def _without_doubles(joined: pd.DataFrame) -> pd.DataFrame:
    """The rows of several sweeps; a shared baseline is kept once."""
    keys = ["model", "task", "metric", "ablation"]
    shared = joined[(joined["ablation"] == BASELINE) & joined.duplicated(keys, keep=False)]
    for key, rows in shared.groupby(keys[:3], sort=False):
        if len(set(rows["n"])) > 1 or rows["value"].max() - rows["value"].min() > 1e-9:
            values = " and ".join(f"{r.value:.4g} over {r.n}" for r in rows.itertuples())
            raise UserError(
                f"model {key[0]}, task {key[1]}: the sweeps' baselines differ ({values} examples); "
                "draw sweeps of the same examples, or one at a time"
            )
    joined = joined[(joined["ablation"] != BASELINE) | ~joined.duplicated(keys)]
    doubled = joined[joined.duplicated(keys)]
    if len(doubled):
        model, task, _, ablation = doubled[keys].iloc[0]
        raise UserError(f"model {model}, task {task}: two of the sweeps hold {ablation}")
    return joined.reset_index(drop=True)


def only_tasks(table: pd.DataFrame, tasks: str | Sequence[str] | None) -> pd.DataFrame:
    """The rows of some tasks, in the order of the tasks.

    Returns:
        The rows; the whole table if no tasks are named.

    Raises:
        UserError: the table lacks one of the tasks.
    """
    if tasks is None:
        return table
    wanted = names_given("tasks", tasks)
    tasks_of_table = list(dict.fromkeys(table["task"]))
    for task in wanted:
        if task not in tasks_of_table:
            raise UserError(f"task {task}: the table has {', '.join(tasks_of_table)}")
    places = {task: place for place, task in enumerate(wanted)}
    rows = table[table["task"].isin(wanted)]
    return rows.sort_values("task", key=lambda names: names.map(places), kind="stable")


def of_kind(table: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, Kind]:
    """The rows of the baseline and of one kind of ablation, with the columns that panels need.

    Added are `place` (NA for the baseline), `benchmark` and `protocol`; also `layer` if a place is
    a layer, and `row` if the kind is drawn as a map.

    Returns:
        The rows, and the kind.

    Raises:
        UserError: there is no ablation of that kind. The message names the kinds in the table.
    """
    present = kinds(table["ablation"])
    if kind not in present:
        raise UserError(f"no ablation {kind}:N to draw; kinds that are there: {_listed(present)}")
    chosen = present[kind]
    cells = [chosen.places.get(text) for text in table["ablation"]]
    place = pd.array([None if cell is None else cell[0] for cell in cells], dtype="Int64")
    table_of_kind = with_protocols(table).assign(place=place)
    if chosen.shape == "map":
        table_of_kind["row"] = pd.array([None if c is None else c[1] for c in cells], dtype="Int64")
    elif "Layer" in chosen.axes[0] or "layer" in chosen.axes[0]:
        table_of_kind["layer"] = place
    return table_of_kind[table_of_kind["place"].notna() | (table["ablation"] == BASELINE)], chosen


def with_protocols(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with columns `benchmark` and `protocol`, from the names of tasks.

    Args:
        table: a table with a column `task`.

    Returns:
        A new table.
    """
    split = [split_task(task) for task in table["task"]]
    return table.assign(
        benchmark=[benchmark for benchmark, _ in split],
        protocol=[protocol for _, protocol in split],
    )


def _listed(held: Iterable[str]) -> str:
    return ", ".join(held) or "none"


def colour_limit(table: pd.DataFrame) -> float:
    """The drop at which a diverging colour scale ends, the same on both sides of zero.

    It is the largest drop, or half of the widest interval if that is larger. So a table that shows
    no effect looks pale, even with few examples.

    Args:
        table: the table of drops with `drop`, `low` and `high`.

    Returns:
        The limit, above 0, in the unit of the drops.
    """
    sizes = [table["drop"].abs().max(), ((table["high"] - table["low"]) / 2).max()]
    return float(max((size for size in sizes if size == size), default=0.0)) or 1.0


def in_order(names: Iterable[str], first: Iterable[str] = ()) -> list[str]:
    """Distinct names: those in `first` in its order, then the others in theirs."""
    distinct = list(dict.fromkeys(names))
    shared_columns = [name for name in first if name in distinct]
    return [*shared_columns, *(name for name in distinct if name not in shared_columns)]


def tasks_in_order(tasks: Iterable[str]) -> list[str]:
    """Distinct tasks by skill, then by protocol; unknown ones come last."""
    return sorted(dict.fromkeys(tasks), key=task_place)


def task_place(task: str) -> tuple[int, int]:
    """The sort key of `tasks_in_order`."""
    benchmark, protocol = split_task(task)
    benchmark = plain_benchmark(benchmark)
    skills, protocols = list(SKILLS), list(PROTOCOLS)
    return (
        skills.index(benchmark) if benchmark in skills else len(skills),
        protocols.index(protocol) if protocol in protocols else len(protocols),
    )


def describe_n(table: pd.DataFrame) -> str:
    """The number of examples (or of texts, where no task was read) of the rows.

    Args:
        table: a table with a column `n`.

    Returns:
        One sentence for the caption.
    """
    low, high = int(table["n"].min()), int(table["n"].max())
    number = f"{low}" if low == high else f"{low} to {high}"
    if "source" in table and table["source"].str.startswith("texts").all():
        return f"n = {number} texts."
    return f"n = {number} examples per task."


def describe_untestable(table: pd.DataFrame) -> list[str]:
    """The least drop that would have been found where none was, and what is not testable.

    Args:
        table: a table of drops, from `interp.stats.importance`.

    Returns:
        Sentences for the caption; empty if there is nothing to say.
    """
    if "least_detectable_drop" not in table:
        return []
    rows = table[table["ablation"] != BASELINE]
    sentences = []
    silent = [
        group for _, group in rows.groupby(["model", "task"], sort=False)
        if not (group["p_adjusted"] < ALPHA).any()
    ]  # fmt: skip
    least = (
        pd.concat(silent)["least_detectable_drop"].dropna()
        if silent
        else pd.Series([], dtype=float)
    )
    if len(least):
        unit = " points" if rows["unit"].eq("points").all() else ""
        low, high = (f"{value:.3g}" for value in (least.min(), least.max()))
        size = low if low == high else f"{low} to {high}"
        where = "" if len(silent) == rows.groupby(["model", "task"]).ngroups else ", where none is"
        sentences.append(f"Least detectable drop{where}: {size}{unit}.")
    if "testable" in rows and not rows["testable"].all():
        without = rows.loc[~rows["testable"].astype(bool), "task"].unique()
        sentences.append(
            "No task is testable." if len(without) == rows["task"].nunique()
            else f"Not testable: {' and '.join(map(task_label, without))}."
        )  # fmt: skip
    return sentences


def describe_choice(table: pd.DataFrame) -> list[str]:
    """How much the largest drop of a family is overestimated because it was chosen.

    Args:
        table: a table of drops, from `interp.stats.importance`.

    Returns:
        At most one sentence for the caption.
    """
    if is_share(table) or "expected_excess" not in table or not table["unit"].eq("points").all():
        return []
    # where no drop can be shown, none is chosen either
    testable = table[table["testable"].astype(bool)] if "testable" in table else table
    excess = testable["expected_excess"].dropna()
    if excess.empty or excess.max() < NOTICEABLE:
        return []
    low, high = (f"{value:.1f}" for value in (excess.min(), excess.max()))
    size = low if low == high else f"{low} to {high}"
    return [f"Chosen because largest, a drop is {size} points too large on average."]


def describe_failures(table: pd.DataFrame) -> list[str]:
    """The ablations without a number because the model's output was not finite."""
    if "failures" not in table or not (table["failures"] > 0).any():
        return []
    failed = table[table["failures"] > 0].groupby("ablation", sort=False)["failures"].max()
    named = [f"{name} ({int(count)} examples)" for name, count in failed.items()]
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    return [f"Outputs were not finite under {', '.join(named[:4])}{more}: not drawn."]


def describe_truncation(table: pd.DataFrame) -> list[str]:
    """The tasks whose prompts or answers were truncated, as far as the table says.

    Args:
        table: a table of drops, from `interp.stats.importance`.

    Returns:
        Sentences for the caption; empty if nothing was truncated.
    """
    sentences = []
    for column, words in (
        ("cut_prompts", "Prompts cut on their left to fit the context"),
        ("cut_answers", "Answers of the whole model cut by the token limit"),
    ):
        if column in table:
            cut = table[table[column] > 0].drop_duplicates(["model", "task"])
            named = [f"{row[column]:.0f} of {row['n']} ({task_label(row['task'])})"
                     for row in cut.to_dict("records")]  # fmt: skip
            more = f" and more in {len(named) - 4} tasks" if len(named) > 4 else ""
            sentences += [f"{words}: {', '.join(named[:4])}{more}."] if named else []
    return sentences


def describe_intervals(table: pd.DataFrame, mark: str) -> str:
    """The intervals that are drawn, commonest first."""
    kinds = [kind for kind in table["interval"].value_counts().index if kind[:1].isdigit()]
    if not kinds:
        return "No intervals: the samples show no spread."
    level, _, first = kinds[0].partition(" ")
    names = [first, *(kind.removeprefix(f"{level} ") for kind in kinds[1:])]
    return f"{mark}: {level} interval ({' or '.join(names)})."


def describe_metrics(table: pd.DataFrame) -> str:
    """The metric that is drawn; if there are several, with the protocol or benchmark of each."""
    metrics = {metric_label(str(m)): rows for m, rows in table.groupby("metric")}
    if len(metrics) == 1:
        return f"Metric: {uncapitalised(*metrics)}."
    under = {m: in_order(rows["protocol"], PROTOCOLS) for m, rows in metrics.items()}
    words = {m: " and ".join(map(protocol_label, names)).lower() for m, names in under.items()}
    if len(set(words.values())) < len(words):
        # two metrics under one protocol belong to different benchmarks
        shared = list(words.values())
        words = {
            m: text if shared.count(text) == 1 else f"{_benchmark_words(metrics[m])} ({text})"
            for m, text in words.items()
        }
    parts = [f"{uncapitalised(metric)} for {words[metric]}" for metric in metrics]
    return f"Metric: {'; '.join(parts)}."


def _benchmark_words(rows: pd.DataFrame) -> str:
    """The benchmarks of some rows, as words for the middle of a sentence."""
    names = in_order((split_task(task)[0] for task in rows["task"]), SKILLS)
    return " and ".join(uncapitalised(benchmark_label(name)) for name in names)


def describe_tests(table: pd.DataFrame) -> str:
    """The tests and the correction of the adjusted p-values.

    Args:
        table: a table of drops, from `interp.stats.importance`.

    Returns:
        One sentence for the caption.
    """
    of_table = table["test"].value_counts().index
    tests = " or ".join(name if " test" in name else f"{name} test" for name in of_table)
    names = [CORRECTIONS[name][1] for name in table["correction"].unique() if name in CORRECTIONS]
    correction = f"{' or '.join(names)}-corrected over the ablations of a task" if names else ""
    return f"p: {tests}, {correction or 'not corrected'}."


def p_name(table: pd.DataFrame) -> str:
    """The name of the p-value in a legend, with its correction."""
    names = [CORRECTIONS[name][0] for name in table["correction"].unique() if name in CORRECTIONS]
    return f"p ({' or '.join(names)})" if names else "p"
