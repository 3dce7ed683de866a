"""A task by its name: which lm-evaluation-harness YAML it means, and the rows that it reads.

A task is named `mmlu:continuation` (`BENCHMARK:PROTOCOL`), by any lm-evaluation-harness task or
group name, or by the path of a task YAML. Its rows come from the hub, or from local files.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import UserError, home_expanded
from interp.tasks.building import NoRows, build, read_config
from interp.tasks.fixed import FEWSHOT_SEED
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
from interp.tasks.text_files import is_text, text_task
from interp.tasks.trust import refuse_code

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# folders of lm-evaluation-harness whose Python was read: it imports nothing that is looked for
CODE_READ = ("hellaswag", "mathqa", "winogrande")


def load_task(
    name: str | Path,
    *,
    num_fewshot: int | None = None,
    fewshot_seed: int | None = None,
    data: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    chat_template: "TransformerBridge | None" = None,
    allow_code: bool = False,
    trusted_only: bool = False,
) -> Task:
    """A task by its name or the path of its YAML.

    Args:
        name: `mmlu:continuation`, a lm-evaluation-harness name, a path ending in `.yaml`,
            `text:FILE` (its loss), or `kv-75:generate` (`kv-75-at-0:generate`: the gold pair in
            front of all others).
        num_fewshot: few-shot examples in the prompt; by default what the task says.
        fewshot_seed: the seed of the choice of these examples; by default
            lm-evaluation-harness' own.
        data: folder with the rows (`interp.tasks.rows`), for machines without the hub.
        metrics: which of the metrics that the YAML lists; by default all of them.
        chat_template: a model whose chat template writes the prompts; plain text by default.
        allow_code: let a YAML from elsewhere run the Python functions that it names.
        trusted_only: the name comes from a file of another author: no path is followed,
            and of lm-evaluation-harness' tasks those are refused that run Python which has not
            been read by us. (Some of them look for code in the current folder.)

    Returns:
        The task. Its rows are read, but none is rendered yet.

    Raises:
        UserError: no such task; its rows are missing; its YAML runs Python and may not; it has
            not the protocol that the name asks for.
    """
    name = str(name)
    folder = home_expanded("data", data) if data is not None else None
    if num_fewshot is not None and (type(num_fewshot) is not int or num_fewshot < 0):
        raise UserError(f"num_fewshot {num_fewshot!r}: allowed are whole numbers from 0")
    fewshot_seed = FEWSHOT_SEED if fewshot_seed is None else fewshot_seed
    if type(fewshot_seed) is not int or fewshot_seed < 0:
        raise UserError(f"fewshot_seed {fewshot_seed}: allowed are whole numbers from 0")
    if folder is not None and not folder.is_dir():
        raise UserError(f"--data {folder}: no such folder")
    if is_text(name):
        if trusted_only:
            raise UserError(
                f"task {name}: a path that a received file names is not followed; give it"
            )
        task: Task = text_task(name, num_fewshot=num_fewshot)
    elif is_made(name):
        task = made_task(name, num_fewshot=num_fewshot)
    else:
        definitions_found = _definitions(name, allow_code=allow_code, trusted_only=trusted_only)
        configs = [
            _with_metrics(read_config(definition, name), metrics)
            for definition in definitions_found
        ]
        build_options = {"num_fewshot": num_fewshot, "fewshot_seed": fewshot_seed, "data": folder}
        members = _built(name, definitions_found, configs, build_options)
        harness = members[0] if len(definitions_found) == 1 else Group(members)
        # the file of a task says its name, whatever the file is called
        task = Task(name if definitions_found[0].name else str(harness.config.task), harness)
    protocol = split_name(task.name)[1]
    if protocol is not None and name not in shipped_tasks() and protocol != task.natural_protocol:
        raise UserError(f"task {name}: it has only the protocol {task.natural_protocol}")
    if folder is not None and not task.uses_data:
        warnings.warn(
            f"task {name}: its rows come with it; those in {folder} are not used", stacklevel=2
        )
    if chat_template is None:
        return task
    from interp.tasks.variants import as_chat  # needs a model, and with it torch

    return as_chat(task, chat_template)


def _definitions(name: str, *, allow_code: bool, trusted_only: bool) -> tuple[Definition, ...]:
    """The files that a name stands for, refused where they run Python and may not."""
    if trusted_only and name.endswith((".yaml", ".yml")):
        raise UserError(f"task {name}: a path that a received file names is not followed; give it")
    known = definitions(name)
    read = tuple(harness_folder() / folder for folder in CODE_READ)
    for definition in known:
        if trusted_only:
            try:
                refuse_code(definition.path, (SHIPPED, *read))
            except UserError as error:
                raise UserError(
                    f"task {name}: its definition runs Python code that is not known to be "
                    "harmless wherever it is run; give the task itself to use it"
                ) from error
        elif not allow_code:
            refuse_code(definition.path, (SHIPPED, harness_folder()))
    return known


def _with_metrics(config: dict[str, Any], metrics: Sequence[str] | None) -> dict[str, Any]:
    """A task's configuration with some of its metrics."""
    if metrics is None:
        return config
    if not isinstance(metrics, list | tuple) or not all(isinstance(m, str) for m in metrics):
        raise UserError(f"metrics {metrics!r:.80}: allowed is a list of names")
    listed = {str(entry.get("metric")): entry for entry in config.get("metric_list") or ()}
    unknown = [name for name in metrics if name not in listed]
    if unknown or not metrics:
        raise UserError(
            f"task {config['task']}: metrics {', '.join(unknown) or '(none)'}; it lists "
            f"{', '.join(listed) or 'none'}"
        )
    return config | {"metric_list": [listed[name] for name in metrics]}


def _built(
    name: str,
    found: tuple[Definition, ...],
    configs: Sequence[dict[str, Any]],
    how: dict[str, Any],
) -> list[Any]:
    """The harness tasks; members of a group without local rows are left out, and named."""
    members, absent, reason = [], [], None
    for one, config in zip(found, configs, strict=True):
        try:
            members.append(build(config, **how))
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
            f"task {name}: {len(absent)} of its {len(found)} tasks have no rows in {how['data']} "
            f"and are left out ({shown})",
            stacklevel=3,
        )
    if len({m.OUTPUT_TYPE for m in members}) > 1:
        raise UserError(f"task {name}: its tasks are of several kinds; give them singly")
    if len({m.config.repeats for m in members}) > 1:
        raise UserError(f"task {name}: its tasks have several numbers of draws; give them singly")
    return members
