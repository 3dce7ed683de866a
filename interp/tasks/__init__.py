"""Tasks are lm-evaluation-harness tasks: which YAML a name means, and the rows it reads.

A task is named `world-facts:default` (shipped here, `BENCHMARK:PROTOCOL`), by any
lm-evaluation-harness task name, or by the path of a task YAML.
"""

import json
import logging
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from interp.errors import UserError
from interp.models import data_folder

SHIPPED = Path(__file__).parent
PROTOCOLS = ("default", "continuation", "generate")


@dataclass(frozen=True, eq=False)
class Task:
    """A benchmark under one protocol.

    Attributes:
        name: as the user gave it; the key in the store.
        harness: lm-evaluation-harness' own task object.
    """

    name: str
    harness: Any

    @property
    def benchmark(self) -> str:
        """The name without its protocol."""
        return self.name.rsplit(":", 1)[0] if self.name.endswith(PROTOCOLS) else self.name

    @property
    def protocol(self) -> str:
        """`default` (option letters), `continuation` (option texts) or `generate`."""
        suffix = self.name.rsplit(":", 1)[-1]
        if suffix in PROTOCOLS:
            return suffix
        return "generate" if self.generates else "continuation"

    @property
    def generates(self) -> bool:
        """Whether the model writes an answer (else its options are scored)."""
        return bool(self.harness.OUTPUT_TYPE == "generate_until")

    @property
    def version(self) -> str:
        """The version that the task's YAML gives itself."""
        return str(self.harness.VERSION)

    @property
    def num_fewshot(self) -> int:
        """Worked examples in front of each question."""
        return int(self.harness.config.num_fewshot or 0)

    def documents(self) -> list[dict[str, Any]]:
        """All rows of the evaluated split, in their order."""
        return list(self.harness.eval_docs)

    def __repr__(self) -> str:
        return f"Task({self.name}, {len(self.harness.eval_docs)} examples)"


def load_task(
    name: str | Path, *, num_fewshot: int | None = None, allow_code: bool = False
) -> Task:
    """A task by its name or the path of its YAML.

    Args:
        name: `world-facts:default`, a lm-evaluation-harness name, or a path ending in `.yaml`.
        num_fewshot: worked examples in the prompt; by default what the task says.
        allow_code: let a YAML from elsewhere run the Python functions that it names.

    Raises:
        UserError: no such task; its rows are missing; its YAML runs Python and may not.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    name, path = str(name), _yaml_of(str(name))
    trusted = path.is_relative_to(SHIPPED) or path.is_relative_to(_harness_folder())
    if not trusted and not allow_code:
        _refuse_code(path)
    try:
        config = load_yaml(path)
    except Exception as error:  # yaml and its functions raise anything
        raise UserError(f"task {name}: {path} is no task YAML ({_first_line(error)})") from error
    if "task" not in config or not isinstance(config.get("task"), str):
        raise UserError(f"task {name}: {path} names no single task (`task: NAME`)")
    if num_fewshot is not None:
        config["num_fewshot"] = num_fewshot
    return Task(config["task"] if path.suffix and name.endswith(".yaml") else name, _build(config))


def shipped_tasks() -> dict[str, Path]:
    """The tasks that come with the package: name to YAML."""
    found = {}
    for path in sorted(SHIPPED.rglob("*.yaml")):
        match = re.search(r"^task:\s*(\S+)\s*$", path.read_text(), re.MULTILINE)
        if match:
            found[match.group(1)] = path
    return found


def _build(config: dict[str, Any]) -> Any:
    import datasets
    from lm_eval.api.task import ConfigurableTask

    config = {key: value for key, value in config.items() if key not in ("class", "tag", "group")}
    files = (config.get("dataset_kwargs") or {}).get("data_files")
    if config.get("dataset_path") == "json" and isinstance(files, dict):
        rows = {split: _rows(str(file), config["task"]) for split, file in files.items()}

        class LocalTask(ConfigurableTask):
            """A task whose rows are read straight from local files, past the datasets cache."""

            def download(self, dataset_kwargs: Any = None, **kwargs: Any) -> None:
                self.dataset = {k: datasets.Dataset.from_list(v) for k, v in rows.items()}

        return _quietly(LocalTask, config)
    try:
        return _quietly(ConfigurableTask, config)
    except Exception as error:  # the hub, the datasets library and the task's code raise anything
        raise UserError(
            f"task {config['task']}: its data set {config.get('dataset_path')} could not be "
            f"loaded ({_first_line(error)})"
        ) from error


def _quietly(task_class: Any, config: dict[str, Any]) -> Any:
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        task = task_class(config=config)
    finally:
        log.setLevel(level)
    task.set_fewshot_seed(1234)
    return task


def _rows(file: str, task: str) -> list[dict[str, Any]]:
    """The rows of a JSONL file; paths that start with `data/` are those of the shipped data."""
    path = Path(file)
    if not path.is_file() and path.parts[0] == "data":
        path = data_folder().joinpath(*path.parts[1:])
    if not path.is_file():
        raise UserError(f"task {task}: its rows are missing ({file})")
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def _yaml_of(name: str) -> Path:
    if name in shipped_tasks():
        return shipped_tasks()[name]
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise UserError(f"task {name}: no such file")
        return path
    found = _harness_index().get(name)
    if found is None:
        raise UserError(
            f"task {name}: no such task; shipped are {', '.join(shipped_tasks())}, and any "
            "lm-evaluation-harness task or path of a task YAML is allowed"
        )
    return found


def _harness_folder() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


@cache
def _harness_index() -> dict[str, Path]:
    """Task names of the harness to their files, read as text: parsing 10,000 YAMLs takes long."""
    pattern = re.compile(r"^task:[ \t]*[\"']?([^\s\"'#]+)[\"']?[ \t]*$", re.MULTILINE)
    index: dict[str, Path] = {}
    for path in sorted(_harness_folder().rglob("*.yaml")):
        match = pattern.search(path.read_text(errors="replace"))
        if match:
            index.setdefault(match.group(1), path)
    return index


def _refuse_code(path: Path) -> None:
    text = path.read_text(errors="replace")
    if "!function" in text or re.search(r"^class:", text, re.MULTILINE):
        raise UserError(
            f"task {path}: it runs Python code (!function), which is allowed only for tasks of "
            "this package and of lm-evaluation-harness, or with allow_code=True"
        )
    for line in re.findall(r"^include:\s*(\S+)", text, re.MULTILINE):
        included = (path.parent / line).resolve()
        if included.is_file() and not included.is_relative_to(_harness_folder()):
            _refuse_code(included)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
