"""A task by its name: which lm-evaluation-harness YAML it means, and the rows that it reads.

A task is named `mmlu:continuation` (`BENCHMARK:PROTOCOL`), by any lm-evaluation-harness task or
group name, or by the path of a task YAML. Its rows come from the hub, or from local files.
"""

import warnings
from pathlib import Path
from typing import Any

from interp.errors import UserError
from interp.tasks.building import NoRows, build, read_config
from interp.tasks.groups import Group
from interp.tasks.made import is_made, made_task
from interp.tasks.names import (
    SHIPPED,
    Definition,
    definitions,
    harness_folder,
    shipped_tasks,
    split_name,
)
from interp.tasks.task import Task
from interp.tasks.trust import refuse_code


def load_task(
    name: str | Path,
    *,
    num_fewshot: int | None = None,
    data: str | Path | None = None,
    allow_code: bool = False,
) -> Task:
    """A task by its name or the path of its YAML.

    Args:
        name: `mmlu:continuation`, a lm-evaluation-harness name, a path ending in `.yaml`, or
            `kv-75:generate` (`kv-75-at-0:generate`: the gold pair in front of all others).
        num_fewshot: worked examples in the prompt; by default what the task says.
        data: folder with the rows (`interp.tasks.rows`), for machines without the hub.
        allow_code: let a YAML from elsewhere run the Python functions that it names.

    Raises:
        UserError: no such task; its rows are missing; its YAML runs Python and may not; it has
            not the protocol that the name asks for.
    """
    name, folder = str(name), Path(data).expanduser() if data is not None else None
    if num_fewshot is not None and num_fewshot < 0:
        raise UserError(f"fewshot {num_fewshot}: allowed are 0 and more")
    if is_made(name):
        made: Task = made_task(name, num_fewshot=num_fewshot)
        return made
    found = definitions(name)
    for one in found:
        if not allow_code:
            refuse_code(one.path, (SHIPPED, harness_folder()))
    members = _built(name, found, num_fewshot, folder)
    harness = members[0] if len(found) == 1 else Group(members)
    task = Task(found[0].name if name.endswith((".yaml", ".yml")) else name, harness)
    asked = split_name(task.name)[1]
    if asked is not None and task.name not in shipped_tasks() and asked != task._natural:
        raise UserError(f"task {name}: it has only the protocol {task._natural}")
    return task


def _built(
    name: str, found: tuple[Definition, ...], num_fewshot: int | None, data: Path | None
) -> list[Any]:
    """The harness tasks; members of a group without local rows are left out, and named."""
    members, absent, reason = [], [], None
    for one in found:
        try:
            members.append(build(read_config(one, name), num_fewshot=num_fewshot, data=data))
        except NoRows as error:
            if len(found) == 1:
                raise
            absent.append(one.name)
            reason = reason or error
        except UserError:
            raise
        except Exception as error:  # a YAML can hold anything anywhere
            raise UserError(f"task {name}: {one.path} cannot be used ({error})") from error
    if not members:
        assert reason is not None
        raise reason
    if absent:
        shown = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")
        warnings.warn(
            f"task {name}: {len(absent)} of its {len(found)} tasks have no rows in {data} and are "
            f"left out ({shown})",
            stacklevel=3,
        )
    if len({m.OUTPUT_TYPE for m in members}) > 1:
        raise UserError(f"task {name}: its tasks are of several kinds; give them singly")
    if len({m.config.repeats for m in members}) > 1:
        raise UserError(f"task {name}: its tasks have several numbers of draws; give them singly")
    return members
