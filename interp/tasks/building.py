"""lm-evaluation-harness' own task objects, with rows from where the user has them.

Prompts, filters and metrics are the harness'. Two things differ from building a task there: rows
may come from local files, and the worked examples in front of a row depend on that row alone.
The harness draws them from one random stream while it walks through the rows from the first to
the last; here the whole walk is drawn once, so that a row gets the same examples as there
whichever rows are asked for, in whatever order, by whichever process.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interp.errors import UserError, first_line
from interp.tasks.names import Definition, split_name
from interp.tasks.rows import Rows, local_rows, shipped_rows
from interp.tasks.trust import close_templates

# the seed of worked examples in lm_eval.simple_evaluate
FEWSHOT_SEED = 1234
SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


class NoRows(UserError):
    """The folder that the user gave holds no rows of the task."""


def read_config(definition: Definition, asked: str) -> dict[str, Any]:
    """The configuration of a task, its includes merged and its functions resolved.

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
    if not isinstance(config.get("task"), str):
        raise UserError(f"task {asked}: {definition.path} names no single task (`task: NAME`)")
    for key in ("dataset_kwargs", "metadata"):
        if not isinstance(config.get(key) or {}, dict):
            raise UserError(f"task {asked}: {definition.path}: {key} is no mapping")
    return config


def build(
    config: dict[str, Any],
    *,
    num_fewshot: int | None = None,
    data: Path | None = None,
    made: dict[str, Rows] | None = None,
) -> Any:
    """The harness' task object of one configuration.

    Args:
        config: from `read_config`.
        num_fewshot: worked examples in the prompt; by default what the task says.
        data: folder with rows; by default the hub's.
        made: rows by split, where they are neither the hub's nor in files.

    Raises:
        NoRows: the folder holds no rows of the task.
        UserError: the data set cannot be loaded, or lacks the split with worked examples.
    """
    config = {k: v for k, v in config.items() if k not in ("tag", "group", "task_list")}
    base = config.pop("class", None)
    if num_fewshot is not None:
        config["num_fewshot"] = num_fewshot
    rows = _given_rows(config, data) if made is None else made
    if rows is not None:
        config = _without_absent_splits(config, rows)
    _refuse_examples_from_the_questions(config)
    close_templates()
    try:
        with _quiet():
            harness = _task_class(base, rows)(config=config)
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
    harness.set_fewshot_seed(FEWSHOT_SEED)
    return harness


def evaluated_split(config: Mapping[str, Any]) -> str:
    """The split whose rows are asked: the test split where there is one."""
    return str(config.get("test_split") or config.get("validation_split"))


def _task_class(base: Any, rows: dict[str, Rows] | None) -> Any:
    import datasets
    from lm_eval.api.task import ConfigurableTask

    parent = base or ConfigurableTask

    class FixedTask(parent):  # type: ignore[misc, valid-type]
        """The harness' task, its rows made once and its worked examples fixed for each row."""

        def __init__(self, config: Any = None) -> None:
            self._rows_made: list[dict[str, Any]] | None = None
            super().__init__(config=config)
            self._rows_made = [dict(row) for row in super().eval_docs]
            self._places = {id(row): place for place, row in enumerate(self._rows_made)}
            self._drawn: dict[int, list[list[Any]]] = {}

        def __setstate__(self, state: dict[str, Any]) -> None:
            # a copy in another process has rows of other identities
            self.__dict__.update(state)
            self._places = {id(row): place for place, row in enumerate(self._rows_made or ())}

        def download(self, dataset_kwargs: Any = None, **kwargs: Any) -> None:
            if rows is None:
                super().download(dataset_kwargs, **kwargs)
                return
            self.dataset = {k: datasets.Dataset.from_list(v) for k, v in rows.items()}

        def holds(self, doc: Any) -> bool:
            """Whether a row is one of its own, and not only equal to one."""
            return id(doc) in self._places

        @property
        def eval_docs(self) -> Any:
            return super().eval_docs if self._rows_made is None else self._rows_made

        def fewshot_context(self, doc: Any, num_fewshot: int, *args: Any, **kwargs: Any) -> Any:
            if not num_fewshot or not hasattr(self, "sampler"):
                return super().fewshot_context(doc, num_fewshot, *args, **kwargs)
            if num_fewshot not in self._drawn:
                self._drawn[num_fewshot] = self._draw(num_fewshot)
            place = self._places.get(id(doc))
            place = self._rows_made.index(doc) if place is None else place  # type: ignore[union-attr]
            with _given(self.sampler, self._drawn[num_fewshot][place]):
                return super().fewshot_context(doc, num_fewshot, *args, **kwargs)

        def _draw(self, num_fewshot: int) -> list[list[Any]]:
            inside = self.fewshot_cfg.split == self.config.test_split
            self.sampler.set_rnd(FEWSHOT_SEED)
            try:
                return [
                    list(self.sampler.sample(n=num_fewshot, eval_doc=row if inside else None))
                    for row in self._rows_made or ()
                ]
            except (AssertionError, ValueError) as error:
                raise UserError(
                    f"task {self.config.task}: {num_fewshot} worked examples; split "
                    f"{self.fewshot_cfg.split or 'for them'} has fewer ({first_line(error)})"
                ) from error

    return FixedTask


