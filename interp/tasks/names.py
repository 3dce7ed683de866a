"""Which YAML files a task's name stands for: shipped ones, the harness', groups, tags, paths.

The harness keeps 14,000 task files, which take it many seconds to index. A name is looked for in
the folders whose own name it begins with (`mmlu_anatomy` in `mmlu`), and in all others only then.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from interp.errors import UserError, home_expanded

SHIPPED = Path(__file__).parent
"""The folder of the tasks that come with the package."""
PROTOCOLS = ("default", "continuation", "generate")
# how the harness' own names say the protocol: `mmlu`, `mmlu_continuation`, `mmlu_generative`
ENDINGS = {"default": ("",), "continuation": ("_continuation", ""), "generate": ("_generative", "")}
# the harness' own definitions of the study's benchmarks, and the protocols that they are of
BENCHMARKS = {
    "mmlu": PROTOCOLS,
    "hellaswag": ("continuation",),
    "mathqa": ("continuation",),
    "openbookqa": ("continuation",),
    "arc_easy": ("continuation",),
    "arc_challenge": ("continuation",),
    "gsm8k": ("generate",),
    "winogrande": ("continuation",),
    "piqa": ("continuation",),
    "boolq": ("continuation",),
    "nq_open": ("generate",),
}
NAMED = re.compile(
    r"^[\"']?(?:task|group)[\"']?:[ \t]*[\"']?([^\s\"'#\[]+)[\"']?[ \t]*(?:#.*)?$", re.M
)


@dataclass(frozen=True)
class Definition:
    """One task of the harness, as a file.

    Attributes:
        name: the name that the task is known by; empty where only its file says it.
        path: the path of the YAML.
        overrides: what the group that it was found through changes in it.
    """

    name: str
    path: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)


def split_name(name: str) -> tuple[str, str | None]:
    """Benchmark and protocol of a name; None where the name does not end in a protocol."""
    benchmark, colon, protocol = name.rpartition(":")
    return (benchmark, protocol) if colon and protocol in PROTOCOLS else (name, None)


def definitions(name: str) -> tuple[Definition, ...]:
    """The harness tasks that a name stands for: one, or the members of a group, in its order.

    Returns:
        One entry per task: its name, or an empty name with the path of a YAML.

    Raises:
        UserError: no such task or file; a group whose members have no common score.
    """
    if not any(c.isalnum() for c in name):
        raise UserError(f"task {name!r}: it names no task; allowed are the tasks of `interp tasks`")
    if name in shipped_tasks():
        return (Definition(name, shipped_tasks()[name]),)
    if name.endswith((".yaml", ".yml")):
        path = home_expanded("task", name)
        if not path.is_file():
            raise UserError(f"task {name}: no such file")
        return (Definition("", path.resolve()),)
    benchmark, protocol = split_name(name)
    tried = [name] if protocol is None else [benchmark + end for end in ENDINGS[protocol]]
    for candidate in tried:
        if _file_of(candidate) is not None or _tagged(candidate):
            return _members(candidate, name)
    allowed = [p for p in PROTOCOLS if f"{benchmark}:{p}" in shipped_tasks()]
    if allowed:
        raise UserError(
            f"task {name}: shipped are {', '.join(f'{benchmark}:{p}' for p in allowed)}"
        )
    raise UserError(
        f"task {name}: no such task{_did_you_mean(name)}; allowed are the tasks of `interp tasks`, "
        "any lm-evaluation-harness task and the path of a task YAML"
    )


@cache
def shipped_tasks() -> dict[str, Path]:
    """The tasks that come with the package: name to YAML.

    Returns:
        Sorted by name.
    """
    paths = {}
    for path in sorted(SHIPPED.rglob("*.yaml")):
        name = _name_in(path)
        if name:
            paths[name] = path
    return paths


def harness_folder() -> Path:
    """Where lm-evaluation-harness keeps its task files.

    Returns:
        A folder of the installed package `lm_eval`.
    """
    import importlib.util

    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tasks"


def _name_in(path: Path) -> str | None:
    match = NAMED.search(path.read_text(encoding="utf-8"))
    return match.group(1) if match else None


def _did_you_mean(name: str) -> str:
    """The known names that are spelt most like a mistyped one, as part of a message."""
    benchmark, protocol = split_name(name)
    known = [f"{benchmark}:{protocol}" if protocol else benchmark for benchmark in BENCHMARKS]
    known += [*shipped_tasks(), *(one for folder in _folders() for one in _names_in(folder))]
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    nearest += difflib.get_close_matches(benchmark, BENCHMARKS, n=3, cutoff=0.75)
    return f"; did you mean {' or '.join(dict.fromkeys(nearest[:3]))}?" if nearest else ""


@cache
def _names_in(folder: Path) -> dict[str, Path]:
    """Task and group names of the files in one folder, read as text: parsing takes far longer."""
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.yaml"), key=lambda p: p.as_posix()):
        for name in NAMED.findall(path.read_text(encoding="utf-8", errors="replace")):
            files.setdefault(name, path)
    return files


@cache
def _folders() -> tuple[Path, ...]:
    return tuple(sorted(p for p in harness_folder().iterdir() if p.is_dir() and p.name[0] != "_"))


@cache
def _file_of(name: str) -> Path | None:
    """The harness' file that defines a task or a group."""
    if not re.fullmatch(r"[\w.:+\- ]{1,200}", name):
        return None
    likely = [f for f in _folders() if name.startswith(f.name)]
    for folder in (*sorted(likely, key=lambda f: -len(f.name)), *_folders()):
        file = _names_in(folder).get(name)
        if file is not None:
            return file
    return None


