"""One section per run: what was asked, figures, maps, tables, examples, provenance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from interp import figures
from interp.errors import UserError
from interp.labels import model_label, task_label
from interp.report import maps, provenance, tables, vectors
from interp.report.asked import Asked, asked_tasks
from interp.report.examples import Shown, shown_examples
from interp.results import Sweep, choose_metric
from interp.stats import SERIES
from interp.tasks import Task

MOST_EXAMPLES = 1_200
"""Examples of a page, over all runs, tasks and ablations: a megabyte or two."""

FEWEST = 2
"""Examples of an ablation, where it has any."""

SHORT_PROMPT, LONGEST_PROMPT = 700, 8_000
"""Characters of a prompt that are shown beside its answers, and that the page holds at all."""


@dataclass(frozen=True)
class Run:
    """A run with its tables, computed once."""

    sweep: Sweep
    scores: pd.DataFrame
    importance: pd.DataFrame

    @property
    def pairs(self) -> int:
        """Tasks times ablations."""
        return len(self.sweep.manifest.tasks) * len(self.sweep.manifest.ablations)

    @classmethod
    def of(cls, sweep: Sweep) -> "Run":
        """Compute the tables of a run, tasks in the order of the run."""
        places = {task.name: place for place, task in enumerate(sweep.manifest.tasks)}
        tables_of_run = (
            table.sort_values("task", key=lambda names: names.map(places), kind="stable")
            for table in (sweep.scores(), sweep.importance())
        )
        return cls(sweep, *(table.reset_index(drop=True) for table in tables_of_run))


@dataclass(frozen=True)
class Choice:
    """What a reader of the page sees, as the author chose it.

    Attributes:
        metric: one metric for all tasks; by default accuracy where there is one, else an exact
            match.
        examples: the most that are shown per ablation and task; 0 for none.
        tasks: tasks that were swept and that their names alone do not find: paths of YAMLs, or the
            tasks themselves.
        data: folder with the rows that were swept.
        allow_code: let the YAMLs in `tasks` run the Python that they name.
    """

    metric: str | None = None
    examples: int = 6
    tasks: Sequence[str | Path | Task] = ()
    data: str | Path | None = None
    allow_code: bool = False

    def __post_init__(self) -> None:
        if self.examples < 0:
            raise UserError(f"examples {self.examples}: allowed are 0 and more")


@dataclass(frozen=True)
class Opened:
    """What a click on an ablation opens: one ablation's examples of one task."""

    name: str
    ablation: str
    task: str
    drop: str
    significant: bool
    shown: Shown


@dataclass(frozen=True)
class Prompt:
    """A row's prompt: what stands beside the answers, and the whole where that is less."""

    name: str
    short: str
    whole: str | None
    left_out: int


@dataclass(frozen=True)
class Section:
    """All that the page says of one run."""

    name: str
    title: str
    run: Run
    question: str
    figures: tuple[vectors.Vector, ...]
    figures_missing: str
    maps: tuple[maps.Map, ...]
    baselines: tables.Table
    drops: tables.Table
    all_drops: tables.Table | None
    opened: tuple[Opened, ...]
    prompts: Mapping[tuple[str, int], Prompt]
    prompts_missing: Mapping[str, str]
    examples_rule: str
    provenance: Sequence[tuple[str, str]]
    tasks: Sequence[tuple[str, ...]]


def section(run: Run, choice: Choice, *, name: str, budget: int) -> Section:
    """The section of the page about one run.

    Args:
        run: the run and its tables.
        choice: what is shown.
        name: the name of the section on the page; begins every name inside.
        budget: examples that the page may hold of this run.

    Returns:
        Figures, maps, tables and examples, ready for the template.

    Raises:
        UserError: the metric is not there; a path in `choice` is no task.
    """
    importance = choose_metric(run.importance, choice.metric)
    most, chosen = _allotted(importance, choice.examples, budget)
    asked = _asked(run.sweep, choice) if most else {}
    opened = _opened(run, importance, chosen, asked, name=name, most=most)
    targets = {(one.task, one.ablation): one.name for one in opened}
    drawn, missing = _figures(run, choice, name)
    texts = run.sweep.manifest.ablations
    whole = len(run.importance) > len(importance)
    return Section(
        name=name,
        title=_title(run.sweep),
        run=run,
        question=_question(run.sweep),
        figures=tuple(drawn),
        figures_missing=missing,
        maps=tuple(maps.maps(importance, targets)),
        baselines=tables.baselines(choose_metric(run.scores, choice.metric), importance),
        drops=tables.drops(importance, targets),
        all_drops=tables.drops(run.importance, targets) if whole else None,
        opened=tuple(opened),
        prompts=_prompts(opened, asked, name),
        prompts_missing={
            task: prompts.missing for task, prompts in asked.items() if prompts.missing
        },
        examples_rule=_rule(most, len(chosen), len(texts) * len(set(importance["task"])), run),
        provenance=provenance.pairs(run.sweep),
        tasks=provenance.tasks(run.sweep),
    )


def together(runs: Sequence[Run], choice: Choice) -> list[vectors.Vector]:
    """Figures that show several models side by side; none where the runs are of one."""
    if len({run.sweep.manifest.model for run in runs}) < 2:
        return []
    joined = _Joined(
        # two runs of one model share its baseline, which neither figure draws
        pd.concat([run.scores for run in runs]).drop_duplicates([*SERIES, "ablation"]),
        pd.concat([run.importance for run in runs], ignore_index=True),
    )
    try:
        wide, column = _drawings(joined, choice)
    except UserError:
        return []  # nothing to draw, or one model's ablation twice
    shared = {
        name: draw for name, draw in wide.items() if {"drops", "heatmap"} & set(name.split("-"))
    }
    return vectors.draw(shared, "together", narrow=column, several=True)


