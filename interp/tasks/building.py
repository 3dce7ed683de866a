"""lm-evaluation-harness' own task objects, with rows from where the user has them.

Prompts, filters and metrics are the harness'. What differs is in `interp.tasks.fixed`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import UserError, first_line
from interp.tasks.fixed import FEWSHOT_SEED, evaluated_split, fixed_task
from interp.tasks.names import Definition, split_name
from interp.tasks.rows import FileRows, local_rows, shipped_rows
from interp.tasks.templates import close_templates

SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class NoRows(UserError):
    """The folder that the user gave holds no rows of the task."""


LONGEST_PATH = 255
"""Characters of the name of a data set; file systems take no longer names."""


def read_config(definition: Definition, asked: str) -> dict[str, Any]:
    """The configuration of a task, its includes merged and its functions resolved.

    Returns:
        lm-evaluation-harness keys to their values.

    Raises:
        UserError: the file is no task YAML, or names no single task.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        config = dict(load_yaml(definition.path)) | dict(definition.overrides)
    except Exception as error:  # yaml and the functions that it names raise anything
        raise UserError(
            f"task {asked}: {definition.path} is no task YAML ({first_line(error)})"
        ) from error
    if not isinstance(config.get("task"), str) or not config["task"].strip():
        raise UserError(f"task {asked}: {definition.path} names no single task (`task: NAME`)")
    rows = config.get("dataset_path")
    if rows is not None and (not isinstance(rows, str) or not 0 < len(rows) <= LONGEST_PATH):
        raise UserError(
            f"task {asked}: {definition.path}: dataset_path {rows!r:.60} is no name of a data set"
        )
    for key in ("dataset_kwargs", "metadata"):
        if not isinstance(config.get(key) or {}, dict):
            raise UserError(f"task {asked}: {definition.path}: {key} is no mapping")
    return config


def build(
    config: dict[str, Any],
    *,
    num_fewshot: int | None = None,
    fewshot_seed: int = FEWSHOT_SEED,
    data: Path | None = None,
    made: dict[str, Sequence[dict[str, Any]]] | None = None,
) -> Any:
    """The harness' task object of one configuration.

    Args:
        config: from `read_config`.
        num_fewshot: few-shot examples in the prompt; by default what the task says.
        fewshot_seed: the seed of the choice of these examples.
        data: folder with rows; by default the hub's.
        made: rows by split, where they are neither the hub's nor in files.

    Returns:
        A task object of lm-evaluation-harness, or of the class that the configuration names.

    Raises:
        NoRows: the folder holds no rows of the task.
        UserError: the data set cannot be loaded, or lacks the split with few-shot examples.
    """
    config = {k: v for k, v in config.items() if k not in ("tag", "group", "task_list")}
    base = config.pop("class", None)
    if num_fewshot is not None:
        config["num_fewshot"] = num_fewshot
    rows: Any = _given_rows(config, data) if made is None else made
    if rows is not None:
        config = _without_absent_splits(config, rows)
    _refuse_examples_from_the_questions(config)
    close_templates()
    try:
        with _quiet():
            harness = fixed_task(base, config, rows, fewshot_seed)
    except UserError:
        raise
    except Exception as error:  # the hub, the datasets library and the task's code raise anything
        if rows is not None:
            reason = f"its local rows lack something ({first_line(error)})"
            raise UserError(f"task {config['task']}: {reason}") from error
        raise UserError(
            f"task {config['task']}: its data set {config.get('dataset_path')} could not be loaded "
            f"({first_line(error)}); without the hub, give --data DIR with "
            f"{_wanted(config, evaluated_split(config))}"
        ) from error
    # rows that come with the task are not looked for in the folder
    harness.used_data = made is None and data is not None and not _own_files(config)
    return harness


