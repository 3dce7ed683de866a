"""Kinds of `fuzz.py` that take a whole request, drawn by a seeded generator.

What is tried goes through files, options and folders as a user's does, up to where a run would
begin. An input takes some ten milliseconds, one that loads a model a tenth of a second.
"""

import inspect
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from experiments.store.door_calls import TEXTS, copying_task
from experiments.store.plain_kinds import (
    EXPRESSIONS,
    Attempt,
    Check,
    Draw,
    ablation_text,
    anything,
    changed,
)

WORDS = ["", " ", "0", "1", "2", "-1", "1.5", "nan", "inf", "1e9", "9" * 30, "x", "x/y", "a=b",
         "\n", "\u0663", "\ud800", "\x00", "--", "-", "float16", "cpu", "meta", "1/2", "2/2",
         "0/1", "wording=2", "option-order=2", "fewshot-seed=2", "question", "gold", "png", "acc",
         "missing.yaml", "organism:none", "kv-0", "text:x"]  # fmt: skip
YAML_PIECES = ["task: x\n", "- ", "a: &a [*a]\n", "{", "}", "[", "]", "\t", "? ", ": ",
               "!!python/x", "!function x.f\n", "include: x.yaml\n", "include: bad.yaml\n",
               "%YAML 9\n", "---\n", "\x00", "\ud800", "'", '"', "<<: *x\n",
               "|\n x\n"]  # fmt: skip
CODE = ["!function evil.f", "!function 'evil.f'", "!function evil.f.x", "!function from.evil.f",
        "!!python/name:evil.f ''", "!!python/object/apply:evil.f []", "!!python/module:evil ''",
        "!<!function> evil.f", "&a !function evil.f", "!function &a evil.f", "!function [evil, f]",
        "!Function evil.f", "!e!tion evil.f", "!<!func%74ion> evil.f", "evil.f", "evil.py",
        "./evil.py", "!function evil"]  # fmt: skip
CODE_KEYS = ["process_docs", "doc_to_text", "doc_to_target", "doc_to_choice", "process_results",
             "aggregation", "class", "custom_dataset", "metadata", "filter_list", "metric_list",
             "fewshot_config", "generation_kwargs", "dataset_kwargs", "dataset_path", "unused",
             "use_prompt", "group", "tag"]  # fmt: skip
NESTED = ["{}", "[{}]", "[{{x: {}}}]", "{{deep: {}}}", "\n- {}", "{{? {} : x}}",
          "[{{metric: {}, aggregation: {}}}]", "[{{function: {}, filter: {}}}]"]  # fmt: skip
INCLUDES = ["", "", "include: missing.yaml\n", "include: code.yaml\n", "include: other.yaml\n",
            "include: [other.yaml]\n", "include: ../from-elsewhere/other.yaml\n"]  # fmt: skip
SETTINGS: list[Any] = [
    None,
    0,
    -1,
    1,
    2,
    6,
    "x",
    [],
    {},
    True,
    1.5,
    10**9,
    ["BertForMaskedLM"],
    [0],
]
NAMED_SETTINGS = ["num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads",
                  "vocab_size", "architectures", "model_type", "max_position_embeddings",
                  "tie_word_embeddings", "rope_theta", "head_dim", "pad_token_id", "eos_token_id",
                  "rope_parameters", "quantization_config", "auto_map", "text_config", "hidden_act",
                  "layer_types", "sliding_window", "dtype"]  # fmt: skip
NOT_DRAWN = {"model", "tasks", "ablations", "out", "ray"}
"""Parameters of `interp.sweep` that have kinds of their own, or wait for a cluster."""


def task_yamls(good: dict[str, Any]) -> Draw:
    """What draws a task's YAML: a good one with one to three changes, or pieces of YAML."""

    def draw(rng: random.Random) -> Any:
        if rng.random() < 0.2:
            return "".join(rng.choice(YAML_PIECES) for _ in range(rng.randint(0, 6)))
        value: Any = good
        for _ in range(rng.randint(1, 3)):
            value = changed(value, rng)
        if isinstance(value, dict) and rng.random() < 0.2:
            value = value | {rng.choice(["doc_to_text", "doc_to_choice"]): rng.choice(EXPRESSIONS)}
        return value

    return draw