@cache
def _tagged(tag: str) -> tuple[str, ...]:
    """The names of the harness tasks that carry a tag, sorted as the harness sorts them."""
    names = set()
    for folder in _folders():
        # a file may have its tags from one that it includes
        if any(
            tag in path.read_text(encoding="utf-8", errors="replace")
            for path in folder.rglob("*.yaml")
        ):
            for name, path in _names_in(folder).items():
                config = _parsed(path)
                if tag in _tags(config) and "task" in config:
                    names.add(name)
    return tuple(sorted(names))


def _parsed(path: Path) -> dict[str, Any]:
    from lm_eval.tasks._yaml_loader import load_yaml

    return dict(load_yaml(path, resolve_func=False))


def _members(name: str, asked: str) -> tuple[Definition, ...]:
    path = _file_of(name)
    if path is None:
        listed = ", ".join(_tagged(name))
        raise UserError(f"task {asked}: a tag of several tasks; give them singly: {listed}")
    config = _parsed(path)
    if "group" not in config or config["group"] != name:
        return (Definition(name, path),)
    members = tuple(_leaves(config, {}, path))
    weights = [m.get("weight_by_size", True) for m in config.get("aggregate_metric_list") or []]
    if not weights or not all(weights):
        raise UserError(
            f"task {asked}: a group whose tasks have no common score weighted by size; give them "
            f"singly: {', '.join(one.name for one in members)}"
        )
    return members


def _leaves(config: dict[str, Any], overrides: dict[str, Any], path: Path) -> list[Definition]:
    """The tasks of a group, by the rules of the harness' own factory (groups, tags, overrides)."""
    leaves: list[Definition] = []
    for item in config["task"] if isinstance(config["task"], list) else [config["task"]]:
        inner = dict(item) if isinstance(item, dict) else {}
        if "group" in inner and _file_of(str(inner["group"])) is None:
            leaves += _leaves(inner, overrides, path)
            continue
        name = str(inner.get("group") or inner.get("task") or item)
        changed = overrides | {k: v for k, v in inner.items() if k not in ("group", "task")}
        file = _file_of(name)
        if file is None:
            names = _tagged_near(name, path)
            if not names:
                raise UserError(f"task {name}: a group in {path} names it, and it was not found")
            leaves += [Definition(one, _known(one), changed) for one in names]
        elif _parsed(file).get("group") == name:
            leaves += _leaves(_parsed(file), changed, file)
        else:
            leaves.append(Definition(name, file, changed))
    return leaves


def _tagged_near(tag: str, path: Path) -> tuple[str, ...]:
    """Tasks with a tag in the same top folder as the group, else anywhere."""
    top = harness_folder() / path.relative_to(harness_folder()).parts[0]
    near = sorted(name for name, file in _names_in(top).items() if tag in _own_tags(file))
    return tuple(near) or _tagged(tag)


@cache
def _own_tags(path: Path) -> tuple[str, ...]:
    from lm_eval.tasks._yaml_loader import load_yaml

    return _tags(load_yaml(path, resolve_func=False, recursive=False))


def _tags(config: Mapping[str, Any]) -> tuple[str, ...]:
    tags = config.get("tag") or ()
    return (tags,) if isinstance(tags, str) else tuple(tags)


def _known(name: str) -> Path:
    path = _file_of(name)
    assert path is not None
    return path
