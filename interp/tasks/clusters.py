"""Which rows of a task share something, so that they are resampled together."""

from collections.abc import Sequence

from interp.errors import UserError
from interp.tasks.task import Task


def cluster_units(task: Task, doc_ids: Sequence[int]) -> list[int]:
    """The independent unit of each row: its cluster, where the task declares clusters.

    A cluster (`metadata: {cluster: FIELD}` in the task's YAML) has the number of the first row of
    the task that belongs to it, whatever rows are drawn. A row of a task without clusters is a
    unit of its own.

    Args:
        task: the task.
        doc_ids: rows.

    Returns:
        One number per row; equal numbers are one unit.

    Raises:
        UserError: a row has no such field.
    """
    field = task.cluster_field
    if field is None:
        return list(doc_ids)
    documents = task.documents()
    lacking = next((number for number in doc_ids if documents[number].get(field) is None), None)
    if lacking is not None:
        known = ", ".join(documents[lacking])
        raise UserError(
            f"task {task.name}, row {lacking}: no field {field} to cluster by; it has {known}"
        )
    names, first = [repr(document.get(field)) for document in documents], dict[str, int]()
    for number, name in enumerate(names):
        first.setdefault(name, number)
    return [first[names[number]] for number in doc_ids]
