"""Fields of the rows of a run, such as subject or category, read again from its tasks."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interp.errors import UserError, did_you_mean
from interp.records import TaskEntry
from interp.tasks import Task


def row_field(
    entry: TaskEntry,
    field: str,
    *,
    given: Sequence[str | Path | Task] = (),
    data: str | Path | None = None,
    allow_code: bool = False,
) -> dict[int, str]:
    """The value of a field in each row of a task of a run.

    Args:
        entry: the entry of the task, in the run's manifest.
        field: name of the field.
        given: tasks that cannot be found by their name alone: paths of YAMLs, or loaded tasks.
        data: folder with the rows, as for the sweep.
        allow_code: whether the YAMLs in `given` may run the Python that they name.

    Returns:
        For each row number the value, as text.

    Raises:
        UserError: the task is not found, its rows have changed since the run, or a row has no such
            field.
    """
    if entry.cluster and entry.cluster == field:
        return dict(zip(entry.doc_ids, entry.clusters, strict=True))
    documents = _documents(entry, field, given, data, allow_code)
    doc_ids = entry.doc_ids
    for doc_id in doc_ids:
        if field not in documents[doc_id]:
            fields = sorted(documents[doc_id])
            raise UserError(
                f"by {field}: row {doc_id} of {entry.name} has no such field; it has "
                f"{', '.join(fields)}{did_you_mean(field, fields)}"
            )
    return {doc_id: str(documents[doc_id][field]) for doc_id in doc_ids}


def row_fields(
    entry: TaskEntry,
    *,
    given: Sequence[str | Path | Task] = (),
    data: str | Path | None = None,
    allow_code: bool = False,
) -> dict[str, dict[int, str]]:
    """Every field that is a text or a whole number in all rows of a task of a run.

    Arguments and errors as for `row_field`.

    Returns:
        For each field, the value in each row, as text.
    """
    documents = _documents(entry, "fields", given, data, allow_code)
    rows = {doc_id: documents[doc_id] for doc_id in entry.doc_ids}
    names = [
        name
        for name in next(iter(rows.values()))
        if all(isinstance(row.get(name), str | int) for row in rows.values())
    ]
    return {name: {i: str(row[name]) for i, row in rows.items()} for name in names}


def _documents(
    entry: TaskEntry,
    field: str,
    given: Sequence[str | Path | Task],
    data: str | Path | None,
    allow_code: bool,
) -> Sequence[dict[str, Any]]:
    """The rows of a task of a run, if they are still the same."""
    documents = _task(entry, given, data, allow_code).documents()
    known = max(entry.doc_ids) < len(documents)
    if not known or _hash([documents[i] for i in entry.doc_ids]) != entry.rows_sha256:
        raise UserError(
            f"by {field}: the rows of {entry.name} are no longer those of the run; name the "
            "folder that they were read from (data)"
        )
    return documents


def _task(
    entry: TaskEntry, given: Sequence[str | Path | Task], data: str | Path | None, allow_code: bool
) -> Task:
    # a run's other tables need no lm-evaluation-harness
    from interp.tasks import asked_as, load_task, way_of

    name = str(entry.variant.get("plain_name", entry.name))
    loaded = None
    for one in [given] if isinstance(given, str | Path | Task) else given:
        if isinstance(one, str) and not one.strip():
            raise UserError(f"given {one!r}: allowed are paths of YAMLs and loaded tasks")
        task = one if isinstance(one, Task) else load_task(one, data=data, allow_code=allow_code)
        if task.name == entry.name:
            return task
        loaded = task if task.name == name else loaded
    # the name comes from a file of the run: it may name a listed task, never a file or code
    if loaded is None and name.endswith((".yaml", ".yml")):
        raise UserError(f"task {name}: it is found by its path; give it (given=[...])")
    loaded = load_task(name, data=data) if loaded is None else loaded
    # no other way of asking changes the rows
    way = way_of(entry.variant)
    return asked_as(loaded, way) if way.startswith("option-order") else loaded


def _hash(rows: list[Any]) -> str:
    return hashlib.sha256(json.dumps(rows, sort_keys=True, default=str).encode()).hexdigest()