def command_lines(model: str, task: str, run: str, out: str) -> Draw:
    """What draws words of the command line: every option of every command, with odd values.

    Args:
        model: a folder.
        task: YAML of a task.
        run: folder of a finished run.
        out: where results would go.

    Returns:
        A function that draws the words of one command.
    """
    from interp.cli.lm_eval import NAMES
    from interp.cli.program import _parser

    (commands,) = (dict(action.choices) for action in _parser()._actions if action.choices)
    options = {
        name: [o for a in parser._actions for o in a.option_strings if o not in ("-h", "--help")]
        for name, parser in commands.items()
        if name not in NAMES  # its options are those of another program
    }
    given = ["--tasks", task, "--limit", "1", "--out", out]
    good = {
        "sweep": ["sweep", model, "--ablate", "layer:1", *given],
        "knockout": ["knockout", model, "--keys", "first", "--windows", "1", *given],
        "show": ["show", run],
    }

    def draw(rng: random.Random) -> list[str]:
        name = rng.choice(["sweep", "sweep", "sweep", "knockout", "show", *options])
        words = list(good.get(name, [name]))
        for _ in range(rng.randint(1, 2)):
            words += [rng.choice(options[name] or ["x"])] if rng.random() < 0.9 else []
            words += [rng.choice([*WORDS, ablation_text(rng)]) for _ in range(rng.randint(0, 2))]
        if rng.random() < 0.2:
            del words[rng.randrange(len(words))]
        return words

    return draw


def code_texts(base: str) -> Draw:
    """What draws a YAML that names Python of `evil.py`, which lies beside it, or asks for it."""

    def draw(rng: random.Random) -> str:
        code = rng.choice(CODE)
        value = rng.choice(NESTED).format(code, code)
        head = "%TAG !e! !func\n---\n" if "!e!" in code or rng.random() < 0.1 else ""
        lines = [f"{rng.choice(CODE_KEYS)}: {value}\n", rng.choice(INCLUDES)]
        rng.shuffle(lines)
        whole = base if rng.random() < 0.8 else "task: x\n"
        return head + "".join([whole, *lines] if rng.random() < 0.8 else [*lines, whole])

    return draw


def option_values(rng: random.Random) -> dict[str, Any]:
    """One or two options of `interp.sweep`, with values of any type."""
    import interp

    names = sorted(set(inspect.signature(interp.sweep).parameters) - NOT_DRAWN)
    return {rng.choice(names): anything(rng) for _ in range(rng.randint(1, 2))}


def changed_rows(good: list[dict[str, Any]]) -> Draw:
    """What draws the rows of a task: good ones, of which up to three have another value."""

    def draw(rng: random.Random) -> list[Any]:
        rows: list[Any] = [dict(row) for row in good]
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(rows))
            field = rng.choice([*good[0], "new"])
            if not isinstance(rows[place], dict) or rng.random() < 0.1:
                rows[place] = anything(rng)
            elif rng.random() < 0.2:
                rows[place].pop(field, None)
            else:
                rows[place][field] = changed(rows[place].get(field), rng)
        return json.loads(json.dumps(rows, default=repr))

    return draw


def model_changes(names: list[str]) -> Draw:
    """What draws one to three changes of a model's tensors and configuration."""

    def draw(rng: random.Random) -> list[tuple[str, str, Any]]:
        found: list[tuple[str, str, Any]] = []
        for _ in range(rng.randint(1, 3)):
            if rng.random() < 0.5:
                what = rng.choice(["drop", "rename", "nan", "shape", "spare"])
                found.append((what, rng.choice(names), None))
            else:
                found.append(("config", rng.choice(NAMED_SETTINGS), rng.choice(SETTINGS)))
        return found

    return draw


