"""What a task YAML from elsewhere may do: describe a task, and run no Python.

lm-evaluation-harness runs Python for a YAML in three ways: functions and classes that it names
(`!function`), metrics that it does not know (it asks the library `evaluate`, which runs the file of
that name), and templates, whose expressions reach Python's own attributes. The first two are
refused; the third is closed for every task, ours too.
"""

from pathlib import Path
from typing import Any

import yaml

from interp.errors import UserError, first_line

FUNCTION = "!function"
# the parser that the harness reads with
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def refuse_code(path: Path, trusted: tuple[Path, ...]) -> None:
    """Refuse a task YAML that runs Python, itself or in a file that it includes.

    Args:
        path: of the YAML.
        trusted: folders whose files may run what they like.

    Raises:
        UserError: it does, or it is no YAML.
    """
    _refuse(path.resolve(), tuple(folder.resolve() for folder in trusted), set())


def refuse_code_below(folder: Path, trusted: tuple[Path, ...]) -> None:
    """Refuse a folder of which any task YAML runs Python.

    Files that are no YAML of the harness' are left out here, as the harness leaves them out.

    Args:
        folder: with everything below it.
        trusted: as for `refuse_code`.

    Raises:
        UserError: a file does.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    for path in sorted(folder.rglob("*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except Exception:  # what cannot be read cannot be run either
            continue
        refuse_code(path, trusted)


def close_templates() -> None:
    """Let templates of the harness read rows, and nothing of Python behind them.

    Rendering gives the same text; a template that asks for a private attribute fails instead.
    """
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    if not isinstance(utils.env, SandboxedEnvironment):
        closed = SandboxedEnvironment(
            loader=utils.env.loader,
            undefined=utils.env.undefined,
            keep_trailing_newline=utils.env.keep_trailing_newline,
        )
        closed.filters.update(utils.env.filters)
        utils.env = closed


def _refuse(path: Path, trusted: tuple[Path, ...], seen: set[Path]) -> None:
    if path in seen or any(path.is_relative_to(folder) for folder in trusted):
        return
    seen.add(path)
    from lm_eval.tasks._yaml_loader import load_yaml

    try:
        # tags are read as YAML reads them: it has more than one way to write each
        runs = _names_function(yaml.compose(path.read_bytes(), Loader=LOADER))
        config = load_yaml(path, resolve_func=False, recursive=False)
    except (yaml.YAMLError, OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"task {path}: it is no task YAML ({first_line(error)})") from error
    what = "!function" if runs else _other_code(config)
    if what:
        raise UserError(
            f"task {path}: it runs Python code ({what}), which is allowed only for tasks of this "
            "package and of lm-evaluation-harness, or with --allow-code (in Python "
            "interp.load_task(PATH, allow_code=True))"
        )
    included = config.get("include") or []
    for name in included if isinstance(included, list) else [included]:
        _refuse((path.parent / str(name)).resolve(), trusted, seen)


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
    inner = [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []
    return next((found for found in map(_other_code, inner) if found), None)
