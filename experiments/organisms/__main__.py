"""Make the organisms: `python -m experiments.organisms train NAME`, `status`, and more."""

import argparse
import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from experiments.organisms.distill import makers_of
from experiments.organisms.plans import (
    CHECKPOINTS,
    MODELS,
    PLANS,
    RUNS,
    WEIGHTS,
    Plan,
    is_finished,
    progress_of,
    status_text,
)
from experiments.organisms.recipe import Recipe, scaled
from experiments.organisms.rows import write_rows
from experiments.organisms.tasks import write_tasks
from experiments.organisms.train import STATE, take_up, train, write_checkpoint
from interp.errors import UserError

TASKS = Path("data/tasks")
SHIPPED = ("base", "teacher", "distilled")


@dataclass(frozen=True)
class How:
    """How to train: `scale` enlarges the batches, the rest is as in `train`."""

    from_here: bool = False
    scale: int = 1
    device: str = "cpu"
    workers: int = 0


def make(name: str, how: How = How()) -> None:
    """Train an organism, going on wherever an earlier call was stopped.

    Args:
        name: one of `PLANS`.
        how: where, and whether earlier phases are left as far as they are (`from_here`).
    """
    plan = PLANS[name]
    if plan.teacher is not None:
        make(plan.teacher, replace(how, from_here=False))
    for recipe in plan.phases[-1:] if how.from_here else _left(plan):
        make_phase(plan, recipe, how)


def _left(plan: Plan) -> tuple[Recipe, ...]:
    """The phases from the last finished one on: what went before it is not needed any more."""
    finished = [
        at
        for at, recipe in enumerate(plan.phases)
        if is_finished(RUNS / recipe.name) or is_finished(CHECKPOINTS / recipe.name)
    ]
    return plan.phases[max(finished, default=0) :]


def make_phase(plan: Plan, recipe: Recipe, how: How) -> None:
    """Train one phase, or go on with it; a finished one, or one made without saves, stays."""
    out, saved = RUNS / recipe.name, CHECKPOINTS / recipe.name
    if not (out / WEIGHTS).exists() and is_finished(saved):
        take_up(saved, out)
    if (out / WEIGHTS).exists() and not (out / STATE).exists():
        return
    teacher = None if plan.teacher is None else RUNS / plan.teacher
    answers = RUNS / f"{plan.teacher}-answers.jsonl"
    train(
        scaled(recipe, how.scale),
        out,
        makers=makers_of(recipe, teacher, answers, device=how.device),
        checkpoint=saved,
        device=how.device,
        workers=how.workers,
    )


def release(name: str) -> None:
    """Copy a trained organism to `data/models` with the logs of all its phases."""
    out = MODELS / name
    ignore = shutil.ignore_patterns("log.json", STATE)
    shutil.copytree(RUNS / name, out, ignore=ignore, dirs_exist_ok=True)
    phases = [recipe.name for recipe in PLANS[name].phases]
    logs = [json.loads(_log_path(phase).read_text()) for phase in phases]
    for log, phase in zip(logs, phases, strict=True):
        log["recipe"]["name"] = phase
    (out / "training.json").write_text(json.dumps(logs) + "\n")


def _log_path(phase: str) -> Path:
    """The log of a phase: of its run or, where the run is elsewhere, of its checkpoint."""
    here = RUNS / phase / "log.json"
    return here if here.exists() else CHECKPOINTS / phase / "log.json"


def checkpoint(name: str) -> None:
    """Write the phases of an organism that are begun to `checkpoints`, in float16."""
    for recipe in PLANS[name].phases:
        if (RUNS / recipe.name / STATE).exists():
            write_checkpoint(RUNS / recipe.name, CHECKPOINTS / recipe.name)


def score(name: str) -> None:
    """Score a released organism on the shipped tasks and write `scores.json`."""
    # Scores need lm-evaluation-harness; training does not.
    from experiments.organisms.score import score_model, tasks_of, write_scores

    scores = score_model(MODELS / name, tasks=tasks_of(name))
    write_scores(scores, MODELS / name / "scores.json")
    for line in scores:
        print(f"{name:10} {line.task:28} {line.metric:32} {line.share:7.1%}  n={line.n}")


def write_card_of(name: str) -> None:
    """Write the card of a released and scored organism."""
    from experiments.organisms.card import write_card

    write_card(MODELS / name)


STEPS = {"release": release, "score": score, "card": write_card_of, "checkpoint": checkpoint}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    commands = argparse.ArgumentParser(prog="python -m experiments.organisms", description=__doc__)
    commands.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    steps = commands.add_subparsers(dest="step", required=True)
    one = steps.add_parser("train", help="train an organism into runs/, or go on with it")
    one.add_argument("name", choices=sorted(PLANS))
    one.add_argument(
        "--from-here", action="store_true", help="leave earlier phases as far as they are"
    )
    one.add_argument("--device", default="cpu", help="where to train (default cpu)")
    one.add_argument("--scale", type=int, default=1, help="batches so many times larger")
    one.add_argument("--workers", type=int, default=0, help="processes that draw documents")
    steps.add_parser("status", help="what is trained and what is missing")
    steps.add_parser("tasks", help="write data/tasks")
    for step, text in (
        ("release", "copy from runs/ to data/models"),
        ("score", "score data/models on the tasks"),
        ("card", "write the cards"),
        ("checkpoint", "write what is begun to experiments/organisms/checkpoints"),
    ):
        some = steps.add_parser(step, help=text)
        some.add_argument("names", nargs="*", default=SHIPPED)
    steps.add_parser("all", help="the three organisms of eight layers: everything, in order")
    return commands


def main() -> None:
    """Parse the command line and run the step."""
    commands = parser()
    arguments = commands.parse_args()
    if not Path("interp/tasks/world").is_dir():
        commands.error("run this from the root of the project (interp/tasks/world is not here)")
    unknown = sorted(set(getattr(arguments, "names", ())) - set(PLANS))
    if unknown:
        commands.error(f"{unknown[0]}: no such organism; there are {', '.join(PLANS)}")
    torch.set_num_threads(arguments.threads)
    try:
        run(arguments)
    except UserError as error:
        sys.exit(f"error: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Run one step."""
    step = arguments.step
    if step in ("tasks", "all"):
        write_tasks(TASKS)
        write_rows(TASKS)
    if step == "train":
        make(
            arguments.name,
            How(arguments.from_here, arguments.scale, arguments.device, arguments.workers),
        )
    if step == "status":
        print(status_text([line for name in PLANS for line in progress_of(name)]), end="")
    for name in SHIPPED if step == "all" else ():
        make(name)
    for name in SHIPPED if step == "all" else getattr(arguments, "names", ()):
        for do in (release, score, write_card_of) if step == "all" else (STEPS[step],):
            do(name)


if __name__ == "__main__":
    main()