@dataclass(frozen=True)
class _Joined:
    """Tables in the form that figures take."""

    scores_table: pd.DataFrame
    importance_table: pd.DataFrame

    def scores(self) -> pd.DataFrame:
        return self.scores_table

    def importance(self) -> pd.DataFrame:
        return self.importance_table


def _figures(run: Run, choice: Choice, name: str) -> tuple[list[vectors.Vector], str]:
    joined = _Joined(run.scores, run.importance)
    try:
        wide, column = _drawings(joined, choice)
    except UserError as error:
        return [], str(error)
    return vectors.draw(wide, name, narrow=column), ""


Drawings = Mapping[str, Callable[[], figures.PrintFigure]]


def _drawings(joined: _Joined, choice: Choice) -> tuple[Drawings, Drawings]:
    """The figures as they are printed, and one column wide for a phone."""
    wide = figures.drawings([joined], metric=choice.metric)
    return wide, figures.drawings([joined], metric=choice.metric, width=figures.COLUMN)


def _allotted(
    importance: pd.DataFrame, wanted: int, budget: int
) -> tuple[int, list[tuple[str, str]]]:
    """How many examples each (task, ablation) gets, and which get any: the largest changes."""
    pairs = importance.assign(size=importance["drop"].abs())
    most = min(wanted, max(FEWEST, budget // max(1, len(pairs))))
    if not most:
        return 0, []
    largest_pairs = pairs.nlargest(max(1, budget // most), "size", keep="first").sort_index()
    return most, list(zip(largest_pairs["task"], largest_pairs["ablation"], strict=True))


def _asked(sweep: Sweep, choice: Choice) -> dict[str, Asked]:
    return asked_tasks(sweep, given=choice.tasks, data=choice.data, allow_code=choice.allow_code)


def _opened(
    run: Run,
    importance: pd.DataFrame,
    chosen: Sequence[tuple[str, str]],
    asked: Mapping[str, Asked],
    *,
    name: str,
    most: int,
) -> list[Opened]:
    rows = {(row["task"], row["ablation"]): row for row in importance.to_dict("records")}
    runs = []
    by_task: dict[str, list[str]] = {}
    for task, ablation in chosen:
        by_task.setdefault(task, []).append(ablation)
    with tqdm(total=len(chosen), desc="examples", unit="ablation") as bar:
        for number, (task, ablations) in enumerate(by_task.items()):
            metric = rows[task, ablations[0]]["metric"]
            shown = shown_examples(
                run.sweep, task, metric=metric, ablations=ablations, asked=asked[task], most=most
            )
            for place, (ablation, examples) in enumerate(shown):
                row = rows[task, ablation]
                runs.append(
                    Opened(
                        name=f"{name}-examples-{number}-{place}",
                        ablation=ablation,
                        task=task,
                        drop=tables.measured(row),
                        significant=bool(row["p_adjusted"] < tables.ALPHA),
                        shown=examples,
                    )
                )
                bar.update()
    return runs


def _prompts(
    opened: Sequence[Opened], asked: Mapping[str, Asked], name: str
) -> dict[tuple[str, int], Prompt]:
    """Each prompt once, however many ablations show it."""
    prompts: dict[tuple[str, int], Prompt] = {}
    for run in opened:
        for example in run.shown.examples:
            key = run.task, example.doc_id
            text = None if key in prompts else asked[run.task].prompt(example.doc_id)
            if text is not None:
                prompts[key] = _prompt(text, f"{name}-prompt-{len(prompts)}")
    return prompts


def _prompt(text: str, name: str) -> Prompt:
    if len(text) <= SHORT_PROMPT:
        return Prompt(name, text, None, 0)
    left_out = max(0, len(text) - LONGEST_PROMPT)
    return Prompt(name, "\N{HORIZONTAL ELLIPSIS}" + text[-SHORT_PROMPT:], text[left_out:], left_out)


def _title(sweep: Sweep) -> str:
    """The model and what was done to it: `base: 8 layers skipped`."""
    parts = [
        f"{len(texts)} {name}" for name, texts in maps.families(sweep.manifest.ablations).items()
    ]
    return f"{model_label(sweep.manifest.model)}: {', '.join(parts)}"


def _question(sweep: Sweep) -> str:
    """The question that the run answers, for a reader who did not plan it."""
    asked = [
        f"{task_label(task.name)} ({len(task.doc_ids)} examples)" for task in sweep.manifest.tasks
    ]
    ablated = [
        f"{len(texts)} {name} ({provenance.named(texts)})"
        for name, texts in maps.families(sweep.manifest.ablations).items()
    ]
    return (
        f"How much worse does {sweep.manifest.model} answer when one part of it is changed? "
        f"What was changed, one at a time: {'; '.join(ablated)}. What was asked: "
        f"{'; '.join(asked)}. The same examples go to the whole model and to each ablated one, and "
        "are compared one by one."
    )


def _rule(most: int, shown: int, pairs: int, run: Run) -> str:
    """Which examples are on the page, in words."""
    if not most:
        return "No examples are on this page."
    selection_text = "" if shown >= pairs else f" of the {shown} largest changes among {pairs}"
    return (
        f"At most {most} examples an ablation and task{selection_text}, drawn with seed "
        f"{run.sweep.manifest.seed}: those that the ablation changed come first, so they are "
        "no sample of all answers; the counts above them are of all examples."
    )
