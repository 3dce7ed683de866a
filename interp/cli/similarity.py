"""`interp similarity`: how much each layer changes the residual stream."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from interp.cli.options import (
    Commands,
    add_tasks,
    loaded,
    loads_a_model,
    required_out,
    text_lines,
    the_task,
)

if TYPE_CHECKING:
    from interp.figures import PrintFigure
    from interp.results import Sweep
    from interp.similarity import Similarity


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    similarity = commands.add_parser(
        "similarity",
        parents=[loads_a_model()],
        help="how much each layer changes the residual stream",
        description="Block influence, angular distance and CKA over a task's prompts or the lines "
        "of a text file; with --run, their correlation with the importance that a sweep measured.",
    )
    similarity.add_argument("model", metavar="MODEL", help="see `interp models`")
    add_tasks(similarity)
    similarity.add_argument("--texts", metavar="FILE", help="the lines of a text file")
    similarity.add_argument("--run", metavar="RUN", dest="sweep", help="a sweep of every layer")
    similarity.add_argument(
        "--as-study", action="store_true", help="also as the study's own script (needs --texts)"
    )
    similarity.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import pandas as pd

    from interp import figures
    from interp.errors import UserError
    from interp.models import model_name
    from interp.results import open_run
    from interp.similarity import layer_similarity, study_angular_distance
    from interp.tasks import load_task

    out = required_out(options)
    if bool(options.tasks) == bool(options.texts):
        raise UserError("interp similarity: give one of --task and --texts")
    if options.as_study and options.texts is None:
        raise UserError("--as-study: the study's script reads texts; give --texts FILE")
    texts = text_lines("--texts", options.texts)
    run = open_run(options.sweep) if options.sweep else None
    if run is not None and not any(n.startswith("layer:") for n in run.manifest.ablations):
        raise UserError(f"--run {options.sweep}: it has no ablation layer:N")
    task = None
    if options.tasks:
        task = load_task(the_task(options), data=options.data, allow_code=options.allow_code)
    model = loaded(options.model, options)
    if run is not None and run.manifest.model != model_name(model):
        raise UserError(
            f"--run {options.sweep}: it is of {run.manifest.model}, not of {model_name(model)}"
        )
    similarity = layer_similarity(
        model, task or texts, limit=options.limit, seed=options.seed, out=out
    )
    print(similarity.summary())
    angular = similarity.angular
    if options.as_study:
        angular = pd.concat([angular, study_angular_distance(model, texts)], ignore_index=True)
    drawn = {
        "angular-distance": figures.similarity.angular(angular),
        "block-influence": figures.similarity.influence(similarity.influence),
    }
    if run is not None:
        drawn |= _agreement(similarity, run, out)
    for name, figure in drawn.items():
        print(*figures.save(figure, out / name), sep="\n")


def _agreement(similarity: "Similarity", run: "Sweep", out: Path) -> "dict[str, PrintFigure]":
    """The correlations as CSV, and a figure per measure."""
    from interp import figures
    from interp.records import write_whole
    from interp.results import choose_metric, csv_text
    from interp.stats import layer_correlations

    table, points = layer_correlations(similarity.measures(), choose_metric(run.gains()))
    write_whole(out / "agreement.csv", csv_text(table).encode())
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))
    return {
        f"agreement-{measure.replace(' ', '-')}": figures.similarity.agreement(
            points, table, measure=measure, similarity_n=int(similarity.influence["n"].max())
        )
        for measure in points["measure"].unique()
    }
