"""Presets of the experiments: models by role, tasks by question, examples, device.

A preset is a value: `study` with one line changed is the study of another model. From the shell,
`--model NAME` (or `--model base=NAME distilled=OTHER`) changes that line.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from interp.tasks import Task

ROLES = {
    "base": "the model that is studied",
    "other": "a second model, for what is asked of two",
    "distilled": "of the shape of `base`; reasoning was distilled into it",
    "teacher": "of the shape of `base`; what `distilled` was taught by",
}
QUESTIONS = (
    "protocols", "forms", "options", "retrieval", "passage", "reasoning", "skills", "pairs",
)  # fmt: skip
PASSAGES = Path(__file__).parent / "passages"
RUNS = Path("runs/experiments")


@lru_cache(maxsize=2)
def loaded(name: str, dtype: str, device: str | None) -> "TransformerBridge":
    """A loaded model; the last two stay in memory, because swaps need two."""
    import interp

    return interp.load_model(name, dtype=dtype, device=device)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Models, tasks and sizes of all experiments.

    Attributes:
        name: `organisms`, `first-world`, `study`, or your own.
        models: for each role (`ROLES`) a name for `interp.load_model`. Only `base` is required;
            experiments that need another role are left out, and say so.
        tasks: for each question (`QUESTIONS`) names for `interp.load_task`. `protocols`: one
            benchmark or several under all protocols; `forms`: one prompt read in several ways,
            scored and written; `options`: scored option texts; `retrieval`:
            key-value retrieval, generated; `passage`: pairs, the question alone and the same
            question behind its passage; `reasoning`: written-out arithmetic; `skills`: one
            generated task a skill, for heads and lens; `pairs`: scored tasks whose prompts are
            patched from prompts that differ in one thing.
        limits: the number of examples of each task, by its name.
        caps: the most examples for a family of ablations (`layers`, `heads`, `swaps`, ...) or a
            reading (`lens`, `trace`); a sweep of every head takes long.
        dtype: the dtype of the weights.
        device: `cpu`, `cuda`, ...; None is a GPU if there is one.
        seed: the seed of every draw.
        data: the folder with the rows (`interp.tasks.rows`), for machines without the hub.
        gpu: the accelerator for which hours are estimated (`experiments.hours.GPUS`); None for a
            preset that takes minutes.
    """

    name: str
    models: Mapping[str, str]
    tasks: Mapping[str, tuple[str, ...]]
    limits: Mapping[str, int]
    caps: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    device: str | None = None
    seed: int = 0
    data: Path | None = None
    gpu: str | None = None

    def __post_init__(self) -> None:
        from interp.errors import UserError

        for given, allowed, what in (
            (self.models, ROLES, "model role"),
            (self.tasks, QUESTIONS, "question"),
        ):
            for name in given:
                if name not in allowed:
                    raise UserError(f"{what} {name}: allowed are {', '.join(allowed)}")
        if "base" not in self.models:
            raise UserError("models: the role base is missing")

    def roles(self, *wanted: str) -> list[str]:
        """The given roles that the preset has, each model once."""
        chosen: dict[str, str] = {}
        for role in wanted:
            if role in self.models:
                chosen.setdefault(self.models[role], role)
        return list(chosen.values())

    def load(self, role: str) -> "TransformerBridge":
        """The model of a role; the last two models stay in memory."""
        return loaded(self.models[role], self.dtype, self.device)

    def load_tasks(self, *questions: str) -> "list[Task]":
        """The tasks of some questions, each once."""
        from interp.tasks import load_task

        return [load_task(name, data=self.data) for name in self.task_names(*questions)]

    def task_names(self, *questions: str) -> list[str]:
        """The names of the tasks of some questions, each once, in the order of the preset."""
        return list(dict.fromkeys(name for one in questions for name in self.tasks.get(one, ())))

    def limit(self, task: str, family: str = "layers") -> int:
        """The number of examples of a task, for a family of ablations or a reading."""
        from interp.errors import UserError

        if task not in self.limits:
            raise UserError(f"preset {self.name}: no limit for task {task}")
        return min(self.limits[task], self.caps.get(family, self.limits[task]))

    def __repr__(self) -> str:
        models = ", ".join(f"{role} {name}" for role, name in self.models.items())
        return f"Preset({self.name}: {models}; {self.dtype})"


_WORLD = tuple(
    f"world-{skill}:{protocol}"
    for skill in ("facts", "kv", "arithmetic")
    for protocol in ("default", "continuation", "generate")
)
_FORMS = tuple(
    f"world-{skill}-forms:{protocol}"
    for skill in ("facts", "kv", "arithmetic", "arithmetic-steps")
    for protocol in ("continuation", "generate")
)
_WITH_PASSAGE = str(PASSAGES / "world-facts-passage-generate.yaml")
_CAPS = {
    "heads": 100,
    "removal": 100,
    "trace": 100,
    "lens": 100,
    "pruning": 100,
    "swap-curves": 100,
    "programs": 60,
    "scopes": 40,
    "replacements": 60,
    "pairs": 80,
    "sets": 80,
    "patches-gold": 16,
    "patches-key": 16,
    "patches-person": 16,
    "cuts": 24,
    "contradicted": 24,
}

