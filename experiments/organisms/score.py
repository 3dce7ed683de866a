"""Scores of an organism on the shipped tasks, by lm-evaluation-harness itself."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from scipy.stats import binomtest

TASK_FOLDER = Path("interp/tasks/world")
SKILLS = ("facts", "kv", "arithmetic")
PROTOCOLS = ("default", "continuation", "generate")
TASKS = tuple(f"world-{skill}:{protocol}" for skill in SKILLS for protocol in PROTOCOLS)


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


def score_model(
    folder: Path, *, tasks: tuple[str, ...] = TASKS, limit: int | None = None, n_shot: int = 0
) -> list[Score]:
    """Run the shipped tasks on a model folder, from the project root.

    Args:
        folder: a Hugging Face model folder.
        tasks: names of shipped tasks.
        limit: how many rows of each (all by default).
        n_shot: worked examples in front of each question.

    Returns:
        One score a task, metric and answer filter.
    """
    manager = TaskManager(include_path=str(TASK_FOLDER), include_defaults=False)
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
            for metric in sample["metrics"]:
                plain = sample["filter"] == "none"
                name = metric if plain else f"{metric} ({sample['filter']})"
                counts.setdefault(name, []).append(round(float(sample[metric])))
        scores += [Score(task, name, sum(hits), len(hits)) for name, hits in counts.items()]
    return scores


def write_scores(scores: list[Score], path: Path) -> None:
    """Write scores as JSON."""
    path.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n")


def read_scores(path: Path) -> list[Score]:
    """Read scores that `write_scores` wrote."""
    return [Score(**score) for score in json.loads(path.read_text())]