@contextmanager
def _given(sampler: Any, examples: list[Any]) -> Iterator[None]:
    sampler.sample = lambda *_args, **_kwargs: examples
    try:
        yield
    finally:
        del sampler.sample


def _given_rows(config: dict[str, Any], data: Path | None) -> dict[str, Rows] | None:
    """Rows by split from local files; None where the hub is to be asked."""
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    local = config.get("dataset_path") == "json"
    if local and isinstance(files, dict) and not any("://" in str(file) for file in files.values()):
        return {split: shipped_rows(str(file), config["task"]) for split, file in files.items()}
    if data is None:
        return None
    wanted = {str(config[key]) for key in SPLITS if config.get(key)}
    wanted |= {str(s) for s in [(config.get("fewshot_config") or {}).get("split")] if s}
    names, place = _data_names(config), config.get("dataset_name")
    place = str(place) if place else None
    found = {split: local_rows(data, names, place, split) for split in sorted(wanted)}
    rows = {split: some for split, some in found.items() if some}
    if evaluated_split(config) not in rows:
        raise NoRows(
            f"task {config['task']}: no rows in {data}; give "
            f"{_wanted(config, evaluated_split(config))}"
        )
    return rows


def _without_absent_splits(config: dict[str, Any], rows: dict[str, Rows]) -> dict[str, Any]:
    """The configuration without splits that have no rows; refused where worked examples need them.

    Without this the harness would quietly take its worked examples from the next split there is.
    """
    fewshot = dict(config.get("fewshot_config") or {})
    source = fewshot.get("split") or config.get("fewshot_split")
    if not source and not fewshot.get("samples"):
        source = config.get("training_split") or config.get("validation_split")
    if config.get("num_fewshot") and source and source not in rows:
        raise UserError(
            f"task {config['task']}: {config['num_fewshot']} worked examples come from split "
            f"{source}, which has no rows; give {_wanted(config, str(source))}"
        )
    kept = {k: v for k, v in config.items() if k not in SPLITS or v in rows}
    if fewshot.get("split") and fewshot["split"] not in rows:
        kept["fewshot_config"] = {k: v for k, v in fewshot.items() if k != "split"}
    return kept


def _refuse_examples_from_the_questions(config: Mapping[str, Any]) -> None:
    """Refuse worked examples where only the asked rows could give them.

    The harness then draws them from the asked rows, the asked one among them.
    """
    fewshot = config.get("fewshot_config") or {}
    named = [config.get(k) for k in ("fewshot_split", "training_split", "validation_split")]
    other = fewshot.get("split") or fewshot.get("samples") or any(named)
    if config.get("num_fewshot") and not other:
        raise UserError(
            f"task {config['task']}: {config['num_fewshot']} worked examples; it has no split but "
            f"{evaluated_split(config)}, whose rows are asked"
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