def _given_rows(config: dict[str, Any], data: Path | None) -> dict[str, FileRows] | None:
    """Rows by split from local files; None where the hub is to be asked."""
    if files := _own_files(config):
        return {split: shipped_rows(file, config["task"]) for split, file in files.items()}
    if data is None:
        return None
    wanted = {str(config[key]) for key in SPLITS if config.get(key)}
    wanted |= {str(s) for s in [(config.get("fewshot_config") or {}).get("split")] if s}
    names, place = _data_names(config), config.get("dataset_name")
    place = str(place) if place else None
    by_split = {split: local_rows(data, names, place, split) for split in sorted(wanted)}
    rows = {split: split_rows for split, split_rows in by_split.items() if split_rows}
    if evaluated_split(config) not in rows:
        raise NoRows(
            f"task {config['task']}: no rows in {data}; give "
            f"{_wanted(config, evaluated_split(config))}"
        )
    return rows


def _own_files(config: Mapping[str, Any]) -> dict[str, str]:
    """The local JSON files that a task names for its splits; empty where it names none."""
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    if config.get("dataset_path") != "json" or not isinstance(files, dict):
        return {}
    named = {str(split): str(file) for split, file in files.items()}
    return {} if any("://" in file for file in named.values()) else named


def _without_absent_splits(config: dict[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without splits that have no rows; refused where examples need them.

    Without this the harness would quietly take its few-shot examples from the next split there is.
    """
    fewshot = dict(config.get("fewshot_config") or {})
    source = fewshot.get("split") or config.get("fewshot_split")
    if not source and not fewshot.get("samples"):
        source = config.get("training_split") or config.get("validation_split")
    if config.get("num_fewshot") and source and source not in rows:
        raise UserError(
            f"task {config['task']}: {config['num_fewshot']} few-shot examples come from split "
            f"{source}, which has no rows; give {_wanted(config, str(source))}"
        )
    kept = {k: v for k, v in config.items() if k not in SPLITS or v in rows}
    if fewshot.get("split") and fewshot["split"] not in rows:
        kept["fewshot_config"] = {k: v for k, v in fewshot.items() if k != "split"}
    return kept


def _refuse_examples_from_the_questions(config: Mapping[str, Any]) -> None:
    """Refuse few-shot examples where only the asked rows could give them.

    The harness then draws them from the asked rows, the asked one among them.
    """
    fewshot = config.get("fewshot_config") or {}
    named = [config.get(k) for k in ("fewshot_split", "training_split", "validation_split")]
    other = fewshot.get("split") or fewshot.get("samples") or any(named)
    if config.get("num_fewshot") and not other:
        raise UserError(
            f"task {config['task']}: {config['num_fewshot']} few-shot examples; it has no split "
            f"but {evaluated_split(config)}, whose rows are asked"
        )


def _data_names(config: Mapping[str, Any]) -> list[str]:
    """What the data of a task may be called, best first: benchmark, hub, file of the hub."""
    benchmark = split_name(str(config["task"]))[0]
    hub = str(config.get("dataset_path") or "").rpartition("/")[2]
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    named = [str(f) for f in files.values()] if isinstance(files, dict) else []
    stems = [file.rpartition("/")[2].split(".")[0] for file in named]
    return list(dict.fromkeys(n for n in (*stems, benchmark, hub) if n and n != "json"))


def _wanted(config: Mapping[str, Any], split: str) -> str:
    """An example of the file that would be read, for messages."""
    names, place = _data_names(config), config.get("dataset_name")
    inside = f"{place}/" if place else ""
    return f"{names[-1]}/{inside}{split}.jsonl (or .csv, .parquet; the hub's field names)"


@contextmanager
def _quiet() -> Iterator[None]:
    """The harness warns of what is asked for on purpose; data sets show bars of no interest."""
    import datasets

    log = logging.getLogger("lm_eval")
    level, bars = log.level, datasets.are_progress_bars_disabled()
    log.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if not bars:
            datasets.enable_progress_bars()
