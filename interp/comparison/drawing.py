"""The figures of a comparison, by name, drawn from its tables without a model."""

from pathlib import Path

from interp import figures
from interp.comparison.between import Swaps, Weights
from interp.comparison.result import Comparison
from interp.figures import PrintFigure
from interp.results import choose_metric


def comparison_figures(
    found: Comparison,
    *,
    swaps: Swaps | None = None,
    weights: Weights | None = None,
    drop: str = "points",
) -> dict[str, PrintFigure]:
    """Profiles, differences, swap curves and weight distances, those that there are.

    Args:
        found: the comparison.
        swaps: the swaps of its first two models.
        weights: the weight distances of its first two models, drawn beside the swaps.
        drop: scale of the drops of the profiles, as for `interp.figures.drops`.

    Returns:
        For each name, which can be a file's, a figure.
    """
    drawn: dict[str, PrintFigure] = {}
    importance = found.importance()
    if importance["ablation"].str.fullmatch(r"layer:\d+").any():
        drawn["profiles"] = figures.comparison.profiles(importance, found.n_layers, drop=drop)
        drawn["differences"] = figures.comparison.differences(found.differences())
    if swaps is None:
        return drawn
    for task, rows in swaps.curves.groupby("task", sort=False):
        name = f"swaps-{_file_name(str(task))}"
        drawn[_free(name, drawn)] = figures.comparison.swap_curves(rows)
    if weights is not None:
        for task, rows in choose_metric(swaps.curves).groupby("task", sort=False):
            effects = weights.effects[weights.effects["task"] == task]
            name = f"weights-{_file_name(str(task))}"
            drawn[_free(name, drawn)] = figures.comparison.weights(weights.layers, rows, effects)
    return drawn


def _file_name(task: str) -> str:
    """A task's name, with characters replaced that file systems refuse."""
    plain = Path(task).name.removesuffix(".yaml")
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in plain)[:80]


def _free(name: str, taken: dict[str, PrintFigure]) -> str:
    """The name, with a number if it is already taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
