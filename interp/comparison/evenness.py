"""Runs side by side hold the same tasks and examples, also where a folder of them grows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from interp.errors import UserError
from interp.records import MANIFEST, read_manifest
from interp.tasks import Task, select_examples

Rows = Mapping[str, Sequence[int]]


def drawn(tasks: Sequence[Task], limit: int | None, seed: int) -> Rows:
    """The rows that a request asks for.

    Args:
        tasks: the tasks, as they are published.
        limit: the most examples of each; None for all.
        seed: the seed of the draw.

    Returns:
        Task to its rows.
    """
    return {task.name: select_examples(task, limit, seed=seed) for task in tasks}


def refuse_uneven(
    folder: Path,
    asked: Sequence[str],
    known: Sequence[str],
    rows: Callable[[], Rows],
    published: Callable[[str, str], str],
) -> None:
    """Refuse a request after which some runs of a folder would hold more examples than others.

    A run is extended by a request for more and answers a request for less, so that each alone is
    right; side by side they could not be read again.

    Args:
        folder: the folder that the runs lie in.
        asked: the names of the runs that are asked for.
        known: the names of the runs that the folder has.
        rows: gives task to the rows that are asked; called only where there are runs.
        published: of a run and of a task's name in it, the name that all runs have in common.

    Raises:
        UserError: names the first run with other tasks or examples.
    """
    kept: dict[str, dict[str, set[int]]] = {}
    for run in dict.fromkeys((*asked, *known)):
        if (folder / run / MANIFEST).is_file():
            tasks = read_manifest(folder / run).tasks
            kept[run] = {published(run, task.name): set(task.doc_ids) for task in tasks}
    if not kept:
        return
    wanted = {task: set(ids) for task, ids in rows().items()}
    held = {}
    for run in dict.fromkeys((*asked, *known)):
        there = kept.get(run, {})
        if run in asked:
            shared = there.keys() & wanted.keys()
            if not all(there[t] <= wanted[t] or wanted[t] <= there[t] for t in shared):
                return  # of another draw: the sweep says so in words
            held[run] = {t: there.get(t, set()) | wanted.get(t, set()) for t in there | wanted}
        else:
            held[run] = there
    first, *others = held
    for run in others:
        for task in dict.fromkeys((*held[first], *held[run])):
            one, other = held[first].get(task, set()), held[run].get(task, set())
            if one != other:
                raise UserError(
                    f"out {folder}: {first} would hold {len(one)} examples of {task} and {run} "
                    f"{len(other)}; ask for all of {', '.join(held)} and for no less than is "
                    "there, or give another folder"
                )
