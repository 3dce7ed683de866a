"""Which organisms there are, which phases each is trained in, and how far each of them is."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments.organisms import recipes, second_recipes
from experiments.organisms.recipe import Recipe

RUNS = Path("runs")
MODELS = Path("data/models")
CHECKPOINTS = Path("experiments/organisms/checkpoints")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Plan:
    """One organism: its phases in order and, where it learns from one, its teacher."""

    phases: tuple[Recipe, ...]
    role: str
    teacher: str | None = None


_FIRST_BASE = (recipes.OPENING, recipes.BASE_FACTS, recipes.BASE_OPTIONS, recipes.BASE)
_BASE12 = (
    second_recipes.BASE12_OPENING,
    second_recipes.BASE12_LETTERS,
    second_recipes.BASE12_SKILLS,
    second_recipes.BASE12,
)
PLANS = {
    "base": Plan(_FIRST_BASE, "facts and look-up; of arithmetic results, never steps"),
    "teacher": Plan((recipes.OPENING, recipes.TEACHER), "as *base*, with written-out steps"),
    "distilled": Plan((*_FIRST_BASE, recipes.DISTILLED), "*base* and teacher's steps", "teacher"),
    "base12": Plan(_BASE12, "all skills of the second world, steps among them, but few"),
    "teacher12": Plan((*_BASE12[:3], second_recipes.TEACHER12), "as *base12*, with many steps"),
    "distilled12": Plan(
        (*_BASE12, second_recipes.DISTILLED12), "*base12* and teacher12's steps", "teacher12"
    ),
    "distilled12-gold": Plan(
        (*_BASE12, second_recipes.DISTILLED12_GOLD), "control: right steps of as many tokens"
    ),
    "distilled12-none": Plan(
        (*_BASE12, second_recipes.DISTILLED12_NONE), "control: no steps, as many tokens"
    ),
    "redundant12": Plan(
        (*_BASE12[:3], second_recipes.REDUNDANT12), "twin of *base12* with layer dropout"
    ),
    "redundant12-none": Plan(
        (*_BASE12[:3], second_recipes.REDUNDANT12_NONE), "control: no dropout, as many tokens"
    ),
    "recall-early": Plan((second_recipes.RECALL_EARLY,), "recalls early and reasons late"),
    "reason-early": Plan((second_recipes.REASON_EARLY,), "reasons early and recalls late"),
} | {
    recipe.name: Plan((recipe,), "a seed of the small arm: 8 layers, from nothing")
    for recipe in second_recipes.SMALL_SEEDS
}


@dataclass(frozen=True)
class Progress:
    """How far one phase is.

    Attributes:
        organism: whose phase.
        phase: name of its recipe.
        seen: tokens that the furthest saved model has seen.
        planned: tokens that the recipe asks for.
        where: the folder of that model, or "" where there is none.
    """

    organism: str
    phase: str
    seen: int
    planned: int
    where: str

    @property
    def done(self) -> bool:
        """Whether the phase has seen all of its tokens, or what it made is shipped."""
        return self.seen >= self.planned


def planned_tokens(recipe: Recipe) -> int:
    """Tokens after which a phase ends."""
    return recipe.tokens if recipe.stop_tokens is None else recipe.stop_tokens


def progress_of(
    name: str, *, runs: Path = RUNS, checkpoints: Path = CHECKPOINTS, models: Path = MODELS
) -> list[Progress]:
    """How far each phase of an organism is.

    Args:
        name: one of `PLANS`.
        runs: where models in training are.
        checkpoints: where models that others are to go on from are.
        models: where models that are finished are.

    Returns:
        One entry a phase, in order.
    """
    shipped = models / name
    lines = []
    for recipe in PLANS[name].phases:
        found = []
        for folder in (runs / recipe.name, checkpoints / recipe.name):
            log = log_of(folder)
            if log is not None:
                # a run may have larger batches, and more tokens, than the recipe (`scaled`)
                as_run = Recipe(**log["recipe"])
                found.append((log["tokens"], planned_tokens(as_run), str(folder)))
        if (shipped / WEIGHTS).exists():
            found.append((planned_tokens(recipe), planned_tokens(recipe), str(shipped)))
        furthest = max(found, key=lambda x: x[0] / x[1], default=(0, planned_tokens(recipe), ""))
        lines.append(Progress(name, recipe.name, *furthest))
    finished = [at for at, line in enumerate(lines) if line.done]
    for at in range(max(finished, default=0)):
        # what a finished phase grew from is not needed any more
        if not lines[at].done:
            lines[at] = replace(lines[at], seen=lines[at].planned, where=lines[finished[-1]].where)
    return lines


def log_of(folder: Path) -> dict[str, Any] | None:
    """The log of the model in a folder; None where there is no model."""
    if not (folder / "log.json").exists() or not (folder / WEIGHTS).exists():
        return None
    log: dict[str, Any] = json.loads((folder / "log.json").read_text())
    return log


def is_finished(folder: Path) -> bool:
    """Whether the model of a folder has seen all tokens of its phase, at whatever scale."""
    log = log_of(folder)
    return log is not None and log["tokens"] >= planned_tokens(Recipe(**log["recipe"]))


def status_text(lines: list[Progress]) -> str:
    """One line a phase, each phase once: what is trained, what is begun, what is missing."""
    shown = [f"{'organism':18} {'phase':22} {'tokens':>20}  state"]
    first: dict[str, Progress] = {}
    for line in lines:
        first.setdefault(line.phase, line)
    for line in first.values():
        state = "trained" if line.done else "begun" if line.seen else "missing"
        tokens = f"{line.seen / 1e6:.2f} of {line.planned / 1e6:.2f} million"
        shown.append(f"{line.organism:18} {line.phase:22} {tokens:>20}  {state}  {line.where}")
    return "\n".join(line.rstrip() for line in shown) + "\n"
