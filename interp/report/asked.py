"""The tasks of a run, found again without the model, and checked to be those that were asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import UserError
from interp.records import TaskEntry
from interp.results import Sweep
from interp.sweeps import describe_task
from interp.tasks import (
    PUBLISHED,
    Task,
    asked_as,
    load_task,
    prompt_text,
    published_seed,
    way_of,
)

HASHES = {
    "rows_sha256": "rows",
    "fewshot_sha256": "few-shot examples",
    "config_sha256": "definition",
}
"""What must be as in the manifest before a row's prompt is shown, and its name in words."""


@dataclass(frozen=True)
class Asked:
    """A task of a run.

    Attributes:
        task: None where it is not found, or has changed since.
        missing: why, in words.
    """

    task: Task | None
    missing: str = ""

    def prompt(self, doc_id: int) -> str | None:
        """The prompt of a row, few-shot examples included; None without the task."""
        return None if self.task is None else prompt_text(self.task, self._row(doc_id))

    def options(self, doc_id: int) -> list[str] | None:
        """The texts of a row's options; None without the task, or where answers are written."""
        return None if self.task is None else self.task.options(self._row(doc_id)) or None

    def gold(self, doc_id: int) -> list[int]:
        """The numbers of a row's right options; empty without the task."""
        options = self.options(doc_id)
        if self.task is None or options is None:
            return []
        return self.task.gold_options(self._row(doc_id))

    def _row(self, doc_id: int) -> dict[str, Any]:
        assert self.task is not None
        return self.task.documents()[doc_id]


def asked_tasks(
    run: Sweep,
    *,
    given: Sequence[str | Path | Task] = (),
    data: str | Path | None = None,
    allow_code: bool = False,
) -> dict[str, Asked]:
    """Every task of a run by its name.

    Args:
        run: a finished run.
        given: tasks that were swept and that a name alone does not find: paths of their YAMLs, or
            the tasks themselves.
        data: folder with rows, as for the sweep.
        allow_code: let the YAMLs in `given` run the Python that they name.

    Returns:
        One entry per task, also for a task whose rows are not found here.

    Raises:
        UserError: a path in `given` is no task YAML, or runs Python and may not.
    """
    made = [
        source if isinstance(source, Task) else load_task(source, data=data, allow_code=allow_code)
        for source in given
    ]
    known = {
        task.name: task if task is source else str(source)
        for task, source in zip(made, given, strict=True)
    }
    # a name in a run may be one that a stranger chose: it is looked up without running anything
    return {
        entry.name: _asked(entry, known, data, allow_code=allow_code)
        for entry in run.manifest.tasks
    }


def _asked(
    entry: TaskEntry,
    known: Mapping[str, str | Task],
    data: str | Path | None,
    *,
    allow_code: bool,
) -> Asked:
    # neither a token budget nor sampling changes the prompt or the rows
    plain, way = str(entry.variant.get("plain_name", entry.name)), way_of(entry.variant)
    chat, seed = entry.variant.get("chat_template", ""), published_seed(entry.variant)
    source = known.get(entry.name, known.get(plain, plain))
    # a name that nobody gave leads to no path, and to no code that is looked for in a folder
    given = entry.name in known or plain in known
    allow_code = allow_code and given
    differs = ""
    # a task that says nothing of few-shot examples is another definition than one that says "none"
    for shots in (None, entry.num_fewshot):
        try:
            task = (
                source
                if isinstance(source, Task)
                else load_task(
                    source,
                    num_fewshot=shots,
                    fewshot_seed=seed,
                    data=data,
                    allow_code=allow_code,
                    trusted_only=not given,
                )
            )
            if way != PUBLISHED and not task.variant.way:
                task = asked_as(task, way)
            differs = _difference(task, entry)
        except UserError as error:
            if way != PUBLISHED and shots is None:
                continue  # without the examples of the run it may not have this way
            return Asked(None, _why_missing(plain, str(error), given=given))
        if chat and task.variant.chat_template != chat:
            return Asked(None, "they were written through the model's chat template")
        if not differs:
            return Asked(task)
    return Asked(None, f"the task's {differs} are no longer those of the run")


def _why_missing(name: str, reason: str, *, given: bool) -> str:
    """Why a task is not at hand, and what a reader can do about it."""
    short = f"{name}: no task has that name" if "no such task" in reason else reason
    if given:
        return short
    shown_path = name if "Python" in reason else "PATH.yaml"
    return f"{short}; `interp report RUN --tasks {shown_path}` shows them"


def _difference(task: Task, entry: TaskEntry) -> str:
    """What of a task is not as in the manifest, in words; empty where nothing is."""
    count = len(task.documents())
    if any(not 0 <= doc_id < count for doc_id in entry.doc_ids):
        return HASHES["rows_sha256"]
    described = describe_task(task, entry.doc_ids)
    return " and ".join(
        word for name, word in HASHES.items() if getattr(described, name) != getattr(entry, name)
    )
