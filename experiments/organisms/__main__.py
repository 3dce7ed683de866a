"""Make the organisms: `python -m experiments.organisms all`, or one step of it."""

import argparse
import json
import shutil
from pathlib import Path

import torch

from experiments.organisms import recipes
from experiments.organisms.card import write_card
from experiments.organisms.distill import distill
from experiments.organisms.score import score_model, write_scores
from experiments.organisms.tasks import write_tasks
from experiments.organisms.train import train

RUNS = Path("runs")
MODELS = Path("data/models")
TASKS = Path("data/tasks")
ORGANISMS = ("base", "teacher", "distilled")
_BASE = ("opening", "base-facts", "base-options", "base")
PHASES = {"base": _BASE, "teacher": ("opening", "teacher"), "distilled": (*_BASE, "distilled")}


def make(name: str) -> None:
    """Train an organism, with those of its earlier phases whose folders are not there yet."""
    for phase in PHASES[name]:
        if phase == name or not (RUNS / phase / "model.safetensors").exists():
            recipe = recipes.RECIPES[phase]
            if phase == "distilled":
                distill(recipe, RUNS / "teacher", RUNS / phase)
            else:
                train(recipe, RUNS / phase)


def release(name: str) -> None:
    """Copy a trained organism to `data/models` with the logs of all its phases."""
    out = MODELS / name
    shutil.copytree(RUNS / name, out, ignore=shutil.ignore_patterns("log.json"), dirs_exist_ok=True)
    logs = [json.loads((RUNS / phase / "log.json").read_text()) for phase in PHASES[name]]
    for log, phase in zip(logs, PHASES[name], strict=True):
        log["recipe"]["name"] = phase
    (out / "training.json").write_text(json.dumps(logs) + "\n")


def score(name: str) -> None:
    """Score a released organism on the shipped tasks and write `scores.json`."""
    scores = score_model(MODELS / name)
    write_scores(scores, MODELS / name / "scores.json")
    for line in scores:
        print(f"{name:10} {line.task:28} {line.metric:32} {line.share:7.1%}  n={line.n}")


def main() -> None:
    """Parse the command line and run the step."""
    parser = argparse.ArgumentParser(prog="python -m experiments.organisms", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
    steps = parser.add_subparsers(dest="step", required=True)
    one = steps.add_parser("train", help="train base or teacher into runs/")
    one.add_argument("name", choices=("base", "teacher"))
    steps.add_parser("distill", help="train distilled from base and the teacher's answers")
    steps.add_parser("tasks", help="write data/tasks")
    for step, text in (
        ("release", "copy from runs/ to data/models"),
        ("score", "score data/models on the tasks"),
        ("card", "write the cards"),
    ):
        some = steps.add_parser(step, help=text)
        some.add_argument("names", nargs="*", default=ORGANISMS)
    steps.add_parser("all", help="everything, in order")
    arguments = parser.parse_args()
    if not Path("interp/tasks/world").is_dir():
        parser.error("run this from the root of the project (interp/tasks/world is not here)")
    torch.set_num_threads(arguments.threads)
    step = arguments.step
    if step in ("tasks", "all"):
        write_tasks(TASKS)
    if step == "train":
        make(arguments.name)
    for name in ("base", "teacher") if step == "all" else ():
        make(name)
    if step in ("distill", "all"):
        make("distilled")
    for name in ORGANISMS if step == "all" else getattr(arguments, "names", ()):
        for do in (release, score, write_card_of) if step == "all" else (STEPS[step],):
            do(name)


def write_card_of(name: str) -> None:
    """Write the card of a released and scored organism."""
    write_card(MODELS / name)


STEPS = {"release": release, "score": score, "card": write_card_of}

if __name__ == "__main__":
    main()