FIRST_WORLD = Preset(
    name="first-world",
    models={
        "base": "organism:base",
        "other": "organism:teacher",
        "distilled": "organism:distilled",
        "teacher": "organism:teacher",
    },
    tasks={
        "protocols": _WORLD,
        "forms": _FORMS,
        "options": ("world-facts:continuation", "world-arithmetic:continuation"),
        "retrieval": ("world-kv:generate",),
        "passage": ("world-facts:generate", _WITH_PASSAGE),
        "reasoning": ("world-arithmetic:generate",),
        "skills": ("world-facts:generate", "world-kv:generate", "world-arithmetic:generate"),
        "pairs": ("world-kv:continuation", "world-facts:continuation"),
    },
    limits=dict.fromkeys((*_WORLD, *_FORMS, _WITH_PASSAGE), 200),
    caps=_CAPS,
    device="cpu",
)
"""The shipped models of eight layers, whose option letters are at chance."""

_WORLD2 = tuple(
    f"world2-{skill}:{protocol}"
    for skill in ("facts", "kv", "unwritten")
    for protocol in ("default", "continuation", "generate")
)
_WITH_PASSAGE2 = str(PASSAGES / "world2-facts-passage-generate.yaml")

_FORMS2 = tuple(
    f"world2-{skill}-forms:{protocol}"
    for skill in ("facts", "kv", "unwritten", "unwritten-steps")
    for protocol in ("continuation", "generate")
)

ORGANISMS = Preset(
    name="organisms",
    models={
        "base": "organism:base12",
        "other": "organism:teacher12",
        "distilled": "organism:distilled12",
        "teacher": "organism:teacher12",
    },
    tasks={
        "protocols": _WORLD2,
        "forms": _FORMS2,
        "options": ("world2-facts:continuation", "world2-unwritten:continuation"),
        "retrieval": ("world2-kv:generate",),
        "passage": ("world2-facts:generate", _WITH_PASSAGE2),
        "reasoning": ("world2-arithmetic:generate",),
        "skills": ("world2-facts:generate", "world2-kv:generate", "world2-arithmetic:generate"),
        "pairs": ("world2-kv:continuation", "world2-facts:continuation"),
    },
    limits=dict.fromkeys((*_WORLD2, *_FORMS2, _WITH_PASSAGE2, "world2-arithmetic:generate"), 100),
    caps=_CAPS,
    device="cpu",
)
"""The shipped models of twelve layers, which can answer with option letters."""

STUDY = Preset(
    name="study",
    models={
        "base": "meta-llama/Llama-3.1-8B",
        "other": "Qwen/Qwen3-8B",
        "distilled": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    },
    tasks={
        "protocols": ("mmlu:default", "mmlu:continuation", "mmlu:generate"),
        "forms": ("mmlu-forms:default", "mmlu-forms:generate"),
        "options": ("hellaswag:continuation", "mathqa:continuation"),
        "retrieval": ("kv-75:generate",),
        "passage": ("openbookqa:continuation", "openbookqa-fact:continuation"),
        "reasoning": ("gsm8k:generate",),
        "skills": ("mmlu:generate", "kv-75:generate", "gsm8k:generate"),
        "pairs": ("openbookqa-fact:continuation",),
    },
    # our own choice: a drop of 5 points from 60% is significant with 1,000 examples
    limits={
        "mmlu:default": 1140,
        "mmlu:continuation": 1140,
        "mmlu:generate": 1140,
        "mmlu-forms:default": 1140,
        "mmlu-forms:generate": 1140,
        "hellaswag:continuation": 1000,
        "mathqa:continuation": 1000,
        "kv-75:generate": 200,
        "openbookqa:continuation": 500,
        "openbookqa-fact:continuation": 500,
        "gsm8k:generate": 500,
    },
    caps={
        "heads": 100, "removal": 100, "trace": 100, "lens": 200, "pruning": 200, "similarity": 200,
        "cumulative": 200, "swap-curves": 50, "programs": 100, "scopes": 100,
        "replacements": 200, "pairs": 100, "sets": 200,
    },
    dtype="bfloat16",
    gpu="H100",
)  # fmt: skip
"""The models of the study, on one large GPU. DeepSeek-R1, the teacher, is of another shape."""

PRESETS = {preset.name: preset for preset in (ORGANISMS, FIRST_WORLD, STUDY)}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every experiment has."""
    parser.add_argument("--preset", choices=PRESETS, default="organisms")
    parser.add_argument(
        "--model", nargs="+", metavar="[ROLE=]NAME", help=f"other models; roles: {', '.join(ROLES)}"
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="at most N examples per task, in place of the preset's",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="rows from local files")
    parser.add_argument("--device", help="cpu, cuda, cuda:1")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16")
    parser.add_argument("--out", type=Path, default=RUNS, metavar="DIR", help=f"({RUNS})")
    parser.add_argument("--dry-run", action="store_true", help="say what it would cost, no more")


def chosen_preset(options: argparse.Namespace) -> Preset:
    """The preset that the options of `add_options` name, with their changes.

    Raises:
        UserError: a role is unknown, or the limit is below 1.
    """
    from interp.errors import UserError

    preset = PRESETS[options.preset]
    if options.model:
        pairs = [text.partition("=") for text in options.model]
        preset = replace(
            preset,
            models={role if eq else "base": name if eq else role for role, eq, name in pairs},
        )
    if options.limit is not None:
        if options.limit < 1:
            raise UserError(f"--limit {options.limit}: allowed are 1 and more")
        preset = replace(preset, limits=dict.fromkeys(preset.limits, options.limit))
    changed = {name: getattr(options, name) for name in ("data", "device", "dtype")}
    return replace(preset, **{name: value for name, value in changed.items() if value is not None})
