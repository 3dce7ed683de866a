"""`interp compare A B`: the same ablations of several models, side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from interp.cli.options import Commands, add_tasks, loads_a_model, required_out
from interp.cli.sweep import FAMILIES, announced

if TYPE_CHECKING:
    import pandas as pd
    from transformer_lens.model_bridge import TransformerBridge

    from interp.comparison import Comparison
    from interp.figures import PrintFigure
    from interp.tasks import Task


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare",
        parents=[loads_a_model()],
        help="run the same ablations of several models and set them side by side",
        description="One sweep a model on the same examples; differences of drops, correlation of "
        "profiles, centres of importance, and (with a cumulative family) robustness, as CSV and "
        "figures. The same command continues a comparison that was interrupted.",
    )
    compare.add_argument(
        "models", nargs="+", metavar="MODEL", help="two or more; NAME=MODEL gives it a name"
    )
    add_tasks(compare, required=True)
    alone = [name for name in FAMILIES if not name.startswith("swap")]
    compare.add_argument(
        "--ablate",
        nargs="+",
        default=["layers"],
        metavar="WHAT",
        help=f"families ({', '.join(alone)}) or single ablations, as for `interp sweep` (layers)",
    )
    compare.add_argument(
        "--swaps",
        action="store_true",
        help="also put the layers of the first two models into each other, one at a time and "
        "cumulatively, whole and in parts (models of one shape)",
    )
    compare.add_argument(
        "--weights", action="store_true", help="also how far each weight moved between the two"
    )
    compare.add_argument(
        "--dry-run", action="store_true", help="say what it would cost here, and write nothing"
    )
    compare.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import as_ablation
    from interp.comparison import ablations_of, check_names, compare, swap_ablations
    from interp.errors import UserError
    from interp.models import load_model
    from interp.tasks import load_task

    out = None if options.dry_run and options.out is None else required_out(options)
    names = _named(options.models)
    check_names(names)
    if any(text.startswith("swap") for text in options.ablate):
        raise UserError("--ablate swaps: models are swapped with each other by --swaps")
    tasks = [
        load_task(name, data=options.data, allow_code=options.allow_code) for name in options.tasks
    ]
    models = {
        name: load_model(
            given, dtype=options.dtype, device=options.device, revision=options.revision
        )
        for name, given in names.items()
    }
    first, second, *_ = models.values()
    for model in models.values():
        asked = ablations_of(model, options.ablate)
        if options.swaps and model in (first, second):
            asked += swap_ablations(model, second if model is first else first)
        announced(model, tasks, [as_ablation(one) for one in asked], options)
    if options.dry_run or out is None:
        return
    found = compare(
        models, tasks, ablations=options.ablate, out=out, limit=options.limit, seed=options.seed
    )
    print(found)
    drawn = _tables(found, out)
    if options.swaps or options.weights:
        drawn |= _between(models, tasks, options, out)
    _save(drawn, out)


def _named(given: list[str]) -> dict[str, str]:
    """Names to models, from `NAME=MODEL` or from the last part of the model's name."""
    from interp.errors import UserError
    from interp.labels import model_label

    names: dict[str, str] = {}
    for text in given:
        name, equals, model = text.rpartition("=")
        name = name if equals else model_label(text)
        if name in names:
            raise UserError(f"models: two are named {name}; write NAME=MODEL")
        names[name] = model
    return names


def _tables(found: "Comparison", out: Path) -> "dict[str, PrintFigure]":
    """Write the tables, print where the models differ most; the figures that they allow."""
    from interp import figures
    from interp.comparison import orders_of
    from interp.errors import UserError
    from interp.results import choose_metric

    importance, differences = found.importance(), found.differences()
    tables = {"scores": found.scores(), "importance": importance, "differences": differences}
    drawn: dict[str, PrintFigure] = {}
    by_layer = importance["ablation"].str.fullmatch(r"layer:\d+").any()
    if by_layer:
        drawn["profiles"] = figures.comparison.profiles(importance, found.n_layers)
        drawn["differences"] = figures.comparison.differences(differences)
    for name in ("correlations", "centres", "shifts"):
        try:
            tables[name] = getattr(found, name)()
        except UserError as error:  # a family that has no profile over layers
            print(f"no table of {name}: {error}")
    try:
        orders_of(list(importance["ablation"].unique()))
    except UserError:
        pass
    else:
        tables["robustness"] = found.robustness()
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
        print(out / f"{name}.csv")
    shown = choose_metric(differences)
    shown = shown.reindex(shown["difference"].abs().sort_values(ascending=False).index).head(5)
    columns = ["a", "b", "ablation", "task", "drop_a", "drop_b", "difference", "low", "high",
               "p_adjusted", "n"]  # fmt: skip
    print("largest differences of drops:")
    print(shown[columns].to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    return drawn


def _between(
    models: "dict[str, TransformerBridge]",
    tasks: "list[Task]",
    options: argparse.Namespace,
    out: Path,
) -> "dict[str, PrintFigure]":
    """Swaps in both directions and distances of weights, of the first two models."""
    import pandas as pd

    from interp import comparison, figures
    from interp.results import choose_metric

    (a, one), (b, other) = list(models.items())[:2]
    drawn: dict[str, PrintFigure] = {}
    curves, runs = pd.DataFrame(), {}
    if options.swaps:
        for name, model, donor, source in ((a, one, other, b), (b, other, one, a)):
            runs[name] = comparison.swap_sweep(
                model, donor, tasks, out=out / f"{name}-from-{source}", limit=options.limit,
                seed=options.seed,
            )  # fmt: skip
            print(comparison.ends_line(model, donor))
        tables = [comparison.swap_curves(r, recipient=n).assign(donor=b if n == a else a)
                  for n, r in runs.items()]  # fmt: skip
        curves = pd.concat(tables, ignore_index=True)
        _write(curves, out / "swaps.csv")
        for task, rows in curves.groupby("task", sort=False):
            drawn[f"swaps-{_file(str(task))}"] = figures.comparison.swap_curves(rows)
    if options.weights:
        weights = comparison.weight_distances(one, other)
        layers = comparison.layer_distances(weights)
        _write(weights, out / "weights.csv")
        _write(layers, out / "layer-distances.csv")
        if runs:
            together = pd.concat(
                comparison.distance_and_effect(
                    layers, choose_metric(run.values().assign(model=name)), seed=options.seed
                )[0]
                for name, run in runs.items()
            )
            _write(together, out / "weights-and-swaps.csv")
            for task, rows in choose_metric(curves).groupby("task", sort=False):
                drawn[f"weights-{_file(str(task))}"] = figures.comparison.weights(
                    layers, rows, together[together["task"] == task]
                )
    return drawn


def _write(table: "pd.DataFrame", path: Path) -> None:
    table.to_csv(path, index=False)
    print(path)


def _save(drawn: "dict[str, PrintFigure]", out: Path) -> None:
    from interp import figures

    for name, figure in drawn.items():
        print(*figures.save(figure, out / "figures" / name), sep="\n")


def _file(task: str) -> str:
    """A task's name as a file's."""
    return Path(task).stem.replace(":", "-")
