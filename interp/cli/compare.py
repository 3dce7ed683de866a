"""`interp compare A B`: the same ablations of several models, side by side."""

import argparse
from pathlib import Path
from typing import Any

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out
from interp.cli.sweep import FAMILIES, announced


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    compare = commands.add_parser(
        "compare",
        parents=[loads_a_model()],
        help="run the same ablations of several models and set them side by side",
        description="One sweep per model on the same examples; differences of drops, correlations "
        "of profiles, centres of importance, and (with a cumulative family) robustness, as CSV and "
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
        "--drop",
        choices=["points", "floor-aware", "relative"],
        default="points",
        help="drops of the profiles in points, or as a share of baseline minus floor or of the "
        "baseline",
    )
    compare.add_argument(
        "--dry-run", action="store_true", help="say what it would cost here, and write nothing"
    )
    compare.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp import figures
    from interp.ablations import as_ablation
    from interp.comparison import (
        ablations_of,
        check_names,
        compare,
        comparison_figures,
        swap_ablations,
        swaps_between,
        weights_between,
    )
    from interp.errors import UserError
    from interp.tasks import load_task

    out = None if options.dry_run and options.out is None else required_out(options)
    names = _named(options.models)
    check_names(names)
    if any(text.startswith("swap") for text in options.ablate):
        raise UserError("--ablate swaps: models are swapped with each other by --swaps")
    tasks = [
        load_task(name, data=options.data, allow_code=options.allow_code) for name in options.tasks
    ]
    models = {name: loaded(model_argument, options) for name, model_argument in names.items()}
    first, second, *_ = models.values()
    for model in models.values():
        ablations = ablations_of(model, options.ablate)
        if options.swaps and model in (first, second):
            ablations += swap_ablations(model, second if model is first else first)
        announced(model, tasks, [as_ablation(ablation) for ablation in ablations], options)
    if options.dry_run or out is None:
        return
    comparison = compare(
        models, tasks, ablations=options.ablate, out=out, limit=options.limit, seed=options.seed
    )
    pair = {name: models[name] for name in list(models)[:2]}
    swaps = weights = None
    if options.swaps:
        swaps = swaps_between(pair, tasks, out=out, limit=options.limit, seed=options.seed)
        print(*swaps.ends.values(), sep="\n")
    if options.weights:
        weights = weights_between(pair, swaps=swaps, seed=options.seed)
    _write_tables(comparison.tables(), swaps, weights, out)
    for name, figure in comparison_figures(
        comparison, swaps=swaps, weights=weights, drop=options.drop
    ).items():
        print(*figures.save(figure, out / "figures" / name), sep="\n")
    print(comparison.summary())


def _write_tables(tables: dict[str, Any], swaps: Any, weights: Any, out: Path) -> None:
    """The tables of a comparison as CSV files, and print their paths."""
    from interp.records import write_whole
    from interp.results import csv_text

    if swaps is not None:
        tables["swaps"] = swaps.curves
    if weights is not None:
        tables |= {"weights": weights.matrices, "layer-distances": weights.layers}
        if len(weights.effects):
            tables["weights-and-swaps"] = weights.effects
    for name, table in tables.items():
        path = out / f"{name}.csv"
        write_whole(path, csv_text(table).encode())
        print(path)


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
