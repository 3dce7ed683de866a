"""What a task YAML from elsewhere may do: describe a task, and run no Python.

lm-evaluation-harness runs Python for a YAML in three ways: functions and classes that it names
(`!function`), metrics that it does not know (it asks the library `evaluate`, which runs the file of
that name), and templates, whose expressions reach Python's own attributes (closed for every task:
`interp.tasks.templates`). It also reads and writes files: rows from any file, and tables of the
library `datasets` in any folder. A YAML from elsewhere is refused where it asks for any of these.
"""

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from interp.errors import UserError, first_line

FUNCTION = "!function"
# the parser that the harness reads with
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_NODES = 100_000
"""Values in one YAML, each alias counted as what it stands for."""

READERS = ("json", "csv", "parquet", "arrow")
"""Formats of rows that the library `datasets` reads from local files, and reads nothing else as."""

ROW_FILES = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow")
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
# options of the library `datasets` that write, or that send what the machine knows
FILE_OPTIONS = ("cache_dir", "download_config", "save_infos", "storage_options", "token")


def refuse_code(path: Path, trusted: tuple[Path, ...]) -> None:
    """Refuse a task YAML that runs Python, itself or in a file that it includes.

    Args:
        path: the path of the YAML.
        trusted: folders whose files may run what they like.

    Raises:
        UserError: it does, or it is no YAML.
    """
    _refuse(path.resolve(), tuple(folder.resolve() for folder in trusted), set())


def refuse_code_below(folder: Path, trusted: tuple[Path, ...]) -> None:
    """Refuse a folder of which any YAML runs Python, or cannot be read.

    A file that cannot be parsed here might still be run by another parser.

    Args:
        folder: the folder with everything below it.
        trusted: as for `refuse_code`.

    Raises:
        UserError: a file does, or cannot be read.
    """
    for path in sorted(folder.rglob("*.yaml")):
        refuse_code(path, trusted)


def _refuse(path: Path, trusted: tuple[Path, ...], seen: set[Path]) -> None:
    if path in seen or any(path.is_relative_to(folder) for folder in trusted):
        return
    seen.add(path)
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        # tags are read as YAML reads them: it has more than one way to write each
        node = yaml.compose(path.read_bytes(), Loader=LOADER)
        if _names_function(node):
            raise UserError(_refusal(path, "runs Python code (!function)"))
        if _size(node, {}) > MOST_NODES:
            raise UserError(f"task {path}: it holds more than {MOST_NODES:,} values")
        config = load_yaml(path, resolve_func=False, recursive=False)
    except (yaml.YAMLError, OSError, ValueError, TypeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"task {path}: it is no task YAML ({first_line(error)})") from error
    if found := _other_code(config):
        raise UserError(_refusal(path, f"runs Python code ({found})"))
    if found := _files(config):
        raise UserError(_refusal(path, found))
    included = config.get("include") or []
    for name in included if isinstance(included, list) else [included]:
        _refuse((path.parent / str(name)).resolve(), trusted, seen)


def _refusal(path: Path, what: str) -> str:
    return (
        f"task {path}: it {what}, which is allowed only for tasks of this package and of "
        "lm-evaluation-harness, or with --allow-code (in Python interp.load_task(PATH, "
        "allow_code=True))"
    )


def _size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Values below a node; an alias counts as what it stands for, one that leads back is refused.

    Raises:
        ValueError: an alias leads back to a node that it is in.
    """
    if node is None:
        return 0
    if id(node) in known:
        if known[id(node)] < 0:
            raise ValueError("an alias leads back to where it stands")
        return known[id(node)]
    known[id(node)] = -1
    inner: Iterable[yaml.Node] = ()
    if isinstance(node, yaml.MappingNode):
        inner = (part for pair in node.value for part in pair)
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    # one more than allowed is enough to know
    known[id(node)] = min(1 + sum(_size(part, known) for part in inner), MOST_NODES + 1)
    return known[id(node)]


def _names_function(node: yaml.Node | None, seen: set[int] | None = None) -> bool:
    """Whether a function is named anywhere below a node; aliases may lead back."""
    seen = set() if seen is None else seen
    if node is None or id(node) in seen:
        return False
    seen.add(id(node))
    if node.tag == FUNCTION:
        return True
    inner: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = list(node.value)
    return any(_names_function(part, seen) for part in inner)


def _other_code(config: dict[str, Any]) -> str | None:
    """A class of its own, or a metric that the harness would look for elsewhere.

    Also in the tasks that a group describes in place.
    """
    from lm_eval.api import metrics  # noqa: F401  they enter the registry when they are imported
    from lm_eval.api.registry import metric_registry

    if "class" in config:
        return "class"
    wanted = config.get("metric_list")
    for metric in wanted if isinstance(wanted, list) else []:
        if isinstance(metric, dict) and "metric" in metric:
            name = metric["metric"]
            known = isinstance(name, str) and name in metric_registry
            if not known or metric.get("hf_evaluate") is True:
                return f"metric {name}"
    members = config.get("task")
    inner = (
        [item for item in members if isinstance(item, dict)] if isinstance(members, list) else []
    )
    return next((found for found in map(_other_code, inner) if found), None)


def _files(config: dict[str, Any]) -> str | None:
    """What a configuration reads or writes besides files of rows, as part of a message.

    Also in the tasks that a group describes in place.
    """
    reader, options = config.get("dataset_path"), config.get("dataset_kwargs")
    options = options if isinstance(options, dict) else {}
    if reader not in (None, *READERS) and _reads_files(str(reader)):
        return f"reads files of any kind as rows (dataset_path: {reader})"
    for name in FILE_OPTIONS:
        if name in options:
            return f"tells the library `datasets` where files are kept (dataset_kwargs: {name})"
    for file in _strings(options.get("data_files")):
        plain = file.lower()
        for ending in PACKED:
            plain = plain.removesuffix(ending)
        if reader in READERS and "://" not in plain and not plain.endswith(ROW_FILES):
            return f"reads rows from {file} (allowed are {', '.join(ROW_FILES)})"
    members = config.get("task")
    inner = (
        [item for item in members if isinstance(item, dict)] if isinstance(members, list) else []
    )
    return next((found for found in map(_files, inner) if found), None)


@cache
def _reads_files(reader: str) -> bool:
    """Whether the library `datasets` takes a name for a format of files, or for a folder."""
    spec = importlib.util.find_spec("datasets")
    assert spec is not None
    assert spec.origin is not None
    formats = Path(spec.origin).parent.glob("packaged_modules/*/__init__.py")
    # compared by name: what a stranger wrote may be no name that a file can have
    return reader.startswith((".", "/", "~")) or reader in {path.parent.name for path in formats}


def _strings(value: Any) -> list[str]:
    """All texts in nested lists and mappings."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [] if value is None else [str(value)]
