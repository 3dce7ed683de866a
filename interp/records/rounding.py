"""How many answers rounding decides: the baseline, run again in other batches, beside the records.

In half precision a sum depends on the order of its terms, and so on what else is in the batch. The
file `rounding.json` of a run holds how often the whole model answered otherwise the second time. It
decides no record; a run without it has not been measured.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, ValidationError

from interp.errors import UserError, first_line
from interp.records.files import read_regular, write_whole
from interp.records.manifest import Entry, Text

ROUNDING = "rounding.json"
"""The file of a run that says what rounding alone changes."""


class MetricRounding(Entry):
    """How a metric of the baseline differs between two ways of batching.

    Attributes:
        changed: examples whose value differs.
        mean_square: mean of the squared differences of these; 0 where there are none.
        binary: whether all its values are 0 or 1.
    """

    changed: NonNegativeInt
    mean_square: NonNegativeFloat
    binary: bool


class TaskRounding(Entry):
    """What running the baseline of one task again in other batches changed.

    Attributes:
        name: the name of the task.
        asked: examples that were run again.
        n: how many of these had an outcome both times.
        changed: how many of these have another likeliest option, another text, or (a task
            without either) another value of any metric.
        metrics: its metrics, by name.
    """

    name: Text
    asked: PositiveInt
    n: PositiveInt
    changed: NonNegativeInt
    metrics: dict[str, MetricRounding]


class Rounding(Entry):
    """What `rounding.json` holds.

    Attributes:
        dtype: type of the weights.
        tasks: one entry per task that was run again.
    """

    dtype: Text
    tasks: tuple[TaskRounding, ...] = Field(min_length=1)


def read_rounding(folder: Path) -> Rounding | None:
    """How many answers rounding decides in a run.

    Args:
        folder: the folder of the run.

    Returns:
        What `rounding.json` holds; None where the run has none.

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / ROUNDING
    if not path.exists():
        return None
    try:
        return Rounding.model_validate_json(read_regular(path))
    except (ValidationError, OSError, RecursionError) as error:
        raise UserError(
            f"run {folder}: its {ROUNDING} cannot be read ({first_line(error)}); remove it, and "
            "the same sweep again measures it"
        ) from error


def write_rounding(folder: Path, dtype: str, tasks: Sequence[TaskRounding]) -> None:
    """Write what was measured, whole.

    Args:
        folder: the folder of the run.
        dtype: type of the weights.
        tasks: one entry per task.

    Raises:
        OSError: the folder cannot be written.
    """
    content = Rounding(dtype=dtype, tasks=tuple(tasks)).model_dump_json(indent=2) + "\n"
    write_whole(folder / ROUNDING, content.encode())
