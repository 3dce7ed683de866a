"""A run that holds less than what is asked grows; what is there is kept.

Two requests are of one run where they agree in all that both have: the tasks, examples and
ablations of the one that the other lacks mix nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interp.records.comparing import Difference, differences
from interp.records.files import write_whole
from interp.records.locks import manifest_locked
from interp.records.manifest import MANIFEST, Manifest, TaskEntry, read_manifest


@dataclass(frozen=True)
class Extent:
    """What one of two requests has and the other lacks, in words.

    Attributes:
        more: what is asked and not there.
        fewer: what is there and not asked.
    """

    more: tuple[str, ...] = ()
    fewer: tuple[str, ...] = ()


def extent(kept: Manifest, asked: Manifest) -> Extent:
    """How much more than a run holds is asked for, and how much less.

    Args:
        kept: the manifest of a run.
        asked: the manifest of a request.

    Returns:
        Tasks, examples and ablations that only one of them has.
    """
    more, fewer = [], []
    for what, there, here in (
        ("tasks", [t.name for t in kept.tasks], [t.name for t in asked.tasks]),
        ("ablations", list(kept.ablations), list(asked.ablations)),
    ):
        more += _lacking(what, here, set(there))
        fewer += _lacking(what, there, set(here))
    asked_by_name = {task.name: task for task in asked.tasks}
    for task in kept.tasks:
        if task.name in asked_by_name:
            there_ids, here_ids = set(task.doc_ids), set(asked_by_name[task.name].doc_ids)
            words = f"{len(there_ids)} examples of {task.name} there, {len(here_ids)} asked"
            more += [words] if there_ids < here_ids else []
            fewer += [words] if there_ids > here_ids else []
    return Extent(tuple(more), tuple(fewer))


def nested(kept: TaskEntry, asked: TaskEntry) -> bool:
    """Whether the examples of one of two entries are all among those of the other.

    Args:
        kept: a task of the run.
        asked: the same task as it is asked for.

    Returns:
        True where one holds all examples of the other.
    """
    kept_ids, asked_ids = set(kept.doc_ids), set(asked.doc_ids)
    return kept_ids <= asked_ids or asked_ids <= kept_ids


def conflicts(kept: Manifest, asked: Manifest) -> list[Difference]:
    """Every entry that decides answers and in which two manifests differ where both have something.

    Args:
        kept: the manifest of a run.
        asked: the manifest of a request, with the run's examples wherever both have a task.

    Returns:
        The entries with both values; empty where nothing would be mixed.
    """
    asked_texts = set(asked.ablations)
    texts = [text for text in kept.ablations if text in asked_texts]
    asked_tasks = {task.name: task for task in asked.tasks}
    tasks = [task for task in kept.tasks if task.name in asked_tasks]
    with_sources = [_same_sources(task, asked_tasks[task.name]) for task in tasks]
    kept_part = _restricted(kept, tasks, texts)
    return differences(kept_part, _restricted(asked, with_sources, texts, limit=kept.limit))


def extend_store(folder: Path, kept: Manifest, grown: Manifest) -> bool:
    """Put a larger manifest in the place of a run's.

    Args:
        folder: the folder of the run.
        kept: the manifest that was there when `grown` was made.
        grown: the same run with more tasks, examples or ablations.

    Returns:
        Whether it is there now; False where another process has changed the run in between.

    Raises:
        OSError: the folder cannot be written.
    """
    with manifest_locked(folder):
        written = read_manifest(folder)
        if written != kept:
            return False
        if written != grown:
            write_whole(folder / MANIFEST, grown.to_json().encode())
        return True


def _restricted(
    manifest: Manifest,
    tasks: Sequence[TaskEntry],
    texts: Iterable[str],
    **entries: object,
) -> Manifest:
    kept = list(texts)
    among = set(kept)
    return manifest.model_copy(
        update={
            "tasks": tuple(map(_in_order_of_rows, tasks)),
            "ablations": tuple(kept),
            "hooks": {text: code for text, code in manifest.hooks.items() if text in among},
            "donors": {text: names for text, names in manifest.donors.items() if text in among},
            **entries,
        }
    )


def _in_order_of_rows(task: TaskEntry) -> TaskEntry:
    """An entry whose examples are in one order, whenever they were added."""
    order = sorted(range(len(task.doc_ids)), key=task.doc_ids.__getitem__)
    update: dict[str, object] = {"doc_ids": tuple(task.doc_ids[i] for i in order)}
    if task.clusters:
        update["clusters"] = tuple(task.clusters[i] for i in order)
    return task.model_copy(update=update)


def _same_sources(kept: TaskEntry, asked: TaskEntry) -> TaskEntry:
    """The asked entry; where one of the two takes from no further rows, with what the run has."""
    if kept.source_ids and asked.source_ids:
        return asked
    sources = {"source_ids": kept.source_ids, "sources_sha256": kept.sources_sha256}
    return asked.model_copy(update=sources)


def _lacking(what: str, names: Sequence[str], held: set[str]) -> list[str]:
    """The names that are not held: a single one by name, else how many."""
    lacking = [name for name in names if name not in held]
    if not lacking:
        return []
    return [f"{what}: {lacking[0]}" if len(lacking) == 1 else f"{what}: {len(lacking)}"]