def model_files(model: Path, folder: Path, attempt: Attempt) -> tuple[Draw, Check]:
    """Model folders of which one file is damaged: its bytes, or its JSON at any depth.

    Args:
        model: a good folder.
        folder: where the other is made.
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        What draws a damaged file, and what tries it.
    """
    import interp

    contents = {path.name: path.read_bytes() for path in sorted(model.iterdir())}
    parsed = {name: json.loads(c) for name, c in contents.items() if name.endswith(".json")}
    place = folder / "damaged-model"
    shutil.copytree(model, place)

    def draw(rng: random.Random) -> tuple[str, bytes | None]:
        name = rng.choice(sorted(contents))
        good, how = contents[name], rng.random()
        if name in parsed and how < 0.6:
            return name, json.dumps(changed(parsed[name], rng), default=repr).encode()
        at = rng.randrange(min(len(good), 2000))
        if how < 0.75:
            return name, good[:at] + bytes([good[at] ^ rng.randint(1, 255)]) + good[at + 1 :]
        if how < 0.9:
            return name, good[:at]
        return name, rng.randbytes(rng.randint(0, 200)) if how < 0.97 else None

    def check(drawn: tuple[str, bytes | None]) -> bool:
        name, content = drawn
        if content is None:
            (place / name).unlink()
        else:
            (place / name).write_bytes(content)
        accepted = attempt(lambda: interp.load_model(place, device="cpu"))
        (place / name).write_bytes(contents[name])
        return accepted

    return draw, check


def results(bridge: Any, folder: Path, attempt: Attempt) -> tuple[Draw, Check]:
    """Folders of a lens and of a similarity whose `result.json` says something else.

    Args:
        bridge: a model in memory.
        folder: the folder for the results.
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        What draws a damaged file, and what tries it.
    """
    import interp

    places = [folder / "damaged-lens", folder / "damaged-similarity"]
    interp.logit_lens(bridge, copying_task(), limit=2, out=places[0])
    interp.layer_similarity(bridge, TEXTS, out=places[1])
    good = [json.loads((place / "result.json").read_text()) for place in places]

    def draw(rng: random.Random) -> tuple[int, Any]:
        number = rng.randrange(len(good))
        return number, changed(good[number], rng)

    def check(drawn: tuple[int, Any]) -> bool:
        number, head = drawn
        file = places[number] / "result.json"
        file.write_text(json.dumps(head, default=repr))
        return attempt(lambda: interp.open_run(places[number]).summary())

    return draw, check


def kinds(
    bridge: Any,
    whole: dict[str, tuple[Any, Check]],
    planned: Callable[[Check], Check],
    paths: dict[str, Path],
    attempt: Attempt,
) -> dict[str, tuple[Draw, Check]]:
    """The kinds: name to what draws an input and what tries it.

    Args:
        bridge: a model in memory.
        whole: kinds whose good inputs are run; what tries them is used here, too.
        planned: makes of what tries an input one that runs nothing.
        paths: `model`, `small` (another, smaller), `task`, `run`, `out` and `folder` (for files).
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        Name of a kind to what draws an input and what tries it.
    """
    from safetensors.numpy import load_file

    from interp.records import MANIFEST

    text = {name: str(path) for name, path in paths.items()}
    good = json.loads((paths["run"] / MANIFEST).read_text())
    rows = [
        json.loads(row)
        for row in (paths["task"].parent / "rows.jsonl").read_text().split("\n")
        if row
    ]
    names = sorted(load_file(paths["small"] / "model.safetensors"))
    lines = command_lines(text["model"], text["task"], text["run"], text["out"])
    return {
        "task YAMLs, planned": (
            task_yamls(yaml.safe_load(paths["task"].read_text())), planned(whole["task YAMLs"][1])
        ),
        "command lines, planned": (lines, planned(whole["command lines"][1])),
        "rows, planned": (changed_rows(rows), planned(whole["rows"][1])),
        "option values, planned": (option_values, planned(whole["option values"][1])),
        "code, planned": (code_texts(paths["task"].read_text()), planned(whole["code"][1])),
        "model folders, drawn": (model_changes(names), whole["model folders"][1]),
        "results, shown": results(bridge, paths["folder"], attempt),
        "model files": model_files(paths["small"], paths["folder"], attempt),
        "manifests, shown": (lambda rng: changed(good, rng), whole["manifests"][1]),
    }  # fmt: skip
