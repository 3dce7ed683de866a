"""The examples that ablations take something from: the same ones whatever the limit of a run.

A run that is extended by a larger limit keeps what `@mean` and `@resample` put in; for that they
may take from rows that the run itself does not ask.
"""

from collections.abc import Sequence

from interp.ablations import Variant, draw_donors
from interp.engine import reference_rows
from interp.tasks import Task, draw_order

DONOR_CYCLE = 32
"""Rows of the draw, one after the other, that are each other's donors."""


def donors_of(task: Task, count: int, *, seed: int) -> dict[int, int]:
    """Another example for each of the first examples of the draw.

    So many rows of the draw, one after the other, form one cycle (`draw_donors`), so that each is
    the donor of one other.

    Args:
        task: the task.
        count: how many of its rows, in the order of the draw, need a donor.
        seed: the seed of the draws.

    Returns:
        Row to donor: of `count` rows, and of what completes the last cycle.

    Raises:
        UserError: the task has only one row.
    """
    order = draw_order(task, seed=seed)
    # a row that is left over alone belongs to the cycle before it
    last = max(0, (len(order) - 2) // DONOR_CYCLE)
    donors: dict[int, int] = {}
    for part in range(min(last, max(0, count - 1) // DONOR_CYCLE) + 1):
        end = len(order) if part == last else (part + 1) * DONOR_CYCLE
        donors |= draw_donors(sorted(order[part * DONOR_CYCLE : end]), seed=seed, part=part)
    return donors


def source_rows(
    task: Task, doc_ids: Sequence[int], variants: Sequence[Variant], *, seed: int
) -> tuple[int, ...]:
    """Rows that ablations take from and that the run does not ask.

    Args:
        task: the task.
        doc_ids: its rows in the run.
        variants: the ablations.
        seed: the seed of the draws.

    Returns:
        Row numbers, ascending.

    Raises:
        UserError: `@resample` on a task of one row.
    """
    rows: set[int] = set()
    if any(variant.edits.uses_mean for variant in variants):
        rows.update(reference_rows(task, seed=seed))
    if any(variant.edits.is_resampled for variant in variants):
        donors = donors_of(task, len(doc_ids), seed=seed)
        rows.update(donors[i] for i in doc_ids)
    return tuple(sorted(rows - set(doc_ids)))
