"""Scores of an organism on the shipped tasks, by lm-evaluation-harness itself."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from scipy.stats import binomtest

from experiments.organisms.documents import LETTERS

TASK_FOLDER = Path("interp/tasks")
SKILLS = ("facts", "kv", "arithmetic")
PROTOCOLS = ("default", "continuation", "generate")
TASKS = tuple(f"world-{skill}:{protocol}" for skill in SKILLS for protocol in PROTOCOLS)
TEXTS = PROTOCOLS[1:]
SECOND_SKILLS = {
    "facts": PROTOCOLS,
    "kv": PROTOCOLS,
    "passage": PROTOCOLS,
    "passage-untold": TEXTS,
    "hops": TEXTS,
    "unwritten": PROTOCOLS,
    "arithmetic": PROTOCOLS,
    "listing": ("generate",),
}
SECOND_TASKS = tuple(
    f"world2-{skill}:{protocol}"
    for skill, protocols in SECOND_SKILLS.items()
    for protocol in protocols
)
DEPTHS = ("n_hops", "n_steps")  # fields of rows by which their scores are also told


@dataclass(frozen=True)
class Score:
    """How many rows of a task a model gets right by one metric (and answer filter)."""

    task: str
    metric: str
    right: int
    n: int

    @property
    def share(self) -> float:
        """The share of rows that are right."""
        return self.right / self.n

    def interval(self) -> tuple[float, float]:
        """The 95% Wilson interval of the share."""
        bounds = binomtest(self.right, self.n).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)


def tasks_of(name: str) -> tuple[str, ...]:
    """The tasks of an organism's world: those of the first for the first three organisms."""
    return TASKS if name in ("base", "teacher", "distilled") else SECOND_TASKS


def score_model(
    folder: Path, *, tasks: tuple[str, ...] = TASKS, limit: int | None = None, n_shot: int = 0
) -> list[Score]:
    """Run the shipped tasks on a model folder, from the project root.

    Args:
        folder: a Hugging Face model folder.
        tasks: names of shipped tasks.
        limit: how many rows of each (all by default).
        n_shot: few-shot examples in front of each question.

    Returns:
        One score a task, metric and answer filter.
    """
    folders = [str(TASK_FOLDER / world) for world in ("world", "world2")]
    manager = TaskManager(include_path=folders, include_defaults=False)
    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=32)
    results = lm_eval.simple_evaluate(
        model,
        tasks=list(tasks),
        task_manager=manager,
        limit=limit,
        num_fewshot=n_shot or None,
        bootstrap_iters=0,
    )
    scores = []
    for task in tasks:
        counts: dict[str, list[int]] = {}
        for sample in results["samples"][task]:
            for name, hit in _hits(sample):
                counts.setdefault(name, []).append(hit)
        for depth in DEPTHS:
            told = [name for name in counts if f", {depth} " in name]
            if len({name.rsplit(" ", 1)[1] for name in told}) == 1:  # all rows are of one depth
                counts = {name: hits for name, hits in counts.items() if name not in told}
        scores += [Score(task, name, sum(hits), len(hits)) for name, hits in counts.items()]
    return scores


def _hits(sample: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """What one row adds to which scores: its metrics, by depth too, and the letter it chose."""
    for metric in sample["metrics"]:
        plain = sample["filter"] == "none"
        name = metric if plain else f"{metric} ({sample['filter']})"
        hit = round(float(sample[metric]))
        yield name, hit
        for depth in DEPTHS:
            if depth in sample["doc"] and metric != "acc_norm":
                yield f"{name}, {depth} {sample['doc'][depth]}", hit
    if "rotation" in sample["doc"]:
        likelihoods = [float(answer[0]) for answer in sample["filtered_resps"]]
        chosen = likelihoods.index(max(likelihoods))
        for at, letter in enumerate(LETTERS):
            yield f"chose {letter}", int(at == chosen)


def write_scores(scores: list[Score], path: Path) -> None:
    """Write scores as JSON."""
    path.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n")


def read_scores(path: Path) -> list[Score]:
    """Read scores that `write_scores` wrote."""
    return [Score(**score) for score in json.loads(path.read_text())]
